"""Push unacknowledged updates to the server, and store what it answers.

Sending twice is harmless: an update stays marked as unsent until its acknowledgement over HTTP is
committed.
"""

import asyncio
import heapq
import time
from collections.abc import Container, Iterable, Mapping, Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache import blocks, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.errors import BlockError, PeerError, RequestRefused, leaf_errors
from heapsyncd.ids import BlockId
from heapsyncd.model import Push, PushResult
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.offload import offload, share_out
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.placement import folders_from
from heapsyncd.sync.pull.server_rollback import resend_forgotten
from heapsyncd.sync.push.oversized import sent_live
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

BATCH = 200
INSERT_BATCH = 100
INSERTS_AT_ONCE = 8
REFUSED_MOST = 8
"""If this many edits are refused one by one, the cause is not their content."""
_DEEPEST = 1 << 20
"""No folder is in so many others."""
_ITS_CONTENT = frozenset({400, 409, 413, 415, 422})


class _Unsent(Struct, frozen=True):
    state: BlockState
    rows: tuple[int, ...]
    update: bytes


class _Moot(Struct, frozen=True):
    """A block as the server has it, found when its log had come to ``seq``."""

    seq: int
    there: Replica
    document: bytes


async def push(heap: HeapContext) -> bool:
    """Create the blocks the server does not know, and send what is unsent.

    Returns:
        Whether there was anything to send.

    Raises:
        TryLater, SignInRefused, PeerError: the server cannot be reached or refuses; what was
            acknowledged is stored.
    """
    sent = await _insert_born(heap)
    while True:
        async with heap.link.choosing:
            batch = await _unsent(heap)
            if not batch:
                return sent
            if not heap.link.current.is_set():
                heap.wake.push.set()
                return sent
            _note_pushed(heap, batch)
        refused: dict[BlockId, str] = {}
        results = await _put_back(heap, batch, await _send(heap, batch, refused))
        moot = await _moot(heap, results)
        # Note them before the commit: an update received right after it may not include them.
        accepted = {r.id for r in results if r.status == "ok"}
        _note_acknowledged(heap, batch, accepted)
        results = [replace(r, status="ok") if r.id in moot else r for r in results]
        await heap.store(
            lambda change, b=batch, r=results, why=refused, m=moot: _answered(change, b, r, why, m)  # type: ignore[misc]
        )
        _report_remarks(heap, results)
        # Blocks created here, or restored, can be followed now. One that is refused may be sent
        # much later, when others know it.
        heap.link.created.difference_update(r.id for r in results)
        heap.refollow(u.state.id for u in batch if u.state.id not in heap.link.followed)
        _announce(heap, accepted)
        sent = True
        if len(answered := {r.id for r in results}) < len(batch):
            # Stop here: repeating the request at once would never end.
            raise PeerError(
                f"POST /api/sync/push: the answer names {len(answered)} of {len(batch)} blocks"
            )
        versions = {u.state.id: u.state.sync_version for u in batch}
        if any(r.status == "stale" or r.sync_version > versions.get(r.id, 0) for r in results):
            heap.wake.pull.set()
        if not_found := {r.id for r in results if r.status == "not_found"}:
            heap.link.lost()  # it may lack more, or was deleted permanently: the feed says so
            heap.wake.pull.set()
            await resend_forgotten(heap, (), heap.index.blocks.keys() - not_found)
        if any(r.status != "ok" for r in results):
            return sent  # retrying at once is useless: a pull or a person has to act first


def _note_pushed(heap: HeapContext, batch: Sequence[_Unsent]) -> None:
    now_s = time.monotonic()
    for one in batch:
        version = one.state.sync_version
        heap.link.recent_acks.pushed(one.state.id, version, one.update, one.rows, now_s)


def _note_acknowledged(
    heap: HeapContext, batch: Sequence[_Unsent], accepted: Container[BlockId]
) -> None:
    now_s = time.monotonic()
    for one in batch:
        if one.state.id in accepted:
            heap.link.recent_acks.acknowledged(one.state.id, one.rows, now_s)


def _announce(heap: HeapContext, accepted: Iterable[BlockId]) -> None:
    """Have other devices poll if they may not follow what was pushed: it is not followed here."""
    live = heap.link.live
    if live is not None and not all(live.is_open(block) for block in accepted):
        heap.link.announcing.ask(apart_s=heap.timing.announced_s, burst=heap.timing.announcements)


