"""Files of the folder and of the server: attachments, file blocks, contents that wait."""

import hashlib
import os
import shutil
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pycrdt import Doc, Map

from heapsyncd.backends.contract import UploadSource
from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.errors import RequestRefused
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.ignore import PLACEHOLDER
from heapsyncd.folder.partial_downloads import Part
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import FileEntry
from heapsyncd.server import Limits, Server
from heapsyncd.sync.layout.attachments import AttachmentOwner, attachment_paths
from heapsyncd.sync.offline.fetch import mark
from heapsyncd.wire.upload import Chunk
from tests.sync.rig import Device, World, files, until


async def boat(world: World, content: bytes = b"v0") -> tuple[Device, Device]:
    """Two devices with a note that shows an attachment."""
    one, two = world.device("a"), world.device("b")
    await one.synced()
    (one.root / "Boat.assets").mkdir()
    (one.root / "Boat.assets" / "plan.pdf").write_bytes(content)
    (one.root / "Boat.md").write_text("See:\n\n![[plan.pdf]]\n")
    await one.synced()
    await two.synced()
    assert files(two) == {"Boat.assets/plan.pdf": content}
    return one, two


async def entries_of(world: World, title: str, kind: str = "document") -> list[FileEntry]:
    """The files_v0 entries of a block."""
    block = (await world.titles(kind))[title]
    return list((await world.server.document(block)).fields().files)


async def test_new_version(world: World) -> None:
    """A new version of an attachment replaces the old one everywhere, in document and folder."""
    one, two = await boat(world)
    (two.root / "Boat.assets" / "plan.pdf").write_bytes(b"v1")
    await two.synced()
    await one.synced()
    assert files(one) == files(two) == {"Boat.assets/plan.pdf": b"v1"}
    assert one.notes() == two.notes() == {"Boat.md": "See:\n\n![[plan.pdf]]\n"}
    assert len(await entries_of(world, "Boat")) == 1


async def test_renamed_attachment(world: World) -> None:
    """A renamed attachment is renamed everywhere, the note's text with it, and not sent again."""
    one, two = await boat(world)
    (two.root / "Boat.assets" / "plan.pdf").rename(two.root / "Boat.assets" / "lines.pdf")
    await two.synced()
    await one.synced()
    assert files(one) == files(two) == {"Boat.assets/lines.pdf": b"v0"}
    assert one.notes() == two.notes() == {"Boat.md": "See:\n\n![[lines.pdf]]\n"}


async def test_swapped_attachments(world: World) -> None:
    """Two attachments that swap their names do so everywhere."""
    one, two = await boat(world)
    assets = two.root / "Boat.assets"
    (assets / "other.pdf").write_bytes(b"other")
    await two.synced()
    await one.synced()
    (assets / "plan.pdf").rename(assets / "x")
    (assets / "other.pdf").rename(assets / "plan.pdf")
    (assets / "x").rename(assets / "other.pdf")
    await two.synced()
    await one.synced()
    swapped = {"Boat.assets/other.pdf": b"v0", "Boat.assets/plan.pdf": b"other"}
    assert files(one) == files(two) == swapped


async def test_assets_follow_their_note(world: World) -> None:
    """A note renamed by the user, in the app, or moved into a folder takes its files along."""
    one, two = await boat(world)
    (two.root / "Boat.md").rename(two.root / "Ship.md")
    await two.synced()
    await one.synced()
    assert files(one) == files(two) == {"Ship.assets/plan.pdf": b"v0"}
    await world.change((await world.titles())["Ship"], title="Yacht")
    await two.synced()
    assert files(two) == {"Yacht.assets/plan.pdf": b"v0"}
    (two.root / "Harbour").mkdir()
    (two.root / "Yacht.md").rename(two.root / "Harbour" / "Yacht.md")
    await two.synced()
    await one.synced()
    assert files(one) == files(two) == {"Harbour/Yacht.assets/plan.pdf": b"v0"}
    assert two.notes() == {"Harbour/Yacht.md": "See:\n\n![[plan.pdf]]\n"}


