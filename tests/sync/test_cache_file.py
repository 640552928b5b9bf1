"""A cache belongs to one server, which is known by its public key, whatever its address."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace

from heapsyncd.backoff import Backoff
from heapsyncd.cache import heaps
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.config import Account
from heapsyncd.errors import OtherServer, Unreachable
from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from heapsyncd.sync.cache_file import open_cache, recognise
from heapsyncd.wire import signin
from tests.sync.proxy import Forward, Proxy, before, dropped, status
from tests.sync.rig import Device, World, until
from tests.world.fast import fast

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Place:
    """An address, behind which any server can be put; notes what is asked of it."""

    proxy: Proxy
    heard: list[str] = field(default_factory=list)
    says: Callable[[web.Response], web.StreamResponse] = lambda answer: answer
    """What becomes of the answer to ``GET /api/``."""

    async def note(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        self.heard.append(request.path)
        answer = await forward()
        return self.says(answer) if request.path == "/api/" else answer

    def put(self, server: Server) -> None:
        """From now on this server answers here."""
        self.proxy.target = server.url
        self.heard.clear()
        self.proxy.set(self.note, "/")


@contextlib.asynccontextmanager
async def place(server: Server) -> AsyncIterator[Place]:
    async with before(server.url) as proxy:
        found = Place(proxy)
        found.put(server)
        yield found


@pytest.fixture
async def here(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """The address of the world's server."""
    monkeypatch.setattr(signin, "_REFUSED", Backoff(0.1, 0.2))
    monkeypatch.setattr("heapsyncd.backoff.REFUSED", Backoff(0.1, 0.2))
    with fast():
        async with place(world.server) as found:
            yield found


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[World]:
    """Another server, with a heap of the same name."""
    async with Server(tmp_path / "other", open_registration=True) as server:
        yield World(server, await server.add_heap("Home"), tmp_path)


def at(place: Place | str, world: World) -> Device:
    """A device that knows the server by an address alone."""
    device = world.device(live="off")
    device.poll_interval_s = 0.1
    move(device, place)
    return device


def move(device: Device, place: Place | str) -> None:
    """Change the configured address."""
    url = place if isinstance(place, str) else place.proxy.url
    device.server = type("At", (), {"url": url})()


async def meta(device: Device, **values: str | None) -> dict[str, str]:
    """What the cache knows its server by, after some of it was changed; None: is taken out."""
    async with await open_cache(device.account, device.base / "state") as db:

        def carry_out(tx: object) -> dict[str, str]:
            for key, value in values.items():
                tx.execute("DELETE FROM meta WHERE key = ?", (key,))  # type: ignore[attr-defined]
                if value is not None:
                    heaps.set_meta(tx, key, value)  # type: ignore[arg-type]
            return dict(tx.execute("SELECT key, value FROM meta"))  # type: ignore[attr-defined]

        return await db.write(carry_out)


def files(device: Device) -> dict[str, bytes]:
    found = device.base / "folder"
    return {str(p.relative_to(found)): p.read_bytes() for p in found.rglob("*") if p.is_file()}


async def refused(device: Device) -> OtherServer:
    """The error of a pass, which changed nothing."""
    was, known = files(device), await meta(device)
    with pytest.raises(OtherServer) as caught:
        await device.once()
    assert (files(device), await meta(device)) == (was, known)
    return caught.value


