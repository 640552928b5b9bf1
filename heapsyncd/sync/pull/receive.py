"""Updates from the server, however they came, into the cache.

Order of writes: the update, the row that describes it and the cursor are committed together; only
then does the folder hear of it. An update that comes twice, or that says nothing new, leaves no
trace.
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
from heapsyncd.document.updates import brings_nothing, vector_of
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Fields
from heapsyncd.sync.edits.fields import bring_folders_back
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.blank_guard import BLANKED, blanked
from heapsyncd.sync.merge.common_base import said
from heapsyncd.sync.merge.concurrent_edits import ConcurrentEdits
from heapsyncd.sync.merge.note_text import reexpress
from heapsyncd.sync.merge.rebase import restate
from heapsyncd.sync.merge.undelete import Said
from heapsyncd.sync.pull.crossed_edits import remember
from heapsyncd.sync.pull.server_rollback import is_behind
from heapsyncd.tree import Block

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Incoming:
    """An update of one block. ``full``: the whole state of ``sync_version``.

    ``asked``: the version we had when we asked for it. One that is earlier is no late answer then:
    the server was put back.

    ``known``: up to which number of our log the server had everything when it was asked.

    ``unheard``: our rows that were pushed, when the server has told nothing of that up to this
    update: the acknowledgement overtakes what the live link brings. Set by ``receive``.
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
    """As it was before."""
    sync_version: int
    rows: tuple[tuple[bytes, bool], ...] = ()
    """New log rows (update, local)."""
    restart: bool = False
    """Whether the rows replace the log (another sync_version)."""
    replica: Replica | None = None
    fields: Fields | None = None
    bad: tuple[bytes, str] | None = None
    """An update that could not be loaded, and why."""
    is_whole: bool = False
    """Whether all that the server has is here now: it answered a pull."""
    forgot: bool = False
    """Whether the server lacks what it once acknowledged."""
    returns: bool = False
    """Whether an edit won over a deletion: the folders it stands in come back with it."""
    reviews: tuple[Review, ...] = ()
    heard: frozenset[int] = frozenset()
    """Our rows that the server tells of by it."""
    crossed: frozenset[int] = frozenset()
    """Our rows that the author of the update could not know, when it removed words."""

    @property
    def is_known(self) -> bool:
        """Whether there is nothing to store: an echo, or an answer to somebody who has all."""
        return self.fields is None and self.bad is None and not self.lets_send

    @property
    def lets_send(self) -> bool:
        """Whether there may be edits to send now that were not, or could not be sent, before."""
        held_up = self.state.wanted or self.state.born_here or self.state.problem is not None
        return bool(held_up) or self.forgot or any(is_local for _, is_local in self.rows)


async def receive(heap: HeapContext, items: Sequence[Incoming]) -> None:
    """Take updates in; blocks the cache does not know are passed over (the delta feed brings
    them).
    """
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
            # Folders by themselves: what comes back changes those that it stands in.
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
    """Whether an update is what this device has just pushed, told without looking at the cache. A
    block in any other state than settled is looked at: hearing of it may end that.
    """
    index, block = heap.index, item.id
    return (
        not item.full
        and not (block in index.wanted or block in index.born or block in index.troubled)
        and heap.link.recent_acks.is_echo(block, item.sync_version, item.update)
    )


def _unheard(heap: HeapContext, block: BlockId) -> frozenset[int]:
    """Our rows of a block that were pushed, when the server has told nothing of it since, though a
    live link would bring it: what comes from there may have been written before the push arrived.
    """
    link = heap.link
    if link.live is None or not link.follows_all:
        return frozenset()
    return link.recent_acks.unheard(block, time.monotonic())


async def _round(heap: HeapContext, items: Sequence[Incoming]) -> list[Absorbed]:
    """Take in at most one update of each block; what of it was stored."""
    now_s = time.monotonic()
    acks = heap.link.recent_acks
    sent = {i.id: acks.of(i.id, now_s) for i in items}
    at = {i.id: heap.replicas.position(i.id) for i in items}
    found = await heap.db.read(
        lambda tx: [(i, _read(tx, heap.id, i, sent[i.id], at[i.id])) for i in items]
    )
    known = [(item, block) for item, block in found if block is not None]
    # Taken out of the shared ones: what is changed here is put back when that is stored.
    work = [(i, k, heap.replicas.take(k.state.id, k.state.seq)) for i, k in known]
    every = await offload(lambda: [_absorb(heap, k, r, i) for i, k, r in work])
    absorbed = _news(heap, every)
    if not absorbed:
        return []
    back = [a.fields for a in absorbed if a.returns and a.state.kind != "folder"]
    for fields in (f for f in back if f is not None):
        # Before it: after a kill in between it comes, and comes back, once more.
        await bring_folders_back(heap, heap.folder_of(fields.tags))
    seqs = await heap.store(lambda change: [_store(change, heap, a) for a in absorbed])
    if any(a.rows for a in absorbed):
        # Counted rightly soon; until then status must not say "in sync".
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
    """What is to be stored; of the rest the replicas are put back."""
    for one in every:
        heap.link.recent_acks.heard(one.state.id, None if one.is_whole else one.heard)
        if one.is_known and one.replica is not None:
            heap.replicas.put(one.state.id, one.state.seq, one.replica)
    return [a for a in every if not a.is_known]


