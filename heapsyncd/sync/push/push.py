"""Cache to server: unacknowledged updates are pushed, and what the server says to them is heeded.

Sending twice is harmless: an update stays marked as unsent until its acknowledgement over HTTP is
committed.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.document.updates import merge
from heapsyncd.errors import BlockError, PeerError, RequestRefused, leaf_errors
from heapsyncd.ids import BlockId
from heapsyncd.model import Push, PushResult
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.pull.server_rollback import tell_again
from heapsyncd.sync.push.oversized import sent_live
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

BATCH = 200
INSERT_BATCH = 50
INSERTS_AT_ONCE = 8
REFUSED_MOST = 8
"""When so many edits were refused one by one, it is not for what is in them."""
_ITS_CONTENT = frozenset({400, 409, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class _Unsent:
    state: BlockState
    rows: tuple[int, ...]
    update: bytes


async def push(heap: HeapContext) -> bool:
    """Create what the server does not know, send what is unsent; whether there was anything."""
    sent = await _insert_born(heap)
    while True:
        batch = await _unsent(heap)
        if not batch:
            return sent
        if not heap.link.current.is_set():
            heap.wake.push.set()
            return sent
        refused: dict[BlockId, str] = {}
        _note(heap, batch)
        for one in batch:
            heap.link.recent_acks.pushed(
                one.state.id, one.state.sync_version, one.update, time.monotonic()
            )
        results = await _put_back(heap, batch, await _send(heap, batch, refused))
        # Noted before: an update that comes in right after the commit may not know of them.
        taken = {r.id for r in results if r.status == "ok"}
        _note(heap, [u for u in batch if u.state.id in taken])
        await heap.store(
            lambda change, b=batch, r=results, why=refused: _answered(change, b, r, why)  # type: ignore[misc]
        )
        if any(u.rows[0] == 1 for u in batch):
            heap.wake.follow.set()  # what was made here is known there now
        sent = True
        if len(answered := {r.id for r in results}) < len(batch):
            # Asked again and again at once, it would go on like that for ever.
            raise PeerError(
                f"POST /api/sync/push: the answer names {len(answered)} of {len(batch)} blocks"
            )
        if any(r.status == "stale" for r in results):
            heap.wake.pull.set()
        if not_found := {r.id for r in results if r.status == "not_found"}:
            heap.link.in_doubt = True  # what else does it not know?
            heap.link.lost()  # deleted for good, perhaps: its feed tells
            heap.wake.pull.set()
            await tell_again(heap, (), heap.index.blocks.keys() - not_found)
        if any(r.status != "ok" for r in results):
            return sent  # not again at once: a pull or a person comes first


def _note(heap: HeapContext, batch: Sequence[_Unsent]) -> None:
    now_s = time.monotonic()
    for unsent in batch:
        heap.link.recent_acks.add(unsent.state.id, unsent.rows, now_s)


def unsent(heap: HeapContext) -> bool:
    """Whether there is anything to push."""
    return bool(heap.index.sendable() or heap.index.born)


async def _put_back(
    heap: HeapContext, batch: Sequence[_Unsent], results: Sequence[PushResult]
) -> list[PushResult]:
    """The results; a version that the server does not know yet, but once did, is as stale as one
    that it has left behind: it was put back from a backup.
    """
    versions = {u.state.id: u.state.sync_version for u in batch}
    out: list[PushResult] = []
    for result in results:
        known = versions.get(result.id, 0)
        if result.status == "invalid" and result.sync_version < known:
            # An answer may say any number; the row is what a pull goes by.
            row = await heap.backend.row(heap.id, result.id)
            if row is not None and row.sync_version < known:
                result = PushResult(result.id, "stale", row.sync_version)  # noqa: PLW2901
        out.append(result)
    return out


async def _send(
    heap: HeapContext, batch: Sequence[_Unsent], refused: dict[BlockId, str]
) -> list[PushResult]:
    """Push a batch. A request that is refused for what is in it is taken apart, so that one edit
    never holds up the others: what alone is refused gets the reason in ``refused``.
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
            " and they are offered again later"
        )
        return [PushResult(one.state.id, "invalid", version)]


async def _insert_born(heap: HeapContext) -> bool:
    """Let the server know the blocks made here, folders and tags before what is in them."""
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
            # Pulled before its edits are sent: the server may have written the title itself.
            change.update(BlockId(block), sync_version=version, wanted=version, problem=None)
        for block, reason in refused.items():
            change.update(BlockId(block), problem=reason)

    try:
        async with TaskGroup() as group:
            for state in batch:
                group.create_task(one(state))
    except BaseExceptionGroup as errors:
        # The first reason stands for all: they share one server. Creating again is harmless.
        raise leaf_errors(errors)[0] from None
    finally:
        await heap.store(store)
        if known:
            heap.wake.pull.set()


async def _unsent(heap: HeapContext) -> list[_Unsent]:
    def read(tx: Tx) -> list[tuple[BlockState, list[blocks.LogRow]]]:
        found = blocks.dirty(tx, heap.id, BATCH)
        return [(s, [r for r in blocks.log(tx, s.id) if r.local]) for s in found]

    if not heap.index.sendable():
        return []
    found = await heap.db.read(read)
    if all(len(rows) == 1 for _, rows in found):
        merged: list[bytes | BlockError] = [rows[0].data for _, rows in found]
    else:
        merged = await offload(lambda: [_merged([r.data for r in rows]) for _, rows in found])
    unsent = []
    for (state, rows), update in zip(found, merged, strict=True):
        if isinstance(update, BlockError):
            log.warning("unsent updates can't be merged", block=state.id, error=str(update))
        else:
            unsent.append(_Unsent(state, tuple(r.seq for r in rows), update))
    return unsent


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
) -> None:
    by_id = {r.id: r for r in results}
    for unsent in batch:
        result = by_id.get(unsent.state.id)
        block = unsent.state.id
        if result is None:
            continue
        if result.status == "ok":
            change.acknowledge(block, unsent.rows[-1])
        elif result.status == "stale":
            change.update(block, wanted=result.sync_version)
        else:
            change.update(block, problem=refused.get(block) or _REASONS[result.status])