def _report_remarks(heap: HeapContext, results: Sequence[PushResult]) -> None:
    """Report what the server does not take of the edits it accepted, until the next push."""
    for result in results:
        path = heap.index.path_of.get(result.id)
        if path is None:
            continue
        heap.problems.clear(path, "push")
        if result.status == "ok" and result.remarks:
            heap.problems.found("push", path, "; ".join(result.remarks), "told")


def unsent(heap: HeapContext) -> bool:
    """Return whether there is anything to push."""
    return bool(heap.index.sendable() or heap.index.born)


async def _put_back(
    heap: HeapContext, batch: Sequence[_Unsent], results: Sequence[PushResult]
) -> list[PushResult]:
    """Return the results; an "invalid" for a version the server had before becomes "stale".

    The server was restored from a backup: it has an earlier version than it once acknowledged.
    """
    versions = {u.state.id: u.state.sync_version for u in batch}
    out: list[PushResult] = []
    for result in results:
        known = versions.get(result.id, 0)
        if result.status == "invalid" and result.sync_version < known:
            # Trust the block's row, which pulls use, and not the number in the answer.
            row = await heap.backend.row(heap.id, result.id)
            if row is not None and row.sync_version < known:
                result = PushResult(result.id, "stale", row.sync_version)  # noqa: PLW2901
        out.append(result)
    return out


async def _moot(heap: HeapContext, results: Sequence[PushResult]) -> dict[BlockId, _Moot]:
    """Return the blocks in the server's trash on which a change is forbidden, as it has them.

    Where this account may only read, nobody can be told that its deletion was confirmed, and
    nothing else of it is left. Such an edit does not count as sent: the server would seem to have
    lost it.
    """
    forbidden = [r.id for r in results if r.status == "forbidden"]
    deleted = [b for b in forbidden if not heap.index.is_live(b)]
    if not deleted:
        return {}
    logs = await heap.db.read(lambda tx: [(b, blocks.log(tx, b)) for b in deleted])

    def in_trash(rows: Sequence[blocks.LogRow]) -> _Moot | None:
        try:
            document = merge([r.data for r in rows if not r.local])
            there = Replica.load([document])
        except BlockError:
            return None
        is_deleted = there.fields().deleted_at_ms is not None
        return _Moot(rows[-1].seq, there, document) if is_deleted else None

    found = await offload(lambda: [(b, in_trash(rows)) for b, rows in logs])
    return {block: there for block, there in found if there is not None}


async def _send(
    heap: HeapContext, batch: Sequence[_Unsent], refused: dict[BlockId, str]
) -> list[PushResult]:
    """Push a batch, and return the results.

    A request that is refused because of its content is split, so that one edit never blocks the
    others. A single edit that is refused gets its reason in ``refused``.
    """
    try:
        return await heap.backend.push(
            heap.id, [Push(u.state.id, u.state.sync_version, u.update) for u in batch]
        )
    except RequestRefused as error:
        if error.status not in _ITS_CONTENT or len(refused) >= REFUSED_MOST:
            raise
        if len(batch) > 1:
            half = len(batch) // 2
            first = await _send(heap, batch[:half], refused)
            return first + await _send(heap, batch[half:], refused)
        (one,) = batch
        version = one.state.sync_version
        if error.status == 413 and await sent_live(heap, one.state.id, version, one.update):
            return [PushResult(one.state.id, "ok", version)]
        refused[one.state.id] = (
            f"the server refuses its edits, {len(one.update)} bytes ({error}); the file is kept,"
            " and they are sent again later"
        )
        return [PushResult(one.state.id, "invalid", version)]


async def _insert_born(heap: HeapContext) -> bool:
    """Create blocks that were made here on the server: folders and tags first."""
    if not heap.index.born:
        return False
    born = await heap.db.read(lambda tx: blocks.born(tx, heap.id, 1 << 30))
    for kinds in (("folder",), ("tag",), ("document", "file")):
        group = sorted((s for s in born if s.kind in kinds), key=lambda s: s.id)
        for start in range(0, len(group), INSERT_BATCH):
            await _insert(heap, group[start : start + INSERT_BATCH])
    return bool(born)