async def test_the_same_server_under_another_address(
    world: World, here: Place, tmp_path: Path
) -> None:
    """The cache goes on: edits of both sides arrive, no file is read or fetched anew."""
    device = at(here, world)
    block = await world.add("Note", "text\n")
    await device.synced()
    async with place(world.server) as there:
        move(device, there)
        (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmine\n")
        theirs = await world.add("Theirs", "theirs\n")
        await device.synced()
        assert await world.text(block) == "text\nmine"
        assert device.id_of("Theirs.md") == theirs
        assert len(await world.blocks()) == 2
        assert (await meta(device))["server"] == there.proxy.url
        assert here.proxy.url != there.proxy.url
    move(device, here)
    await device.synced()


async def test_another_server_under_the_same_address(
    world: World, here: Place, other: World
) -> None:
    """It is refused before it hears more than the question who it is, and nothing changes here;
    what was written meanwhile is sent when the right one is back.
    """
    device = at(here, world)
    block = await world.add("Note", "text\n")
    await device.synced()
    (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmine\n")
    here.put(other.server)
    error = await refused(device)
    assert set(here.heard) == {"/api/"}
    assert error.exit_code == 3
    assert "Nothing was sent there" in str(error)
    for part in ("account home", "its public key is", f"move {device.base / 'state'}"):
        assert part in str(error)
    assert str(error).count(here.proxy.url) == 1
    assert await other.blocks() == []
    here.put(world.server)
    await device.synced()
    assert await world.text(block) == "text\nmine"


async def test_a_daemon_that_meets_another_server(world: World, here: Place, other: World) -> None:
    """It says so, hears and sends nothing, reads the folder on, and goes on when the right server
    is back.
    """
    device = at(here, world)
    block = await world.add("Note", "text\n")
    async with device.running():
        await device.in_sync()
        here.proxy.set(dropped, "/")
        await until(lambda: not device.report.connected, "the connection lost")
        here.put(other.server)
        await other.add("Foreign", "not ours\n")
        await until(lambda: device.report.state == "sign-in needed", "refused")
        assert here.proxy.url in str(device.report.error)
        heap = device.report.heaps[world.heap]
        (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmine\n")
        (device.root / "New.md").write_text("new\n")
        await until(lambda: heap.pending_up == 2, "edits read")
        asked = len(here.heard)
        await until(lambda: len(here.heard) > asked, "asked again")
        assert set(here.heard) == {"/api/"}
        assert set(device.notes()) == {"Note.md", "New.md"}
        assert device.report.state == "sign-in needed"
        assert len(await other.blocks()) == 1
        here.put(world.server)
        await device.in_sync()
    assert await world.text(block) == "text\nmine"
    assert "New" in await world.titles()


async def test_a_server_changed_behind_a_connection_that_stands(
    world: World, here: Place, other: World
) -> None:
    """Its first refusal of a token leads to the question who it is."""
    device = at(here, world)
    await world.add("Note", "text\n")
    async with device.running():
        await device.in_sync()
        here.put(other.server)
        await until(lambda: device.report.state == "sign-in needed", "refused")
        (device.root / "New.md").write_text("new\n")
        await until(lambda: device.report.heaps[world.heap].pending_up == 1, "the edit read")
        assert not any(path.startswith("/api/auth") for path in here.heard)
    assert await other.blocks() == []
    assert set(device.notes()) == {"Note.md", "New.md"}


async def test_a_new_address_that_does_not_answer_yet(
    world: World, here: Place, other: World
) -> None:
    """The folder is mirrored into the cache, nothing is sent; whoever answers then is asked."""
    device = at(here, world)
    block = await world.add("Note", "text\n")
    await device.synced()
    move(device, NOWHERE)
    with pytest.raises(Unreachable):
        await device.once()
    async with device.running():
        assert device.report.state == "offline"
        (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmine\n")
        await until(lambda: device.report.heaps[world.heap].pending_up == 1, "the edit read")
    async with place(other.server) as there:
        move(device, there)
        await refused(device)
        there.put(world.server)
        await device.synced()
    assert await world.text(block) == "text\nmine"
    assert await other.blocks() == []


async def test_a_cache_that_knows_no_key_yet(world: World, here: Place, other: World) -> None:
    """It goes by the address, as it did when it was made, and learns the key."""
    device = at(here, world)
    await world.add("Note", "text\n")
    await device.synced()
    key = (await meta(device, public_key=None)).get("public_key")
    assert key is None
    async with place(world.server) as there:
        move(device, there)
        assert "no key is known" in str(await refused(device))
        move(device, here)
        await device.synced()
        assert (await meta(device))["public_key"]
        move(device, there)
        await device.synced()
        there.put(other.server)
        await refused(device)


def without_key(answer: web.Response) -> web.StreamResponse:
    return web.json_response({"status": "ok", "public_key": None})


def no_such_route(answer: web.Response) -> web.StreamResponse:
    return web.json_response({"error": "no such route"}, status=404)


@pytest.mark.parametrize("says", [without_key, no_such_route])
async def test_a_server_that_gives_no_key(
    world: World, here: Place, other: World,
    says: Callable[[web.Response], web.StreamResponse],
) -> None:  # fmt: skip
    """It is known by its address; a key that was learned earlier is kept."""
    here.says = says
    device = at(here, world)
    await world.add("Note", "text\n")
    await device.synced()
    assert not (await meta(device))["public_key"]
    async with place(world.server) as there:
        move(device, there)
        await refused(device)
        move(device, here)
        here.says = lambda answer: answer
        await device.synced()
        known = await meta(device)
        assert known["public_key"]
        here.says = there.says = says
        await device.synced()
        now = await meta(device)
        assert {**now, "in_sync_ms": known["in_sync_ms"]} == known
        move(device, there)
        await refused(device)


async def test_a_cache_without_a_heap_belongs_to_nobody(
    world: World, here: Place, tmp_path: Path
) -> None:
    """Whoever began with a wrong address corrects it, and that is all."""
    device = at(here, world)
    async with Server(tmp_path / "bare", open_registration=True) as bare:
        here.put(bare)
        await device.synced()
    known = (await meta(device))["public_key"]
    here.put(world.server)
    here.says = without_key
    await world.add("Note", "text\n")
    await device.synced()
    here.says = lambda answer: answer
    await device.synced()
    assert (await meta(device))["public_key"] not in {"", known}
    assert set(device.notes()) == {"Note.md"}


async def test_trouble_with_the_question_is_the_servers(world: World, here: Place) -> None:
    """A server that can't say who it is now is away for now."""
    device = at(here, world)
    await device.synced()
    here.proxy.set(status(503, Retry_After="0"), "/api/")
    async with device.running():
        await until(lambda: device.report.state == "offline", "offline")
        assert "answers 503" in str(device.report.error)
        here.put(world.server)
        await device.in_sync()


async def test_another_account_of_a_service_without_a_key(tmp_path: Path) -> None:
    """Its address and its e-mail address are what the cache belongs to."""
    account = Account(
        "team", "oneheap", "https://x/Rest", tmp_path, tmp_path / "password", email="j@x"
    )
    async with await open_cache(account, tmp_path) as db:
        await recognise(db, account, None)
        await recognise(db, replace(account, email="k@x"), None)  # a cache without heaps is free
        await db.write(
            lambda tx: heaps.save(
                tx, HeapRow(HeapId("x"), "x", "x", 0, mirrored=True, source="document")
            )
        )
        await recognise(db, replace(account, email="k@x"), None)
        for other in (account, replace(account, server="https://y/Rest", email="k@x")):
            with pytest.raises(OtherServer, match="Correct `server` or `email`"):
                await recognise(db, other, None)
