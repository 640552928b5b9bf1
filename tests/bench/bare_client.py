"""The least that following a heap live costs: clients that open its notes and do nothing else."""

import asyncio
import time
from collections.abc import Sequence

from nacl.signing import SigningKey

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.wire.values import LiveSynced


async def all_opened_s(server: str, notes: int, clients: int) -> float:
    """Seconds until each of so many clients has opened so many notes over its socket."""
    seed = Seed(bytes(SigningKey.generate()))
    async with HeaperBackend(server, seed) as backend:
        heap = (await backend.heaps())[0].id
        found = [r.id async for page in backend.rows(heap) for r in page if r.kind == "document"]
        started = time.monotonic()
        await asyncio.gather(*(_open(backend, heap, found[:notes]) for _ in range(clients)))
        return time.monotonic() - started


async def _open(backend: HeaperBackend, heap: HeapId, blocks: Sequence[BlockId]) -> None:
    async def opening(some: Sequence[BlockId]) -> dict[BlockId, tuple[int, bytes]]:
        return dict.fromkeys(some, (1, b"\0"))

    left = set(blocks)
    async with backend.live(heap, opening) as feed:
        feed.follow(blocks)
        async for event in feed:
            if isinstance(event, LiveSynced):
                left.discard(event.block)
            if not left:
                return
