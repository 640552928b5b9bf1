"""An edit wins over a deletion whose author had not seen it, on every path; nothing else does."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial

import pytest
from msgspec.structs import replace

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.cache import blocks
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import ChangePage, Push, PushResult
from heapsyncd.sync.edits import moves
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.offline.status import cached_status
from heapsyncd.sync.pull import follow, receive
from heapsyncd.sync.pull.absorb import Incoming
from tests.server.rig import with_map
from tests.sync.proxy import Proxy, before, dropped
from tests.sync.rig import Device, World, until
from tests.world.fast import fast

THEN_MS = 1_760_000_000_000


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


@pytest.fixture
async def proxy(world: World) -> AsyncIterator[Proxy]:
    async with before(world.server.url) as proxy:
        yield proxy


def behind(world: World, proxy: Proxy, name: str = "a") -> Device:
    """A device that reaches the server through a proxy, which can cut it off."""
    device = world.device(name, live="off")
    device.server = proxy  # type: ignore[assignment]
    device.poll_interval_s = 0.1
    return device


@contextlib.asynccontextmanager
async def cut_off(device: Device, proxy: Proxy) -> AsyncIterator[None]:
    """The device runs, in sync, and loses the server for the length of a block; afterwards it is
    in sync again.
    """
    async with device.running():
        await device.in_sync()
        proxy.set(dropped, on="/api")
        await until(lambda: device.report.state == "offline", "offline")
        yield
        proxy.set(None)
        await device.in_sync()


async def is_trashed(world: World, block: BlockId) -> bool:
    return (await world.server.document(block)).fields().deleted_at_ms is not None


def unsent(device: Device) -> Callable[[], bool]:
    return lambda: any(h.pending_up for h in device.report.heaps.values())


def edit(device: Device, old: str, new: str, path: str = "Note.md") -> None:
    file = device.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def says(device: Device, word: str) -> bool:
    return word in device.notes().get("Note.md", "")


async def notices(device: Device) -> list[str]:
    status = await cached_status(device.account, device.base / "state")
    found: list[str] = status["heaps"][0]["notices"]
    return found


async def cut_link(world: World, block: BlockId) -> None:
    """Close the live link; returns when nobody follows the block. A device may be back at once, so
    that is looked for at each turn of the loop.
    """
    world.server.drop_sockets(4205)
    async with asyncio.timeout(20.0):
        while world.server.followers(block):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0)


async def delete_for_good(world: World, block: BlockId) -> None:
    await world.server.apply(block, with_map("meta_v0", {"permanently_deleted_at": THEN_MS}))


class Gate:
    """Lets the delta feed answer, or keeps it waiting."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.open.set()
        real = HeaperBackend.changes

        async def changes(backend: HeaperBackend, heap_id: HeapId, cursor_ms: int) -> ChangePage:
            await self.open.wait()
            return await real(backend, heap_id, cursor_ms)

        patch.setattr(HeaperBackend, "changes", changes)


# ---- nothing is sent before the news ----------------------------------------------------------


