"""Documents that yrs would not survive, from a server: one note's trouble, and no more."""

import base64
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.cache import blocks
from heapsyncd.database import Tx
from heapsyncd.errors import Unreachable
from heapsyncd.ids import BlockId
from heapsyncd.model import ChangePage
from heapsyncd.server.documents import Published
from heapsyncd.sync.cache_file import open_cache
from tests.document.encodings import CRASHERS, item, update
from tests.sync.proxy import Forward, Proxy, before
from tests.sync.rig import Device, World, until
from tests.world.fast import fast

NESTED = update([(7, 0, [(item(8, b"\1" + b"\x75\1" * 14_000 + b"\x7e"), 1)])])
ZERO = update([(7, 0, [(b"\0\0", 0)])])


@pytest.fixture
async def proxy(world: World) -> AsyncIterator[Proxy]:
    async with before(world.server.url) as proxy:
        with fast():
            yield proxy


def behind(proxy: Proxy, world: World) -> Device:
    device = world.device(live="off")
    device.server = proxy  # type: ignore[assignment]
    return device


def answers(proxy: Proxy, block: BlockId, data: bytes) -> None:
    """From now on the block's document is this, in answers to a pull."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        answer = json.loads((await forward()).body)  # type: ignore[arg-type]
        for found in answer["blocks"]:
            if found["id"] == block:
                found["update"] = base64.b64encode(data).decode()
        return web.json_response(answer)

    proxy.set(fault, "/api/sync/pull")


@pytest.mark.slow
@pytest.mark.parametrize(
    "updates",
    [pytest.param(u, id=u[-1].hex()[:24]) for u in CRASHERS]
    + [pytest.param([NESTED], id="nested")],
)
@pytest.mark.parametrize("known", [False, True])
async def test_a_pull_that_would_end_the_process(
    world: World, proxy: Proxy, updates: list[bytes], *, known: bool
) -> None:
    """A document that the device has, or that is new to it: what can't be taken in is told, the
    file that is there stays, and the other notes go on in both directions.
    """
    device = behind(proxy, world)
    good, bad = await world.add("Good", "good\n"), await world.add("Bad", "bad\n")
    if known:
        await device.synced()
    texts = device.notes() if known else {}
    for k, data in enumerate(updates):
        await world.change(bad, title=f"Bad {k}")
        await world.change(good, body=f"good {k}\n")
        answers(proxy, bad, data)
        await device.once()
        assert device.notes()["Good.md"] == f"good {k}\n"
    if known:
        assert device.notes().get("Bad.md", "bad\n") == texts["Bad.md"]
    path = device.root / "Good.md"
    path.write_text(path.read_text() + "\nmine\n")
    for _ in range(5):
        # A pass ends when only a problem is left; an edit may have been read and not sent yet.
        verdict = await device.once()
        if "mine" in await world.text(good):
            break
    assert "mine" in await world.text(good)
    if updates == [NESTED]:
        assert any("can't be read: its data is refused" in line for line in verdict.left)
    proxy.set(None)
    await world.change(bad, body="mended\n")
    await device.once()
    await device.synced()
    assert "mended\n" in device.notes().values()


async def test_a_live_update_that_would_end_the_process(world: World) -> None:
    """The same over the live connection."""
    device = world.device()
    good, bad = await world.add("Good", "good\n"), await world.add("Bad", "bad\n")
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(bad), "followed")
        documents = world.server._services.documents
        # What can be read clears the trouble: so the last ones can't.
        for data in [*(u for updates in CRASHERS for u in updates), ZERO, NESTED]:
            documents._publish([Published(bad, 1, data, None)])
        await world.change(good, body="good more\n")
        await until(lambda: device.notes()["Good.md"] == "good more\n", "the other note")
        heap = device.report.heaps[world.heap]

        def is_told() -> bool:
            if any("can't be read" in p.reason for p in heap.problems):
                return True
            # A pull that was under way brought a state that can be read, which clears the trouble.
            documents._publish([Published(bad, 1, NESTED, None)])
            return False

        await until(is_told, "told")
        assert device.notes()["Bad.md"] == "bad\n"


async def test_a_cache_of_an_older_version(world: World) -> None:
    """What was stored before it was examined is one note's trouble: at the start, when the file
    is edited or moved, and when more comes.
    """
    device = world.device()
    good, bad = await world.add("Good", "good\n"), await world.add("Bad", "bad\n")
    await device.synced()

    def store(tx: Tx) -> None:
        blocks.append(tx, bad, ZERO, local=False)
        blocks.update(tx, bad, stale=1)

    async with await open_cache(device.account, device.base / "state") as cache:
        await cache.write(store)
    for step in ("nothing", "edit", "move", "remote"):
        path = next(p for p in device.root.glob("*.md") if p.name != "Good.md")
        if step == "edit":
            path.write_text(path.read_text() + "\nmine\n")
        elif step == "move":
            path.rename(path.with_name("Moved.md"))
        elif step == "remote":
            await world.change(bad, title="Worse")
        await world.change(good, body=f"good {step}\n")
        verdict = await device.once()
        assert verdict.exit_code == 1
        assert any("its data is refused" in line for line in verdict.left), verdict
        assert device.notes()["Good.md"] == f"good {step}\n"


async def test_a_sound_update_heals_nothing_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be loaded stays told, and is kept within bounds, while sound updates come
    after it; a pull that brings all there is ends it.
    """
    device = world.device()
    bad = await world.add("Bad", "bad\n")

    async def away(*_: object) -> ChangePage:
        raise Unreachable("the feed is away")

    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(bad), "followed")
        feed = HeaperBackend.changes
        monkeypatch.setattr(HeaperBackend, "changes", away)  # only the live link brings news
        publish = world.server._services.documents._publish
        for client in range(20):
            data = update([(client + 1, 0, [(b"\0\0", 0)])])
            publish([Published(bad, 1, data, None)])
        await world.change(bad, body="sound\n")
        await until(lambda: device.notes().get("Bad.md") == "sound\n", "the sound update")
        assert device.report.commands is not None
        await device.report.commands.recount()
        (problem,) = device.report.heaps[world.heap].problems
        assert "can't be read" in problem.reason
    assert 0 < await quarantined(device) <= 8
    monkeypatch.setattr(HeaperBackend, "changes", feed)
    await device.once()
    await device.synced()
    assert await quarantined(device) == 0
    assert device.notes() == {"Bad.md": "sound\n"}


async def quarantined(device: Device) -> int:
    """How many updates that can't be loaded the cache keeps."""
    async with await open_cache(device.account, device.base / "state") as cache:
        sql = "SELECT count(*) FROM quarantine"
        return int(await cache.read(lambda tx: tx.execute(sql).fetchone()[0]))
