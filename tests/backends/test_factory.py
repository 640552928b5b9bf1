"""Which backend an account has, and what it may find out before it sends anything."""

from pathlib import Path

import pytest

from heapsyncd.backends.factory import list_places, open_backend
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.errors import OtherServer
from heapsyncd.ids import Password, Seed
from heapsyncd.model import Place
from heapsyncd.server import Server
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap


def heaper(url: str) -> Account:
    return Account("a", "heaper", url, Path("/f"), Path("/k"), seed=Seed(bytes(32)))


def oneheap(url: str) -> Account:
    password = Password(PASSWORD)
    return Account("a", "oneheap", url, Path("/f"), Path("/k"), email=EMAIL, password=password)


async def other(key: str | None) -> None:
    raise OtherServer("another one")


@pytest.mark.parametrize(
    ("account", "at_root"), [(heaper("http://x"), False), (oneheap("http://x"), True)]
)
async def test_the_kind_chooses(account: Account, at_root: bool, tmp_path: Path) -> None:
    """Each kind has its dialect."""
    async with await Database.open(tmp_path / "db", SCHEMA) as db:
        assert (await open_backend(account, db)).dialect.at_root is at_root


async def test_what_can_be_selected(tmp_path: Path) -> None:
    """The heaps of one kind, the boxes of the other."""
    async with Server(tmp_path / "server", open_registration=True) as server, Oneheap() as service:
        heap = await server.add_heap("Home")
        box = service.add("box", name="Projects")
        assert await list_places(heaper(server.url)) == [Place(heap, "Home")]
        assert await list_places(oneheap(service.url)) == [Place(box, "Projects")]


async def test_a_service_without_a_key_is_recognised_first(tmp_path: Path) -> None:
    """Nothing is sent where the cache does not belong."""
    async with Oneheap() as service, await Database.open(tmp_path / "db", SCHEMA) as db:
        with pytest.raises(OtherServer):
            await open_backend(oneheap(service.url), db, other)
        with pytest.raises(OtherServer):
            await list_places(oneheap(service.url), other)
        assert service.requests == []
