"""A oneheap service, and a device of an account on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.oneheap.device import Device, device_of
from tests.oneheap.service import Oneheap


@pytest.fixture
async def service() -> AsyncIterator[Oneheap]:
    """An empty service."""
    async with Oneheap() as running:
        yield running


@pytest.fixture
async def device(service: Oneheap, tmp_path: Path) -> AsyncIterator[Device]:
    """A device of an empty account."""
    async with device_of(service, tmp_path / "c.sqlite3") as found:
        yield found