async def test_copied_note(world: World) -> None:
    """A copy of a note with its attachments is a note of its own with the same contents."""
    one, two = await boat(world)
    shutil.copy(two.root / "Boat.md", two.root / "Copy.md")
    shutil.copytree(two.root / "Boat.assets", two.root / "Copy.assets")
    await two.synced()
    await one.synced()
    both = {"Boat.assets/plan.pdf": b"v0", "Copy.assets/plan.pdf": b"v0"}
    assert files(one) == files(two) == both
    assert [f.is_uploaded for f in await entries_of(world, "Copy")] == [True]


async def test_removed_while_shown(world: World) -> None:
    """An attachment deleted on one device goes on the other; the text that shows it stays."""
    one, two = await boat(world)
    (two.root / "Boat.assets" / "plan.pdf").unlink()
    await two.synced()
    await one.synced()
    assert files(one) == files(two) == {}
    assert one.notes() == two.notes() == {"Boat.md": "See:\n\n![[plan.pdf]]\n"}
    assert await entries_of(world, "Boat") == []
    (one.root / "Boat.assets").mkdir(exist_ok=True)
    (one.root / "Boat.assets" / "plan.pdf").write_bytes(b"again")
    await one.synced()
    await two.synced()
    assert files(two) == {"Boat.assets/plan.pdf": b"again"}


async def test_shown_before_it_is_there(world: World) -> None:
    """A note may name a file that comes later: the text is intact before, and means it then."""
    one, two = world.device("a"), world.device("b")
    await one.synced()
    (one.root / "Boat.md").write_text("See:\n\n![[plan.pdf]]\n")
    await one.synced()
    await two.synced()
    assert two.notes() == {"Boat.md": "See:\n\n![[plan.pdf]]\n"}
    (one.root / "Boat.assets").mkdir()
    (one.root / "Boat.assets" / "plan.pdf").write_bytes(b"v0")
    await one.synced()
    await two.synced()
    assert files(two) == {"Boat.assets/plan.pdf": b"v0"}
    assert one.notes() == two.notes() == {"Boat.md": "See:\n\n![[plan.pdf]]\n"}
    (entry,) = await entries_of(world, "Boat")
    body = (await world.server.document((await world.titles())["Boat"])).view()
    assert [b.get("keys") for b in body.walk() if b.kind == "files"] == [entry.key]


async def test_entry_before_its_content(world: World) -> None:
    """An entry whose content nobody has sent yet is waited for without noise, and then arrives."""
    block = await world.add("Boat", "text\n")
    data = b"late"
    made = FileEntry("", "", "late.bin", len(data))
    entry = replace(made, hash=_sha256(data), key=f"{_sha256(data)}:{len(data)}")
    await world.change(block, put_files=(entry,))
    device = world.device()
    await device.synced()
    assert files(device) == {}
    sender = world.device("b")
    await sender.synced()
    (sender.root / "Boat.assets").mkdir(exist_ok=True)
    (sender.root / "Boat.assets" / "late.bin").write_bytes(data)
    await sender.synced()
    await device.synced()
    assert files(device) == {"Boat.assets/late.bin": data}


def _sha256(data: bytes) -> str:
    import hashlib  # noqa: PLC0415

    return hashlib.sha256(data).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["attachment", "file"])
async def test_two_new_versions(world: World, kind: str) -> None:
    """Two new versions made apart are both kept, under the same names on both devices."""
    one, two = world.device("a"), world.device("b")
    await one.synced()
    where = "Boat.assets/plan.pdf" if kind == "attachment" else "plan.pdf"
    (one.root / "Boat.assets").mkdir()
    (one.root / "Boat.md").write_text("text\n")
    (one.root / where).write_bytes(b"v0")
    await one.synced()
    await two.synced()
    (one.root / where).write_bytes(b"one's version")
    (two.root / where).write_bytes(b"two's")
    for device in (one, two, one, two):
        await device.synced()
    first, second = sorted([b"one's version", b"two's"], key=_sha256)
    second_name = where.replace("plan", "plan (2)")
    assert files(one) == files(two) == {where: first, second_name: second}
    (two.root / second_name).write_bytes(b"third")
    await two.synced()
    await one.synced()
    assert sorted(files(one).values()) == sorted([first, b"third"])
    assert files(one) == files(two)


