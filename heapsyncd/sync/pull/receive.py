"""Store updates from the server, however they came.

Order of writes: the update, the block's row and the cursor are committed together; only then is
the folder changed. An update that comes twice, or has nothing new, leaves no trace.
"""

import time
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from heapsyncd.cache import blocks, crossings, history, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.crossings import Crossing
from heapsyncd.database import Tx
from heapsyncd.document.updates import EMPTY
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.sync.edits.fields import restore_folders
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.pull.absorb import Absorbed, Before, Incoming, absorb
from heapsyncd.sync.pull.crossed_edits import remember

log = structlog.get_logger()


async def receive(heap: HeapContext, items: Sequence[Incoming]) -> bool:
    """Store updates; return whether they had anything new.

    Updates of unknown blocks are ignored: the delta feed brings these.
    """
    stored: list[Absorbed] = []
    new: list[Incoming] = []
    for item in items:
        if _is_echo(heap, item):
            heap.link.recent_acks.echoed(item.id, item.sync_version, item.update)
        else:
            new.append(replace(item, unheard=_unheard(heap, item.id)))
    if not new:
        return False
    async with heap.lock, heap.link.choosing:
        # What was pushed while we waited was not reported before the update either.
        left = [
            replace(
                item,
                unheard=item.unheard | _unheard(heap, item.id),
                resumed=heap.link.recent_acks.resumed(item.id, time.monotonic()),
            )
            for item in new
        ]
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
        wake_push(heap)
    return bool(stored)


def wake_push(heap: HeapContext) -> None:
    """Have unsent edits sent that may be sent now; without any, nothing is looked for."""
    if heap.index.sendable() or heap.index.born:
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
    if link.live is None or not (link.follows_all or link.live.is_open(block)):
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
    every = await offload(lambda: [absorb(heap, k, r, i) for i, k, r in work])
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
            heap.request_rescan()
        elif one.replica is not None:
            heap.replicas.put(one.state.id, seq, one.replica)
            if one.crossed:
                remember(heap, [one.state.id])
        was_live = one.state.sync_version and one.state.deleted_at_ms is None
        if one.restart or not was_live or one.state.id not in heap.link.followed:
            heap.refollow([one.state.id])
    return absorbed


def _news(heap: HeapContext, every: Sequence[Absorbed]) -> list[Absorbed]:
    """Return what has to be stored; put the replicas of the rest back."""
    for one in every:
        heap.link.recent_acks.heard(one.state.id, None if one.is_whole else one.heard)
        if one.is_known and one.replica is not None:
            heap.replicas.put(one.state.id, one.state.seq, one.replica)
    return [a for a in every if not a.is_known]


def _read(
    tx: Tx, heap_id: HeapId, item: Incoming, sent: frozenset[int], held_at: int | None
) -> Before | None:
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
        return Before(state, [], unsent)
    return Before(state, blocks.log(tx, state.id), unsent, sent)


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
    if absorbed.crossed:
        crossings.add(tx, Crossing(block, now.seq + 1, absorbed.crossed))
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
