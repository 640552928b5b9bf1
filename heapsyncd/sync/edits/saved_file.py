"""What a saved file of a note contains: its parts, whose keys they are, what it asks for."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.cache.renditions import Rendition
from heapsyncd.document.edit import Target
from heapsyncd.document.replica import Replica
from heapsyncd.errors import UnreadableFile
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.markdown.frontmatter import Front
from heapsyncd.model import Fields, Source, Stat
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge.note_file import NoteFile, owner_of_title
from heapsyncd.sync.merge.note_text import (
    Base,
    FrontChange,
    Note,
    digest,
    line_breaks,
    owner,
    shown_title,
)
from heapsyncd.tree import Block

NO_TAGS: Final[Mapping[str, BlockId]] = MappingProxyType({})


class SavedFile(Struct, frozen=True):
    """A note's file as it was read, with its parts.

    ``meant``: it is no stale save, whatever it looks like. ``is_blind``: its author did not see
    the file at this path.
    """

    path: str
    data: bytes
    stat: Stat
    note: Note | UnreadableFile
    """The parts of the file, or why it is not text."""
    meant: bool = False
    is_blind: bool = False

    @classmethod
    def of(cls, path: str, data: bytes, stat: Stat) -> "SavedFile":
        """Split a file into its parts; slow for large files."""
        try:
            return cls(path, data, stat, Note.of(data))
        except UnreadableFile as error:
            return cls(path, data, stat, error)


class Head(Struct, frozen=True):
    """What a note's file is named and identified by; ``digest``: of the whole file."""

    path: str
    stat: Stat
    digest: bytes
    front: Front

    @classmethod
    def of(cls, saved: SavedFile, note: Note) -> "Head":
        """Return the head of a file that was read."""
        return cls(saved.path, saved.stat, digest(saved.data), note.front)


class StoredNote(Struct, frozen=True):
    """What the cache has of a note."""

    state: BlockState
    rows: Sequence[LogRow]
    ring: Sequence[Rendition]
    """The stored renditions, newest first."""

    def base(self, rendition: Rendition) -> Base:
        """Return a rendition as the base of an edit."""
        note = replace(Note.of(rendition.data), line_breaks=rendition.line_breaks)
        if rendition.seq is None:
            return Base(note, None)
        rows = [r.data for r in self.rows if r.seq <= rendition.seq]
        extra = [rendition.extra] if rendition.extra else []
        return Base(note, (*rows, *extra))


def target_of(
    heap: HeapContext, change: FrontChange, known: Mapping[str, BlockId] = NO_TAGS
) -> tuple[Target, list[BlockState]]:
    """Return what a change of the front matter asks of the document, and its new tag blocks.

    Args:
        heap: the heap.
        change: of the front matter.
        known: tag blocks by title that will be stored together with this one.
    """
    if not heap.dialect.tag_blocks:
        return Target(title=change.title or None), []
    new_tags, added = [], []
    for title in change.added_tags:
        tag = known.get(title) or heap.index.tag_named(title)
        if tag is None:
            state = BlockState(new_block_id(), heap.id, "tag", title=title, born_here=True)
            new_tags.append(state)
            tag = state.id
        added.append(tag)
    removed = [t for t in map(heap.index.tag_named, change.removed_tags) if t is not None]
    target = Target(
        title=change.title or None, add_tags=frozenset(added), remove_tags=frozenset(removed)
    )
    return target, new_tags


def with_line_breaks(
    base: Base | None, note: Note, source: Source | None, view: Block, links: NoteLinks
) -> tuple[Base | None, Note]:
    """Return a base and a saved file that know what their line ends mean.

    Args:
        base: the rendition that the author edited; None if it is not known.
        note: the saved file.
        source: the document's.
        view: the document's.
        links: how names become ids.
    """
    if source is not None:
        mode = source.line_breaks
    elif base is not None:
        mode = base.note.line_breaks
    else:
        mode = line_breaks(note.body, view, links)
    if base is not None:
        base = replace(base, note=replace(base.note, line_breaks=mode))
    return base, replace(note, line_breaks=mode)


def note_files(
    index: Index,
    known: StoredNote,
    path: str,
    base: Base | None,
    note: Note,
    fields: Fields,
    source: Source | None,
) -> tuple[NoteFile | None, NoteFile]:
    """Return a note's base and its saved file, with the user's keys separate from ours.

    Args:
        index: knows the blocks.
        known: the note.
        path: its file's.
        base: the rendition that the author edited; None if it is not known.
        note: the saved file.
        fields: the document's now.
        source: the document's now.
    """

    def written() -> str | None:
        """Return the title that we would have written into the base."""
        title = fields.title or known.state.title
        if base is not None and base.updates is not None:
            title = Replica.load(base.updates).fields().title or title
        return shown_title(path, title)

    is_certain = base is not None and source is not None
    front = (base.note if base is not None else note).front.raw
    key = owner_of_title(front, source, None if is_certain else written)
    ours = owner(index, known.state.id, key)
    return (None if base is None else base.note.file(ours)), note.file(ours)
