"""Server to cache in batches: a burst is one piece of work, and what is known already is none."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Database
from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId
from heapsyncd.sync import publish
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.pull import absorb as absorbing
from heapsyncd.sync.pull import follow, pull, receive
from heapsyncd.sync.pull.absorb import Absorbed, Incoming
from heapsyncd.sync.push.push import push
from tests.sync.rig import World, until

MANY = 40


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The database file of each transaction from now on."""
    found: list[Path] = []
    real = Database.read, Database.write

    def read(self: Database, *args: Any) -> Any:
        found.append(self.path)
        return real[0](self, *args)

    def write(self: Database, *args: Any) -> Any:
        found.append(self.path)
        return real[1](self, *args)

    monkeypatch.setattr(Database, "read", read)
    monkeypatch.setattr(Database, "write", write)
    return found


async def edited_notes(world: World) -> list[BlockId]:
    """Many notes, each edited once, so that there are deletions in it."""
    made = [await world.add(f"Note {n:02}", "first word\n\nsecond word\n") for n in range(MANY)]
    for block in made:
        await world.change(block, body="first\n\nsecond words\n")
    return made


async def all_followed(world: World, made: list[BlockId]) -> None:
    """Wait until a device follows all of them."""
    await until(lambda: all(world.server.followers(b) for b in made), "all are followed")


async def test_a_burst_is_taken_in_together(world: World, transactions: list[Path]) -> None:
    """Many notes are changed at once, one of them twice: each text arrives, in far fewer
    transactions than each note by itself would take, which is fourteen.
    """
    made = await edited_notes(world)
    device = world.device()
    device.poll_interval_s = 3600.0
    await device.synced()
    async with device.running():
        await device.in_sync()
        await all_followed(world, made)
        transactions.clear()
        async with asyncio.TaskGroup() as group:
            for block in made:
                group.create_task(world.change(block, body="changed once\n"))
        await world.change(made[0], body="changed twice\n")
        texts = {f"Note {n:02}.md": "changed once\n" for n in range(MANY)}
        texts["Note 00.md"] = "changed twice\n"
        await until(lambda: device.notes() == texts, "every text")
        await device.in_sync()
        ours = [path for path in transactions if path.is_relative_to(device.base)]
        assert len(ours) < 3 * MANY


async def test_answers_that_say_nothing_new_load_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, transactions: list[Path]
) -> None:
    """After a restart the server tells of each note what was ever deleted in it: that is known,
    and found so without a replica; what is new among it is taken in.
    """
    made = await edited_notes(world)
    device = world.device()
    device.poll_interval_s = 3600.0
    await device.synced()
    loaded, absorbed = [], []

    class Seen(Replica):
        @classmethod
        def load(cls, *args: Any) -> "Replica":
            loaded.append(args)
            return Replica.load(*args)

    real = absorbing.absorb

    def absorb(*args: Any) -> Any:
        absorbed.append(args[-1].id)
        return real(*args)

    monkeypatch.setattr(absorbing, "Replica", Seen)
    monkeypatch.setattr(receive, "absorb", absorb)
    transactions.clear()
    async with device.running():
        await until(lambda: set(absorbed) >= set(made), "an answer for each note")
        await world.change(made[0], body="news\n")
        await until(lambda: device.notes()["Note 00.md"] == "news\n", "the news")
        await device.in_sync()
    assert len(loaded) == 1


