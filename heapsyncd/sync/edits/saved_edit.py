"""Work out what a saved file means for its document and the cache.

Runs in a thread, on values and on a replica that nobody else uses.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.history import Review
from heapsyncd.cache.renditions import Rendition
from heapsyncd.cache.search import Searched
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import joined, merge
from heapsyncd.errors import BlockError
from heapsyncd.model import Fields, LineBreaks, Source
from heapsyncd.sync.edits.fields import is_gone_for_good
from heapsyncd.sync.edits.saved_file import (
    SavedFile,
    StoredNote,
    note_files,
    target_of,
    with_line_breaks,
)
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.layout.attachments import AttachmentOwner, attachment_paths
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.base_selection import Choice, choose, was_written
from heapsyncd.sync.merge.file_merge import (
    MergeFiles,
    merge_by_files,
    shown_by,
    without_our_keys,
)
from heapsyncd.sync.merge.link_meanings import mentions
from heapsyncd.sync.merge.note_file import NoteFile, searched, shown_file, source_to_show
from heapsyncd.sync.merge.note_source import is_too_long, read_source, source_update
from heapsyncd.sync.merge.note_text import (
    Base,
    Note,
    front_change,
    our_keys,
    read_body,
    recall,
    shown_files,
    shows,
)
from heapsyncd.tree import Block


class SavedEdit(Struct, frozen=True):
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
    line_breaks: LineBreaks = "space"
    """What a line end in a paragraph of the file means."""
    older: bool = False
    """Whether it is an earlier text, saved over a newer one."""
    had_plans: bool = False
    """Whether there are planned texts, left by a kill."""
    plan: int | None = None
    """The number of the planned text that had been written."""
    abandoned: bool = False
    """Whether the note was deleted permanently: its file becomes another note."""
    searched: Searched | None = None
    """Set if publishing would leave the file as it is."""
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
        again: even an unchanged text may be an edit: names mean something else now, or the
            document has lost its source.
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
        heap, state, saved = self._heap, self._known.state, self._saved
        known = SavedEdit(self._entry, saved, state, live)
        if is_gone_for_good(state, live.fields()):
            return replace(known, live=None, abandoned=True)
        if saved.meant or self._again:
            ring = ring[:1]
        save = self._compared(live, ring)
        known = replace(known, line_breaks=self._note.line_breaks)
        if save.is_source and not self._again:
            # After a lost cache, a file that is exactly the source was not edited: what it has
            # and the document lacks was deleted by the app.
            return replace(known, mentions=mentions(live.view()))
        base, file, note = save.base, save.file, self._note
        change = front_change(
            base.note.front if base else None, note.front, (save.seen or file).title, file.title
        )
        target, new_tags = target_of(heap, change, {t: b.id for t, b in self._tags.items()})
        same = target == Target() and not self._again and (not ring or state.deleted_at_ms is None)
        is_shown = same and shows(note, live.view(), save.links)
        if not is_shown and state.deleted_at_ms is not None:
            target = replace(target, deleted_at_ms=None)  # an edit wins over a deletion
        merge_files = heap.dialect.merge_files
        if merge_files is not None and (base is None or base.updates is None):
            if not is_shown or self._is_restyled(save):
                return self._merged_edit(save, target, merge_files)
        elif not is_shown:
            return self._body_edit(save, target, new_tags)
        known = replace(known, seq=state.seq, mentions=mentions(live.view()))
        if self._is_restyled(save):
            if base is not None and base.updates is not None:
                return self._body_edit(save, target, new_tags)
            update = self._source_update(save, live.view(), new_tags)
            known = replace(known, update=update, seq=state.seq + (update is not None))
        # Otherwise we wrote the file before a kill, or both sides made the same edit.
        return self._done(known, save, is_whole=True)

    def _is_restyled(self, save: "_Save") -> bool:
        """Return whether a file that shows the document is another one than the document's."""
        live, view = save.live, save.live.view()
        links = save.links.restricted(mentions(view), shown_files(view))
        stored = read_source(live, live.view, links)
        if not self._heap.carries_source or stored.problem is not None:
            return False
        ours = our_keys(self._heap.index, self._known.state, self._entry.path, save.before)
        return shown_file(stored.source, view, ours, links) != self._saved.data

    def _compared(self, live: Replica, ring: Sequence[Rendition]) -> "_Save":
        heap, state, before = self._heap, self._known.state, live.fields()
        new_files = _awaited(heap, self._entry, before)
        links = NoteLinks(heap.index, state.id, aliases=True, new_files=new_files)
        blind = self._saved.is_blind
        chosen = choose(ring, self._saved.data, now_ms(), is_blind=blind) if ring else None
        base = self._known.base(chosen.rendition) if chosen else None
        source = read_source(live, live.view, links).source
        base, self._note = with_line_breaks(base, self._note, source, live.view(), links)
        path = self._entry.path
        seen, file = note_files(heap.index, self._known, path, base, self._note, before, source)
        is_source = base is None and file.source == source
        return _Save(live, before, links, chosen, base, seen, file, source, is_source=is_source)

    def _body_edit(
        self, save: "_Save", target: Target, new_tags: Sequence[BlockState]
    ) -> SavedEdit:
        """Return the edit of a file that does not show the document, or not with ``target``."""
        state, note, live, base = self._known.state, self._note, save.live, save.base
        chosen, client_id = save.chosen, self._heap.client_id
        updates = [r.data for r in self._known.rows]
        links = recall(base, note, live, updates, save.links)
        reading = read_body(base, note, live, updates, links, client_id, target)
        reviews: tuple[Review, ...] = ()
        if not reading.is_made:
            is_now = chosen is None or chosen.rendition.seq == state.seq
            reviews = review_notices.apply_edit(
                live, reading.update, None if is_now else base, note, links
            )
        update = _undeleted(live, reading.update)
        source = self._source_update(replace(save, links=links), reading.body, new_tags)
        update = joined([update, source])
        if source is not None and save.seen is not None and not reading.is_made:
            now = read_source(live, live.view, links).source
            seen, file = save.seen.source, save.file.source
            reviews += review_notices.front_notices(seen, file, save.source, now)
        taken = SavedEdit(
            self._entry, self._saved, state, live, update, None, None, reading.mentions,
            tuple(new_tags), self._reviews(reviews, chosen), note.line_breaks,
            chosen is not None and chosen.older,
        )  # fmt: skip
        if chosen is None or base is None or base.updates is None or not reading.is_whole:
            # The edit was merged without a common history or with edits of others: the file
            # shows the merged state only if nothing else was merged in.
            if shows(note, live.view(), links):
                taken = replace(taken, seq=state.seq + (update is not None))
        else:
            extra = joined([chosen.rendition.extra, reading.update, source])
            taken = replace(taken, seq=chosen.rendition.seq, extra=extra)
        return self._done(taken, save, is_whole=reading.is_made and reading.is_whole)

    def _merged_edit(self, save: "_Save", target: Target, merge_files: MergeFiles) -> SavedEdit:
        """Return the edit of a file that shares no history with the document, merged as a file."""
        state, live = self._known.state, save.live
        base = b"" if save.seen is None else without_our_keys(save.seen)
        made = merge_by_files(
            merge_files, base, without_our_keys(save.file), shown_by(live), self._note.line_breaks
        )
        update = made.apply_to(live, [r.data for r in self._known.rows], target)
        update = _undeleted(live, update)
        reviews = self._reviews(review_notices.merge_notices(made.notices), save.chosen)
        is_shown = shown_by(live) == without_our_keys(save.file)
        seq = state.seq + (update is not None) if is_shown else None
        older, mode = save.chosen is not None and save.chosen.older, self._note.line_breaks
        taken = SavedEdit(
            self._entry, self._saved, state, live, update, seq, reviews=reviews, older=older,
            line_breaks=mode,
        )  # fmt: skip
        return self._done(taken, save, is_whole=False)

    def _reviews(self, found: tuple[Review, ...], chosen: Choice | None) -> tuple[Review, ...]:
        """Return what a person should look at, with what the base and the deletion say."""
        if chosen is not None and chosen.older:
            found += (review_notices.STALE,)
        if self._known.state.deleted_at_ms is not None:
            found += (review_notices.KEPT,)
        return found

    def _source_update(
        self, save: "_Save", body: Block, new_tags: Sequence[BlockState]
    ) -> bytes | None:
        """Return the update of the source, after applying it.

        Args:
            save: the save; the edit is measured from the state of its base, if that is known.
            body: what the saved file reads as.
            new_tags: tags that are not in the index yet.
        """
        heap, state, live, base = self._heap, self._known.state, save.live, save.base
        if not heap.carries_source:
            return None
        if base is None and not live.source_size():
            return None  # publishing finds out what a document lacks, when all names are known
        origin = None if base is None else base.updates
        ours = our_keys(heap.index, state, self._entry.path, live.fields(), new_tags)
        seen = None if save.seen is None else save.seen.source
        update = source_update(
            [r.data for r in self._known.rows] if origin is None else origin,
            seen,
            save.file.source,
            ours,
            save.links,
            body,
            live=live,
            client_id=heap.client_id,
            after=live.view() if seen is None else None,
            is_now=origin is None,
        )
        if update is not None:
            live.apply(update)
        return update

    def _shown(self, save: "_Save", fields: Fields, *, is_whole: bool = False) -> bytes | None:
        """Return the file that publishing would write; None if it has something to report, too.

        Args:
            save: the save.
            fields: the document's now.
            is_whole: the file's body is known to show the document.
        """
        heap, live, agreed = self._heap, save.live, save.file.source
        view = live.view()
        links = save.links.restricted(mentions(view), shown_files(view))
        stored = read_source(live, live.view, links)
        if stored.problem is not None or is_too_long(agreed, view):
            return None
        source = source_to_show(stored, agreed, carries=heap.carries_source)
        ours = our_keys(heap.index, self._known.state, self._entry.path, fields)
        is_shown = is_whole and source.body == agreed.body
        return shown_file(source, view, ours, links, is_shown=is_shown)

    def _done(self, taken: SavedEdit, save: "_Save", *, is_whole: bool) -> SavedEdit:
        """Return the result, with ``searched`` set if publishing would leave the file as it is.

        ``is_whole``: the file's body is known to show the document.
        """
        live, state = save.live, taken.state
        now, view = live.fields(), live.view()
        shown = shown_files(view)
        is_same = state.deleted_at_ms is None and now == save.before
        if not is_same or now.files or shown or self._heap.layout.rearrange:
            return taken
        # A link may use a former name.
        is_whole = is_whole and not taken.mentions
        if self._shown(save, now, is_whole=is_whole) != taken.saved.data:
            return taken
        seq = state.seq + (taken.update is not None)
        return replace(taken, seq=seq, extra=None, searched=searched(taken.saved.data))


class _Save(Struct, frozen=True):
    """A saved file, compared with what is known of its note."""

    live: Replica
    before: Fields
    """The document's fields before the save."""
    links: NoteLinks
    """How names in the file become ids."""
    chosen: Choice | None
    base: Base | None
    """The rendition that the author edited; None: not known."""
    seen: NoteFile | None
    """The file of ``base``."""
    file: NoteFile
    source: Source | None
    """The document's before the save."""
    is_source: bool
    """Whether the file is exactly the document's source, and nothing else is known of it."""


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


def _undeleted(live: Replica, update: bytes | None) -> bytes | None:
    """Return an edit's update, extended to undo a deletion that came after its base.

    The replica is changed too.
    """
    if live.fields().deleted_at_ms is None:
        return update
    restored = edit(live, Target(deleted_at_ms=None))
    assert restored.update is not None
    return restored.update if update is None else merge([update, restored.update])
