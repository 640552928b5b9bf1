"""What names in a text mean that no note has any more."""

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Source
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.merge.link_meanings import mention_counts, with_our_links
from heapsyncd.sync.merge.note_file import shown_file
from heapsyncd.sync.merge.note_text import Base, Note, recall, shows
from heapsyncd.tree import Block

GONE = BlockId("01JZ0000000000000000000009")
LINKS = NoteLinks(Index(), None)
"""The links of a heap without notes: the note that the texts link to was deleted."""
TEXTS = [
    f"by name [[Log]], by id [[{GONE}|log]]\n",
    f"[[{GONE}]] [[Log]]\n",
    f"[[Log|one]] [[{GONE}|two]] [[Log|three]]\n",
    f"[[Log]][[{GONE}|log]]\n",
]
"""Texts that name a note in one place and have its id in another."""


class Before(Links):
    """Names as they were while the note was there."""

    def block_of(self, name: str) -> str | None:
        return GONE if name in {"Log", GONE} else None

    def name_of(self, block_id: str) -> str | None:
        return "Log" if block_id == GONE else None

    def file_name(self, key: str) -> str | None:
        return None

    def file_key(self, name: str) -> str | None:
        return None


def view_of(body: str) -> Block:
    """Return what a document says whose text was read while the note was there."""
    return parse(body, Before())


@pytest.mark.parametrize("body", TEXTS)
def test_a_deleted_note_by_its_name_and_by_its_id(body: str) -> None:
    """Where another device made the text, a link by the id can stand beside one by the name."""
    view = view_of(body)
    assert mention_counts(view)[GONE] == body.count("[[")
    assert shows(Note.of(body.encode()), view, LINKS)
    assert shown_file(Source(body), view, OurKeys(None, None, ()), LINKS) == body.encode()


@pytest.mark.parametrize("body", TEXTS)
def test_a_save_beside_both(body: str) -> None:
    """Links by a name that no note has stay links when the text is saved."""
    update = express([], Target(body=view_of(body))).update
    assert update is not None
    live, note = Replica.load([update]), Note.of(body.encode())
    assert note.view(recall(Base(note, (update,)), note, live, (update,), LINKS)) == live.view()


@pytest.mark.parametrize("other", [f"[[{GONE}|two]]", "[[Log|one]]", "[[Log]]", "none"])
def test_a_link_that_was_text_beside_one_that_was_none(other: str) -> None:
    """What is a link in ours and plain text in theirs is a link, whatever else links to the note.

    What is text in both stays text.
    """
    ours = view_of(f"by [[Log|one]] and {other}\n")
    theirs = view_of(f"by \\[\\[Log|one\\]\\] and {other}\n")
    assert theirs != ours
    assert with_our_links(theirs, ours, Before()) == ours
    assert with_our_links(theirs, theirs, Before()) == theirs