@pytest.mark.parametrize("what", ["deletion", "edit", "large edit"])
async def test_nothing_is_sent_before_the_news(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The live link comes back and the server asks for what it lacks: it is told once its news
    are here, and not before.
    """
    if what == "large edit":
        monkeypatch.setattr("heapsyncd.backends.heaper.MAX_PUSH_UPDATE_BYTES", 2_000)
    gate = Gate(monkeypatch)
    block, other = await world.add("Note", "text\n"), await world.add("Other", "text\n")
    device = world.device()
    device.poll_interval_s = 0.1
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        gate.open.clear()
        await cut_link(world, block)
        if what == "deletion":
            (device.root / "Note.md").unlink()
        else:
            edit(device, "text", "text mine" * (500 if what == "large edit" else 1))
        await until(unsent(device), "it is read")
        for one in (block, other):
            await until(partial(world.server.followers, one), "followed again")
        # What comes behind the server's questions on the live link.
        await world.change(other, body="text and news\n")
        await until(lambda: "news" in device.notes()["Other.md"], "news over the live link")
        assert not await is_trashed(world, block)
        assert await world.text(block) == "text"
        gate.open.set()
        await device.in_sync()
    assert await is_trashed(world, block) == (what == "deletion")
    assert ("mine" in await world.text(block)) == (what != "deletion")


async def test_the_server_is_answered_after_the_news(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not answered at once is answered then, also when no push takes it."""

    over = asyncio.Event()

    async def push(*_: object) -> list[object]:
        await over.wait()
        return []

    gate = Gate(monkeypatch)
    block = await world.add("Note", "text\n")
    device = world.device()
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        gate.open.clear()
        monkeypatch.setattr(HeaperBackend, "push", push)
        await cut_link(world, block)
        edit(device, "text", "text mine")
        await until(unsent(device), "it is read")
        await until(lambda: world.server.followers(block), "followed again")
        assert await world.text(block) == "text"
        gate.open.set()

        async def arrived() -> bool:
            return await world.text(block) == "text mine"

        await until(arrived, "the answer")
        over.set()


async def test_what_came_behind_the_question_was_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server asked with what it had then. What came from it since is no sign that it lost
    anything: nothing is sent again.
    """
    pushed: list[BlockId] = []
    real = HeaperBackend.push

    async def push(
        backend: HeaperBackend, heap_id: HeapId, updates: Sequence[Push]
    ) -> list[PushResult]:
        pushed.extend(u.id for u in updates)
        return await real(backend, heap_id, updates)

    monkeypatch.setattr(HeaperBackend, "push", push)
    gate = Gate(monkeypatch)
    block = await world.add("Note", "text\n")
    device = world.device()
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        gate.open.clear()
        await cut_link(world, block)
        await until(lambda: world.server.followers(block), "followed again")
        await world.change(block, body="text and news\n")
        await until(lambda: says(device, "news"), "news over the live link")
        gate.open.set()
        await device.in_sync()
        await world.change(block, body="text and more news\n")
        await until(lambda: says(device, "more"), "more news")
        await device.in_sync()
    assert pushed == []


async def test_an_edit_that_comes_while_a_deletion_is_decided(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others wrote is looked at, and the deletion stored, with nothing received between."""
    block = await world.add("Note", "text\n")
    device = world.device()
    real = moves.vanished

    async def vanished(heap: HeapContext, gone: Sequence[EntryRow]) -> None:
        before = await heap.db.read(lambda tx: blocks.get(tx, block))
        await world.change(block, body="text and news\n")

        async def received() -> bool:
            return await heap.db.read(lambda tx: blocks.get(tx, block)) != before

        with contextlib.suppress(AssertionError):
            await until(received, "received", deadline_s=0.5)
        await real(heap, gone)

    monkeypatch.setattr(moves, "vanished", vanished)
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        (device.root / "Note.md").unlink()
        await until(lambda: says(device, "news"), "it is back")
        await device.in_sync()
    assert not await is_trashed(world, block)


class Crossing:
    """Lets a change reach the server just before a device's next push, and be heard of there just
    after that was acknowledged.
    """

    def __init__(self, patch: pytest.MonkeyPatch, device: Device) -> None:
        self.change: Callable[[], Awaitable[None]] | None = None
        self.is_in_one_burst = False
        """Whether the echo of the push comes along with it."""
        self.is_late = False
        """Whether nothing is heard before."""
        self.is_on_its_way = False
        """Whether it is heard of before the push arrives."""
        self.is_lost = False
        """Whether it is never heard of."""
        self.is_sent = asyncio.Event()
        self.is_heard = asyncio.Event()
        self.echoes = 0
        # A poll in between would take the place of what is held.
        device.timing = replace(device.timing, after_change_s=3600.0)
        self._device, self._is_crossed = device, False
        self._held: list[Incoming] = []
        self._push, self._receive = HeaperBackend.push, receive.receive

        async def push(
            backend: HeaperBackend, heap_id: HeapId, updates: Sequence[Push]
        ) -> list[PushResult]:
            change, self.change = self.change, None
            if change is not None:
                self._is_crossed = True
                await change()
                if self.is_on_its_way:
                    await self.is_heard.wait()
            return await self._push(backend, heap_id, updates)

        patch.setattr(HeaperBackend, "push", push)
        patch.setattr(follow, "receive", self._after_the_answer)

    async def _after_the_answer(self, heap: HeapContext, items: Sequence[Incoming]) -> bool:
        if heap.disk.root != self._device.root:
            return await self._receive(heap, items)
        if self.is_late and not self._is_crossed:
            self._held.extend(items)
            return False
        if self._is_crossed and not self.is_heard.is_set():
            if not self.is_on_its_way:
                await until(lambda: not heap.index.unsent, "the edit is acknowledged")
            self.is_sent.set()
            if self.is_lost:
                await asyncio.Event().wait()
            items = self._held = [*self._held, *items]
            if self.is_in_one_burst and not self._echoes(heap, items):
                return False
        self.echoes += self._echoes(heap, items)
        changed = await self._receive(heap, items)
        if self._is_crossed:
            self.is_heard.set()
        return changed

    def _echoes(self, heap: HeapContext, items: Sequence[Incoming]) -> int:
        return sum(receive._is_echo(heap, item) for item in items)


@pytest.mark.parametrize("in_one_burst", [False, True])
async def test_a_deletion_that_crosses_a_push(
    world: World, monkeypatch: pytest.MonkeyPatch, *, in_one_burst: bool
) -> None:
    """A deletion reaches the server just before an edit does, and is heard of here just after the
    edit was acknowledged: its author had not seen the edit, which wins. Once the server has told
    of the edit, a deletion stays.
    """
    block = await world.add("Note", "text\n")
    device = world.device()
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)
    crossing.is_in_one_burst = in_one_burst

    async def is_sent() -> bool:
        return "more words" in await world.text(block)

    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.change = partial(world.change, block, deleted_at_ms=THEN_MS)
        edit(device, "text", "text and words")
        await until(crossing.is_heard.is_set, "the deletion is heard")
        await device.in_sync()
        assert says(device, "words")
        assert not await is_trashed(world, block)
        (notice,) = await notices(device)
        assert notice.startswith("Note.md: It was deleted on the server while you edited it here")
        edit(device, "words", "more words")
        await until(is_sent, "it is sent")
        await device.in_sync()
        await world.change(block, deleted_at_ms=THEN_MS + 1)
        await until(lambda: not device.notes(), "the deletion stays")
        await device.in_sync()
    assert await is_trashed(world, block)


