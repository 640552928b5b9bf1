"""A heap of new notes: each is read, made and sent once, a batch at a time."""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest

from heapsyncd import processes
from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.document.replica import Replica
from heapsyncd.folder.snapshot import Entry
from heapsyncd.ids import BlockId
from heapsyncd.model import BlockRow
from heapsyncd.processes import Processes
from heapsyncd.sync import publish
from heapsyncd.sync.edits.new_texts import BATCH, NewTexts
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.pull import follow, receive
from heapsyncd.sync.push import push
from heapsyncd.sync.runtime import heap, open_heap
from heapsyncd.sync.scan.debounce import Debounce
from heapsyncd.tree import Atom
from heapsyncd.wire.feed import Feed
from heapsyncd.wire.live import LiveLink
from tests.sync.rig import Device, World, until

MANY = 2 * BATCH + 10

Turn = Callable[[int, Sequence[str]], Awaitable[None]]


@pytest.fixture
def at_each_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Turn], None]:
    """Have something done before the texts of each batch are handed out, with its number and
    paths.
    """

    def have(turn: Turn) -> None:
        real, times = NewTexts.of, 0

        async def of(self: NewTexts, paths: Iterable[str]) -> list[SavedFile]:
            nonlocal times
            times, paths = times + 1, list(paths)
            await turn(times, paths)
            return await real(self, paths)

        monkeypatch.setattr(NewTexts, "of", of)

    return have


def write_notes(device: Device) -> None:
    """Many notes, each with a link to the next one and the last with one to the first."""
    device.root.mkdir(parents=True)
    for k in range(MANY):
        text = f"Text of {k}.\n\n- to [[{name(k + 1)}]]\n"
        (device.root / f"{name(k)}.md").write_text(text, "utf-8")


def name(k: int) -> str:
    """Of a note."""
    return f"Note {k % MANY:03}"


async def mentioned(world: World, block: BlockId) -> list[object]:
    """The ids that a note's document links to."""
    view = (await world.server.document(block)).view()
    items = [i for b in view.walk() for i in b.inline if isinstance(i, Atom)]
    return [i.get("id") for i in items]


