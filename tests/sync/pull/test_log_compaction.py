"""Long logs become short without a word lost, and bases stay what they were."""

import asyncio
import time

import pytest

from heapsyncd.cache import blocks, crossings, renditions
from heapsyncd.cache.crossings import Crossing
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database
from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.heap.recent_acks import RecentAcks
from heapsyncd.sync.pull.log_compaction import MAX_ROWS, compact_logs
from tests.sync.rig import World


def fingerprint(updates: list[bytes]) -> bytes:
    """Of the state that the updates make."""
    return Replica.load(updates).fingerprint()


@pytest.mark.slow
async def test_fold(world: World) -> None:
    """Folding keeps the document, what is unsent, the state of every kept rendition, and the rows
    that others may not have seen.
    """
    device = world.device()
    block = await world.add("Note", "start\n")
    await device.synced()
    path = device.base / "state" / "home.sqlite3"
    async with await Database.open(path, SCHEMA) as db:
        for k in range(2 * MAX_ROWS):
            rows = await db.read(lambda tx: blocks.log(tx, block))
            words = "start" + "".join(f" w{n}" for n in range(k + 1))
            made = express([r.data for r in rows], Target(body=parse(words, NO_LINKS)))
            assert made.update is not None
            local = k == 2 * MAX_ROWS - 1
            update = made.update
            await db.write(lambda tx, u=update, i=local: blocks.append(tx, block, u, local=i))  # type: ignore[misc]
        seq = MAX_ROWS + 10

        def base(tx: object) -> None:
            renditions.drop(tx, block)  # type: ignore[arg-type]
            renditions.add(
                tx,  # type: ignore[arg-type]
                block,
                seq=seq,
                extra=None,
                data=b"x",
                digest=b"",
                now_ms=0,
                origin="written",
                line_breaks="space",
            )

        await db.write(base)
        before = [r.data for r in await db.read(lambda tx: blocks.log(tx, block))]
        at_base = [r.data for r in await db.read(lambda tx: blocks.log(tx, block, seq))]
        crossing = Crossing(block, 40, frozenset({30, 35}))
        await db.write(lambda tx: crossings.add(tx, crossing))
        acks, lock = RecentAcks(), asyncio.Lock()
        acks.add(block, [20], time.monotonic())
        for named in (20, 30):  # the words of these rows may have to be written again
            assert await compact_logs(db, world.heap, lock, acks) == 1
            kept = await db.read(lambda tx: blocks.log(tx, block))
            assert [r.seq for r in kept[:2]] == [named - 1, named]
            assert await db.read(lambda tx: crossings.of_block(tx, block)) == [crossing]
            acks = RecentAcks()
        await db.write(lambda tx: crossings.remove(tx, crossing))
        assert await compact_logs(db, world.heap, lock, acks) == 1
        after = await db.read(lambda tx: blocks.log(tx, block))
        base_after = await db.read(lambda tx: blocks.log(tx, block, seq))
        assert len(after) < len(before) - MAX_ROWS
        assert after[-1].local
        assert (
            Replica.load([r.data for r in after]).fingerprint()
            == Replica.load(before).fingerprint()
        )
        assert (
            Replica.load([r.data for r in base_after]).fingerprint()
            == Replica.load(at_base).fingerprint()
        )
