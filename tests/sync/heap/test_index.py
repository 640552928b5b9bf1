"""The index after any changes is the index of what is there after them."""

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.cache import remote_items
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.remote_items import RemoteItem
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.markdown.frontmatter import split
from heapsyncd.model import Dialect, Stat
from heapsyncd.sync.heap.index import Index

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
HEAP = HeapId("01HEAP00000000000000000000")
IDS = [BlockId(f"01BLOCK000000000000000000{k}") for k in range(5)]
PATHS = ["Boat.md", "boat.md", "a/Boat.md", "a/Car.md", "Car.md", "a", "b", "Boat.assets/p.png"]

blocks = st.builds(
    BlockState,
    st.sampled_from(IDS),
    st.just(HEAP),
    st.sampled_from(["document", "folder", "tag", "file"]),
    wanted=st.integers(0, 1),
    title=st.sampled_from(["Boat", "Car"]),
    deleted_at_ms=st.sampled_from([None, None, 1]),
    born_here=st.booleans(),
    stale=st.booleans(),
    problem=st.sampled_from([None, None, "it is too deep"]),
)
entries = st.builds(
    EntryRow,
    st.sampled_from(PATHS),
    st.sampled_from(IDS),
    st.sampled_from(["note", "folder", "file", "attachment"]),
    key=st.sampled_from(["k1", "k2"]),
    stat=st.sampled_from([None, Stat(1, 2, 3, 7, 9)]),
    todo=st.sampled_from([None, None, "upload", "download", "remote"]),
)
changes = st.lists(
    st.tuples(blocks | entries | st.sampled_from(PATHS), st.booleans()), max_size=25
)


@dataclass
class Told:
    """An index that is told of each change, and what it was told."""

    index: Index = field(default_factory=Index)
    blocks: dict[BlockId, BlockState] = field(default_factory=dict)
    entries: dict[str, EntryRow] = field(default_factory=dict)

    def take(self, step: BlockState | EntryRow | str, *, unsent: bool) -> None:
        """A row that is new or changed; a path or a block that is gone."""
        match step:
            case BlockState():
                known = self.blocks.get(step.id)
                block = step if known is None else replace(step, kind=known.kind)
                self.blocks[block.id] = block
                self.index.add_block(block)
                self.index.set_status(block, unsent=unsent)
            case EntryRow():
                self._leave(step)
                self.entries[step.path] = step
                self.index.put(step)
            case _:
                self.entries.pop(step, None)
                self.index.drop(step)

    def _leave(self, entry: EntryRow) -> None:
        """A block has one place, a key of it one file: where either stood before is given up."""
        is_placed = entry.role != "attachment"
        for path, other in list(self.entries.items()):
            same_place = is_placed and other.role != "attachment"
            same_key = not is_placed and other.role == "attachment" and other.key == entry.key
            if other.block_id == entry.block_id and (same_place or same_key):
                del self.entries[path]
                self.index.drop(path)


def facts(index: Index) -> dict[str, object]:
    """What can be asked of an index."""
    names = (
        *("blocks", "born", "wanted", "stale", "troubled", "entries", "stats", "remote", "moving"),
        *("unplaced", "doomed", "notes", "folders", "path_of"),
    )
    return {
        **{name: getattr(index, name) for name in names},
        "attachments": {b: a for b, a in index.attachments.items() if a},
        "files": index.files(),
        "below": {p: sorted(e.path for e in index.below(p)) for p in ("a", "b", "Boat.assets")},
        "links": {b: index.name_of(b) for b in IDS},
        "tags": {t: index.tag_named(t) for t in ("Boat", "Car")},
        "folder_at": {p: index.folder_at(p) for p in PATHS},
    }


@settings(max_examples=200)
@given(changes)
def test_kept_in_step_is_made_anew(
    steps: list[tuple[BlockState | EntryRow | str, bool]],
) -> None:
    """Nothing of a row that changed or went is left behind, and nothing of one that came lacks."""
    told = Told()
    for step, unsent in steps:
        told.take(step, unsent=unsent)
    fresh = Index(told.blocks.values(), told.entries.values())
    assert facts(told.index) == facts(fresh)


@given(st.lists(entries, max_size=12))
def test_a_name_means_the_block_that_has_it(found: list[EntryRow]) -> None:
    """What is written for a block in a link means that block, in any spelling."""
    told = Told()
    for entry in found:
        told.take(entry, unsent=False)
    for block in IDS:
        name = told.index.name_of(block)
        if name is not None:
            assert {told.index.block_of(n) for n in (name, name.upper(), f" {name}.md ")} == {
                block
            }


@given(st.lists(blocks, max_size=12))
def test_a_forgotten_block_leaves_nothing(found: list[BlockState]) -> None:
    """Once every block is forgotten the index is as a new one."""
    told = Told()
    for block in found:
        told.take(block, unsent=True)
    for block_id in IDS:
        told.index.forget(block_id)
    assert facts(told.index) == facts(Index())
    assert told.index.sendable() == set()


def test_ids_of_the_server() -> None:
    """Where files show those, ours mean nothing; former ones are still known as such."""
    index = Index(dialect=Dialect(public_ids=True))
    a, b = IDS[:2]
    index.add_block(BlockState(a, HEAP, "document", public_id="n1"))
    index.add_block(BlockState(b, HEAP, "document"))
    assert (index.shown_id(a), index.shown_id(b), index.shown_id(b, "n2")) == ("n1", None, "n2")
    assert (index.block_with_id("n1"), index.block_with_id(a)) == (a, None)
    index.add_block(BlockState(a, HEAP, "document", public_id="n3"))
    assert (index.block_with_id("n1"), index.block_with_id("n3")) == (a, a)
    index.forget(a)
    assert (index.block_with_id("n3"), index.is_shown_id("n3"), index.is_shown_id("n4")) == (
        None, True, False,
    )  # fmt: skip
    front, _ = split(f"---\nid: n3\nheaper_id: {ULID}\n---\n")
    assert (index.ids_in(front), Index().ids_in(front)) == (("n3", ULID), (ULID,))


async def test_ids_of_items_that_are_gone_stay_known(tmp_path: Path) -> None:
    """A file may still show one: it is no key of the user's, and means no block any more."""
    async with await Database.open(tmp_path / "c.sqlite3", SCHEMA) as db:
        gone = RemoteItem(IDS[0], HEAP, "item", "d4735e3a", "note", b"", gone="there")
        live = RemoteItem(IDS[1], HEAP, "item", "4e074085", "note", b"")
        await db.write(lambda tx: remote_items.save(tx, [gone, live]))
        dialect = Dialect(public_ids=True)
        index = await db.read(lambda tx: Index.of_heap(tx, HEAP, dialect))
    assert index.is_shown_id("d4735e3a")
    assert index.block_with_id("d4735e3a") is None
    assert not index.is_shown_id("4e074085")