async def _insert(heap: HeapContext, batch: Sequence[BlockState]) -> None:
    gate = asyncio.Semaphore(INSERTS_AT_ONCE)
    known: dict[str, int] = {}
    refused: dict[str, str] = {}

    async def one(state: BlockState) -> None:
        async with gate:
            try:
                row = await heap.backend.insert(heap.id, state.id, state.kind, state.title)
            except RequestRefused as error:
                refused[state.id] = f"the server would not create it: {error}"
            else:
                known[state.id] = max(1, row.sync_version)

    def store(change: Change) -> None:
        for block, version in known.items():
            # Pull before sending edits: the server may have written the title itself.
            change.update(BlockId(block), sync_version=version, wanted=version, problem=None)
        for block, reason in refused.items():
            change.update(BlockId(block), problem=reason)

    try:
        async with TaskGroup() as group:
            for state in batch:
                group.create_task(one(state))
    except BaseExceptionGroup as errors:
        # They share one server, so raise the first error. Creating again is harmless.
        raise leaf_errors(errors)[0] from None
    finally:
        await heap.store(store)
        if known:
            heap.link.created.update(map(BlockId, known))
            heap.wake.pull.set()


async def _unsent(heap: HeapContext) -> list[_Unsent]:
    def read(tx: Tx) -> list[tuple[BlockState, list[blocks.LogRow]]]:
        found = blocks.dirty(tx, first)
        return [(s, [r for r in blocks.log(tx, s.id) if r.local]) for s in found]

    first = heapq.nsmallest(BATCH, heap.index.sendable(), key=lambda b: _turn(heap.index, b))
    if not first:
        return []
    found = await heap.db.read(read)
    if all(len(rows) == 1 for _, rows in found):
        merged: list[bytes | BlockError] = [rows[0].data for _, rows in found]
    else:
        several = [[r.data for r in rows] for _, rows in found]
        merged = await share_out(heap.processes, _merged_each, several, _as_is, _as_is)
    unsent = []
    for (state, rows), update in zip(found, merged, strict=True):
        if isinstance(update, BlockError):
            log.warning("cannot merge unsent updates", block=state.id, error=str(update))
        else:
            unsent.append(_Unsent(state, tuple(r.seq for r in rows), update))
    return unsent


def _turn(index: Index, block: BlockId) -> tuple[int, BlockId]:
    """Return a block's place in the order of sending.

    Folders come before what is in them, and deleted ones after it: otherwise other devices would
    have these notes in the heap's root for a moment.
    """
    if index.kind(block) != "folder":
        return 0, block
    depth = len(folders_from(index, block))
    return (depth - _DEEPEST if index.is_live(block) else _DEEPEST - depth), block


def _as_is(updates: list[bytes]) -> list[bytes]:
    return updates


def _merged_each(several: Sequence[list[bytes]]) -> list[bytes | BlockError | None]:
    return [_merged(updates) for updates in several]


def _merged(updates: Sequence[bytes]) -> bytes | BlockError:
    try:
        return updates[0] if len(updates) == 1 else merge(updates)
    except BlockError as error:
        return error


_REASONS = {
    "forbidden": "the server does not let this account change it",
    "not_found": "the server does not know it any more; its file is kept",
    "invalid": "the server did not accept this edit; the file is kept",
}


def _answered(
    change: Change,
    batch: Sequence[_Unsent],
    results: Sequence[PushResult],
    refused: Mapping[BlockId, str],
    moot: Mapping[BlockId, _Moot],
) -> None:
    by_id = {r.id: r for r in results}
    for unsent in batch:
        result = by_id.get(unsent.state.id)
        block = unsent.state.id
        if result is None:
            continue
        if block in moot:
            _take_back(change, block, moot[block])
        elif result.status == "ok":
            change.acknowledge(block, unsent.rows[-1])
            if result.sync_version > unsent.state.sync_version:
                # The server made a new document of what it accepted.
                change.update(block, wanted=result.sync_version)
        elif result.status == "stale":
            change.update(block, wanted=result.sync_version)
        elif not blocks.has_unsent(change.tx, block, after=unsent.rows[-1]):
            # With a later edit it may be accepted.
            reason = refused.get(block) or "; ".join(result.remarks) or _REASONS[result.status]
            change.update(block, problem=reason)


def _take_back(change: Change, block: BlockId, moot: _Moot) -> None:
    """Make a block's log the document that the server has; leave one that has grown since.

    What came meanwhile is kept, and a later edit builds on the refused one: both are sent again.
    """
    now = blocks.get(change.tx, block)
    if now is None or now.seq != moot.seq:
        return
    change.restart_log(block, now.sync_version, [(moot.document, False)])
    renditions.forget_history(change.tx, block)
    values = change.describe(now, moot.there.fields())
    change.update(block, state_vector=moot.there.state_vector(), problem=None, stale=1, **values)
