"""What the embedded server promises whoever calls it."""

from tests.server.conftest import client, heap_id, pair, server

__all__ = ["client", "heap_id", "pair", "server"]
