"""The mirror's patience, cut short: games are about what happens, not about how long it takes."""

import contextlib
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Final

import pytest

from heapsyncd import sync
from heapsyncd.backoff import Backoff

WAITS: Final = {
    "QUIET_S": 0.05,
    "GONE_S": 0.15,
    "SHRUNK_S": 0.3,
    "AGAIN_S": 0.02,
    "ONCE_POLL_S": 0.05,
    "TROUBLE_AGAIN_S": 0.3,
    "MOVING_S": 0.1,
    "ASKED_AGAIN": Backoff(0.1, 1.0),
}


@contextlib.contextmanager
def fast(held_above: int = 10_000) -> Iterator[None]:
    """Waits of a tenth of what people get; ``held_above``: so many deletions at once are let
    through.
    """
    found = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(sync.__path__, f"{sync.__name__}.")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heapsyncd.backoff.SERVER", Backoff(0.1, 1.0))
        for name, value in (WAITS | {"FILES": held_above}).items():
            # Wherever it is used: a name that was imported is another one.
            users = [module for module in found if hasattr(module, name)]
            assert users, f"nobody waits for {name} any more"
            for module in users:
                patch.setattr(module, name, value)
        yield
