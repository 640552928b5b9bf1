"""What came and went, as the cache keeps it."""

from pathlib import Path

from heapsyncd.cache import activity
from heapsyncd.cache.activity import KEEP, KEEP_MS, Event
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database
from heapsyncd.ids import HeapId

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTV")
NOW = 1_800_000_000_000


def event(n: int, at_ms: int = NOW) -> Event:
    return Event("up", "edited", f"{n}.md", at_ms, n)


async def test_the_latest_events_are_kept(tmp_path: Path) -> None:
    """At most a number of them, and none that is too old once others come."""
    async with await Database.open(tmp_path / "cache.sqlite3", SCHEMA) as db:
        old = [event(n, NOW - KEEP_MS - 1) for n in range(50)]
        await db.write(lambda tx: activity.add(tx, HEAP, old))
        await db.write(lambda tx: activity.add(tx, HEAP, [event(n) for n in range(10)]))
        found = await db.read(lambda tx: activity.since(tx, 0, 0, KEEP * 2))
        assert [(heap, one) for _, heap, one in found] == [(HEAP, event(n)) for n in range(10)]
        number = found[-1][0]
        assert await db.read(lambda tx: activity.since(tx, number, 0, 5)) == []
        await db.write(lambda tx: activity.add(tx, HEAP, [event(n) for n in range(KEEP)]))
        found = await db.read(lambda tx: activity.since(tx, 0, 0, KEEP * 2))
        assert [one for _, _, one in found] == [event(n) for n in range(KEEP)]
        latest = await db.read(lambda tx: activity.since(tx, 0, NOW, 2))
        assert [one for _, _, one in latest] == [event(KEEP - 2), event(KEEP - 1)]