@dataclass(frozen=True, slots=True)
class _Found:
    """A block before an update: its row, its log (empty when the replica in memory is enough)."""

    state: BlockState
    rows: list[LogRow]
    unsent: bool
    """Whether there are edits, of a folder also in it, that nobody but us can have seen."""
    sent: frozenset[int] = frozenset()
    """The log rows that others may not have seen although the server has."""

    def has_all_of(self, update: bytes) -> bool:
        """Whether an update certainly says nothing, found without the replica: what a server
        answers to one who lacks nothing still holds all deletions.
        """
        vector = self.state.state_vector
        if self.state.born_here or vector is None or not self.rows:
            return False
        return brings_nothing(update, vector, (r.data for r in self.rows))

    def together(self, update: bytes, merged: Replica) -> Block | None:
        """The body that brings edits together which were made apart (``concurrent_edits``); None:
        it is so already.
        """
        unsent = frozenset(r.seq for r in self.rows if r.local)
        if not (unsent or self.sent) or merged.has_pending():
            return None
        log_rows = [(r.seq, r.data) for r in self.rows]
        try:
            return ConcurrentEdits(log_rows, unsent, self.sent).together(update, merged)
        except BlockError as error:
            log.warning("edits not brought together", block=self.state.id, reason=str(error))
            return None

    def told_of(self, item: Incoming) -> frozenset[int]:
        """The rows we pushed that are in an update which is none of our pushes by its bytes: the
        server may spell it otherwise, or send several as one.
        """
        mine = [r for r in self.rows if r.seq in item.unheard]
        if not mine:
            return frozenset()
        there = [r.data for r in self.rows if r.seq not in item.unheard] + [item.update]
        vector = vector_of(there)
        return frozenset(r.seq for r in mine if brings_nothing(r.data, vector, there))

    def is_deleted_elsewhere(self, update: bytes, here: Said) -> bool:
        """Whether an update brings a deletion by somebody else beside one that is not sent yet: of
        the two the document shows either.
        """
        if not self.unsent:
            return False
        theirs = Replica.load([*(r.data for r in self.rows if not r.local), update])
        return not theirs.has_pending() and theirs.fields().deleted_at_ms not in {
            None, here.fields.deleted_at_ms,
        }  # fmt: skip


def _read(
    tx: Tx, heap_id: HeapId, item: Incoming, sent: frozenset[int], held_at: int | None
) -> _Found | None:
    """The block; ``held_at``: the log position of its replica in memory."""
    state = blocks.get(tx, item.id)
    if state is None or state.heap_id != heap_id:
        return None
    unsent = blocks.has_unsent(tx, state.id) or (
        state.kind == "folder" and blocks.has_unsent_below(tx, state.id)
    )
    known = item.sync_version == state.sync_version and not item.full
    if held_at == state.seq and known and not (unsent or sent):
        return _Found(state, [], unsent)
    return _Found(state, blocks.log(tx, state.id), unsent, sent)


