"""Troubles with files: told once, by path and reason, and gone when they are cured."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heapsyncd.folder import safe_open, syscalls
from heapsyncd.folder.ignore import IGNORE_FILE
from heapsyncd.server import Limits, Server
from heapsyncd.sync.offline.status import cached_status
from tests.sync.rig import Device, World, problems, refusing, until
from tests.world.fast import fast

SHUT = "permission denied; check its owner and mode"
BROKEN = "---\ntitle: a: b\n---\ntext\n"


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user whom modes concern, whoever runs the tests; and short waits."""
    for opener in ("open_file", "open_directory"):
        real: Callable[[str, int], int] = getattr(safe_open, opener)

        def opened(name: str, dir_fd: int, real: Callable[[str, int], int] = real) -> int:
            if not os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode & 0o400:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return real(name, dir_fd)

        monkeypatch.setattr(safe_open, opener, opened)
    with fast():
        yield


def shut(path: Path) -> None:
    """Nobody may read it."""
    path.chmod(0)


def open_again(path: Path) -> None:
    """Its owner may."""
    path.chmod(0o755)


def new(name: str, data: bytes = b"") -> Callable[[Path], None]:
    """A file that is made."""

    def make(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)

    return make


def both(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    """Several steps."""

    def make(root: Path) -> None:
        for step in steps:
            step(root)

    return make


def aside(root: Path) -> Path:
    """A path outside of the mirror."""
    return root.parent.parent / "aside"


Case = tuple[Callable[[Path], object], str, str, Callable[[Path], object]]
CURES: dict[str, Case] = {
    "a note that may not be read": (
        lambda r: shut(r / "Note.md"), "Note.md", SHUT, lambda r: open_again(r / "Note.md")
    ),
    "a file that may not be read": (
        lambda r: shut(r / "photo.jpg"), "photo.jpg", SHUT, lambda r: open_again(r / "photo.jpg")
    ),
    "a new file that may not be read": (
        both(new("new.bin"), lambda r: shut(r / "new.bin")), "new.bin", SHUT,
        lambda r: open_again(r / "new.bin"),
    ),
    "a directory that may not be read": (
        lambda r: shut(r / "Sub"), "Sub", SHUT, lambda r: open_again(r / "Sub")
    ),
    "a note that is no UTF-8, saved as such": (
        new("Odd.md", b"caf\xe9\n"), "Odd.md", "not UTF-8", new("Odd.md", "café\n".encode())
    ),
    "a note that is no UTF-8, deleted": (
        new("Odd.md", b"caf\xe9\n"), "Odd.md", "not UTF-8", lambda r: (r / "Odd.md").unlink()
    ),
    "a note that is no UTF-8, renamed": (
        new("Odd.md", b"caf\xe9\n"), "Odd.md", "not UTF-8",
        lambda r: (r / "Odd.md").rename(r / "Odd.txt"),
    ),
    "a known note with a NUL, saved as it was": (
        both(lambda r: shutil.copy(r / "Note.md", aside(r)), new("Note.md", b"a\0b")),
        "Note.md", "contains a NUL", lambda r: shutil.copy(aside(r), r / "Note.md"),
    ),
    "a symlink, removed": (
        lambda r: (r / "link.md").symlink_to("Note.md"), "link.md", "a symlink",
        lambda r: (r / "link.md").unlink(),
    ),
    "a pipe, removed": (
        lambda r: os.mkfifo(r / "pipe"), "pipe", "not a regular", lambda r: (r / "pipe").unlink()
    ),
    "a name that is no UTF-8, renamed": (
        new(os.fsdecode(b"caf\xe9.md")), "caf\ufffd.md", "not UTF-8",
        lambda r: (r / os.fsdecode(b"caf\xe9.md")).rename(r / "café.md"),
    ),
    "an attachment of no note, which comes": (
        new("Boat.assets/plan.pdf", b"plan"), "Boat.assets/plan.pdf", "no note Boat.md",
        new("Boat.md"),
    ),
    "an attachment twice, one of them removed": (
        both(new("Note.assets/a.bin", b"one"), new("Note.assets/b.bin", b"one")),
        "Note.assets/b.bin", "already attached as a.bin",
        lambda r: (r / "Note.assets/a.bin").unlink(),
    ),
    "broken front matter, corrected": (
        new("Broken.md", BROKEN.encode()), "Broken.md", "in line 2",
        new("Broken.md", BROKEN.replace("a: b", "a, b").encode()),
    ),
    "a note too large, made smaller": (
        new("Large.md", b"x" * 3000), "Large.md", "larger than", new("Large.md", b"x" * 1000)
    ),
    "a note that is no UTF-8, ignored": (
        new("Odd.md", b"caf\xe9\n"), "Odd.md", "not UTF-8", new(IGNORE_FILE, b"Odd.md\n")
    ),
}  # fmt: skip


async def start(world: World) -> Device:
    """A device with a note, a file and a note in a folder."""
    device = world.device()
    await world.add("Note", "text\n")
    await device.synced()
    new("photo.jpg", b"photo")(device.root)
    new("Sub/Inner.md", b"inner\n")(device.root)
    await device.synced()
    return device


@pytest.mark.parametrize("case", CURES)
async def test_cured_is_cured(world: World, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trouble with a file is told at the next look, and is gone at the next after its cure."""
    monkeypatch.setattr("heapsyncd.sync.scan.debounce.NOTE_BYTES", 2000)
    make, path, reason, cure = CURES[case]
    device = await start(world)
    async with device.running():
        await device.in_sync()
        make(device.root)
        await until(lambda: reason in problems(device, world).get(path, ""), "the trouble")
        cure(device.root)
        await until(lambda: not problems(device, world), f"cured: {problems(device, world)}")
        await device.in_sync()
    verdict = await device.once()
    assert (verdict.exit_code, verdict.left, verdict.minor) == (0, (), ())


@pytest.mark.parametrize("case", CURES)
async def test_cured_while_nobody_looked(
    world: World, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trouble is known without a daemon, and one that ended meanwhile is not told again."""
    monkeypatch.setattr("heapsyncd.sync.scan.debounce.NOTE_BYTES", 2000)
    make, path, reason, cure = CURES[case]
    device = await start(world)
    make(device.root)
    for _ in range(2):
        verdict = await device.once()
        (line,) = [*verdict.left, *verdict.minor]
        assert line.startswith(f"Home/{path}: ")
        assert reason in line
        assert line.count(path) == 1 or "attached" in line
        assert verdict.exit_code == (1 if verdict.left else 0)
        (told,) = (await cached_status(device.account, device.base / "state"))["heaps"]
        assert [(p["path"], reason in p["reason"]) for p in told["problems"]] == [(path, True)]
    cure(device.root)
    verdict = await device.once()
    assert (verdict.exit_code, verdict.left, verdict.minor) == (0, (), ())
    (told,) = (await cached_status(device.account, device.base / "state"))["heaps"]
    assert told["problems"] == []


async def test_what_is_left_and_what_is_odd(world: World) -> None:
    """A thing that is never mirrored is no failure, until it takes the place of one that is; what
    can't be judged is one.
    """
    device = await start(world)
    root = device.root
    (root / "link").symlink_to("Note.md")
    new("Odd.md", b"caf\xe9\n")(root)
    verdict = await device.once()
    assert (verdict.exit_code, len(verdict.minor)) == (0, 2)
    new("Shut.md", b"text\n")(root)
    shut(root / "Shut.md")
    verdict = await device.once()
    assert (verdict.exit_code, verdict.left) == (1, (f"Home/Shut.md: {SHUT}",))
    open_again(root / "Shut.md")
    (root / "Note.md").rename(root.parent.parent / "Note.md")
    (root / "Note.md").symlink_to("link")
    verdict = await device.once()
    assert (verdict.exit_code, len(verdict.minor)) == (1, 2)
    assert verdict.left == ("Home/Note.md: it is a symlink; not synced",)
    assert "Note" in await world.titles()


async def test_broken_front_matter_is_told_and_its_text_kept(world: World) -> None:
    """Where YAML can't be read is told, with what to do; the text is synced all the same, and its
    bytes stay. A note that is renamed takes that along.
    """
    device = await start(world)
    broken = "---\ntitle: fine\ntags: [a, b\nstatus: x\n---\ntext\n"
    new("Broken.md", broken.encode())(device.root)
    verdict = await device.once()
    assert (verdict.exit_code, verdict.left) == (0, ())
    (line,) = verdict.minor
    assert line.startswith("Home/Broken.md: front matter is not YAML in line 4: ")
    assert line.endswith("until you correct it, its title and tags are ignored")
    assert (device.root / "Broken.md").read_text() == broken
    assert await world.text((await world.titles())["Broken"]) == "text"
    (device.root / "Broken.md").rename(device.root / "Other.md")
    verdict = await device.once()
    assert [line.split(":")[0] for line in verdict.minor] == ["Home/Other.md"]
    await world.change((await world.titles())["Other"], title="Third")
    verdict = await device.once()
    assert [line.split(":")[0] for line in verdict.minor] == ["Home/Third.md"]


@pytest.mark.parametrize("there", ["changed", "deleted", "renamed"])
async def test_what_can_not_be_read_is_never_written_over(world: World, there: str) -> None:
    """A save that is no text stays as it is whatever happens to its note elsewhere; a pass ends
    and says so, and once it is text both edits are in the note.
    """
    device = await start(world)
    note = (await world.titles())["Note"]
    odd = (device.root / "Note.md").read_bytes() + b"\ncaf\xe9\n"
    (device.root / "Note.md").write_bytes(odd)
    assert (await device.once()).exit_code == 1
    match there:
        case "changed":
            await world.change(note, body="text of theirs\n")
        case "deleted":
            await world.change(note, deleted_at_ms=1_760_000_000_000)
        case _:
            await world.change(note, title="Other")
    path = device.root / ("Other.md" if there == "renamed" else "Note.md")
    for _ in range(2):
        verdict = await device.once()
        assert verdict.exit_code == 1
        assert any("not UTF-8" in line for line in verdict.left)
        assert path.read_bytes() == odd
    async with device.running():
        await until(lambda: "not UTF-8" in problems(device, world).get(path.name, ""), "told")
        assert path.read_bytes() == odd
        path.write_bytes(odd.replace(b"\xe9", "é".encode()))
        await device.in_sync()
    assert problems(device, world) == {}
    text = await world.text(note)
    assert "café" in text
    assert "of theirs" in text or there != "changed"
    assert (await world.server.document(note)).fields().deleted_at_ms is None


async def test_a_note_that_may_not_be_read_is_renamed(world: World) -> None:
    """It is the same note under another name, not a deleted one."""
    device = await start(world)
    note = (await world.titles())["Note"]
    shut(device.root / "Note.md")
    (device.root / "Note.md").rename(device.root / "Other.md")
    verdict = await device.once()
    assert (verdict.exit_code, verdict.left) == (1, (f"Home/Other.md: {SHUT}",))
    open_again(device.root / "Other.md")
    await device.synced()
    assert (await world.titles())["Other"] == note


async def test_what_is_seen_in_a_directory_that_was_shut(world: World) -> None:
    """Once a directory may be read, what is in it is mirrored, and so are later changes of it."""
    device = await start(world)
    shut(device.root / "Sub")
    async with device.running():
        await until(lambda: "Sub" in problems(device, world), "the trouble")
        assert device.report.state != "in sync"
        new("Sub/New.md", b"new\n")(device.root)
        open_again(device.root / "Sub")
        await device.in_sync()
        assert {"Inner", "New"} <= set(await world.titles())
        new("Sub/Later.md", b"later\n")(device.root)

        async def arrived() -> bool:
            return "Later" in await world.titles()

        await until(arrived, "the later note")


async def test_attachments_that_can_not_be_moved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are tried again until they stand where they should; until then that is left."""
    device = await start(world)
    new("Note.assets/plan.pdf", b"plan")(device.root)
    await device.synced()
    async with device.running():
        await device.in_sync()
        with monkeypatch.context() as patch:
            for name in ("exchange", "rename", "rename_new"):
                patch.setattr(syscalls, name, refusing(name, "plan", errno.EACCES))
                patch.setattr(syscalls, name, refusing(name, ".assets", errno.EACCES))
            await world.change((await world.titles())["Note"], title="Boat")
            await until((device.root / "Boat.md").exists, "the note in its place")
            await until(lambda: problems(device, world), "the trouble")
            assert device.report.state != "in sync"
        await device.in_sync()
    assert problems(device, world) == {}
    assert (device.root / "Boat.assets" / "plan.pdf").read_bytes() == b"plan"


@pytest.mark.parametrize("cure", ["ignored", "smaller", "deleted"])
async def test_a_file_too_large_for_the_server(tmp_path: Path, cure: str) -> None:
    """What its message advises helps: named in ``.heaperignore``, or made smaller."""
    limits = Limits(file_bytes=1000)
    async with Server(tmp_path / "server", open_registration=True, limits=limits) as server:
        world = World(server, await server.add_heap("Home"), tmp_path)
        device = world.device()
        await device.synced()
        new("big.bin", bytes(1001))(device.root)
        assert (await device.once()).exit_code == 1
        match cure:
            case "ignored":
                new(IGNORE_FILE, b"*.bin\n")(device.root)
            case "smaller":
                new("big.bin", bytes(999))(device.root)
            case _:
                (device.root / "big.bin").unlink()
        verdict = await device.once()
        assert (verdict.exit_code, verdict.left) == (0, ())
        (told,) = (await cached_status(device.account, device.base / "state"))["heaps"]
        assert (told["problems"], told["transfers"]) == ([], [])
