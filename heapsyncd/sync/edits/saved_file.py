"""What a saved file means, for the document and for the cache. Worked out in a thread, on values
and on a replica that nobody else has.
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
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.markdown.frontmatter import Front
from heapsyncd.model import Fields
from heapsyncd.sync.heap.index import NoteLinks
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.layout.attachments import Holding, wanted_paths
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
class Saved:
    """A note's file as it was read, and taken apart.

    ``meant``: it is no stale save. ``is_blind``: its author did not see the file it is in now.
    """

    path: str
    data: bytes
    stat: Stat
    note: Note | UnreadableFile
    """What is in it, or why it is no text."""
    meant: bool = False
    is_blind: bool = False

    @classmethod
    def of(cls, path: str, data: bytes, stat: Stat) -> "Saved":
        """Take a file apart; takes long where it is large."""
        try:
            return cls(path, data, stat, Note.of(data))
        except UnreadableFile as error:
            return cls(path, data, stat, error)


@dataclass(frozen=True, slots=True)
class Head:
    """What a note's file is named and known by; ``digest``: of all of it."""

    path: str
    stat: Stat
    digest: bytes
    front: Front

    @classmethod
    def of(cls, saved: Saved, note: Note) -> "Head":
        """Of a file that was read."""
        return cls(saved.path, saved.stat, digest(saved.data), note.front)


@dataclass(frozen=True, slots=True)
class Known:
    """What the cache has of a note."""

    state: BlockState
    rows: Sequence[LogRow]
    ring: Sequence[Rendition]
    """Newest first."""

    def base(self, rendition: Rendition) -> Base:
        """A rendition as what an edit is measured from."""
        if rendition.seq is None:
            return Base(Note.of(rendition.data), None)
        rows = [r.data for r in self.rows if r.seq <= rendition.seq]
        extra = [rendition.extra] if rendition.extra else []
        return Base(Note.of(rendition.data), (*rows, *extra))


@dataclass(frozen=True, slots=True)
class Taken:
    """What a saved file means for the cache."""

    entry: EntryRow
    saved: Saved
    state: BlockState
    live: Replica | None = None
    update: bytes | None = None
    seq: int | None = None
    """The state that the text shows: the log up to here, and ``extra``."""
    extra: bytes | None = None
    mentions: frozenset[str] = frozenset()
    new_tags: tuple[BlockState, ...] = ()
    reviews: tuple[Review, ...] = ()
    older: bool = False
    """Whether it is an earlier text, saved over a newer one."""
    had_plans: bool = False
    """Whether texts were planned before a kill."""
    plan: int | None = None
    """The number of the one that had been written."""
    abandoned: bool = False
    """Whether the note was deleted for good: its file becomes another one's."""
    words: str | None = None
    """What the note is found by, when its file is what publishing would write."""
    is_touched: bool = False
    """Whether it says nothing new at all: only its stamps are others."""


