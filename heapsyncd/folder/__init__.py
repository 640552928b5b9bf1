"""A heap as files: names, places, what is ignored, what is there, and the only hand that writes.

Pure: ``names`` ``layout`` ``ignore`` ``snapshot``. Edges: ``disk`` (with ``walk``, ``replace``,
``parts``, ``safe_open``, ``syscalls`` and ``trouble`` behind it) and ``watch``. See README.md.
"""
