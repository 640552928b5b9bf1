"""Updates from the server, however they came, into the cache.

Order of writes: the update, the row that describes it and the cursor are committed together; only
then does the folder hear of it. An update that comes twice, or that says nothing new, leaves no
trace.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from heapsyncd.cache import blocks, renditions
from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.database import Tx
from heapsyncd.document.edit import Wish, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import vector_of
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import Fields
from heapsyncd.sync import review
from heapsyncd.sync.apart import Apart
from heapsyncd.sync.blank import BLANKED, blanked
from heapsyncd.sync.merge import reexpress
from heapsyncd.sync.offloop import off_loop
from heapsyncd.sync.restate import restate
from heapsyncd.sync.review import Review
from heapsyncd.sync.rollback import is_behind
from heapsyncd.sync.state import HeapState, now_ms
from heapsyncd.tree import Block

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Incoming:
    """An update of one block. ``full``: the whole state of ``sync_version``.

    ``asked``: the version we had when we asked for it. One that is earlier is no late answer then:
    the server was put back.
    """

    id: BlockId
    sync_version: int
    update: bytes
    full: bool = False
    asked: int = 0


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
    forgot: bool = False
    """Whether the server lacks what it once acknowledged."""
    reviews: tuple[Review, ...] = ()


async def receive(heap: HeapState, items: Sequence[Incoming]) -> None:
    """Take updates in; blocks the cache does not know are passed over (the delta feed brings
    them).
    """
    async with heap.lock:
        left = list(items)
        while left:
            # Each round holds a block once, so that its second update is measured from its first.
            once = {item.id: item for item in reversed(left)}
            left = [item for item in left if once[item.id] is not item]
            await _round(heap, list(reversed(once.values())))
    heap.to_publish.set()
    heap.to_push.set()


async def _round(heap: HeapState, items: Sequence[Incoming]) -> None:
    now_s = time.monotonic()
    sent = {i.id: heap.sent.of(i.id, now_s) for i in items}
    found = await heap.db.read(lambda tx: [(i, _read(tx, heap, i, sent[i.id])) for i in items])
    work = [(item, known) for item, known in found if known is not None]
    absorbed = await off_loop(lambda: [_absorb(heap, k, i) for i, k in work])
    stored = await heap.db.write(lambda tx: [_store(tx, heap, a) for a in absorbed])
    if any(a.rows for a in absorbed):
        # Counted rightly soon; until then status must not say "in sync".
        heap.report.pending_down = max(1, heap.report.pending_down)
    for one, fresh in zip(absorbed, stored, strict=True):
        _settled(heap, one, fresh)
        if one.restart or not one.state.sync_version:
            heap.to_follow.set()


@dataclass(frozen=True, slots=True)
class _Found:
    """A block before an update: its row, its log (empty when the replica in memory is enough)."""

    state: BlockState
    rows: list[LogRow]
    unsent: bool
    """Whether there are edits that nobody but us can have seen."""
    sent: frozenset[int] = frozenset()
    """The log rows that others may not have seen although the server has."""

    def together(self, update: bytes, merged: Replica) -> Block | None:
        """The body that brings edits together which were made apart (``apart``); None: it is so
        already.
        """
        unsent = frozenset(r.seq for r in self.rows if r.local)
        if not (unsent or self.sent) or merged.has_pending():
            return None
        log_rows = [(r.seq, r.data) for r in self.rows]
        try:
            return Apart(log_rows, unsent, self.sent).together(update, merged)
        except BlockError as error:
            log.warning("edits not brought together", block=self.state.id, reason=str(error))
            return None


def _read(tx: Tx, heap: HeapState, item: Incoming, sent: frozenset[int]) -> _Found | None:
    state = blocks.get(tx, item.id)
    if state is None or state.heap_id != heap.id:
        return None
    unsent = blocks.has_unsent(tx, state.id)
    held = heap.replicas.get(state.id, state.seq)
    known = item.sync_version == state.sync_version and not item.full
    if held is not None and known and not (unsent or sent):
        return _Found(state, [], unsent)
    return _Found(state, blocks.log(tx, state.id), unsent, sent)


def _absorb(heap: HeapState, found: _Found, item: Incoming) -> Absorbed:
    """What one update means; runs in a thread, changes nothing but the replica in memory."""
    state = found.state
    is_back = item.full and item.sync_version < item.asked == state.sync_version
    if item.sync_version < state.sync_version and not is_back:
        return Absorbed(state, state.sync_version)
    try:
        with heap.at_work.on(state.id):
            if not state.seq and not state.born_here:
                return _first(heap, state, item)
            if is_back or item.sync_version > state.sync_version > 0:
                return _switch(heap, state, found.rows, item)
            return _append(heap, found, item)
    except BlockError as error:
        heap.replicas.drop(state.id)
        return Absorbed(
            state,
            item.sync_version,
            bad=(item.update, f"the server's document can't be read: {error}"),
        )


def _first(heap: HeapState, state: BlockState, item: Incoming) -> Absorbed:
    replica = Replica.load([item.update], heap.client_id)
    return Absorbed(
        state, item.sync_version, ((item.update, False),), replica=replica, fields=replica.fields()
    )


def _append(heap: HeapState, found: _Found, item: Incoming) -> Absorbed:
    state = found.state
    replica = heap.replicas.load(state.id, state.seq, [r.data for r in found.rows])
    heap.replicas.drop(state.id)
    new: list[tuple[bytes, bool]] = []
    reviews: tuple[Review, ...] = ()
    ours = replica.view() if found.unsent else None
    taken = replica.take(item.update)
    if taken.is_news:
        new.append((item.update, False))
    wish = _own_wish(found, replica.fields())
    if wish.deleted_at_ms is None:
        reviews += (review.KEPT,)
    if new:
        wish = replace(wish, body=found.together(item.update, replica))
    if wish != Wish():
        made = edit(replica, wish)
        if made.update is not None:
            new.append((made.update, True))
    if taken.changed and ours is not None:
        reviews += review.met(found.rows, item.update, ours, replica)
    known = [r.data for r in found.rows if not r.local]
    forgot = item.full and is_behind(vector_of([item.update]), known)
    if not new:
        heap.replicas.put(state.id, state.seq, replica)
        return Absorbed(state, item.sync_version, forgot=forgot)
    fields = replica.fields()
    return Absorbed(
        state, item.sync_version, tuple(new), replica=replica, fields=fields, reviews=reviews,
        forgot=forgot,
    )  # fmt: skip


def _own_wish(found: _Found, fields: Fields) -> Wish:
    """What we have to say to a document that just came from the server."""
    state, wish = found.state, Wish()
    if state.born_here and not fields.title and state.title:
        # The server knows the block now and its document has no title yet (PROTOCOL §4).
        wish = replace(wish, title=state.title)
    deleted_now = state.deleted_at_ms is None and fields.deleted_at_ms is not None
    if deleted_now and found.unsent:
        # Deleted by somebody who had not seen what was written here: an edit wins.
        wish = replace(wish, deleted_at_ms=None)
    return wish


def _switch(heap: HeapState, state: BlockState, rows: list[LogRow], item: Incoming) -> Absorbed:
    """The server compacted the document, or was put back to before that: take the other history,
    say anew what it lacks.
    """
    old = [r.data for r in rows if not r.local]
    is_new = item.sync_version > state.sync_version
    if is_new and blanked(old, [r.data for r in rows], item.update):
        return Absorbed(state, item.sync_version, bad=(item.update, BLANKED))
    say = reexpress if is_new else restate
    made = say(old, [r.data for r in rows], item.update, heap.client_id)
    new = [(made.state, False)] + ([(made.local, True)] if made.local is not None else [])
    replica = Replica.load([u for u, _ in new], heap.client_id)
    reviews: tuple[Review, ...] = ()
    if made.local is not None:
        ours, theirs = Replica.load([r.data for r in rows]).view(), Replica.load([item.update])
        reviews = review.compared(Replica.load(old), ours, theirs, replica)
    return Absorbed(
        state,
        item.sync_version,
        tuple(new),
        restart=True,
        replica=replica,
        fields=replica.fields(),
        reviews=reviews,
    )


def _store(tx: Tx, heap: HeapState, absorbed: Absorbed) -> BlockState | None:
    """Commit what an update meant; the block's new row."""
    block = absorbed.state.id
    if absorbed.bad is not None:
        blocks.quarantine(tx, block, *absorbed.bad, now_ms())
        blocks.update(tx, block, wanted=0)
        return None
    now = blocks.get(tx, block)
    assert now is not None
    values: dict[str, object] = {"problem": None}
    if now.problem is not None:
        values["stale"] = 1  # it may have been trouble with writing it
    if now.wanted <= absorbed.sync_version or absorbed.sync_version < now.sync_version:
        values["wanted"] = 0
        values["born_here"] = 0
    if absorbed.forgot:
        blocks.unacknowledge(tx, block)
    if absorbed.restart:
        blocks.restart_log(tx, block, absorbed.sync_version, absorbed.rows)
        renditions.forget_history(tx, block)
    else:
        for data, local in absorbed.rows:
            blocks.append(tx, block, data, local=local)
    if absorbed.fields is not None and absorbed.replica is not None:
        values |= heap.described(now, absorbed.fields)
        values["sync_version"] = absorbed.sync_version
        values["state_vector"] = absorbed.replica.state_vector()
        values["stale"] = 1
        blocks.set_tags(tx, block, absorbed.fields.tags)
    blocks.update(tx, block, **values)
    _keep_reviews(tx, heap, absorbed)
    fresh = blocks.get(tx, block)
    assert fresh is not None
    if fresh.kind in {"tag", "folder"} and (now.title, now.deleted_at_ms) != (
        fresh.title,
        fresh.deleted_at_ms,
    ):
        heap.touch_related(tx, block)
    return fresh


def _keep_reviews(tx: Tx, heap: HeapState, absorbed: Absorbed) -> None:
    """Keep the text that stands in the file until the next publish, which shows the merge."""
    block = absorbed.state.id
    path, base = heap.index.path_of.get(block), renditions.newest(tx, block)
    if path is not None and base is not None:
        review.keep(tx, heap.id, block, path, base.data, now_ms(), absorbed.reviews)


def _settled(heap: HeapState, absorbed: Absorbed, fresh: BlockState | None) -> None:
    """The commit is through: memory follows."""
    if fresh is None or absorbed.replica is None:
        return
    heap.learned(absorbed.state, fresh)
    heap.replicas.put(fresh.id, fresh.seq, absorbed.replica)
