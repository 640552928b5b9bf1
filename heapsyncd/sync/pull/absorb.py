"""Work out what an update from the server means for a block. Values in, values out.

Nothing is stored here: ``receive`` reads the block, calls ``absorb`` in a thread, and stores the
result.
"""

import structlog
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.cache.history import Review
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, brings_nothing, vector_of
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import Fields
from heapsyncd.sync.edits.fields import first_title, own_target
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.blank_guard import BLANKED, blanked
from heapsyncd.sync.merge.common_base import word_counts
from heapsyncd.sync.merge.concurrent_edits import ConcurrentEdits
from heapsyncd.sync.merge.note_text import reexpress
from heapsyncd.sync.merge.rebase import rebase
from heapsyncd.sync.merge.review_notices import NoteState
from heapsyncd.sync.merge.undelete_note import NoteContent, is_deleted_elsewhere
from heapsyncd.sync.pull.server_rollback import is_behind
from heapsyncd.tree import Block

log = structlog.get_logger()


class Incoming(Struct, frozen=True):
    """An update of one block.

    * ``full``: it is the whole state of ``sync_version``.
    * ``asked``: the version we had when we asked for it. An earlier one is then no late answer:
      the server was rolled back.
    * ``known``: up to which number of our log the server had everything when it was asked.
    * ``unheard``: our rows that were pushed and that the server did not report before this update
      (the acknowledgement overtakes what the live link brings). Set by ``receive``.
    * ``resumed``: the same of rows pushed in the last run, or before the live link ended.
    """

    id: BlockId
    sync_version: int
    update: bytes
    full: bool = False
    asked: int = 0
    known: int = 0
    unheard: frozenset[int] = frozenset()
    resumed: frozenset[int] = frozenset()


class Absorbed(Struct, frozen=True):
    """What an incoming update means for a block."""

    state: BlockState
    """The row before the update."""
    sync_version: int
    rows: tuple[tuple[bytes, bool], ...] = ()
    """New log rows (update, local)."""
    restart: bool = False
    """Whether the rows replace the log (another sync_version)."""
    replica: Replica | None = None
    fields: Fields | None = None
    vector: bytes | None = None
    """The document's state vector, if nothing but the row's title was written into it."""
    bad: tuple[bytes, str] | None = None
    """An update that could not be loaded, and the reason."""
    is_whole: bool = False
    """Whether everything the server has is here now: it answered a pull."""
    forgot: bool = False
    """Whether the server lacks what it once acknowledged."""
    returns: bool = False
    """Whether an edit won over a deletion: the block's folders are restored with it."""
    reviews: tuple[Review, ...] = ()
    heard: frozenset[int] = frozenset()
    """Our pushed rows that the server reports with the update."""
    crossed: frozenset[int] = frozenset()
    """Our rows that the author of the update could not know, if it removed words."""

    @property
    def is_known(self) -> bool:
        """Return whether there is nothing to store: an echo, or an answer with nothing new."""
        return self.fields is None and self.bad is None and not self.lets_send

    @property
    def lets_send(self) -> bool:
        """Return whether edits may be sent now that could not be sent before."""
        held_up = self.state.wanted or self.state.born_here or self.state.problem is not None
        return bool(held_up) or self.forgot or any(is_local for _, is_local in self.rows)


