"""A promise spans modules; most are kept by a whole mirror beside an embedded server."""

from tests.sync.conftest import world

__all__ = ["world"]