LIST = "- amber\n- birch\n  - cloud\n- delta\n"
WITHOUT = {
    "item deleted": "- amber\n- birch\n- delta\n",
    "item joined to another": "- amber\n- birch APP - cloud\n- delta\n",
    "all deleted": "APP\n",
}


@pytest.mark.parametrize("in_one_burst", [False, True])
@pytest.mark.parametrize("left", WITHOUT.values(), ids=WITHOUT)
async def test_a_deletion_of_a_part_that_crosses_a_push(
    world: World, monkeypatch: pytest.MonkeyPatch, left: str, *, in_one_burst: bool
) -> None:
    """What was typed into a part of a note that somebody deleted in the app, who could not know of
    it, is written again after a while, once. What was deleted with it in sight stays deleted.
    """
    block = await world.add("Note", LIST)
    device, other = world.device(), world.device("b")
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)
    crossing.is_in_one_burst = in_one_burst
    async with device.running(), other.running():
        await device.in_sync()
        await other.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.change = partial(world.change, block, body=left)
        edit(device, "cloud", "TYPED cloud")
        await until(crossing.is_heard.is_set, "the deletion is heard")
        await until(lambda: not says(device, "TYPED"), "the deletion is written")
        await until(lambda: says(device, "TYPED"), "the word is written again")
        await device.in_sync()
        await until(lambda: other.notes() == device.notes(), "the other device has it")
        words = (await world.text(block)).split()
        assert [words.count(w) for w in ("TYPED", "APP")] == [1, int("APP" in left)]
        assert sorted({*words}) == sorted(words)
        (notice,) = await notices(device)
        assert "without knowing what you had just written" in notice
        seen = crossing.echoes
        edit(device, "TYPED", "MORE TYPED")
        await until(lambda: crossing.echoes > seen, "the server told of it")
        await world.change(block, body="nothing\n")
        await until(lambda: device.notes() == {"Note.md": "nothing\n"}, "that is deleted")
        await device.in_sync()
        assert device.notes() == {"Note.md": "nothing\n"}
    assert await world.text(block) == "nothing"


@pytest.mark.parametrize("by", ["the app", "a device"])
@pytest.mark.parametrize("left", WITHOUT.values(), ids=WITHOUT)
async def test_a_part_is_deleted_while_a_push_is_on_its_way(
    world: World, monkeypatch: pytest.MonkeyPatch, left: str, by: str
) -> None:
    """What is being sent while its place is deleted elsewhere is written again by one of the two:
    by the device that deleted it, or after a while by its author.
    """
    block = await world.add("Note", LIST)
    device, other = world.device(), world.device("b")
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)
    crossing.is_on_its_way = True

    async def is_deleted() -> bool:
        return "APP" in await world.text(block) or "cloud" not in await world.text(block)

    async def delete() -> None:
        if by == "the app":
            await world.change(block, body=left)
        else:
            edit(other, LIST, left)
            await until(is_deleted, "the deletion is sent")

    async with device.running(), other.running():
        await device.in_sync()
        await other.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.change = delete
        edit(device, "cloud", "TYPED cloud")
        await until(crossing.is_heard.is_set, "the deletion is heard")
        await until(lambda: says(device, "TYPED") and says(other, "TYPED"), "it is there again")
        await device.in_sync()
        await other.in_sync()
        await until(lambda: other.notes() == device.notes(), "both have the same")
    words = (await world.text(block)).split()
    assert sorted({*words}) == sorted(words)
    assert "TYPED" in words