class Before(Struct, frozen=True):
    """A block before an update: its row, and its log unless the replica in memory is enough."""

    state: BlockState
    rows: list[LogRow]
    unsent: bool
    """Whether there are edits, for a folder also inside it, that only we can have seen."""
    sent: frozenset[int] = frozenset()
    """The log rows that others may not have seen although the server has them."""

    def has_all_of(self, update: bytes) -> bool:
        """Return whether an update certainly has nothing new, found without the replica.

        Even the server's answer to a peer that lacks nothing contains all deletions.
        """
        vector = self.state.state_vector
        if self.state.born_here or vector is None or not self.rows:
            return False
        return brings_nothing(update, vector, (r.data for r in self.rows))

    def together(self, item: Incoming, merged: Replica) -> Block | None:
        """Return the body that merges concurrent edits; None if the plain merge is enough."""
        unsent = frozenset(r.seq for r in self.rows if r.local)
        if not (unsent or self.sent) or merged.has_pending():
            return None
        log_rows = [(r.seq, r.data) for r in self.rows]
        try:
            apart = ConcurrentEdits(log_rows, unsent, self.sent, unsent & item.unheard)
            return apart.merge(item.update, merged)
        except BlockError as error:
            log.warning("cannot merge concurrent edits", block=self.state.id, reason=str(error))
            return None

    def reported(self, item: Incoming) -> frozenset[int]:
        """Return our pushed rows that an update contains which is no echo by its bytes.

        A server may encode a push in another way, or send several as one update.
        """
        mine = [r for r in self.rows if r.seq in item.unheard]
        if not mine:
            return frozenset()
        there = [r.data for r in self.rows if r.seq not in item.unheard] + [item.update]
        vector = vector_of(there)
        return frozenset(r.seq for r in mine if brings_nothing(r.data, vector, there))


def absorb(heap: HeapContext, found: Before, held: Replica | None, item: Incoming) -> Absorbed:
    """Return what one update means; runs in a thread, and changes only the replica.

    Args:
        heap: the heap.
        found: the block.
        held: its replica, if it was in memory.
        item: the update.
    """
    state = found.state
    is_back = item.full and item.sync_version < item.asked == state.sync_version
    if item.sync_version < state.sync_version and not is_back:
        return Absorbed(state, state.sync_version, replica=held)
    try:
        with heap.at_work.on(state.id):
            if not state.seq and not state.born_here:
                absorbed = _first(state, item, heap.client_id)
            elif is_back or item.sync_version > state.sync_version > 0:
                absorbed = _switch(heap, state, found.rows, item)
            else:
                absorbed = _append(found, held, item, heap.client_id)
            heard = found.reported(item) if absorbed.is_known else frozenset[int]()
            return replace(absorbed, is_whole=item.asked > 0, heard=heard)
    except BlockError as error:
        return Absorbed(
            state,
            item.sync_version,
            bad=(item.update, f"the server's document can't be read: {error}"),
        )


def _first(state: BlockState, item: Incoming, client_id: int) -> Absorbed:
    replica, rows = Replica.load([item.update], client_id), ((item.update, False),)
    return Absorbed(state, item.sync_version, rows, replica=replica, fields=replica.fields())


def _untold(found: Before, held: Replica | None, version: int, client_id: int) -> Absorbed | None:
    """Return what an answer with nothing new means; None if the document has to be loaded."""
    if not found.state.born_here:
        return Absorbed(found.state, version, replica=held)
    made = first_title(found.state, found.rows, client_id)
    if made is None:
        return None
    update, vector = made
    if held is not None:
        held.apply(update)
    return Absorbed(found.state, version, ((update, True),), replica=held, vector=vector)


def _append(found: Before, held: Replica | None, item: Incoming, client_id: int) -> Absorbed:
    if item.update == EMPTY and not item.full:
        untold = _untold(found, held, item.sync_version, client_id)
        if untold is not None:
            return untold
    known = [r.data for r in found.rows if r.seq <= item.known]
    forgot = item.full and is_behind(vector_of([item.update]), known)
    if found.has_all_of(item.update):
        return Absorbed(found.state, item.sync_version, replica=held, forgot=forgot)
    replica = held or Replica.load([r.data for r in found.rows], client_id)
    new: list[tuple[bytes, bool]] = []
    ours = NoteState.of(replica) if found.unsent or item.unheard or item.resumed else None
    trashed = NoteContent.of(replica) if found.state.deleted_at_ms is not None else None
    taken = replica.take(item.update)
    if taken.is_news:
        new.append((item.update, False))
    wins, reviews = _wins(found, item, trashed, replica)
    target = own_target(found.state, replica.fields(), wins=wins)
    if new and (wins or replica.fields().deleted_at_ms is None):
        target = replace(target, body=found.together(item, replica))
    if target != Target():
        made = edit(replica, target)
        if made.update is not None:
            new.append((made.update, True))
    if taken.changed and found.unsent and ours is not None:
        reviews += review_notices.overlap_notices(found.rows, item.update, ours, replica)
    if not new:
        return Absorbed(found.state, item.sync_version, replica=replica, forgot=forgot)
    return Absorbed(
        found.state, item.sync_version, tuple(new), replica=replica, fields=replica.fields(),
        reviews=reviews, forgot=forgot, returns=wins,
        crossed=_crossed(found, item, ours, replica) if taken.is_news else frozenset(),
    )  # fmt: skip


