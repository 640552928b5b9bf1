"""Speak the oneheap service's REST protocol; ``wire/ONEHEAP.md`` is the contract.

``routes`` lists every documented route, ``envelope`` is the frame of requests and answers,
``items`` holds every shape of an item, ``signin`` keeps the token. ``client`` sends any documented
request, and ``calls`` has the calls that a mirror needs. Only ``client`` does I/O.
"""
