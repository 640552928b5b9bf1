"""Make the first files of notes from the server. Pure: it can run in another process."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.model import Fields
from heapsyncd.sync.heap.note_links import KnownLinks, UnknownName
from heapsyncd.sync.layout.note_files import Draft
from heapsyncd.sync.merge.link_meanings import mentions, names_in
from heapsyncd.sync.merge.note_file import searched, shown_file
from heapsyncd.sync.merge.note_source import read_source
from heapsyncd.sync.merge.note_text import shown_files

_ID: Final = re.compile(rb"[0-7][0-9A-HJKMNP-TV-Z]{25}")
"""What may be the id of a block in an update."""


@dataclass(frozen=True, slots=True)
class UnwrittenNote:
    """A note without a file.

    * ``seq``, ``updates``: its log.
    * ``fields``: what is stored of its document's.
    * ``ours``: the values of our keys with these fields.
    """

    block: BlockId
    path: str
    seq: int
    updates: tuple[bytes, ...]
    fields: Fields
    ours: OurKeys
    links: KnownLinks


def names_of(updates: Iterable[bytes]) -> set[str]:
    """Return the names and ids in updates that may be links, and others."""
    found: set[str] = set()
    for update in updates:
        found.update(one.decode() for one in _ID.findall(update))
        found.update(names_in(update.decode(errors="replace")))
    return found


def first_files(notes: Sequence[UnwrittenNote]) -> list[Draft | None]:
    """Return the text of each note; None: it has to be made where all of the heap is known."""
    return [_first_file(note) for note in notes]


def _first_file(note: UnwrittenNote) -> Draft | None:
    try:
        replica = Replica.load(note.updates)
        view, stored = replica.view(), read_source(replica, replica.view, NO_LINKS)
        if replica.fields() != note.fields or shown_files(view) or stored.problem is not None:
            return None
        linked, source = mentions(view), stored.source
        data = shown_file(source, view, note.ours, note.links.restricted(linked, ()))
    except (BlockError, UnknownName):
        return None
    return Draft(
        note.block, note.seq, note.path, data, note.fields.title, searched(data), linked,
        None, "space" if source is None else source.line_breaks, note.ours.id,
    )  # fmt: skip
