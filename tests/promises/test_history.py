"""The history says who changed what, as far as that is known, and keeps it."""

from typing import Any

from heapsyncd.cache import history, renditions
from heapsyncd.cache.renditions import Author
from heapsyncd.database import Tx
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.offline.versions import difference, recent, versions
from tests.sync.rig import Device, World


async def kept(device: Device, path: str) -> list[tuple[str, str | None, str | None, int, int]]:
    """A note's versions, oldest first: why, who, what only, and words."""
    found = await versions(device.account, device.base / "state", [str(device.root / path)])
    assert found is not None
    return [
        (v["why"], v["who"], v["only"], v["words_added"], v["words_removed"])
        for v in reversed(found["versions"])
    ]


async def test_who_changed_a_note(world: World) -> None:
    """This device, the server, or heapsyncd itself: its id line, a rename followed in a link."""
    device = world.device()
    await world.add("Old name", "text\n")
    theirs = await world.add("Theirs", "one\n")
    await device.synced()
    root = device.root
    (root / "Mine.md").write_text("see [[Old name]]\n")
    await device.synced()
    await world.change(theirs, body="one two\n")
    await device.synced()
    (root / "Old name.md").rename(root / "New name.md")
    path = root / "Theirs.md"
    path.write_text(path.read_text().replace("one", "1"))
    await device.synced()
    assert await kept(device, "Mine.md") == [
        ("saved", "this device", None, 3, 0),
        ("written", "heapsyncd", "id", 0, 0),
        ("written", "heapsyncd", "links", 1, 1),
    ]
    assert await kept(device, "Theirs.md") == [
        ("written", "server", None, 1, 0),
        ("written", "server", None, 1, 0),
        ("saved", "this device", None, 1, 1),
    ]
    expected = [("written", "server", None, 1, 0), ("renamed", "this device", None, 0, 0)]
    for name in ("New name.md", "Old name.md"):
        assert await kept(device, name) == expected
    state = device.base / "state"
    told = await recent(device.account, state, 0, 100)
    assert sorted((t["path"], t["number"]) for t in told) == [
        *(("Mine.md", n) for n in (1, 2, 3)),
        *(("New name.md", n) for n in (1, 2)),
        *(("Theirs.md", n) for n in (1, 2, 3)),
    ]
    assert [t["made_at_ms"] for t in told] == sorted(t["made_at_ms"] for t in told)
    assert await recent(device.account, state, 0, 2) == told[-2:]
    assert await recent(device.account, state, 0, 9, "Elsewhere") == []
    latest = await difference(device.account, state, [str(path)], None)
    assert latest is not None
    assert latest["diff"][-1] == [("-", "one"), ("+", "1"), ("=", " two")]
    assert (latest["number"], latest["before"]) == (3, 2)


async def test_texts_stay_when_many_follow(world: World) -> None:
    """Those that the mirror no longer needs are kept, but for those soon replaced by their
    author.
    """
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    hour = 3_600_000

    def save(tx: Tx) -> list[tuple[int, str]]:
        now: dict[str, Any] = {"seq": 1, "extra": None, "digest": b"", "line_breaks": "space"}
        for k in range(100):
            author: Author = "server" if k == 7 else "here"
            at_ms = hour + k * 6_000  # ten a minute
            renditions.add(
                tx, block, data=b"%d" % k, now_ms=at_ms, origin="saved", author=author, **now
            )
        renditions.add(tx, block, data=b"late", now_ms=9 * hour, origin="saved", **now)
        found = [v for v in history.versions(tx, block) if v.data.isdigit()]
        return [(int(v.data), v.author) for v in reversed(found)]

    async with await open_cache(device.account, device.base / "state") as db:
        left = await db.write(save)
    old = [(6, "here"), (7, "server"), (9, "here"), *((k, "here") for k in range(19, 90, 10))]
    assert left == [*old, *((k, "here") for k in range(93, 100))]
