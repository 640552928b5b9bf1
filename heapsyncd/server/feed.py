"""Answer delta, pull and push: synchronisation over HTTP (PROTOCOL §5)."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog

from heapsyncd.database import Tx
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge, missing, vector_of
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import data
from heapsyncd.server.cooperative_yield import TimeSlice
from heapsyncd.server.data import Stored
from heapsyncd.server.input import PullBlock, PushUpdate, is_state_vector
from heapsyncd.server.limits import Limits
from heapsyncd.server.loaded_documents import Batch, try_apply
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.services import Services

log = structlog.get_logger(__name__)

_BLOCK_OVERHEAD_BYTES = 128
"""What a block takes in an answer besides its update: names, id, version."""


async def delta(s: Services, heap_id: HeapId, since_ms: int) -> dict[str, object]:
    """Return one page of what changed at or after ``since_ms``, in the order of the changes.

    ``timestamp`` is one more than the newest stamp that this page covers, never the clock. Later
    stamps are larger, so nothing is missed between two pages, whatever the clock does.
    """
    size = s.limits.delta_rows

    def read(tx: Tx) -> tuple[list[Any], int]:
        sql = (
            "SELECT id, updated_at, sync_version, deleted_at, permanent_at FROM blocks"
            " WHERE heap_id = ? AND updated_at >= ? ORDER BY updated_at LIMIT ?"
        )
        return tx.execute(sql, (heap_id, since_ms, size + 1)).fetchall(), data.latest(tx)

    rows, newest = await s.db.read(read)
    more = len(rows) > size
    page = rows[:size]
    return {
        "blocks": [
            {"id": block, "updated_at": stamp, "sync_version": version}
            for block, stamp, version, deleted, permanent in page
            if deleted is None and permanent is None
        ],
        "deleted": [
            {
                "id": block,
                "deleted_at": permanent if permanent is not None else deleted,
                "permanent": permanent is not None,
            }
            for block, _, _, deleted, permanent in page
            if deleted is not None or permanent is not None
        ],
        "timestamp": (page[-1][1] if more else newest) + 1,
        "has_more": more,
    }


async def pull(s: Services, heap_id: HeapId, asks: Sequence[PullBlock]) -> dict[str, object]:
    """Return the documents asked for: as many as fit into one answer, but at least one."""
    if len(asks) > s.limits.pull_asks:
        raise Refusal(413, f"at most {s.limits.pull_asks} blocks a request")
    known: dict[BlockId, PullBlock] = {}
    unknown: dict[str, None] = {}
    time_slice = TimeSlice()
    for ask in asks:
        block = BlockId(ask.id)
        place = s.documents.where(block)
        if ask.state_vector is not None:
            ask.state_vector = usable_vector(ask.state_vector, s.limits)
        if place is None or place[0] != heap_id:
            unknown[ask.id] = None
        else:
            known[block] = ask
        await time_slice.yield_if_over()
    first = list(known)[: s.limits.pull_blocks]
    found = await s.db.read(lambda tx: data.stored(tx, first))
    blocks: list[dict[str, object]] = []
    room = s.limits.pull_bytes
    for block in first:
        try:
            answer, size = await s.large_documents.work(
                found[block].size, _pulled, found[block], known[block]
            )
        except UnreadableDocument as error:
            # It was stored by a version that accepted it; the others are answered.
            log.warning("document can't be read", block=block, reason=str(error))
            continue
        if size <= room or not blocks:
            blocks.append(answer)
            room -= size
        await time_slice.yield_if_over()
    return {"blocks": blocks, "missing": list(unknown)}


def _pulled(stored: Stored, ask: PullBlock) -> tuple[dict[str, object], int]:
    same = ask.sync_version == stored.sync_version
    vector = ask.state_vector if same else None
    update = state_of(stored) if vector is None else difference(stored, vector)
    answer: dict[str, object] = {
        "id": stored.id,
        "sync_version": stored.sync_version,
        "update": update,
        "full": vector is None,
    }
    return answer, (len(update) + 2) // 3 * 4 + _BLOCK_OVERHEAD_BYTES


def usable_vector(vector: bytes, limits: Limits) -> bytes | None:
    """Return the state vector; None when it is too long to examine. Refusal 400 if it is bad."""
    if len(vector) > limits.vector_bytes:
        return None
    if not is_state_vector(vector):
        raise Refusal(400, "state_vector: a Yjs state vector expected")
    return vector


def sync_reply(stored: Stored, vector: bytes | None) -> tuple[bytes, bytes]:
    """Return a document's state vector, and what the holder of another one lacks (None:
    everything).
    """
    lacking = state_of(stored) if vector is None else difference(stored, vector)
    if stored.incomplete:
        return vector_of([state_of(stored)]), lacking
    return vector_of(stored.updates), lacking


def state_of(stored: Stored) -> bytes:
    """Return all of a document as one update."""
    if stored.incomplete:
        return Replica.load(stored.updates).state()
    return merge(stored.updates) if stored.log else stored.state


def difference(stored: Stored, vector: bytes) -> bytes:
    """Return what the holder of a state vector lacks of a document."""
    if stored.incomplete:
        return Replica.load(stored.updates).since(vector)
    return missing(stored.updates, vector)


async def push(
    s: Services, heap_id: HeapId, updates: Sequence[PushUpdate], *, writable: bool
) -> dict[str, object]:
    """Apply updates; answers once everything that is ``ok`` is on the disk."""
    if len(updates) > s.limits.push_updates:
        raise Refusal(413, f"at most {s.limits.push_updates} updates a request")

    # One job for each, queued in order without awaiting, so that they are committed together.
    named = [_named(s, heap_id, u.block_id) for u in updates]
    jobs = [
        s.documents.change(block, partial(_pushed, heap_id, block, u, writable), len(u.update))
        for block, u in zip(named, updates, strict=True)
    ]
    # Wait for all even if some fail, so that every error is retrieved.
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    return {"results": [_answered(o, u) for o, u in zip(outcomes, updates, strict=True)]}


_NONE = BlockId("")


def _named(s: Services, heap_id: HeapId, block: str) -> BlockId:
    """Return the block to change, or no block if it is another heap's or was deleted for good.

    Those are answered as if they did not exist, and as fast: the document is not even loaded.
    """
    id_ = BlockId(block)
    place = s.documents.where(id_)
    elsewhere = place is not None and place[0] != heap_id
    return _NONE if elsewhere or s.documents.is_gone(id_) else id_


def _answered(outcome: dict[str, object] | BaseException, asked: PushUpdate) -> dict[str, object]:
    if isinstance(outcome, UnreadableDocument):
        version = asked.sync_version
        return {"block_id": asked.block_id, "status": "invalid", "sync_version": version}
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _pushed(
    heap_id: HeapId,
    block: BlockId,
    push: PushUpdate,
    writable: bool,
    batch: Batch,
) -> dict[str, object]:
    held = batch.get(block)
    if held is None or held.heap_id != heap_id:
        status, version = "not_found", push.sync_version
    else:
        version = held.sync_version
        if not writable:
            status = "forbidden"
        elif push.sync_version < version:
            status = "stale"
        elif push.sync_version > version:
            status = "invalid"
        else:
            status = "ok" if try_apply(batch, held, push.update) else "invalid"
    return {"block_id": push.block_id, "status": status, "sync_version": version}
