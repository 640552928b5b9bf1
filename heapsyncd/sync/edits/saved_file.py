"""Work out what a saved file means for its document and the cache.

Runs in a thread, on values and on a replica that nobody else uses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.history import Review
from heapsyncd.cache.renditions import Rendition
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.errors import BlockError, UnreadableFile
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.markdown.frontmatter import Front
from heapsyncd.model import Fields, Stat
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.layout.attachments import AttachmentOwner, attachment_paths
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.base_selection import choose, was_written
from heapsyncd.sync.merge.note_text import (
    Base,
    FrontChange,
    Note,
    compose,
    digest,
    front_change,
    front_values,
    mentions,
    read_body,
    recall,
    shown_files,
    shows,
    signed,
)

NO_TAGS: Final[Mapping[str, BlockId]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SavedFile:
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


@dataclass(frozen=True, slots=True)
class Head:
    """What a note's file is named and identified by; ``digest``: of the whole file."""

    path: str
    stat: Stat
    digest: bytes
    front: Front

    @classmethod
    def of(cls, saved: SavedFile, note: Note) -> "Head":
        """Return the head of a file that was read."""
        return cls(saved.path, saved.stat, digest(saved.data), note.front)


@dataclass(frozen=True, slots=True)
class StoredNote:
    """What the cache has of a note."""

    state: BlockState
    rows: Sequence[LogRow]
    ring: Sequence[Rendition]
    """The stored renditions, newest first."""

    def base(self, rendition: Rendition) -> Base:
        """Return a rendition as the base of an edit."""
        if rendition.seq is None:
            return Base(Note.of(rendition.data), None)
        rows = [r.data for r in self.rows if r.seq <= rendition.seq]
        extra = [rendition.extra] if rendition.extra else []
        return Base(Note.of(rendition.data), (*rows, *extra))


@dataclass(frozen=True, slots=True)
class SavedEdit:
    """What a saved file means for the cache."""

    entry: EntryRow
    saved: SavedFile
    state: BlockState
    live: Replica | None = None
    update: bytes | None = None
    seq: int | None = None
    """The state that the text shows: the log up to this row, and ``extra``."""
    extra: bytes | None = None
    mentions: frozenset[str] = frozenset()
    new_tags: tuple[BlockState, ...] = ()
    reviews: tuple[Review, ...] = ()
    older: bool = False
    """Whether it is an earlier text, saved over a newer one."""
    had_plans: bool = False
    """Whether there are planned texts, left by a kill."""
    plan: int | None = None
    """The number of the planned text that had been written."""
    abandoned: bool = False
    """Whether the note was deleted permanently: its file becomes another note."""
    words: str | None = None
    """The text for the search index, if publishing would leave the file as it is."""
    is_touched: bool = False
    """Whether only the file's stamps changed."""


