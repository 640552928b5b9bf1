"""Store updates from the server, however they came.

Order of writes: the update, the block's row and the cursor are committed together; only then is
the folder changed. An update that comes twice, or has nothing new, leaves no trace.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from heapsyncd.cache import blocks, history, renditions
from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.cache.history import Review
from heapsyncd.database import Tx
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, brings_nothing, vector_of
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Fields
from heapsyncd.sync.edits.fields import first_title, own_target, restore_folders
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.blank_guard import BLANKED, blanked
from heapsyncd.sync.merge.common_base import word_counts
from heapsyncd.sync.merge.concurrent_edits import ConcurrentEdits
from heapsyncd.sync.merge.note_text import reexpress
from heapsyncd.sync.merge.rebase import rebase
from heapsyncd.sync.merge.undelete import NoteContent, is_deleted_elsewhere
from heapsyncd.sync.pull.crossed_edits import remember
from heapsyncd.sync.pull.server_rollback import is_behind
from heapsyncd.tree import Block

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Incoming:
    """An update of one block.

    * ``full``: it is the whole state of ``sync_version``.
    * ``asked``: the version we had when we asked for it. An earlier one is then no late answer:
      the server was rolled back.
    * ``known``: up to which number of our log the server had everything when it was asked.
    * ``unheard``: our rows that were pushed and that the server did not report before this update
      (the acknowledgement overtakes what the live link brings). Set by ``receive``.
    """

    id: BlockId
    sync_version: int
    update: bytes
    full: bool = False
    asked: int = 0
    known: int = 0
    unheard: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Absorbed:
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


async def receive(heap: HeapContext, items: Sequence[Incoming]) -> None:
    """Store updates. Updates of unknown blocks are ignored: the delta feed brings these."""
    stored: list[Absorbed] = []
    new: list[Incoming] = []
    for item in items:
        if _is_echo(heap, item):
            heap.link.recent_acks.echoed(item.id, item.sync_version, item.update)
        else:
            new.append(replace(item, unheard=_unheard(heap, item.id)))
    if not new:
        return
    async with heap.lock:
        left = new
        while left:
            # Each round holds a block once, so that its second update is measured from its first.
            once = {item.id: item for item in reversed(left)}
            left = [item for item in left if once[item.id] is not item]
            # Folders separately: restoring a block also changes its folders.
            for folders in (True, False):
                kinds = [(i, heap.index.kind(i.id)) for i in reversed(once.values())]
                some = [i for i, kind in kinds if (kind == "folder") == folders]
                if some:
                    stored += await _round(heap, some)
    if stored:
        heap.wake.publish.set()
    if any(a.lets_send for a in stored):
        heap.wake.push.set()


def _is_echo(heap: HeapContext, item: Incoming) -> bool:
    """Return whether an update is what this device just pushed, without reading the cache.

    Blocks with pending work or problems are never skipped: the update may resolve these.
    """
    index, block = heap.index, item.id
    return (
        not item.full
        and not (block in index.wanted or block in index.born or block in index.troubled)
        and heap.link.recent_acks.is_echo(block, item.sync_version, item.update)
    )


def _unheard(heap: HeapContext, block: BlockId) -> frozenset[int]:
    """Return our pushed rows of a block that a live link has not reported yet.

    What arrives meanwhile may have been written before the push arrived.
    """
    link = heap.link
    if link.live is None or not link.follows_all:
        return frozenset()
    return link.recent_acks.unheard(block, time.monotonic())


async def _round(heap: HeapContext, items: Sequence[Incoming]) -> list[Absorbed]:
    """Process at most one update of each block; return what was stored."""
    now_s = time.monotonic()
    acks = heap.link.recent_acks
    sent = {i.id: acks.of(i.id, now_s) for i in items}
    at = {i.id: heap.replicas.position(i.id) for i in items}
    found = await heap.db.read(
        lambda tx: [(i, _read(tx, heap.id, i, sent[i.id], at[i.id])) for i in items]
    )
    known = [(item, block) for item, block in found if block is not None]
    # Take the replicas out of the shared cache; put them back when the change is stored.
    work = [(i, k, heap.replicas.take(k.state.id, k.state.seq)) for i, k in known]
    every = await offload(lambda: [_absorb(heap, k, r, i) for i, k, r in work])
    absorbed = _news(heap, every)
    if not absorbed:
        return []
    back = [a.fields for a in absorbed if a.returns and a.state.kind != "folder"]
    for fields in (f for f in back if f is not None):
        # Folders first: after a kill in between, the update comes again and restores the block.
        await restore_folders(heap, heap.folder_of(fields.tags))
    seqs = await heap.store(lambda change: [_store(change, heap, a) for a in absorbed])
    if any(a.rows for a in absorbed):
        # The exact count follows soon; until then status must not say "in sync".
        heap.report.pending_down = max(1, heap.report.pending_down)
    for one, seq in zip(absorbed, seqs, strict=True):
        if seq is None:
            heap.look_at_files()
        elif one.replica is not None:
            heap.replicas.put(one.state.id, seq, one.replica)
            if one.crossed:
                remember(heap, one.state.id, one.crossed, seq + 1 - len(one.rows))
        was_live = one.state.sync_version and one.state.deleted_at_ms is None
        if one.restart or not was_live:
            heap.wake.follow.set()
    return absorbed


def _news(heap: HeapContext, every: Sequence[Absorbed]) -> list[Absorbed]:
    """Return what has to be stored; put the replicas of the rest back."""
    for one in every:
        heap.link.recent_acks.heard(one.state.id, None if one.is_whole else one.heard)
        if one.is_known and one.replica is not None:
            heap.replicas.put(one.state.id, one.state.seq, one.replica)
    return [a for a in every if not a.is_known]


@dataclass(frozen=True, slots=True)
class _Found:
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

    def together(self, update: bytes, merged: Replica) -> Block | None:
        """Return the body that merges concurrent edits; None if the plain merge is enough."""
        unsent = frozenset(r.seq for r in self.rows if r.local)
        if not (unsent or self.sent) or merged.has_pending():
            return None
        log_rows = [(r.seq, r.data) for r in self.rows]
        try:
            return ConcurrentEdits(log_rows, unsent, self.sent).merge(update, merged)
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


def _read(
    tx: Tx, heap_id: HeapId, item: Incoming, sent: frozenset[int], held_at: int | None
) -> _Found | None:
    """Return the block; ``held_at``: the log position of its replica in memory."""
    state = blocks.get(tx, item.id)
    if state is None or state.heap_id != heap_id:
        return None
    unsent = blocks.has_unsent(tx, state.id) or (
        state.kind == "folder" and blocks.has_unsent_below(tx, state.id)
    )
    known = item.sync_version == state.sync_version and not item.full
    says_nothing = item.update == EMPTY and not state.born_here
    if known and (says_nothing or (held_at == state.seq and not (unsent or sent))):
        return _Found(state, [], unsent)
    return _Found(state, blocks.log(tx, state.id), unsent, sent)


def _absorb(heap: HeapContext, found: _Found, held: Replica | None, item: Incoming) -> Absorbed:
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
                absorbed = _switch(state, found.rows, item, heap.client_id)
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


def _untold(found: _Found, held: Replica | None, version: int, client_id: int) -> Absorbed | None:
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


def _append(found: _Found, held: Replica | None, item: Incoming, client_id: int) -> Absorbed:
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
    ours = replica.view() if found.unsent or item.unheard else None
    trashed = NoteContent.of(replica) if found.state.deleted_at_ms is not None else None
    taken = replica.take(item.update)
    if taken.is_news:
        new.append((item.update, False))
    wins, reviews = _wins(found, item, trashed, replica)
    target = own_target(found.state, replica.fields(), wins=wins)
    if new and (wins or replica.fields().deleted_at_ms is None):
        target = replace(target, body=found.together(item.update, replica))
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
    found: _Found, item: Incoming, ours: Block | None, replica: Replica
) -> frozenset[int]:
    """Return our log rows of which an update removed words that crossed it on the way."""
    if not item.unheard or ours is None or not word_counts(ours) - word_counts(replica.view()):
        return frozenset()
    # Unsent rows build on them.
    return item.unheard | {r.seq for r in found.rows if r.local}


def _wins(
    found: _Found, item: Incoming, trashed: NoteContent | None, replica: Replica
) -> tuple[bool, tuple[Review, ...]]:
    """Return whether an edit wins over a deletion (``undelete``), and the notices about it.

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