def test_names_follow_from_the_document() -> None:
    """The order of entries, and where contents stand now, do not matter to contested names."""
    made = [FileEntry(f"{k}" * 64, f"{k}" * 64, "Plan.pdf", 1) for k in "cab"]
    names = {f.key[0]: n for f, n in zip(made, ("Plan (3).pdf", "Plan.pdf", "x"), strict=True)}
    wanted = {"a": "Plan.pdf", "b": "Plan (2).pdf", "c": "Plan (3).pdf"}
    for order in (made, made[::-1]):
        for known in ({}, {f.key: f"N.assets/{names[f.key[0]]}" for f in made}):
            paths = attachment_paths(
                AttachmentOwner(BlockId("B"), "note", "N.md", tuple(order)), known
            )
            assert {k[0]: Path(p).name for k, p in paths.items()} == wanted


async def test_moved_between_roles(world: World) -> None:
    """A file moved out of a note's attachments is a file block; one moved in is an attachment."""
    one, two = await boat(world)
    (two.root / "Boat.assets" / "plan.pdf").rename(two.root / "plan.pdf")
    await two.synced()
    await one.synced()
    assert files(one) == files(two) == {"plan.pdf": b"v0"}
    assert set(await world.titles("file")) == {"plan.pdf"}
    assert await entries_of(world, "Boat") == []
    (two.root / "Boat.assets").mkdir(exist_ok=True)
    (two.root / "plan.pdf").rename(two.root / "Boat.assets" / "plan.pdf")
    await two.synced()
    await one.synced()
    assert files(one) == files(two) == {"Boat.assets/plan.pdf": b"v0"}
    assert await world.titles("file") == {}


async def test_empty_file(world: World) -> None:
    """A file of zero bytes goes both ways, as a block and as an attachment."""
    one, two = await boat(world, b"")
    (two.root / "empty.bin").touch()
    await two.synced()
    await one.synced()
    assert files(one) == {"Boat.assets/plan.pdf": b"", "empty.bin": b""}


async def test_over_the_server_s_limit(tmp_path: Path) -> None:
    """A file larger than the server takes is a problem that says so; everything else goes on."""
    limits = Limits(file_bytes=1000)
    async with Server(tmp_path / "server", open_registration=True, limits=limits) as server:
        world = World(server, await server.add_heap("Home"), tmp_path)
        device = world.device()
        await device.synced()
        (device.root / "big.bin").write_bytes(bytes(1001))
        (device.root / "small.bin").write_bytes(bytes(999))
        verdict = await device.once()
        assert verdict.exit_code == 1
        assert any("big.bin" in line and "no file as large" in line for line in verdict.left)
        assert [f.is_uploaded for f in await entries_of(world, "small.bin", "file")] == [True]
        assert (device.root / "big.bin").read_bytes() == bytes(1001)