async def test_a_deletion_of_a_part_that_crosses_a_push_before_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon ends before it has written the words again: the next start does."""
    block = await world.add("Note", LIST)
    device = world.device()
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.change = partial(world.change, block, body=WITHOUT["item deleted"])
        edit(device, "cloud", "TYPED cloud")
        await until(crossing.is_heard.is_set, "the deletion is heard")
        await until(lambda: not says(device, "TYPED"), "the deletion is written")
    assert "TYPED" not in await world.text(block)
    await device.synced()
    assert says(device, "TYPED")
    assert (await world.text(block)).split().count("TYPED") == 1
    await device.synced()
    assert (await world.text(block)).split().count("TYPED") == 1


@pytest.mark.parametrize("ended", ["the author", "the other device"])
async def test_a_deletion_of_a_part_that_crosses_a_push_before_a_kill(
    world: World, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    """The daemon ends before it hears of the deletion, or that which deleted before it hears of
    the words: the next start writes them again, once.
    """
    block = await world.add("Note", LIST)
    device, other = world.device(), world.device("b")
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)

    async def delete() -> None:
        if ended == "the author":
            await world.change(block, body=WITHOUT["item deleted"])
            return
        async with other.running():
            await other.in_sync()
            edit(other, LIST, WITHOUT["item deleted"])
            await until(is_deleted, "the deletion is sent")
            await other.in_sync()

    async def is_deleted() -> bool:
        return "cloud" not in await world.text(block)

    await other.synced()
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.is_lost = True
        crossing.change = delete
        edit(device, "cloud", "TYPED cloud")
        await until(crossing.is_sent.is_set, "the edit is sent")
    crossing.is_lost = False
    crossing.is_heard.set()
    for again in (other, device, other) if ended == "the other device" else (device, other):
        await again.synced()
        assert says(again, "TYPED")
    assert (await world.text(block)).split().count("TYPED") == 1


@pytest.mark.parametrize("left", WITHOUT.values(), ids=WITHOUT)
async def test_another_device_deletes_a_part_across_a_push(
    world: World, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """The device that deleted it writes the words again as soon as it receives them; they are not
    written a second time.
    """
    block = await world.add("Note", LIST)
    device, other = world.device(), world.device("b")
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)

    async def is_deleted() -> bool:
        return "APP" in await world.text(block) or "cloud" not in await world.text(block)

    async def delete() -> None:
        edit(other, LIST, left)
        await until(is_deleted, "the deletion is sent")

    async with device.running(), other.running():
        await device.in_sync()
        await other.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.change = delete
        edit(device, "cloud", "TYPED cloud")
        await until(crossing.is_heard.is_set, "the deletion is heard")
        await until(lambda: says(device, "TYPED") and says(other, "TYPED"), "it is there again")
        await device.in_sync()
        await other.in_sync()
        await until(lambda: other.notes() == device.notes(), "both have the same")
    words = (await world.text(block)).split()
    assert sorted({*words}) == sorted(words)
    assert "TYPED" in words
    assert await notices(device) == []


async def test_a_deletion_crosses_a_push_behind_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The echo of an earlier push comes just before the deletion: it tells nothing of the later
    one.
    """
    block = await world.add("Note", LIST)
    device = world.device()
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)

    async def is_sent() -> bool:
        return "FIRST" in await world.text(block)

    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.is_late = True
        edit(device, "delta", "FIRST delta")
        await until(is_sent, "the first edit is sent")
        await device.in_sync()
        crossing.change = partial(world.change, block, body=WITHOUT["all deleted"])
        edit(device, "cloud", "TYPED cloud")
        await until(crossing.is_heard.is_set, "the deletion is heard")
        await until(lambda: not says(device, "TYPED"), "the deletion is written")
        await until(lambda: says(device, "TYPED"), "the word is written again")
        await device.in_sync()
    words = (await world.text(block)).split()
    assert "FIRST" not in words
    assert sorted({*words}) == sorted(words)


