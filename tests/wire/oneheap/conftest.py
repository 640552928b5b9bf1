"""A service in memory, and a client that is signed in to it."""

from collections.abc import AsyncIterator

import pytest

from heapsyncd.ids import Password
from heapsyncd.wire.oneheap.calls import Calls
from heapsyncd.wire.oneheap.client import Client
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap


@pytest.fixture
async def service() -> AsyncIterator[Oneheap]:
    async with Oneheap() as service:
        yield service


@pytest.fixture
async def client(service: Oneheap) -> AsyncIterator[Client]:
    async with Client(service.url, EMAIL, Password(PASSWORD)) as client:
        yield client


@pytest.fixture
def calls(client: Client) -> Calls:
    return Calls(client)
