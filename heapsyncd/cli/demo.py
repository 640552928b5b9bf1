"""``demo``: the embedded server with a sample heap, mirrored by the real daemon.
Everything lives in the demo's folder: the mirror in the open, the rest (server, state, key,
configuration) in a dot folder. Run again, it goes on where it stopped.
"""