async def test_no_document_is_loaded_and_none_is_sent_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was just made is known: for its title, its id and the server's answer no document is
    built; nor is anything sent over the live connection, which a push does.
    """
    loaded, answered = [], []
    load, real = Replica.load.__func__, Feed.answer  # type: ignore[attr-defined]

    def loading(cls: type[Replica], *args: Any) -> Replica:
        by = sys._getframe(1).f_globals["__name__"]
        if by in {receive.__name__, publish.__name__}:
            loaded.append(by)
        return load(cls, *args)  # type: ignore[no-any-return]

    monkeypatch.setattr(Replica, "load", classmethod(loading))

    def answer(self: Feed, block: BlockId, update: bytes) -> None:
        answered.append(update)
        real(self, block, update)

    monkeypatch.setattr(Feed, "answer", answer)
    device = world.device()
    write_notes(device)
    async with device.running():
        await device.in_sync()
        titles = await world.titles()
        assert set(titles) == {name(k) for k in range(MANY)}
        await until(lambda: all(world.server.followers(b) for b in titles.values()), "followed")
        await device.in_sync()
    assert not loaded
    assert not answered
    for title, block in titles.items():
        document = await world.server.document(block)
        assert document.fields().title == title
        assert device.id_of(f"{title}.md") == block
    assert await mentioned(world, titles[name(0)]) == [titles[name(1)]]
    assert await mentioned(world, titles[name(MANY - 1)]) == [titles[name(0)]]
    other = world.device("b")
    await other.synced()
    assert other.notes() == device.notes()


async def test_an_edit_after_the_upload_is_measured_from_what_is_known(world: World) -> None:
    """The text of a new note shows its document with the title, too: an edit of it is a small
    one, and merges with another's.
    """
    device = world.device()
    await device.synced()
    (device.root / "Boat.md").write_text("one two three\n", "utf-8")
    await device.synced()
    block = device.id_of("Boat.md")
    await world.change(block, body="one two three four\n")
    path = device.root / "Boat.md"
    path.write_text(path.read_text("utf-8").replace("one", "One"), "utf-8")
    await device.synced()
    assert await world.text(block) == "One two three four"


async def test_the_first_are_sent_while_the_last_are_read(
    world: World, at_each_batch: Callable[[Turn], None]
) -> None:
    """Notes are on the server with all of their text while others have none yet; and never are the
    texts of all held.
    """
    held = []

    async def turn(batch: int, paths: Sequence[str]) -> None:
        held.append(sum(isinstance(o, SavedFile) for o in gc.get_objects()))
        if batch == 3:

            async def is_there() -> bool:
                block = (await world.titles()).get(name(0))
                return block is not None and (await world.text(block)).startswith("Text of 0.")

            await until(is_there, "the first note on the server")
            assert name(MANY - 1) not in await world.titles()

    at_each_batch(turn)
    device = world.device()
    write_notes(device)
    await device.synced()
    assert len(held) == 3
    assert max(held) <= 2 * BATCH
    assert set(await world.titles()) == {name(k) for k in range(MANY)}


async def test_more_notes_than_are_followed_are_not_opened_in_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each note that was sent is the newest; it does not take the place of another at once."""
    limit, opened = 10, list[BlockId]()
    real = LiveLink.queue

    def queue(self: LiveLink, block: BlockId) -> None:
        opened.append(block)
        real(self, block)

    monkeypatch.setattr(LiveLink, "queue", queue)
    monkeypatch.setattr(heap, "FOLLOWED", {"all": limit})
    monkeypatch.setattr(follow, "CHOSEN_AGAIN_S", 0.0)
    monkeypatch.setattr(push, "BATCH", 5)
    device = world.device()
    write_notes(device)
    async with device.running():
        await device.in_sync()
        blocks = list((await world.titles()).values())

        def followed() -> int:
            return sum(world.server.followers(b) > 0 for b in blocks)

        await until(lambda: followed() == limit, "the newest are followed")
    assert len(opened) < MANY // 2


async def test_a_text_that_is_saved_before_its_turn(
    world: World, at_each_batch: Callable[[Turn], None]
) -> None:
    """A note that was saved anew since it was named is made of the new text and tags, and is the
    one that links mean. What is another note by its id by then is none of these.
    """
    device = world.device()
    write_notes(device)
    (device.root / f"{name(0)}.md").write_text(f"[[{name(MANY - 1)}]] [[{name(MANY - 2)}]]\n")

    async def turn(batch: int, paths: Sequence[str]) -> None:
        if batch == 3:
            assert f"{name(MANY - 1)}.md" in paths
            new = "---\ntags: [late]\n---\nnew text\n"
            replaced(device, name(MANY - 1), new)
            first = device.id_of(f"{name(0)}.md")
            replaced(device, name(MANY - 2), f"---\nid: {first}\n---\ncopy\n")

    at_each_batch(turn)
    async with device.running():
        await device.in_sync()
        await until(lambda: len(device.notes()) == MANY, "all of them")
        await device.in_sync()
    titles = await world.titles()
    late = (await world.titles("tag"))["late"]
    document = await world.server.document(titles[name(MANY - 1)])
    assert document.view().words() == "new text"
    assert document.fields().tags == (late,)
    assert (await mentioned(world, titles[name(0)]))[0] == titles[name(MANY - 1)]
    assert await world.text(titles[name(MANY - 2)]) == "copy"
    assert len(titles) == MANY


def with_ids(device: Device) -> set[str]:
    """Return the titles of the notes that are made: their ids are in their files."""
    return {p.stem for p in device.root.glob("*.md") if p.read_text().startswith("---")}


def replaced(device: Device, title: str, text: str) -> None:
    """Save a note as editors do: all at once."""
    beside = device.root / f".{title}.new"
    beside.write_text(text, "utf-8")
    beside.replace(device.root / f"{title}.md")


