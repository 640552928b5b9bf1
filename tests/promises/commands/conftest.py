"""What the commands promise as processes, whatever ends them."""

from tests.cli.conftest import device, heap_id, server

__all__ = ["device", "heap_id", "server"]
