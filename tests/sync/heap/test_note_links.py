"""What names in a note mean."""

import pytest

from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Dialect
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.note_links import KnownLinks, NoteLinks, UnknownName

HEAP = HeapId("01HEAP00000000000000000000")
NOTE = BlockId("01BLOCK0000000000000000000")


@pytest.mark.parametrize("mentions", [True, False])
def test_names_mean_something_where_notes_have_mentions(*, mentions: bool) -> None:
    """Of blocks and of files, by present and former names; else they are text, both ways."""
    index = Index(
        [BlockState(NOTE, HEAP, "document", title="Boat")],
        [
            EntryRow("Boat.md", NOTE, "note"),
            EntryRow("Boat.assets/p.pdf", NOTE, "attachment", key="k1"),
        ],
        {"ship": NOTE},
        dialect=Dialect(mentions=mentions),
    )
    links = NoteLinks(index, NOTE, aliases=True)
    found = (
        links.block_of("Boat"), links.block_of("Ship"), links.name_of(NOTE),
        links.file_key("p.pdf"), links.file_name("k1"),
    )  # fmt: skip
    assert found == ((NOTE, NOTE, "Boat", "k1", "p.pdf") if mentions else (None,) * 5)


def test_what_another_process_knows_of_links_is_what_is_known_here() -> None:
    """Of the names in a text, and of what it may be written with; of others it knows nothing."""
    boat, ship, folder = BlockId("01BLOCK0000000000000000001"), *map(BlockId, ("S" * 26, "F" * 26))
    index = Index(
        [
            BlockState(boat, HEAP, "document", title="Boat"),
            BlockState(ship, HEAP, "document", title="Boat"),
            BlockState(folder, HEAP, "folder", title="Sea"),
        ],
        [
            EntryRow("Boat.md", boat, "note"),
            EntryRow("Sea/Boat.md", ship, "note"),
            EntryRow("Sea", folder, "folder"),
        ],
        {"yacht": ship},
    )
    names = ["Boat", "sea/boat", "Yacht", "Sea", "Nobody", boat, folder, " Boat.md"]
    known = KnownLinks.of(index, names)
    here = NoteLinks(index, None, aliases=True)
    only = [ship, folder]
    pairs = (known, here), (known.restricted(only, ()), here.restricted(only, ()))
    for there, then in pairs:
        for name in [*names, *filter(None, map(here.name_of, (boat, ship, folder)))]:
            assert there.block_of(name) == then.block_of(name)
            assert there.name_of(name) == then.name_of(name)
    for asked in (known.block_of, known.name_of):
        with pytest.raises(UnknownName):
            asked("Somebody")