async def test_on_demand(world: World) -> None:
    """Above the limit a placeholder stands for a content: not sent, not lost over restarts, gone
    when it was fetched; what is below the limit comes by itself.
    """
    one = world.device("a")
    await one.synced()
    (one.root / "Boat.assets").mkdir()
    (one.root / "Boat.md").write_text("See:\n\n![[plan.pdf]]\n")
    (one.root / "Boat.assets" / "plan.pdf").write_bytes(bytes(2000))
    (one.root / "film.mp4").write_bytes(bytes(3000))
    (one.root / "small.txt").write_bytes(b"small")
    await one.synced()
    two = world.device("b")
    two.files, two.files_limit_mb = "on-demand", 0.001
    for _ in range(2):
        await two.synced()
        assert set(files(two)) == {
            f"Boat.assets/plan.pdf{PLACEHOLDER}",
            f"film.mp4{PLACEHOLDER}",
            "small.txt",
        }
    assert two.notes() == {"Boat.md": "See:\n\n![[plan.pdf]]\n"}
    (two.root / f"film.mp4{PLACEHOLDER}").unlink()
    await two.synced()
    assert f"film.mp4{PLACEHOLDER}" in files(two)
    assert set(await world.titles("file")) == {"film.mp4", "small.txt"}

    asked = two.root / f"Boat.assets/plan.pdf{PLACEHOLDER}"
    (told,) = await mark(two.account, two.base / "state", [asked])
    assert told["here"] is False
    await two.synced()
    assert files(two)["Boat.assets/plan.pdf"] == bytes(2000)
    assert not asked.exists()
    (told,) = await mark(two.account, two.base / "state", [two.root / "Boat.md"])
    assert told["here"] is True


async def test_fetch_from_a_running_mirror(world: World) -> None:
    """A running mirror fetches at once what is asked for, and keeps it current whatever its
    size.
    """
    one, two = world.device("a"), world.device("b")
    await one.synced()
    (one.root / "film.mp4").write_bytes(bytes(3000))
    await one.synced()
    two.files, two.files_limit_mb = "on-demand", 0
    async with two.running():
        await two.in_sync()
        assert set(files(two)) == {f"film.mp4{PLACEHOLDER}"}
        assert two.report.commands is not None
        (told,) = await two.report.commands.fetch([str(two.root)])
        assert told["here"] is False
        await until(lambda: files(two) == {"film.mp4": bytes(3000)}, "the content")
        await two.in_sync()
        (told,) = await two.report.commands.fetch([str(two.root / "film.mp4")])
        assert told["here"] is True
    (one.root / "film.mp4").write_bytes(bytes(4000))
    await one.synced()
    await two.synced()
    assert files(two) == {"film.mp4": bytes(4000)}


async def with_an_attachment(world: World) -> tuple[Device, Device]:
    """A device that has sent a note with a file, and one that fetches files on demand alone."""
    one, two = world.device("a"), world.device("b")
    two.files, two.files_limit_mb = "on-demand", 0
    await one.synced()
    (one.root / "Boat.assets").mkdir()
    (one.root / "Boat.md").write_text("text\n")
    (one.root / "Boat.assets" / "plan.pdf").write_bytes(b"v0")
    await one.synced()
    return one, two


async def test_placeholders_go_with_their_note(world: World) -> None:
    """Placeholders move with a note, and go when it is deleted; nothing of it stays behind."""
    one, two = await with_an_attachment(world)
    await two.synced()
    (two.root / "Boat.md").rename(two.root / "Ship.md")
    await two.synced()
    assert set(files(two)) == {f"Ship.assets/plan.pdf{PLACEHOLDER}"}
    await one.synced()
    shutil.rmtree(one.root / "Ship.assets")
    (one.root / "Ship.md").unlink()
    await one.synced()
    await two.synced()
    assert [p.name for p in two.root.iterdir()] == [".heapsyncd"]


