"""How servers talk. Updates are opaque bytes here; ``PROTOCOL.md`` beside this file is the
contract.

``lib0`` and ``hocuspocus`` are codecs, ``heaper`` holds every shape of the server's JSON,
``live`` is the state machine of one socket, ``signin`` and ``upload`` are the two dialogues.
``rest`` and ``websocket`` alone do I/O.
"""