def _crossed(
    found: Before, item: Incoming, ours: NoteState | None, replica: Replica
) -> frozenset[int]:
    """Return our log rows of which an update removed words that crossed it on the way."""
    unheard = item.unheard | item.resumed
    if not unheard or ours is None:
        return frozenset()
    if not word_counts(ours.view) - word_counts(replica.view()):
        return frozenset()
    # Unsent rows build on them.
    return unheard | {r.seq for r in found.rows if r.local}


def _wins(
    found: Before, item: Incoming, trashed: NoteContent | None, replica: Replica
) -> tuple[bool, tuple[Review, ...]]:
    """Return whether an edit wins over a deletion (``undelete_note``), and the notices about it.

    Args:
        found: the block before the update.
        item: the update.
        trashed: the document's content before, if it was deleted; None: it was not.
        replica: with the update.
    """
    if trashed is None:
        # Deleted by somebody who had not seen our edits.
        is_unseen = found.unsent or bool(item.unheard)
        wins = is_unseen and replica.fields().deleted_at_ms is not None
        return (True, (review_notices.KEPT,)) if wins else (False, ())
    now = NoteContent.of(replica)
    others = [*(r.data for r in found.rows if not r.local), item.update] if found.unsent else []
    if now.must_be_restored(trashed) and not is_deleted_elsewhere(others, trashed):
        return True, (review_notices.BACK,)
    # Another device restored it first.
    return now.fields.deleted_at_ms is None and now.adds_to(trashed), ()


def _switch(heap: HeapContext, state: BlockState, rows: list[LogRow], item: Incoming) -> Absorbed:
    """Take over another history, and express again what it lacks of ours.

    The server compacted the document, or was rolled back to before that.
    """
    old, everything = [r.data for r in rows if not r.local], [r.data for r in rows]
    client_id, merge_files = heap.client_id, heap.dialect.merge_files
    if item.sync_version < state.sync_version:
        made = rebase(old, everything, item.update, client_id)
    elif merge_files is None and blanked(old, everything, item.update):
        return Absorbed(state, item.sync_version, bad=(item.update, BLANKED))
    else:
        made = reexpress(old, everything, item.update, client_id, merge_files)
    new = [(made.state, False)] + ([(made.local, True)] if made.local is not None else [])
    replica = Replica.load([u for u, _ in new], client_id)
    fields, returns = replica.fields(), False
    reviews: tuple[Review, ...] = ()
    if made.local is not None:
        theirs = Replica.load([item.update])
        reviews = review_notices.merge_notices(made.notices or ())
        if made.notices is None:
            ours = NoteState.of(Replica.load(everything))
            reviews = review_notices.overlap_notices_between(
                Replica.load(old), ours, theirs, replica
            )
        returns = fields.deleted_at_ms is None and theirs.fields().deleted_at_ms is not None
    if state.deleted_at_ms is not None:
        # It was deleted here and not there, and the deletion was not repeated.
        returns = fields.deleted_at_ms is None and (returns or len(old) < len(rows))
    if returns:
        reviews += (review_notices.KEPT if state.deleted_at_ms is None else review_notices.BACK,)
    return Absorbed(
        state, item.sync_version, tuple(new), restart=True, replica=replica, fields=fields,
        returns=returns, reviews=reviews,
    )  # fmt: skip