@pytest.mark.parametrize("how", ["deleted", "compacted"])
async def test_a_crossing_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nothing is written into a note that was deleted, or began another history, before it was
    time.
    """
    block = await world.add("Note", LIST)
    device = world.device()
    device.poll_interval_s = 3600.0
    crossing = Crossing(monkeypatch, device)
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        crossing.change = partial(world.change, block, body=WITHOUT["item deleted"])
        edit(device, "cloud", "TYPED cloud")
        await until(crossing.is_heard.is_set, "the deletion is heard")
        if how == "deleted":
            await until(lambda: crossing.echoes, "the server told of the edit")
            await world.change(block, deleted_at_ms=THEN_MS)
            await until(lambda: not device.notes(), "it is deleted")
        else:
            await world.server.compact(block)
        assert device.report.state == "syncing"
        await device.in_sync()
    assert await world.text(block) == "amber\nbirch\ndelta"
    assert await is_trashed(world, block) == (how == "deleted")


async def test_old_news_are_not_the_news(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for before the link broke says nothing of what happened since."""
    real, asked, go = HeaperBackend.changes, asyncio.Event(), asyncio.Event()
    pages: list[ChangePage] = []

    async def changes(backend: HeaperBackend, heap_id: HeapId, cursor_ms: int) -> ChangePage:
        page = await real(backend, heap_id, cursor_ms)
        if asked.is_set() or not go.is_set():
            pages.append(page)
            return page
        asked.set()
        go.clear()
        await go.wait()
        return page

    monkeypatch.setattr(HeaperBackend, "changes", changes)
    block = await world.add("Note", "text\n")
    device = world.device()
    device.poll_interval_s = 0.1
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block), "followed")
        go.set()
        await until(asked.is_set, "asked")
        await cut_link(world, block)
        (device.root / "Note.md").unlink()
        await until(unsent(device), "the deletion is read")
        await world.change(block, body="text and more\n")
        go.set()
        await until(lambda: device.notes() == {"Note.md": "text and more\n"}, "it is back")
        await device.in_sync()
    assert not await is_trashed(world, block)


async def test_news_are_asked_for_where_no_link_tells(world: World) -> None:
    """Without a live link the last news may be old: they are heard before an edit is sent."""
    block = await world.add("Note", "text\n")
    device = world.device(live="off")
    device.poll_interval_s = 3600.0
    await device.synced()
    async with device.running():
        await until(lambda: device.report.ready and not unsent(device)(), "ready")
        await world.change(block, deleted_at_ms=THEN_MS)
        edit(device, "text", "text kept")

        async def arrived() -> bool:
            return await world.text(block) == "text kept"

        await until(arrived, "the edit")
    assert not await is_trashed(world, block)
    await device.synced()
    assert device.notes() == {"Note.md": "text kept\n"}


# ---- a deletion here, an edit elsewhere -------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_edit_is_heard_before_the_deletion_is_sent(
    world: World, proxy: Proxy, *, restarted: bool
) -> None:
    """Deleted here while the server is away, edited in the app: it is back, in its own style."""
    device = behind(world, proxy)
    await device.synced()
    (device.root / "Note.md").write_text("* one\n* two\n")
    await device.synced()
    block = device.id_of("Note.md")
    with contextlib.suppress(AssertionError) if restarted else contextlib.nullcontext():
        async with cut_off(device, proxy):
            (device.root / "Note.md").unlink()
            await until(unsent(device), "the deletion is read")
            await world.change(block, body="- one\n- two\n- three\n")
            assert not restarted, "this life ends here"
    proxy.set(None)
    await device.synced()
    assert device.notes() == {"Note.md": "* one\n* two\n* three\n"}
    assert not await is_trashed(world, block)
    (notice,) = await notices(device)
    assert notice.startswith("Note.md: It was deleted while somebody else")


@pytest.mark.parametrize("live", ["all", "off"])
async def test_an_edit_comes_after_the_deletion_was_sent(world: World, live: str) -> None:
    """Who had not heard of the deletion goes on writing: the note comes back, once. A deletion
    that knows of the edit stays.
    """
    block, _ = await world.add("Note", "text\n"), await world.add("Other", "text\n")
    device, other = world.device("a", live=live), world.device("b", live=live)
    device.poll_interval_s = other.poll_interval_s = 0.1
    async with device.running(), other.running():
        for one in (device, other):
            await one.in_sync()
        for round_ in ("first", "second"):
            text = device.notes()["Note.md"].strip()
            (device.root / "Note.md").unlink()
            await until(lambda: "Note.md" not in other.notes(), "it is deleted everywhere")
            await device.in_sync()
            await world.change(block, body=f"{text} {round_}\n")
            for one in (device, other):
                await until(partial(says, one, round_), "it is back")
                await one.in_sync()
            assert device.notes() == other.notes()
            assert not await is_trashed(world, block)
        (device.root / "Note.md").unlink()
        await until(lambda: "Note.md" not in other.notes(), "deleted once more")
        for one in (device, other):
            await one.in_sync()
    for one in (device, other, device):
        await one.synced()
    assert await is_trashed(world, block)
    assert list(device.notes()) == list(other.notes()) == ["Other.md"]