async def test_a_title_that_the_server_wrote_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new note gets its title after the server was asked for its document: one that is there by
    then is not written a second time.
    """
    real = HeaperBackend.insert

    async def insert(self: HeaperBackend, *args: Any) -> BlockRow:
        row = await real(self, *args)
        await world.change(row.id, title="Theirs")
        return row

    device = world.device()
    await device.synced()
    monkeypatch.setattr(HeaperBackend, "insert", insert)
    (device.root / "Ours.md").write_text("text\n", "utf-8")
    await device.synced()
    (block,) = (await world.titles()).values()
    assert (await world.server.document(block)).fields().title == "Theirs"
    assert device.notes() == {"Theirs.md": "text\n"}


async def test_links_survive_a_kill_between_batches(
    world: World, monkeypatch: pytest.MonkeyPatch, at_each_batch: Callable[[Turn], None]
) -> None:
    """A link to a note that was named, but not stored when the process was killed, is one to the
    note that its file becomes, and stays as its author wrote it.
    """

    class Killed(BaseException):
        pass

    async def turn(batch: int, paths: Sequence[str]) -> None:
        if batch == 2:
            raise Killed

    device = world.device()
    write_notes(device)
    before = device.notes()
    with monkeypatch.context() as patch:
        real = NewTexts.of
        at_each_batch(turn)
        with pytest.raises(BaseExceptionGroup):
            await device.once()
        patch.setattr(NewTexts, "of", real)
        await device.synced()
    titles = await world.titles()
    for k in range(MANY):
        assert await mentioned(world, titles[name(k)]) == [titles[name(k + 1)]]
    for k in range(BATCH - 2, BATCH + 2):
        linked = titles[name(k + 1)]
        body = f"Text of {k}, changed.\n\n- to [[{linked}]]\n"
        await world.change(titles[name(k)], body=body)
    await device.synced()
    for k in range(BATCH - 2, BATCH + 2):
        assert f"[[{name(k + 1)}]]" in device.notes()[f"{name(k)}.md"]
    assert len(device.notes()) == len(before)


@pytest.mark.parametrize("linked_from", ["before the kill", "after it"])
async def test_links_survive_a_rename_after_a_kill_between_batches(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    at_each_batch: Callable[[Turn], None],
    linked_from: str,
) -> None:
    """A note that was named, but not stored when the process was killed, gets another name before
    the next start: links by its former name mean it, and show the new one.
    """

    class Killed(BaseException):
        pass

    async def turn(batch: int, paths: Sequence[str]) -> None:
        if batch == 2:
            raise Killed

    device = world.device()
    write_notes(device)
    with monkeypatch.context() as patch:
        real = NewTexts.of
        at_each_batch(turn)
        with pytest.raises(BaseExceptionGroup):
            await device.once()
        stored = with_ids(device)
        linking = next(
            k
            for k in range(MANY)
            if (name(k) in stored) == (linked_from == "before the kill")
            and name(k + 1) not in stored
        )
        (device.root / f"{name(linking + 1)}.md").rename(device.root / "Renamed.md")
        patch.setattr(NewTexts, "of", real)
        await device.synced()
    titles = await world.titles()
    assert len(titles) == MANY
    assert await mentioned(world, titles[name(linking)]) == [titles["Renamed"]]
    assert "[[Renamed]]" in device.notes()[f"{name(linking)}.md"]


async def test_links_survive_kills_before_a_file_that_is_still_written(
    world: World, monkeypatch: pytest.MonkeyPatch, at_each_batch: Callable[[Turn], None]
) -> None:
    """A file that is not settled at the next start still becomes the note that links mean: it
    waits while the others are made, also if the process is killed once more meanwhile.
    """

    class Killed(BaseException):
        pass

    async def turn(batch: int, paths: Sequence[str]) -> None:
        if batch in {2, 3}:
            raise Killed

    device = world.device()
    write_notes(device)
    with monkeypatch.context() as patch:
        real = NewTexts.of
        at_each_batch(turn)
        with pytest.raises(BaseExceptionGroup):
            await device.once()
        stored = with_ids(device)
        linking = next(k for k in range(MANY) if name(k) in stored and name(k + 1) not in stored)
        late = device.root / f"{name(linking + 1)}.md"
        text = late.read_text()
        with monkeypatch.context() as shut:
            judged = Debounce._is_settled

            def is_settled(self: Debounce, entry: Entry, *arguments: Any) -> bool:
                return entry.path != late.name and judged(self, entry, *arguments)

            shut.setattr(Debounce, "_is_settled", is_settled)
            with pytest.raises(BaseExceptionGroup):
                await device.once()
            patch.setattr(NewTexts, "of", real)
            async with device.running():
                await until(lambda: len(with_ids(device)) == MANY - 1, "the others are made")
        assert late.read_text() == text
        await device.synced()
    titles = await world.titles()
    assert len(titles) == MANY
    assert await mentioned(world, titles[name(linking)]) == [titles[name(linking + 1)]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Have processes started for few notes already; the functions that they carried out, each with
    the number of notes.
    """
    done: list[tuple[str, int]] = []
    expect, results = Processes.expect, Processes.results

    async def started(self: Processes, work: Callable[[Any], Any], values: int) -> None:
        await expect(self, work, values)
        await asyncio.gather(*map(asyncio.wrap_future, self._starting))

    async def counted(self: Processes, work: Callable[[Any], Any], values: Sequence[Any]) -> Any:
        answer = await results(self, work, values)
        if answer is not None:
            done.append((work.__name__, sum(one is not None for one in answer)))
        return answer

    monkeypatch.setattr(Processes, "expect", started)
    monkeypatch.setattr(Processes, "results", counted)
    monkeypatch.setattr(processes, "MANY", 20)
    monkeypatch.setattr(open_heap, "spare_cores", lambda: 2)
    return done


