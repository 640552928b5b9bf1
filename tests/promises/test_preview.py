"""What a sync would do is told, and nothing is done."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.sync.offline.preview import preview
from heapsyncd.sync.offline.status import cached_deletions
from tests.sync.rig import Device, World, until


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a directory: bytes, and what would show that it was written."""
    return {
        str(p.relative_to(root)): (p.read_bytes() if p.is_file() else None, p.lstat().st_ctime_ns)
        for p in root.rglob("*")
        if not p.is_socket()
    }


async def steps(
    device: Device, monkeypatch: pytest.MonkeyPatch, *, only_first: bool = False
) -> list[str]:
    """The preview's steps in words, after making sure that it changed nothing anywhere."""
    at = device.root if device.report.commands is not None else device.base
    before = tree(at)

    async def refused(*_: object, **__: object) -> None:
        raise AssertionError("a preview wrote to the server")

    with monkeypatch.context() as patch:
        for name in ("push", "insert", "upload", "download"):
            patch.setattr(HeaperBackend, name, refused)
        found = await preview(device.account, device.base / "state", only_first=only_first)
    assert tree(at) == before
    assert not any(heap["problems"] for heap in found), found
    return [
        f"{s['action']} {s['side']} {s['path']}"
        + (f" -> {s['to']}" if "to" in s else "")
        + (" (new)" if s["new"] else "")
        for heap in found
        for s in heap["steps"]
    ]


async def test_what_a_sync_would_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways: new, changed, renamed and deleted notes, folders, files and attachments."""
    folder = await world.add_named("folder", "Trips")
    at = {"add_tags": frozenset({folder})}
    names = ("Theirs", "Mine", "Both", "Gone here", "Gone there", "Named here", "Named there")
    blocks = {name: await world.add(name, "text\n", **at) for name in names}
    device = world.device()
    device.root.parent.mkdir(parents=True)
    (device.base / "state").mkdir()
    assert await steps(device, monkeypatch) == [
        "fetch here Trips (new)", *(f"fetch here Trips/{n}.md (new)" for n in sorted(names)),
    ]  # fmt: skip
    await device.synced()
    trips = device.root / "Trips"
    (trips / "Mine.assets").mkdir()
    (trips / "Mine.assets" / "a.bin").write_bytes(b"a" * 99)
    (trips / "photo.jpg").write_bytes(b"jpg" * 99)
    await device.synced()
    assert await steps(device, monkeypatch) == []

    (trips / "New.md").write_text("new\n")
    (trips / "Sub").mkdir()
    (trips / "Sub" / "new.pdf").write_bytes(b"pdf" * 99)
    (trips / "Mine.assets" / "a.bin").unlink()
    for name in ("Mine", "Both"):
        path = trips / f"{name}.md"
        path.write_text(path.read_text() + "\nmine\n")
    (trips / "Gone here.md").unlink()
    (trips / "Named here.md").rename(trips / "Renamed here.md")
    (trips / "photo.jpg").rename(device.root / "photo.jpg")
    await world.add("Fresh", "text\n", **at)
    for name in ("Theirs", "Both"):
        await world.change(blocks[name], body="text theirs\n")
    await world.change(blocks["Gone there"], deleted_at_ms=1_760_000_000_000)
    await world.change(blocks["Named there"], title="Renamed there")
    told = await steps(device, monkeypatch)
    assert told == [
        "delete here Trips/Gone there.md",
        "delete server Trips/Gone here.md",
        "delete server Trips/Mine.assets/a.bin",
        "fetch here Trips/Both.md",
        "fetch here Trips/Fresh.md (new)",
        "fetch here Trips/Theirs.md",
        "rename here Trips/Named there.md -> Trips/Renamed there.md",
        "rename server Trips/Named here.md -> Trips/Renamed here.md",
        "rename server Trips/photo.jpg -> photo.jpg",
        "send server Trips/Both.md",
        "send server Trips/Mine.md",
        "send server Trips/New.md (new)",
        "send server Trips/Sub (new)",
        "send server Trips/Sub/new.pdf (new)",
    ]
    await device.synced()
    assert await steps(device, monkeypatch) == []
    shutil.rmtree(trips)
    assert "delete server Trips" in await steps(device, monkeypatch)


async def test_what_would_be_held_or_is_decided(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mass deletion would be held; a decision would be carried out. Also beside a daemon."""
    for k in range(13):
        await world.add(f"N{k:02}", "text\n")
    device = world.device()
    await device.synced()
    gone = sorted(device.root.glob("N*.md"))[:12]
    for path in gone:
        path.unlink()
    held = [f"hold server {path.name}" for path in gone]
    assert await steps(device, monkeypatch) == held
    async with device.running():
        await until(lambda: any(h.held_deletions for h in device.report.heaps.values()), "held")
        assert await steps(device, monkeypatch) == held
    decisions = {"confirm": "delete server", "undo": "fetch here"}
    for decision, told in decisions.items():
        await cached_deletions(device.account, device.base / "state", decision)
        assert await steps(device, monkeypatch) == [f"{told} {path.name}" for path in gone]


async def test_the_first_sync_of_a_folder_with_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes are recognised by id and place; an empty or a known folder needs no preview."""
    for name in ("Same", "By place", "Edited"):
        await world.add(name, "some words of text\n")
    device, other = world.device(), world.device("b")
    (other.base / "state").mkdir(parents=True)
    await device.synced()
    assert await steps(other, monkeypatch, only_first=True) == []
    other.root.mkdir(parents=True)
    for name in ("Same.md", "Edited.md"):
        shutil.copy(device.root / name, other.root / name)
    with (other.root / "Edited.md").open("a") as file:
        file.write("\nmore\n")
    (other.root / "By place.md").write_text("some words of text\n")
    (other.root / "Own.md").write_text("own\n")
    expected = [
        "fetch here By place.md",
        "send server Edited.md",
        "send server Own.md (new)",
    ]
    assert await steps(other, monkeypatch, only_first=True) == expected
    await other.synced()
    assert await steps(other, monkeypatch, only_first=True) == []