@pytest.mark.parametrize("first", ["who deleted", "who edited"])
async def test_deleted_and_edited_offline(world: World, proxy: Proxy, first: str) -> None:
    """One device deletes, another edits, neither hears of the other: the edit is on both,
    whoever comes first.
    """
    block = await world.add("Note", "text\n")
    async with before(world.server.url) as way:
        device, other = behind(world, proxy), behind(world, way, "b")
        for one in (device, other):
            await one.synced()
        async with contextlib.AsyncExitStack() as stack:
            order = [(device, proxy), (other, way)]
            for one, through in order if first == "who edited" else order[::-1]:
                # Who enters last comes back first.
                await stack.enter_async_context(cut_off(one, through))
            (device.root / "Note.md").unlink()
            edit(other, "text", "text kept")
            for one in (device, other):
                await until(unsent(one), "it is read")
        for one in (device, other, device):
            await one.synced()
            assert one.notes() == {"Note.md": "text kept\n"}
    assert not await is_trashed(world, block)


async def test_a_deletion_that_had_seen_the_edit_stays(world: World, proxy: Proxy) -> None:
    """What was edited here and sent, and then deleted by others, is deleted; what only lost words,
    or got tags, after it was deleted stays so too.
    """
    block, tag = await world.add("Note", "text here\n"), await world.add_named("tag", "Later")
    device = behind(world, proxy)
    await device.synced()
    edit(device, "text", "text sent")
    await device.synced()
    await world.change(block, deleted_at_ms=THEN_MS)
    await device.synced()
    assert device.notes() == {}
    await world.change(block, body="text\n", add_tags=frozenset({tag}))
    for _ in range(2):
        await device.synced()
    assert device.notes() == {}
    assert await is_trashed(world, block)


async def test_deleted_once_more_with_the_edit_in_sight(world: World, proxy: Proxy) -> None:
    """The edit comes together with a later deletion: that one knew of it."""
    block = await world.add("Note", "text\n")
    device = behind(world, proxy)
    await device.synced()
    async with cut_off(device, proxy):
        (device.root / "Note.md").unlink()
        await until(unsent(device), "the deletion is read")
        await world.change(block, body="text and more\n")
        await world.change(block, deleted_at_ms=THEN_MS)
        proxy.set(None)
    await device.synced()
    assert device.notes() == {}
    assert await is_trashed(world, block)


async def test_a_new_content_comes_after_the_deletion(world: World, proxy: Proxy) -> None:
    """A file that is no note: a new version of its content brings it back."""
    device, other = behind(world, proxy), world.device("b", live="off")
    await device.synced()
    (device.root / "plan.pdf").write_bytes(b"plan")
    await device.synced()
    await other.synced()
    async with cut_off(device, proxy):
        (device.root / "plan.pdf").unlink()
        await until(unsent(device), "the deletion is read")
        (other.root / "plan.pdf").write_bytes(b"plan, second")
        await other.synced()
    await device.synced()
    await other.synced()
    for one in (device, other):
        assert (one.root / "plan.pdf").read_bytes() == b"plan, second"


async def test_a_new_content_has_not_arrived_when_the_file_is_deleted(
    world: World, proxy: Proxy
) -> None:
    """The version that nobody here has seen is fetched, and the file is back."""
    device, other = behind(world, proxy), world.device("b", live="off")
    await device.synced()
    (device.root / "plan.pdf").write_bytes(b"plan")
    await device.synced()
    await other.synced()
    async with device.running():
        await device.in_sync()
        proxy.set(dropped, on="/api/file")
        (other.root / "plan.pdf").write_bytes(b"plan, second")
        await other.synced()
        await until(lambda: proxy.met, "it is being fetched")
        (device.root / "plan.pdf").unlink()
        await until(lambda: device.report.heaps[world.heap].reading, "its absence is seen")
        await until(lambda: not device.report.heaps[world.heap].reading, "and believed")
        proxy.set(None)
        await until(lambda: (device.root / "plan.pdf").read_bytes() == b"plan, second", "back")
        await device.in_sync()
    await other.synced()
    assert (other.root / "plan.pdf").read_bytes() == b"plan, second"


# ---- folders ----------------------------------------------------------------------------------