def write_all_kinds(device: Device) -> dict[str, str]:
    """Many notes, and some that need to know more of the heap than their text; by path."""
    write_notes(device)
    texts = {
        "Above.md": f"---\ntags: [sea]\n---\n{name(3)} and [[{name(3).lower()}]] and [[Nobody]]\n",
        "Code.md": f"`[[{name(1)}]]`\n\n```\n[[Nobody]]\n```\n",
        "Log.md": f"* a\n+ b [[{name(4)}|four]]\n\n![[Log.assets/a.txt]]\n",
        "Sub/Deep.md": f"[[Sub/Deep]] [[Above]] [[{name(5)}.md]]\n",
    }
    (device.root / "Sub").mkdir()
    (device.root / "Log.assets").mkdir()
    (device.root / "Log.assets" / "a.txt").write_text("a", "utf-8")
    for path, text in texts.items():
        (device.root / path).write_text(text, "utf-8")
    return {p: (device.root / p).read_text("utf-8") for p in device.notes()}


@pytest.mark.parametrize("killed", [False, True])
async def test_other_processes_make_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, int]], killed: bool
) -> None:
    """The first upload and the first mirror: every file keeps its text and gets its id, and is the
    same on the other device; also when the processes are killed at their work.
    """
    results = Processes.results

    async def killing(self: Processes, work: Callable[[Any], Any], values: Sequence[Any]) -> Any:
        if killed and self._pool is not None:
            for process in list(self._pool._processes.values()):
                process.kill()
        return await results(self, work, values)

    monkeypatch.setattr(Processes, "results", killing)
    device, other = world.device(), world.device("b")
    texts = write_all_kinds(device)
    await device.synced()
    await other.synced()
    for path, text in texts.items():
        now = (device.root / path).read_text("utf-8")
        assert f"id: {device.id_of(path)}\n" in now
        assert now.replace(f"id: {device.id_of(path)}\n", "").replace("---\n---\n", "") == text
        assert (other.root / path).read_text("utf-8") == now
    by_function = Counter[str]()
    for function, notes in asked:
        by_function[function] += notes
    assert (by_function["first_edits"] > MANY // 3) == (not killed)
