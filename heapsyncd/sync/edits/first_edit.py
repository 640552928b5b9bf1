"""Make the first update and the first file of new notes. Pure: it can run in another process."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Source
from heapsyncd.sync.heap.note_links import KnownLinks, NoteLinks, UnknownName
from heapsyncd.sync.merge.link_meanings import mentions
from heapsyncd.sync.merge.note_file import Draft, searched, shown_file
from heapsyncd.sync.merge.note_source import first_source
from heapsyncd.sync.merge.note_text import shown_files
from heapsyncd.tree import Block


class NewNote(Struct, frozen=True):
    """What a new note is made from.

    * ``source``: its file.
    * ``target``: what else its document is to become.
    * ``saved``: the values of our keys that its file means.
    * ``shown``: those of the file with the id in it; None: its tags are not stored yet.
    """

    block: BlockId
    path: str
    title: str
    source: Source
    target: Target
    links: NoteLinks | KnownLinks
    saved: OurKeys
    shown: OurKeys | None
    client_id: int
    carries_source: bool


class MadeNote(Struct, frozen=True):
    """A new note's first update, None if its document is empty, and what is known of it.

    ``draft``: its text with the id in it; None: left to publishing.
    """

    update: bytes | None
    state_vector: bytes
    mentions: frozenset[str]
    draft: Draft | None


def first_edits(notes: Sequence[NewNote]) -> list[MadeNote | str | None]:
    """Return what was made of each note, or why it cannot be read.

    None if its links are not known well enough (``KnownLinks``).
    """
    return [_first_edit(note) for note in notes]


def _first_edit(note: NewNote) -> MadeNote | str | None:
    live, source = Replica(note.client_id), note.source
    try:
        view = parse(source.body, note.links, source.line_breaks)
        carried = (
            first_source(source, note.saved, note.links, view) if note.carries_source else None
        )
        made = edit(live, replace(note.target, body=view, first_source=carried))
        linked = mentions(view)
        draft = _draft(note, made.update, view, linked) if made.reads_as_target else None
    except BlockError as error:
        return f"this note cannot be read: {error}"
    except UnknownName:
        return None
    return MadeNote(made.update, live.state_vector(), linked, draft)


def _draft(
    note: NewNote, update: bytes | None, view: Block, linked: frozenset[str]
) -> Draft | None:
    """Return the file's text with the id in it, if the file shows its document otherwise.

    None if more has to be written: attachments, or tags that are not stored yet.
    """
    if note.shown is None or shown_files(view):
        return None
    source, links = note.source, note.links.restricted(linked, ())
    # A link may use a former name.
    data = shown_file(source, view, note.shown, links, is_shown=not linked)
    return Draft(
        note.block, int(update is not None), note.path, data, note.title, searched(data),
        linked, None, line_breaks=source.line_breaks,
    )  # fmt: skip