async def test_a_deleted_folder_comes_back_for_what_was_edited_in_it(
    world: World, proxy: Proxy
) -> None:
    """With the folders above it; what nobody edited stays deleted."""
    outer = await world.add_named("folder", "Outer")
    inner = await world.add_named("folder", "Inner", outer)
    block = await world.add("Note", "text\n", add_tags=frozenset({inner}))
    twin = await world.add("Twin", "text\n", add_tags=frozenset({inner}))
    device, other = behind(world, proxy), world.device("b", live="off")
    await device.synced()
    async with cut_off(device, proxy):
        shutil.rmtree(device.root / "Outer")
        await until(lambda: device.report.heaps[world.heap].pending_up == 4, "it is read")
        await world.change(block, body="text and more\n")
    await other.synced()
    for one in (device, other):
        assert one.notes() == {"Outer/Inner/Note.md": "text and more\n"}
    assert [await is_trashed(world, b) for b in (outer, inner, block, twin)] == [
        False, False, False, True,
    ]  # fmt: skip


async def test_a_folder_deleted_elsewhere_over_an_edit(world: World, proxy: Proxy) -> None:
    """The note that was edited here comes back where it stood."""
    folder = await world.add_named("folder", "Place")
    block = await world.add("Note", "text\n", add_tags=frozenset({folder}))
    twin = await world.add("Twin", "text\n", add_tags=frozenset({folder}))
    device, other = behind(world, proxy), world.device("b", live="off")
    await device.synced()
    async with cut_off(device, proxy):
        edit(device, "text", "text kept", "Place/Note.md")
        await until(unsent(device), "it is read")
        for gone in (twin, block, folder):
            await world.change(gone, deleted_at_ms=THEN_MS)
    await other.synced()
    for one in (device, other):
        assert one.notes() == {"Place/Note.md": "text kept\n"}
    assert not await is_trashed(world, folder)


# ---- compaction -------------------------------------------------------------------------------


async def deleted_there(world: World, device: Device, block: BlockId) -> None:
    edit(device, "text", "text kept")
    await until(unsent(device), "the edit is read")
    await world.change(block, deleted_at_ms=THEN_MS)


async def deleted_here(world: World, device: Device, block: BlockId) -> None:
    (device.root / "Note.md").unlink()
    await until(unsent(device), "the deletion is read")
    await world.change(block, body="text kept\n")


@pytest.mark.parametrize("both", [deleted_there, deleted_here])
async def test_a_compaction_over_a_deletion_and_an_edit(
    world: World, proxy: Proxy, both: Callable[[World, Device, BlockId], Awaitable[None]]
) -> None:
    """The server takes up another history meanwhile: the edit wins all the same."""
    block = await world.add("Note", "text\n")
    device = behind(world, proxy)
    await device.synced()
    async with cut_off(device, proxy):
        await both(world, device, block)
        await world.server.compact(block)
    await device.synced()
    assert device.notes() == {"Note.md": "text kept\n"}
    assert not await is_trashed(world, block)
    assert any("deleted" in notice for notice in await notices(device))


@pytest.mark.parametrize("edited", [False, True])
async def test_a_compaction_of_what_is_in_the_trash(
    world: World, proxy: Proxy, *, edited: bool
) -> None:
    """A deleted note gets another history, with an edit in it or without."""
    block = await world.add("Note", "text\n")
    device = behind(world, proxy)
    await device.synced()
    (device.root / "Note.md").unlink()
    await device.synced()
    if edited:
        await world.change(block, body="text kept\n")
    await world.server.compact(block)
    await device.synced()
    assert device.notes() == ({"Note.md": "text kept\n"} if edited else {})
    assert await is_trashed(world, block) != edited


async def test_a_compaction_over_a_deletion(world: World, proxy: Proxy) -> None:
    """A deletion that nobody contradicts is said anew."""
    block = await world.add("Note", "text\n")
    device = behind(world, proxy)
    await device.synced()
    async with cut_off(device, proxy):
        (device.root / "Note.md").unlink()
        await until(unsent(device), "the deletion is read")
        await world.server.compact(block)
    assert device.notes() == {}
    assert await is_trashed(world, block)


# ---- deleted for good -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["unsent", "unread", "unread when it runs"])
async def test_deleted_for_good_over_an_edit(world: World, proxy: Proxy, how: str) -> None:
    """The file stays and becomes another note, with what is attached to it."""
    device, other = behind(world, proxy), world.device("b", live="off")
    await device.synced()
    (device.root / "Note.assets").mkdir()
    (device.root / "Note.assets" / "plan.pdf").write_bytes(b"plan")
    (device.root / "Note.md").write_text("text\n\n![[plan.pdf]]\n")
    await device.synced()
    block = device.id_of("Note.md")
    if how == "unread":
        edit(device, "text", "text kept")
        await delete_for_good(world, block)
    else:
        async with cut_off(device, proxy):
            if how == "unsent":
                edit(device, "text", "text kept")
                await until(unsent(device), "the edit is read")
            await delete_for_good(world, block)
            if how != "unsent":
                edit(device, "text", "text kept")
    await device.synced()
    assert device.notes() == {"Note.md": "text kept\n\n![[plan.pdf]]\n"}
    assert device.id_of("Note.md") != block
    await other.synced()
    assert other.notes() == device.notes()
    assert (other.root / "Note.assets" / "plan.pdf").read_bytes() == b"plan"