async def test_the_echo_of_our_own_push_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sends what was pushed back to all who follow the note, to its author, too: he
    knows it by its bytes, without a look at the cache. Somebody else's edit right behind is new.
    """
    block = await world.add("Note", "text\n")
    device = world.device()
    device.poll_interval_s = 3600.0
    heard: list[Incoming] = []
    looked_at: list[Incoming] = []
    real, real_round = receive.receive, receive._round

    async def noted(heap: HeapContext, items: Sequence[Incoming]) -> bool:
        heard.extend(items)
        return await real(heap, items)

    async def noted_round(heap: HeapContext, items: Sequence[Incoming]) -> list[Absorbed]:
        looked_at.extend(items)
        return await real_round(heap, items)

    device.timing = replace(device.timing, after_change_s=3600.0)
    monkeypatch.setattr(follow, "receive", noted)
    monkeypatch.setattr(receive, "_round", noted_round)
    async with device.running():
        await device.in_sync()
        await all_followed(world, [block])
        heard.clear()
        looked_at.clear()
        (device.root / "Note.md").write_text("words of ours\n")
        await until(lambda: bool(heard), "the echo")
        await device.in_sync()
        assert looked_at == []
        await world.change(block, body="words of theirs\n")
        await until(lambda: device.notes()["Note.md"] == "words of theirs\n", "their words")
        assert len(looked_at) == 1


async def test_the_feed_is_read_before_each_pull(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when more becomes wanted during each of them, as while a heap is uploaded: the news of
    others arrive meanwhile.
    """
    made = [await world.add(f"Note {n}", "text\n") for n in range(4)]
    device = world.device()
    device.poll_interval_s = 3600.0
    await device.synced()
    await world.change(made[0], body="news\n")
    calls: list[str] = []
    changes, ask, real = HeaperBackend.changes, HeaperBackend.pull, receive.receive

    async def polled(self: HeaperBackend, *args: Any) -> Any:
        calls.append("poll")
        return await changes(self, *args)

    async def asked(self: HeaperBackend, *args: Any) -> Any:
        calls.append("pull")
        return await ask(self, *args)

    async def received(heap: HeapContext, items: Sequence[Incoming]) -> None:
        await real(heap, items)
        if made and items:
            block = made.pop()
            await heap.store(lambda change: change.update(block, wanted=1))
            heap.wake.pull.set()

    monkeypatch.setattr(HeaperBackend, "changes", polled)
    monkeypatch.setattr(HeaperBackend, "pull", asked)
    monkeypatch.setattr(pull, "receive", received)
    async with device.running():
        await until(lambda: not made, "each was wanted again")
        await device.in_sync()
    assert calls.count("pull") > 2
    assert "pull pull" not in " ".join(calls)


async def test_news_alone_are_nothing_to_push(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others write does not make the mirror look for what it has to send itself."""
    pushes = 0

    async def counted(state: HeapContext) -> bool:
        nonlocal pushes
        pushes += 1
        return await push(state)

    async def is_said(text: str) -> bool:
        return await world.text(block) == text

    monkeypatch.setattr("heapsyncd.sync.runtime.heap.push", counted)
    block = await world.add("Note", "text\n")
    device = world.device()
    device.poll_interval_s = 3600.0
    await device.synced()
    async with device.running():
        await device.in_sync()
        await all_followed(world, [block])
        path = device.root / "Note.md"
        path.write_text(path.read_text().replace("text", "ours"))
        await until(lambda: is_said("ours"), "our edit is sent")
        await device.in_sync()
        before = pushes
        for text in ("news\n", "more news\n"):
            await world.change(block, body=text)
            await until(lambda text=text: device.notes()["Note.md"] == text, text)  # type: ignore[misc]
            await device.in_sync()
        assert pushes == before


async def test_what_is_left_to_do_is_not_read_anew_for_each_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first mirror in many batches: twice as many notes take twice as many rows, not four times
    as many.
    """
    read = 0
    real = blocks._state

    def state(row: Sequence[object]) -> BlockState:
        nonlocal read
        read += 1
        return real(row)

    monkeypatch.setattr(blocks, "_state", state)
    monkeypatch.setattr(pull, "PULL_BLOCKS", 4)
    monkeypatch.setattr(publish, "BATCH", 4)
    took = []
    for name in "ab":
        for n in range(MANY):
            await world.add(f"Note {name}{n:02}", "text\n")
        device = world.device(name, live="off")
        before = read
        await device.synced()
        took.append(read - before)
    assert took[1] < 2.5 * took[0]
