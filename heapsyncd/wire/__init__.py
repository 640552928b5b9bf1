"""Speak the server's protocol. Updates are opaque bytes; ``PROTOCOL.md`` here is the contract.

``lib0``, ``hocuspocus`` and ``awareness`` are codecs, ``heaper`` holds every shape of the server's
JSON, ``live`` is the state machine of one socket, ``announcements`` what devices tell each other
on it, ``signin`` and ``upload`` are the two dialogues. Only ``rest`` and ``websocket`` do I/O.
"""