def _absorb(heap: HeapContext, found: _Found, held: Replica | None, item: Incoming) -> Absorbed:
    """What one update means; runs in a thread, and changes nothing but the replica.

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
            heard = found.told_of(item) if absorbed.is_known else frozenset[int]()
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


def _append(found: _Found, held: Replica | None, item: Incoming, client_id: int) -> Absorbed:
    known = [r.data for r in found.rows if r.seq <= item.known]
    forgot = item.full and is_behind(vector_of([item.update]), known)
    if found.has_all_of(item.update):
        return Absorbed(found.state, item.sync_version, replica=held, forgot=forgot)
    replica = held or Replica.load([r.data for r in found.rows], client_id)
    new: list[tuple[bytes, bool]] = []
    ours = replica.view() if found.unsent or item.unheard else None
    trashed = Said.of(replica) if found.state.deleted_at_ms is not None else None
    taken = replica.take(item.update)
    if taken.is_news:
        new.append((item.update, False))
    wins, reviews = _wins(found, item, trashed, replica)
    target = _own_target(found.state, replica.fields(), wins=wins)
    if new and (wins or replica.fields().deleted_at_ms is None):
        target = replace(target, body=found.together(item.update, replica))
    if target != Target():
        made = edit(replica, target)
        if made.update is not None:
            new.append((made.update, True))
    if taken.changed and found.unsent and ours is not None:
        reviews += review_notices.met(found.rows, item.update, ours, replica)
    if not new:
        return Absorbed(found.state, item.sync_version, replica=replica, forgot=forgot)
    fields = replica.fields()
    crossed = frozenset[int]()
    if item.unheard and taken.is_news and ours is not None and said(ours) - said(replica.view()):
        # What is unsent goes on from it.
        crossed = item.unheard | {r.seq for r in found.rows if r.local}
    return Absorbed(
        found.state, item.sync_version, tuple(new), replica=replica, fields=fields,
        reviews=reviews, forgot=forgot, returns=wins, crossed=crossed,
    )  # fmt: skip


def _wins(
    found: _Found, item: Incoming, trashed: Said | None, replica: Replica
) -> tuple[bool, tuple[Review, ...]]:
    """Whether an edit wins over a deletion (``undelete``), and what is to be told of it.

    Args:
        found: the block before the update came.
        item: what came.
        trashed: what its document said then; None: it was not deleted.
        replica: with the update.
    """
    if trashed is None:
        # Deleted by somebody who had not seen what was written here.
        is_unseen = found.unsent or bool(item.unheard)
        wins = is_unseen and replica.fields().deleted_at_ms is not None
        return (True, (review_notices.KEPT,)) if wins else (False, ())
    now = Said.of(replica)
    if now.comes_back(trashed) and not found.is_deleted_elsewhere(item.update, trashed):
        return True, (review_notices.BACK,)
    # Another device was faster.
    return now.fields.deleted_at_ms is None and now.adds_to(trashed), ()


def _own_target(state: BlockState, fields: Fields, *, wins: bool) -> Target:
    """What we have to say to a document that just came from the server."""
    target = Target(deleted_at_ms=None) if wins and fields.deleted_at_ms is not None else Target()
    if state.born_here and not fields.title and state.title:
        # The server knows the block now and its document has no title yet (PROTOCOL §4).
        target = replace(target, title=state.title)
    return target


def _switch(state: BlockState, rows: list[LogRow], item: Incoming, client_id: int) -> Absorbed:
    """The server compacted the document, or was put back to before that: take the other history,
    say anew what it lacks.
    """
    old = [r.data for r in rows if not r.local]
    is_new = item.sync_version > state.sync_version
    if is_new and blanked(old, [r.data for r in rows], item.update):
        return Absorbed(state, item.sync_version, bad=(item.update, BLANKED))
    say = reexpress if is_new else restate
    made = say(old, [r.data for r in rows], item.update, client_id)
    new = [(made.state, False)] + ([(made.local, True)] if made.local is not None else [])
    replica = Replica.load([u for u, _ in new], client_id)
    fields, returns = replica.fields(), False
    reviews: tuple[Review, ...] = ()
    if made.local is not None:
        ours, theirs = Replica.load([r.data for r in rows]).view(), Replica.load([item.update])
        reviews = review_notices.compared(Replica.load(old), ours, theirs, replica)
        returns = fields.deleted_at_ms is None and theirs.fields().deleted_at_ms is not None
    if state.deleted_at_ms is not None:
        # Deleted here, and not there: the deletion was not said anew.
        returns = fields.deleted_at_ms is None and (returns or len(old) < len(rows))
    if returns:
        reviews += (review_notices.KEPT if state.deleted_at_ms is None else review_notices.BACK,)
    return Absorbed(
        state, item.sync_version, tuple(new), restart=True, replica=replica, fields=fields,
        returns=returns, reviews=reviews,
    )  # fmt: skip


def _store(change: Change, heap: HeapContext, absorbed: Absorbed) -> int | None:
    """Store what an update meant; the block's new position in its log, None when it is no more."""
    tx, block = change.tx, absorbed.state.id
    if absorbed.bad is not None:
        change.quarantine(block, *absorbed.bad, now_ms())
        change.update(block, wanted=0)
        return absorbed.state.seq
    now = blocks.get(tx, block)
    assert now is not None
    if _is_gone_now(now, absorbed) and change.abandon(now, heap.index.paths_of(block)):
        return None
    if absorbed.forgot:
        change.unacknowledge(block)
    if absorbed.restart:
        change.restart_log(block, absorbed.sync_version, absorbed.rows)
        renditions.forget_history(tx, block)
    else:
        for data, local in absorbed.rows:
            change.append(block, data, local=local)
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


def _is_gone_now(now: BlockState, absorbed: Absorbed) -> bool:
    """Whether a live block turns out to be deleted for good."""
    fields = absorbed.fields
    gone = fields is not None and fields.permanently_deleted_at_ms is not None
    return gone and now.deleted_at_ms is None


def _columns(change: Change, now: BlockState, absorbed: Absorbed) -> dict[str, object]:
    """The columns of a block's row after an update."""
    values: dict[str, object] = {}
    if now.problem is not None:
        values["stale"] = 1  # it may have been trouble with writing it
        if absorbed.is_whole:
            blocks.release(change.tx, now.id)
        # A sound update heals nothing of one before it that could not be loaded.
        if not blocks.is_quarantined(change.tx, now.id):
            values["problem"] = None
    if now.wanted <= absorbed.sync_version or absorbed.sync_version < now.sync_version:
        values["wanted"] = 0
        values["born_here"] = 0
    if absorbed.fields is not None and absorbed.replica is not None:
        values |= change.describe(now, absorbed.fields)
        values["sync_version"] = absorbed.sync_version
        values["state_vector"] = absorbed.replica.state_vector()
        values["stale"] = 1
    return values