def _switch(state: BlockState, rows: list[LogRow], item: Incoming, client_id: int) -> Absorbed:
    """Take over another history, and express again what it lacks of ours.

    The server compacted the document, or was rolled back to before that.
    """
    old = [r.data for r in rows if not r.local]
    is_new = item.sync_version > state.sync_version
    if is_new and blanked(old, [r.data for r in rows], item.update):
        return Absorbed(state, item.sync_version, bad=(item.update, BLANKED))
    say = reexpress if is_new else rebase
    made = say(old, [r.data for r in rows], item.update, client_id)
    new = [(made.state, False)] + ([(made.local, True)] if made.local is not None else [])
    replica = Replica.load([u for u, _ in new], client_id)
    fields, returns = replica.fields(), False
    reviews: tuple[Review, ...] = ()
    if made.local is not None:
        ours, theirs = Replica.load([r.data for r in rows]).view(), Replica.load([item.update])
        reviews = review_notices.overlap_notices_between(Replica.load(old), ours, theirs, replica)
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


def _store(change: Change, heap: HeapContext, absorbed: Absorbed) -> int | None:
    """Store what an update means; return the block's log position, None if it was forgotten."""
    tx, block = change.tx, absorbed.state.id
    if absorbed.bad is not None:
        change.quarantine(block, *absorbed.bad, now_ms())
        change.update(block, wanted=0)
        return absorbed.state.seq
    now = blocks.get(tx, block)
    assert now is not None
    # Live until now, and deleted for good it turns out.
    is_gone = absorbed.fields and absorbed.fields.permanently_deleted_at_ms is not None
    if is_gone and now.deleted_at_ms is None and change.abandon(now, heap.index.paths_of(block)):
        return None
    if absorbed.forgot:
        change.unacknowledge(block)
    if absorbed.restart:
        change.restart_log(block, absorbed.sync_version, absorbed.rows)
        renditions.forget_history(tx, block)
    else:
        for data, local in absorbed.rows:
            change.append(block, data, local=local)
    if absorbed.vector is not None:
        renditions.shown_too(tx, block, now.seq, now.seq + 1)
    change.update(block, **_columns(change, now, absorbed))
    fresh = blocks.get(tx, block)
    assert fresh is not None
    if now.deleted_at_ms is not None and fresh.deleted_at_ms is None:
        history.revive(tx, block, now_ms())
    at = heap.index.path_of.get(block)
    history.keep_reviews_of_file(tx, heap.id, block, at, now_ms(), absorbed.reviews)
    same = (now.title, now.deleted_at_ms) == (fresh.title, fresh.deleted_at_ms)
    if fresh.kind in {"tag", "folder"} and not same:
        change.touch_related(block)
    return fresh.seq


def _columns(change: Change, now: BlockState, absorbed: Absorbed) -> dict[str, object]:
    """Return the columns of a block's row after an update."""
    values: dict[str, object] = {}
    if now.problem is not None:
        values["stale"] = 1  # the problem may have been one of writing it
        if absorbed.is_whole:
            blocks.release(change.tx, now.id)
        # A good update does not make up for an earlier one that could not be loaded.
        if not blocks.is_quarantined(change.tx, now.id):
            values["problem"] = None
    if now.wanted <= absorbed.sync_version or absorbed.sync_version < now.sync_version:
        values["wanted"] = 0
        values["born_here"] = 0
    if absorbed.vector is not None:
        values |= {"sync_version": absorbed.sync_version, "state_vector": absorbed.vector}
        if now.kind != "document":
            values["stale"] = 1
    if absorbed.fields is not None and absorbed.replica is not None:
        values |= change.describe(now, absorbed.fields)
        values["sync_version"] = absorbed.sync_version
        values["state_vector"] = absorbed.replica.state_vector()
        values["stale"] = 1
    return values