async def test_a_deletion_of_what_is_deleted_for_good(world: World, proxy: Proxy) -> None:
    """There is nobody to send it to, and nothing is in trouble."""
    block = await world.add("Note", "text\n")
    device = behind(world, proxy)
    await device.synced()
    async with cut_off(device, proxy):
        (device.root / "Note.md").unlink()
        await until(unsent(device), "the deletion is read")
        await delete_for_good(world, block)
    await device.synced()
    assert device.notes() == {}


async def test_a_file_of_what_is_deleted_for_good(world: World, proxy: Proxy) -> None:
    """Put back by a person from somewhere, it is another note."""
    block = await world.add("Note", "text\n")
    device = behind(world, proxy)
    await device.synced()
    saved = (device.root / "Note.md").read_text()
    await delete_for_good(world, block)
    await device.synced()
    assert device.notes() == {}
    (device.root / "Note.md").write_text(saved)
    await device.synced()
    assert device.notes() == {"Note.md": "text\n"}
    assert device.id_of("Note.md") != block


async def test_the_server_knows_an_edited_note_no_more(world: World, proxy: Proxy) -> None:
    """A push is told that it is not found: it is made there again."""
    block = await world.add("Note", "text\n")
    device = behind(world, proxy)
    await device.synced()
    async with cut_off(device, proxy):
        edit(device, "text", "text kept")
        await until(unsent(device), "the edit is read")

        def forget(tx: Tx) -> None:
            tx.execute("DELETE FROM states WHERE block_id = ?", (block,))
            tx.execute("DELETE FROM updates WHERE block_id = ?", (block,))
            tx.execute("DELETE FROM blocks WHERE id = ?", (block,))

        await world.server._services.db.write(forget)
        world.server._services.documents._index.pop(block)
        world.server._services.documents._held.pop(block, None)
    assert device.notes() == {"Note.md": "text kept\n"}
    titles = await world.titles()
    assert await world.text(titles["Note"]) == "text kept"


# ---- what else a note has ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["text", "attachment"])
async def test_deleted_there_over_an_unread_save(world: World, what: str) -> None:
    """The note stays with everything that is attached to it."""
    device, other = world.device(live="off"), world.device("b", live="off")
    await device.synced()
    (device.root / "Note.assets").mkdir()
    (device.root / "Note.assets" / "plan.pdf").write_bytes(b"plan")
    (device.root / "Note.assets" / "map.pdf").write_bytes(b"map")
    (device.root / "Note.md").write_text("text\n\n![[plan.pdf]]\n\n![[map.pdf]]\n")
    await device.synced()
    block = device.id_of("Note.md")
    if what == "text":
        edit(device, "text", "text kept")
    else:
        (device.root / "Note.assets" / "plan.pdf").write_bytes(b"plan, second")
    await world.change(block, deleted_at_ms=THEN_MS)
    await device.synced()
    await other.synced()
    for one in (device, other):
        assert ("kept" in one.notes()["Note.md"]) == (what == "text")
        plan = (one.root / "Note.assets" / "plan.pdf").read_bytes()
        assert plan == (b"plan" if what == "text" else b"plan, second")
        assert (one.root / "Note.assets" / "map.pdf").read_bytes() == b"map"
    assert not await is_trashed(world, block)


async def test_an_edit_comes_with_a_compaction(world: World) -> None:
    """A file deleted while no daemon ran comes back if the document was edited and made anew;
    made anew alone, it stays deleted.
    """
    device, block = world.device(), await world.add("Boat", "old words\n")
    other = await world.add("Car", "a car\n")
    await device.synced()
    for path in ("Boat.md", "Car.md"):
        (device.root / path).unlink()
    await world.change(block, body="old words and new\n")
    for one in (block, other):
        await world.server.compact(one)
    await device.synced()
    assert device.notes() == {"Boat.md": "old words and new\n"}
    assert (await world.server.document(block)).fields().deleted_at_ms is None
    assert (await world.server.document(other)).fields().deleted_at_ms is not None
