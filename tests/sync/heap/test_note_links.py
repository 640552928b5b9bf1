"""What names in a note mean."""

import pytest

from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Dialect
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.note_links import NoteLinks

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