class Reader:
    """Works out what one saved file means; runs in a thread, and changes nothing but the replica.

    Args:
        heap: the heap.
        tags: the tag blocks that are to be made, by title; gets those that this note needs.
        entry: where the note stands.
        saved: its file.
        known: what the cache has.
        held: its replica, if it was in memory.
        again: names mean something else now: a text that shows the document may say something new.
    """

    def __init__(
        self,
        heap: HeapContext,
        tags: dict[str, BlockState],
        entry: EntryRow,
        saved: Saved,
        known: Known,
        held: Replica | None,
        *,
        again: bool,
    ) -> None:
        assert isinstance(saved.note, Note)
        self._heap, self._tags = heap, tags
        self._entry, self._saved, self._note = entry, saved, saved.note
        self._known, self._held = known, held
        self._again = again

    def taken(self) -> Taken | tuple[str, BlockError]:
        """What it means, or the path and why it can't be taken in."""
        state, data = self._known.state, self._saved.data
        try:
            ring, had_plans, plan = self._ring()
            if not self._again and ring and ring[0].data == data and state.deleted_at_ms is None:
                # The file has new stamps but says nothing new.
                return Taken(
                    self._entry, self._saved, state, self._held,
                    had_plans=had_plans, plan=plan, is_touched=True,
                )  # fmt: skip
            with self._heap.at_work.on(state.id):
                updates = [r.data for r in self._known.rows]
                live = self._held or Replica.load(updates, self._heap.client_id)
                taken = self._express(live, ring)
            # Only what is stored may be taken up by the next note.
            self._tags |= {tag.title: tag for tag in taken.new_tags}
            return replace(taken, had_plans=had_plans, plan=plan)
        except BlockError as error:
            return self._saved.path, error

    def _ring(self) -> tuple[Sequence[Rendition], bool, int | None]:
        """The renditions; whether texts were planned before a kill, and which had been written."""
        ring = self._known.ring
        plans = [r for r in ring if r.origin == "planned"]
        rest = [r for r in ring if r.origin != "planned"]
        if self._again or not plans:
            return rest, False, None  # what became of them is not settled by a text of ours
        older: list[Rendition | None] = [*plans[1:], *rest[:1]]
        older += [None] * (len(plans) - len(older))
        for plan, before in zip(plans, older, strict=True):
            if was_written(plan, before, self._saved.data):
                return [replace(plan, origin="written"), *rest], True, plan.number
        return rest, bool(plans), None

    def _express(self, live: Replica, ring: Sequence[Rendition]) -> Taken:
        heap, state, saved, note = self._heap, self._known.state, self._saved, self._note
        known = Taken(self._entry, saved, state)
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
            # The file shows the document as it is: written by us before a kill, or edited alike
            # on both sides.
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
            reviews = review_notices.take_in(live, reading.update, seen, note, links)
        update = _undeleted(live, reading.update)
        seq: int | None
        if chosen is None or base is None or base.updates is None or not reading.is_whole:
            # Merged without a common history, or with edits of others in it: the file shows our
            # side only, unless there was no other.
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
        taken = Taken(
            self._entry, saved, state, live, update, seq, extra, reading.mentions,
            tuple(new_tags), reviews, older,
        )  # fmt: skip
        return self._done(taken, before, is_whole=reading.is_made and reading.is_whole)

    def _done(self, taken: Taken, before: Fields, *, is_whole: bool) -> Taken:
        """The same, and whether publishing would leave the file as it is.

        ``is_whole``: its body is known to show the document.
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
        # A link may stand under a former name.
        is_whole = is_whole and not taken.mentions
        text = signed(self._note, values) if is_whole else compose(self._note, view, values, links)
        if text != taken.saved.data:
            return taken
        seq = state.seq + (taken.update is not None)
        return replace(taken, seq=seq, extra=None, words=view.all_words())


def _awaited(heap: HeapContext, entry: EntryRow, fields: Fields) -> dict[str, str]:
    """Where contents of a note will stand that are not here yet, by key: a text may show one."""
    here = heap.index.attachments.get(entry.block_id, {})
    if all(f.key in here for f in fields.files):
        return {}
    paths = wanted_paths(Holding(entry.block_id, "note", entry.path, fields.files), here)
    return {k: p for k, p in paths.items() if k not in here}


def _is_gone_for_good(state: BlockState, live: Replica) -> bool:
    """Whether nothing brings a block back: its document says so, or the server's feed did, for the
    document knows of no deletion.
    """
    fields = live.fields()
    unknown = state.deleted_at_ms is not None and fields.deleted_at_ms is None
    return unknown or fields.permanently_deleted_at_ms is not None


def _undeleted(live: Replica, update: bytes | None) -> bytes | None:
    """An edit's update with the deletion taken back that came after the base it is measured from;
    the replica follows.
    """
    if live.fields().deleted_at_ms is None:
        return update
    restored = edit(live, Target(deleted_at_ms=None))
    assert restored.update is not None
    return restored.update if update is None else merge([update, restored.update])


def target_of(
    heap: HeapContext, change: FrontChange, known: Mapping[str, BlockId] = NO_TAGS
) -> tuple[Target, list[BlockState]]:
    """What a change of the front matter asks of the document, and the tag blocks it needs.

    Args:
        heap: the heap.
        change: of the front matter.
        known: tag blocks by title that are to be stored together with this one.
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