async def test_wrong_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A content with a wrong hash is thrown away, tried again, then given up as a problem; the old
    file is kept, and the right content is taken when it comes.
    """
    one, two = await boat(world)
    (one.root / "Boat.assets" / "plan.pdf").write_bytes(b"v1")
    await one.synced()
    download, asked = HeaperBackend.download, []

    async def spoilt(
        self: HeaperBackend,
        heap_id: HeapId,
        block: BlockId,
        hash_: str,
        size: int,
        offset: int = 0,
    ) -> AsyncIterator[bytes]:
        asked.append(offset)
        async for piece in download(self, heap_id, block, hash_, size, offset):
            yield bytes(len(piece))

    monkeypatch.setattr(HeaperBackend, "download", spoilt)
    verdict = await two.once()
    assert verdict.exit_code == 1
    assert any("wrong sha256" in line for line in verdict.left)
    assert asked == [0, 0, 0]
    assert files(two) == {"Boat.assets/plan.pdf": b"v0"}
    assert not list(two.root.rglob(".heapsyncd-part-*"))
    monkeypatch.setattr(HeaperBackend, "download", download)
    await two.synced()
    assert files(two) == {"Boat.assets/plan.pdf": b"v1"}


MIB = 1 << 20


@pytest.mark.slow
@pytest.mark.parametrize("what", ["modified", "replaced", "truncated", "deleted"])
async def test_changed_while_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A file that changes while it is sent is abandoned and sent anew: what arrives is whole."""
    device = world.device()
    await device.synced()
    path = device.root / "big.bin"
    path.write_bytes(os.urandom(9 * MIB))
    read, reads = HeapFolder.read_piece, []

    async def disturbed(self: HeapFolder, *arguments: object) -> bytes:
        reads.append(arguments)
        if len(reads) == 20:  # the second chunk
            if what == "modified":
                with path.open("r+b") as file:
                    file.seek(8 * MIB)
                    file.write(b"new")
            elif what == "truncated":
                os.truncate(path, MIB)
            elif what == "deleted":
                path.unlink()
            else:
                beside = path.with_suffix(".tmp")
                beside.write_bytes(os.urandom(5 * MIB))
                beside.replace(path)
        return await read(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(HeapFolder, "read_piece", disturbed)
    await device.synced()
    monkeypatch.undo()
    other = world.device("b")
    await other.synced()
    if what == "deleted":
        assert files(other) == {}
    else:
        assert files(other) == {"big.bin": path.read_bytes()}
        assert [f.is_uploaded for f in await entries_of(world, "big.bin", "file")] == [True]


@pytest.mark.parametrize("lost", ["every chunk", "the upload"])
async def test_server_forgets(world: World, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """A server that loses chunks or forgets the upload half way gets them again; the content that
    ends up there is right.
    """
    from heapsyncd.backends import heaper  # noqa: PLC0415

    device = world.device()
    await device.synced()
    data = os.urandom(9 * MIB)
    (device.root / "big.bin").write_bytes(data)
    complete, calls = heaper._Upload.complete, []
    table = "chunk" if lost == "every chunk" else "upload"

    async def forgetful(self: object) -> None:
        calls.append(self)
        if len(calls) == 1:
            await world.server._services.db.write(lambda tx: tx.execute(f"DELETE FROM {table}s"))
        await complete(self)  # type: ignore[arg-type]

    monkeypatch.setattr(heaper._Upload, "complete", forgetful)
    await device.synced()
    assert len(calls) == 2
    other = world.device("b")
    await other.synced()
    assert files(other) == {"big.bin": data}


async def test_rules_that_change(world: World) -> None:
    """What ``.heaperignore`` names from now on is left alone on both sides; what it names no more
    is synced again, and comes back when it is not here.
    """
    await world.add("Note", "text\n")
    device = world.device()
    await device.synced()
    (device.root / "build").mkdir()
    (device.root / "build" / "Log.md").write_text("log\n")
    (device.root / "build" / "out.bin").write_bytes(b"out")
    await device.synced()
    log = (await world.titles())["Log"]
    async with device.running():
        await device.in_sync()
        (device.root / ".heaperignore").write_text("build/\n*.tex\n")
        (device.root / "paper.tex").write_text("ignored at once\n")
        shutil.rmtree(device.root / "build")
        (device.root / "New.md").write_text("new\n")
        await until(lambda: "id:" in (device.root / "New.md").read_text(), "the new note")
        await device.in_sync()
        await world.change(log, body="log, changed in the app\n")
        await world.add("Other", "more\n")
        await until((device.root / "Other.md").exists, "the other note")
        await device.in_sync()
        assert not (device.root / "build").exists()
        assert (await world.server.document(log)).fields().deleted_at_ms is None
        assert set(await world.titles("file")) == {"out.bin"}
        (device.root / ".heaperignore").unlink()
        await until((device.root / "build" / "out.bin").exists, "what was ignored")
        await device.in_sync()
    assert device.notes()["build/Log.md"] == "log, changed in the app\n"
    assert (device.root / "build" / "out.bin").read_bytes() == b"out"
    assert set(await world.titles("file")) == {"out.bin", "paper.tex"}
    assert set(await world.titles("folder")) == {"build"}


async def test_rules_that_change_between_lives(world: World) -> None:
    """Rules that were changed while nobody looked do not make deletions either, and a block whose
    place is ignored is not written.
    """
    device = world.device()
    await device.synced()
    (device.root / "Private").mkdir()
    (device.root / "Private" / "Diary.md").write_text("dear\n")
    await device.synced()
    (device.root / ".heaperignore").write_text("Private/\n")
    shutil.rmtree(device.root / "Private")
    folder = (await world.titles("folder"))["Private"]
    await world.add("Letter", "dear\n", add_tags=frozenset({folder}))
    await device.synced()
    await device.synced()
    assert device.notes() == {}
    assert set(await world.titles()) == {"Diary", "Letter"}
    (device.root / ".heaperignore").write_text("")
    await device.synced()
    assert device.notes() == {"Private/Diary.md": "dear\n", "Private/Letter.md": "dear\n"}
    assert set(await world.titles()) == {"Diary", "Letter"}


@pytest.mark.slow
async def test_an_upload_goes_on_in_the_next_life(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that is cut off after any chunk goes on with the next one after a restart."""
    from heapsyncd.backends import heaper  # noqa: PLC0415
    from heapsyncd.errors import Unreachable  # noqa: PLC0415

    device = world.device()
    await device.synced()
    data = os.urandom(13 * MIB)
    (device.root / "big.bin").write_bytes(data)
    chunk = heaper._Upload.chunk
    begun: list[int] = []
    sent: list[int] = []

    async def cut(self: heaper._Upload, which: Chunk, is_out: Callable[[], None]) -> None:
        if len(begun) == allowed:
            raise Unreachable("cut off")
        begun.append(which.index)
        await chunk(self, which, is_out)
        sent.append(which.index)

    monkeypatch.setattr(heaper._Upload, "chunk", cut)
    for allowed in (1, 2, 3):
        assert (await device.once(2.0)).exit_code != 0
        assert len(sent) == allowed
    allowed = 100
    await device.synced()
    assert sent == [0, 1, 2, 3]
    other = world.device("b")
    await other.synced()
    assert files(other) == {"big.bin": data}


async def test_memory_stays_flat(world: World) -> None:
    """What is read, sent, received and written of a file is never in memory as a whole."""
    size = 96 * MIB
    one, two = world.device("a"), world.device("b")
    await one.synced()
    await two.synced()
    with (one.root / "big.bin").open("wb") as file:
        file.write(b"beginning")
        file.truncate(size)
    tracemalloc.start()
    try:
        await one.synced()
        await two.synced()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (two.root / "big.bin").stat().st_size == size
    assert peak < 32 * MIB


async def test_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that the server refuses is told of and not asked for again and again; the others
    go on, and a new content is tried at once.
    """
    upload = HeaperBackend.upload
    asked: list[str] = []
    sent: list[str] = []

    async def refusing(
        self: HeaperBackend, heap_id: HeapId, block: BlockId, source: UploadSource, **more: object
    ) -> FileEntry:
        if source.name == "bad.bin":
            asked.append(source.hash)
            raise RequestRefused("not this one", 403)
        done = await upload(self, heap_id, block, source, **more)  # type: ignore[arg-type]
        sent.append(source.name)
        return done

    monkeypatch.setattr(HeaperBackend, "upload", refusing)
    device = world.device()
    await device.synced()
    (device.root / "bad.bin").write_bytes(b"bad")
    async with device.running():
        await until(lambda: asked, "the upload is refused")
        for k in range(3):
            (device.root / f"{k}.bin").write_bytes(f"good {k}".encode())
            await until(lambda: f"{k}.bin" in sent, "another file")  # noqa: B023 - used at once
        assert asked == [_sha256(b"bad")]
        problems = device.report.snapshot()["heaps"][0]["problems"]
        assert any(p["path"] == "bad.bin" and "refused" in p["reason"] for p in problems)
        (device.root / "bad.bin").write_bytes(b"better")
        await until(lambda: asked[-1] == _sha256(b"better"), "the new content is tried")
        assert asked == [_sha256(b"bad"), _sha256(b"better")]


@pytest.mark.slow
async def test_two_versions_renamed(world: World) -> None:
    """Two versions of a file block that is then renamed, on the disk or in the app, are both kept,
    with one content each, and both have the new name everywhere.
    """
    one, two = world.device("a"), world.device("b")
    await one.synced()
    (one.root / "plan.pdf").write_bytes(b"v0")
    await one.synced()
    await two.synced()
    (one.root / "plan.pdf").write_bytes(b"one's version")
    (two.root / "plan.pdf").write_bytes(b"two's")
    for device in (one, two, one, two):
        await device.synced()
    first, second = sorted([b"one's version", b"two's"], key=_sha256)
    assert files(one) == files(two) == {"plan.pdf": first, "plan (2).pdf": second}
    blocks = set(await world.blocks())
    (one.root / "plan.pdf").rename(one.root / "lines.pdf")
    for device in (one, two, one):
        await device.synced()
    assert files(one) == files(two) == {"lines.pdf": first, "lines (2).pdf": second}
    assert set(await world.titles("file")) == {"lines.pdf"}
    await world.change((await world.titles("file"))["lines.pdf"], title="sheer.pdf")
    for device in (one, two, one):
        await device.synced()
    assert files(one) == files(two) == {"sheer.pdf": first, "sheer (2).pdf": second}
    assert set(await world.blocks()) == blocks


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["write", "remove", "finish"])
async def test_killed_at_a_placeholder(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """A kill before or after a placeholder is written, taken away, or replaced by the content it
    stood for: the next life has either, never both, and sends neither.
    """
    _, two = await with_an_attachment(world)
    if step != "write":
        await two.synced()
        await mark(two.account, two.base / "state", [two.root])
    owner = Part if step == "finish" else HeapFolder
    original = getattr(owner, step)

    async def killing(self: object, *arguments: object, **more: object) -> object:
        about = step == "finish" or str(arguments[0]).endswith(PLACEHOLDER)
        if about and when == "before":
            raise Killed
        result = await original(self, *arguments, **more)
        if about:
            raise Killed
        return result

    monkeypatch.setattr(owner, step, killing)
    with pytest.raises((Killed, BaseExceptionGroup)):
        await two.once()
    monkeypatch.undo()
    await two.synced()
    if step == "write":
        assert set(files(two)) == {f"Boat.assets/plan.pdf{PLACEHOLDER}"}
    else:
        assert files(two) == {"Boat.assets/plan.pdf": b"v0"}
    assert await world.titles("file") == {}
    assert len(await entries_of(world, "Boat")) == 1


async def test_an_entry_that_nobody_could_have_meant(world: World) -> None:
    """Figures beyond all numbers, a hash that is a path, keys that are one: that file's trouble
    alone; all else of the account is current.
    """
    bad = await world.add("Bad", "text\n")

    def entry(**values: object) -> Map[object]:
        return Map({"name": "x.bin", "is_uploaded": True, **values})

    doc: Doc[Map[object]] = Doc()
    doc.apply_update((await world.server.document(bad)).state())
    before = doc.get_state()
    files_v0 = doc.get("files_v0", type=Map)
    files_v0["../../../x"] = entry(hash="../../../../other-app/collect", file_size=5.0)
    files_v0["../../../y/"] = entry(hash="../other", file_size=1e300, name="y.bin")
    files_v0["c" * 64] = entry(file_size=2.0**63, name="z.bin")
    await world.server.apply(bad, doc.get_update(before))
    other = await world.add("Other", "other\n")
    device = world.device()
    async with device.running():
        await until(lambda: device.notes().get("Other.md") == "other\n", "the other note")
        heap = device.report.heaps[world.heap]

        def told() -> list[str]:
            return sorted(p.path for p in heap.problems)

        wanted = [f"Bad.assets/{n}.bin" for n in "xyz"]
        await until(lambda: told() == wanted, f"{wanted}, but {heap.problems}")
        assert "names no sha256" in heap.problems[0].reason
        await world.change(other, body="changed\n")
        await until(lambda: device.notes()["Other.md"] == "changed\n", "news")
        # A change of names must not trip over the keys.
        (device.root / "Bad.md").rename(device.root / "Worse.md")
        await until(lambda: "Worse.assets/x.bin" in told(), "the new name")
    assert await world.titles() == {"Worse": bad, "Other": other}


HELD = b"content"
HASH = hashlib.sha256(HELD).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "values"),
    [
        pytest.param([HASH], {"hash": HASH, "file_size": 7.0}, id="no size in the key"),
        pytest.param([f"{HASH.upper()}:7"], {}, id="capitals"),
        pytest.param([f"{HASH}:7"], {"hash": HASH.upper()}, id="a hash in capitals"),
        pytest.param([f"{HASH.upper()}:7", f"{HASH}:7"], {}, id="both"),
        pytest.param(["x.bin"], {"hash": HASH, "file_size": 7.0}, id="no hash in the key"),
    ],
)
async def test_a_key_in_another_spelling(
    world: World, monkeypatch: pytest.MonkeyPatch, keys: list[str], values: dict[str, object]
) -> None:
    """It names a content all the same: one file of one name, fetched once."""
    fetched: list[str] = []
    download = HeaperBackend.download

    def counted(self: HeaperBackend, *args: Any) -> AsyncGenerator[bytes, None]:
        fetched.append(args[2])
        return download(self, *args)

    monkeypatch.setattr(HeaperBackend, "download", counted)
    note = await spelled(world, keys, values)
    device = world.device()
    await device.synced()
    await world.change(note, title="Renamed")
    await device.synced()
    assert files(device) == {"Renamed.assets/x.bin": HELD}
    assert fetched == [HASH]


async def test_a_content_of_no_known_size(world: World) -> None:
    """Told with what is missing, and not asked for: what comes would have no end."""
    await spelled(world, [HASH], {"hash": HASH})
    device = world.device()
    verdict = await device.once()
    assert verdict.exit_code == 1
    assert any("does not say how large it is" in line for line in verdict.left), verdict
    assert files(device) == {}


async def spelled(world: World, keys: list[str], values: dict[str, object]) -> BlockId:
    """A note with a content that the server has, under these keys."""
    held = await world.server.add_block(world.heap, "file", "held")
    await world.server.add_file(held, "held.bin", HELD)
    trash: Doc[Map[object]] = Doc()
    trash.apply_update((await world.server.document(held)).state())
    before = trash.get_state()
    trash.get("meta_v0", type=Map)["deleted_at"] = 1.0
    await world.server.apply(held, trash.get_update(before))
    note = await world.add("Note", "text\n")
    doc: Doc[Map[object]] = Doc()
    doc.apply_update((await world.server.document(note)).state())
    before = doc.get_state()
    for key in keys:
        entry = {"name": "x.bin", "is_uploaded": True, **values}
        doc.get("files_v0", type=Map)[key] = Map(entry)
    await world.server.apply(note, doc.get_update(before))
    return note
