"""What the embedded server promises whoever calls it."""

from tests.server.conftest import block, client, heap_id, name, pair, server

__all__ = ["block", "client", "heap_id", "name", "pair", "server"]