class Reader:
    """Works out what one saved file means; runs in a thread, and changes only the replica.

    Args:
        heap: the heap.
        tags: new tag blocks by title; receives those this note needs.
        entry: the note's entry.
        saved: its file.
        known: what the cache has of it.
        held: its replica, if it was in memory.
        again: names have other meanings now, so that even an unchanged text may be an edit.
    """

    def __init__(
        self,
        heap: HeapContext,
        tags: dict[str, BlockState],
        entry: EntryRow,
        saved: SavedFile,
        known: StoredNote,
        held: Replica | None,
        *,
        again: bool,
    ) -> None:
        assert isinstance(saved.note, Note)
        self._heap, self._tags = heap, tags
        self._entry, self._saved, self._note = entry, saved, saved.note
        self._known, self._held = known, held
        self._again = again

    def interpret(self) -> SavedEdit | tuple[str, BlockError]:
        """Return what the file means, or its path and the problem."""
        state, data = self._known.state, self._saved.data
        try:
            ring, had_plans, plan = self._ring()
            if not self._again and ring and ring[0].data == data and state.deleted_at_ms is None:
                # The file has new stamps and the same content.
                return SavedEdit(
                    self._entry, self._saved, state, self._held,
                    had_plans=had_plans, plan=plan, is_touched=True,
                )  # fmt: skip
            with self._heap.at_work.on(state.id):
                updates = [r.data for r in self._known.rows]
                live = self._held or Replica.load(updates, self._heap.client_id)
                taken = self._express(live, ring)
            # Only tags that will be stored may be used by the next note.
            self._tags |= {tag.title: tag for tag in taken.new_tags}
            return replace(taken, had_plans=had_plans, plan=plan)
        except BlockError as error:
            return self._saved.path, error

    def _ring(self) -> tuple[Sequence[Rendition], bool, int | None]:
        """Return the renditions, whether texts were planned, and which of these was written."""
        ring = self._known.ring
        plans = [r for r in ring if r.origin == "planned"]
        rest = [r for r in ring if r.origin != "planned"]
        if self._again or not plans:
            return rest, False, None  # only a user's text shows which plan was written
        older: list[Rendition | None] = [*plans[1:], *rest[:1]]
        older += [None] * (len(plans) - len(older))
        for plan, before in zip(plans, older, strict=True):
            if was_written(plan, before, self._saved.data):
                return [replace(plan, origin="written"), *rest], True, plan.number
        return rest, bool(plans), None

    def _express(self, live: Replica, ring: Sequence[Rendition]) -> SavedEdit:
        heap, state, saved, note = self._heap, self._known.state, self._saved, self._note
        known = SavedEdit(self._entry, saved, state)
        if _is_gone_for_good(state, live):
            return replace(known, abandoned=True)
        if saved.meant or self._again:
            ring = ring[:1]
        before = live.fields()
        new_files = _awaited(heap, self._entry, before)
        links = NoteLinks(heap.index, state.id, aliases=True, new_files=new_files)
        chosen = choose(ring, saved.data, now_ms(), is_blind=saved.is_blind) if ring else None
        base = self._known.base(chosen.rendition) if chosen else None
        change = front_change(base.note.front if base else None, note.front)
        target, new_tags = target_of(heap, change, {t: b.id for t, b in self._tags.items()})
        same = target == Target() and not self._again and (not ring or state.deleted_at_ms is None)
        if same and shows(note, live.view(), links):
            # The file already shows the document: we wrote it before a kill, or both sides made
            # the same edit.
            shown = mentions(live.view())
            known = replace(known, live=live, seq=state.seq, mentions=shown)
            return self._done(known, before, is_whole=True)
        if state.deleted_at_ms is not None:
            target = replace(target, deleted_at_ms=None)  # an edit wins over a deletion
        updates = [r.data for r in self._known.rows]
        links = recall(base, note, live, updates, links)
        reading = read_body(base, note, live, updates, links, heap.client_id, target)
        current = chosen is None or chosen.rendition.seq == state.seq
        reviews: tuple[Review, ...] = ()
        if not reading.is_made:
            seen = None if current else base
            reviews = review_notices.apply_edit(live, reading.update, seen, note, links)
        update = _undeleted(live, reading.update)
        seq: int | None
        if chosen is None or base is None or base.updates is None or not reading.is_whole:
            # The edit was merged without a common history or with edits of others: the file
            # shows the merged state only if nothing else was merged in.
            whole = shows(note, live.view(), links)
            seq, extra = (state.seq + (update is not None) if whole else None), None
        else:
            parts = [p for p in (chosen.rendition.extra, reading.update) if p is not None]
            seq, extra = chosen.rendition.seq, merge(parts) if parts else None
        older = chosen is not None and chosen.older
        if older:
            reviews += (review_notices.STALE,)
        if state.deleted_at_ms is not None:
            reviews += (review_notices.KEPT,)
        taken = SavedEdit(
            self._entry, saved, state, live, update, seq, extra, reading.mentions,
            tuple(new_tags), reviews, older,
        )  # fmt: skip
        return self._done(taken, before, is_whole=reading.is_made and reading.is_whole)

    def _done(self, taken: SavedEdit, before: Fields, *, is_whole: bool) -> SavedEdit:
        """Return the result, with the words set if publishing would leave the file as it is.

        ``is_whole``: the file's body is known to show the document.
        """
        live, state = taken.live, taken.state
        assert live is not None
        now, view = live.fields(), live.view()
        shown = shown_files(view)
        is_same = state.deleted_at_ms is None and now == before and not (now.files or shown)
        if not is_same or self._heap.layout.rearrange:
            return taken
        links = NoteLinks(self._heap.index, state.id)
        values = front_values(self._heap.index, state, self._entry.path, now)
        # A link may use a former name.
        is_whole = is_whole and not taken.mentions
        text = signed(self._note, values) if is_whole else compose(self._note, view, values, links)
        if text != taken.saved.data:
            return taken
        seq = state.seq + (taken.update is not None)
        return replace(taken, seq=seq, extra=None, words=view.all_words())


def _awaited(heap: HeapContext, entry: EntryRow, fields: Fields) -> dict[str, str]:
    """Return the future paths of a note's contents that are not here yet, by key.

    The text may already show them.
    """
    here = heap.index.attachments.get(entry.block_id, {})
    if all(f.key in here for f in fields.files):
        return {}
    paths = attachment_paths(
        AttachmentOwner(entry.block_id, "note", entry.path, fields.files), here
    )
    return {k: p for k, p in paths.items() if k not in here}


def _is_gone_for_good(state: BlockState, live: Replica) -> bool:
    """Return whether a block was deleted permanently, according to its document or the feed.

    If only the row is marked as deleted, the feed said so.
    """
    fields = live.fields()
    unknown = state.deleted_at_ms is not None and fields.deleted_at_ms is None
    return unknown or fields.permanently_deleted_at_ms is not None


def _undeleted(live: Replica, update: bytes | None) -> bytes | None:
    """Return an edit's update, extended to undo a deletion that came after its base.

    The replica is changed too.
    """
    if live.fields().deleted_at_ms is None:
        return update
    restored = edit(live, Target(deleted_at_ms=None))
    assert restored.update is not None
    return restored.update if update is None else merge([update, restored.update])


def target_of(
    heap: HeapContext, change: FrontChange, known: Mapping[str, BlockId] = NO_TAGS
) -> tuple[Target, list[BlockState]]:
    """Return what a change of the front matter asks of the document, and its new tag blocks.

    Args:
        heap: the heap.
        change: of the front matter.
        known: tag blocks by title that will be stored together with this one.
    """
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
