"""Reading, moving, making and removing in a real folder."""

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder import disk, marker, safe_open, syscalls
from heapsyncd.folder.disk import FileBusy, HeapFolder, PathChanged
from heapsyncd.folder.ignore import NO_RULES, Ignore
from heapsyncd.ids import HeapId
from heapsyncd.model import Stat

MAX = 1 << 20


async def stat_of(folder: HeapFolder, path: str) -> Stat:
    found = await folder.stat(path)
    assert found is not None
    return found


def names(root: Path) -> set[str]:
    """Everything below but the marker, whatever it is."""
    found = {str(p.relative_to(root)) for p in root.rglob("*")}
    return found - {".heapsyncd"}


# ---- looking --------------------------------------------------------------------------------


async def test_a_scan_sees_files_and_directories(folder: HeapFolder, root: Path) -> None:
    """Everything that is not ignored is in the snapshot, with its stat."""
    (root / "Projects" / "Boat.assets").mkdir(parents=True)
    (root / "Projects" / "Boat.assets" / "plan.pdf").write_bytes(b"plan")
    (root / "Projects" / ".hidden").mkdir()
    (root / "Projects" / ".hidden" / "x.md").touch()
    (root / "drafts").mkdir()
    (root / "drafts" / "a.md").touch()
    found = await folder.scan(Ignore.parse("drafts/\n"))
    assert {p: e.kind for p, e in found.entries.items()} == {
        "Projects": "dir",
        "Projects/Boat.assets": "dir",
        "Projects/Boat.assets/plan.pdf": "file",
    }
    entry = found.entries["Projects/Boat.assets/plan.pdf"]
    assert entry.stat == await folder.stat(entry.path)
    assert entry.stat.size == 4
    assert not found.problems


async def test_a_scan_of_some_paths_looks_only_there(folder: HeapFolder, root: Path) -> None:
    """The given paths, what is below them and what is above them, and nothing else."""
    for path in ("a/b/c.md", "a/b/d.md", "a/e.md", "f.md"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    found = await folder.scan(NO_RULES, ["a/b", "gone/x.md", "a/.hidden"])
    assert set(found.entries) == {"a", "a/b", "a/b/c.md", "a/b/d.md"}
    found = await folder.scan(NO_RULES, ["a/b/c.md"])
    assert set(found.entries) == {"a", "a/b", "a/b/c.md"}
    found = await folder.scan(NO_RULES, [""])
    assert len(found.entries) == 6
    assert not found.problems


async def test_links_and_special_files_are_told_and_left(folder: HeapFolder, root: Path) -> None:
    """Symlinks of all kinds, pipes and sockets become problems; none is opened, none hangs."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    (root / "a.md").write_text("a")
    (root / "to-file.md").symlink_to(outside / "secret.md")
    (root / "to-dir").symlink_to(outside)
    (root / "inside.md").symlink_to("a.md")
    (root / "loop").symlink_to(".")
    (root / "dangling.md").symlink_to("nowhere")
    os.mkfifo(root / "pipe.md")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "socket"))
    found = await folder.scan(NO_RULES)
    others = {"to-file.md", "to-dir", "inside.md", "loop", "dangling.md", "pipe.md", "socket"}
    assert {p for p, e in found.entries.items() if e.kind == "other"} == others
    assert {p for p, e in found.entries.items() if e.kind == "file"} == {"a.md"}
    assert {p.path for p in found.problems} == others
    assert {p.reason for p in found.problems} == {
        "it is a symlink; not synced",
        "it is not a regular file; not synced",
    }
    for path in ("to-file.md", "inside.md", "dangling.md", "to-dir/secret.md", "loop/a.md"):
        with pytest.raises(FolderTrouble, match="symlink"):
            await folder.read(path, MAX)
    for path in ("pipe.md", "socket"):
        with pytest.raises((UnreadableFile, FolderTrouble)):
            await folder.read(path, MAX)


async def test_an_unreadable_directory_is_a_problem(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be opened is named as unread, and the rest is scanned."""
    (root / "locked").mkdir()
    (root / "open").mkdir()
    (root / "open" / "a.md").touch()
    real = safe_open.open_directory

    # As root, modes keep nobody out: the refusal has to be made.
    def refusing(name: str, dir_fd: int) -> int:
        if name == "locked":
            raise PermissionError(13, "Permission denied", name)
        return real(name, dir_fd)

    monkeypatch.setattr(safe_open, "open_directory", refusing)
    for under in (None, ["locked", "open"], ["locked/a.md", "open/a.md"]):
        found = await folder.scan(NO_RULES, under)
        assert found.unread == {"locked"}
        assert [(p.path, p.reason) for p in found.problems] == [
            ("locked", "permission denied; check its owner and mode")
        ]
        assert "open/a.md" in found.entries


async def test_a_name_that_is_no_text_is_a_problem(folder: HeapFolder, root: Path) -> None:
    """A file whose name is not UTF-8 is told of, readably, and passed over."""
    with (root / os.fsdecode(b"caf\xe9.md")).open("w"):
        pass
    found = await folder.scan(NO_RULES)
    assert not found.entries
    (problem,) = found.problems
    assert problem.path == "caf\ufffd.md"
    problem.path.encode()


async def test_a_bottomless_tree_has_an_end(folder: HeapFolder, root: Path) -> None:
    """Directories beyond the hundredth level are a problem, not a crash."""
    deepest = root.joinpath(*["d"] * 150)
    deepest.mkdir(parents=True)
    found = await folder.scan(NO_RULES)
    assert len(found.problems) == 1
    assert "directories deep" in found.problems[0].reason
    assert found.unread == {found.problems[0].path}


async def test_a_missing_folder_is_trouble(tmp_path: Path) -> None:
    """A folder that is gone says so in every call, and is never made again by one."""
    gone = HeapFolder(tmp_path / "gone")
    stat = Stat(1, 1, 1, 1, 1)
    for call in (
        lambda: gone.scan(NO_RULES),
        lambda: gone.read("a.md", MAX),
        lambda: gone.write("a.md", b"", None),
        lambda: gone.make_dir("d"),
        lambda: gone.remove("a.md", stat),
        lambda: gone.stat("a.md"),
        gone.clear_temps,
    ):
        with pytest.raises(FolderTrouble, match=r"gone is missing; .*Nothing was deleted"):
            await call()
    assert await gone.marker() is None
    assert not gone.root.exists()


# ---- reading --------------------------------------------------------------------------------


async def test_reading_gives_bytes_and_their_stat(folder: HeapFolder, root: Path) -> None:
    """Bytes are passed on as they are; reading does not touch the access time."""
    data = b"\xef\xbb\xbfa\r\nb\x00\xff"
    (root / "a.md").write_bytes(data)
    os.utime(root / "a.md", ns=(1, 1))
    found, stat = await folder.read("a.md", MAX)
    assert found == data
    assert stat == await folder.stat("a.md")
    assert (root / "a.md").stat().st_atime_ns == 1
    assert await folder.digest("a.md") == (hashlib.sha256(data).hexdigest(), stat)


async def test_what_can_not_be_read_says_why(folder: HeapFolder, root: Path) -> None:
    """Gone, a directory, too large: each its own answer."""
    (root / "d").mkdir()
    (root / "large.md").write_bytes(b"x" * 11)
    with pytest.raises(PathChanged, match=r"gone\.md: it no longer exists"):
        await folder.read("gone.md", 10)
    with pytest.raises(PathChanged):
        await folder.read("gone/a.md", 10)
    with pytest.raises(UnreadableFile, match="not a regular file"):
        await folder.read("d", 10)
    with pytest.raises(UnreadableFile, match="larger than 10 bytes"):
        await folder.read("large.md", 10)
    assert len((await folder.read("large.md", 11))[0]) == 11


@pytest.mark.parametrize("how", ["append", "replace", "delete"])
async def test_a_file_that_changes_while_read_is_unsettled(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A save during the reading is noticed, in place or by rename."""
    (root / "a.md").write_text("old")
    real = disk._read

    def interrupted(fd: int, max_bytes: int) -> tuple[bytes, Stat]:
        result = real(fd, max_bytes)
        if how == "append":
            with (root / "a.md").open("a") as file:
                file.write("more")
        elif how == "replace":
            (root / "b").write_text("old")
            (root / "b").rename(root / "a.md")
        else:
            (root / "a.md").unlink()
        return result

    monkeypatch.setattr(disk, "_read", interrupted)
    with pytest.raises((FileBusy, PathChanged)):
        await folder.read("a.md", MAX)


async def test_pieces_are_of_one_file(folder: HeapFolder, root: Path) -> None:
    """An upload reads pieces only while the file is the one it began with."""
    (root / "a.bin").write_bytes(b"0123456789")
    stat = await stat_of(folder, "a.bin")
    assert await folder.read_piece("a.bin", 4, 3, stat) == b"456"
    assert await folder.read_piece("a.bin", 8, 5, stat) == b"89"
    (root / "a.bin").write_bytes(b"9876543210")
    with pytest.raises(PathChanged):
        await folder.read_piece("a.bin", 4, 3, stat)


# ---- paths that lead out --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/x", "", ".", "..", "a//b", "a/", "./a", "a/./b", "a\0b"]
)
async def test_a_path_that_leads_out_is_refused(folder: HeapFolder, root: Path, path: str) -> None:
    """No call accepts a path that could leave the folder."""
    before = {str(p) for p in root.parent.rglob("*")}
    stat = Stat(1, 1, 1, 1, 1)
    for call in (
        lambda: folder.read(path, MAX),
        lambda: folder.write(path, b"x", None),
        lambda: folder.make_dir(path),
        lambda: folder.remove(path, stat),
        lambda: folder.remove_dir(path),
        lambda: folder.move(path, "ok.md"),
        lambda: folder.move(".heapsyncd", path),
        lambda: folder.part(path, "00").append(0, b"x"),
        lambda: folder.stat(path),
    ):
        with pytest.raises(FolderTrouble, match="refused"):
            await call()
    assert {str(p) for p in root.parent.rglob("*")} == before


async def test_no_call_goes_through_a_symlinked_directory(folder: HeapFolder, root: Path) -> None:
    """A directory swapped for a symlink leads nowhere: outside stays untouched."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a.md").write_text("theirs")
    stat = HeapFolder(outside)
    (root / "d").symlink_to(outside)
    (root / "mine.md").write_text("mine")
    expect = await stat.stat("a.md")
    assert expect is not None
    for call in (
        lambda: folder.read("d/a.md", MAX),
        lambda: folder.write("d/a.md", b"x", expect),
        lambda: folder.write("d/new.md", b"x", None),
        lambda: folder.make_dir("d/new"),
        lambda: folder.make_dir("d"),
        lambda: folder.remove("d/a.md", expect),
        lambda: folder.move("d/a.md", "stolen.md"),
        lambda: folder.move("mine.md", "d/mine.md"),
        lambda: folder.part("d/new.md", "00").append(0, b"x"),
    ):
        with pytest.raises(FolderTrouble, match="symlink"):
            await call()
    assert await folder.remove_dir("gone")
    with pytest.raises(FolderTrouble):
        await folder.remove_dir("d")
    assert {p.name: p.read_text() for p in outside.iterdir()} == {"a.md": "theirs"}
    assert names(root) == {"d", "mine.md"}


async def test_a_directory_swapped_in_the_midst_leads_nowhere(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the directory and writing, it becomes a symlink: outside stays untouched."""
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "d").mkdir()
    real = syscalls.create

    def swapping(name: str, mode: int, dir_fd: int) -> int:
        (root / "d").rename(root / "was")
        (root / "d").symlink_to(outside)
        return real(name, mode, dir_fd)

    monkeypatch.setattr(syscalls, "create", swapping)
    await folder.write("d/a.md", b"text", None)
    assert not list(outside.iterdir())
    assert (root / "was" / "a.md").read_bytes() == b"text"


# ---- moving ---------------------------------------------------------------------------------


async def test_a_move_keeps_the_file(folder: HeapFolder, root: Path) -> None:
    """A rename, a move to another directory and a move of a directory keep inode and content."""
    (root / "a.md").write_text("a")
    inode = (root / "a.md").stat().st_ino
    await folder.make_dir("d/e")
    await folder.move("a.md", "b.md")
    await folder.move("b.md", "d/e/c.md")
    await folder.move("d", "f")
    assert (root / "f/e/c.md").read_text() == "a"
    assert (root / "f/e/c.md").stat().st_ino == inode
    assert names(root) == {"f", "f/e", "f/e/c.md"}


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_move_never_overwrites(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """A taken name stays with whoever has it, on kernels without an atomic way too."""
    if not atomic:
        without_renameat2(monkeypatch)
    (root / "a.md").write_text("a")
    (root / "b.md").write_text("b")
    (root / "d").mkdir()
    (root / "empty").mkdir()
    for old, new in (("a.md", "b.md"), ("a.md", "d"), ("d", "empty"), ("d", "a.md")):
        with pytest.raises(PathChanged, match="something else exists there"):
            await folder.move(old, new)
    with pytest.raises(PathChanged):
        await folder.move("gone.md", "c.md")
    with pytest.raises(PathChanged):
        await folder.move("a.md", "gone/c.md")
    assert names(root) == {"a.md", "b.md", "d", "empty"}
    assert (root / "b.md").read_text() == "b"
    await folder.move("a.md", "c.md")
    await folder.move("d", "e")
    assert names(root) == {"c.md", "b.md", "e", "empty"}


def without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel or file system that does not know renameat2."""

    def unknown(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(syscalls, "_renameat2", unknown)


async def test_case_and_form_alone_can_be_renamed(folder: HeapFolder, root: Path) -> None:
    """A name that differs only by case or normalisation is a rename like any other here."""
    (root / "boat.md").write_text("a")
    await folder.move("boat.md", "Boat.md")
    assert names(root) == {"Boat.md"}
    await folder.move("Boat.md", "cafe\u0301.md")
    await folder.move("cafe\u0301.md", "caf\u00e9.md")
    assert names(root) == {"caf\u00e9.md"}


async def test_case_alone_where_the_file_system_ignores_it(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both spellings are one name, the new one is reached over a hop."""
    (root / "boat.md").write_text("a")
    real = syscalls.rename_new

    def insensitive(old: str, old_dir: int, new: str, new_dir: int) -> None:
        if new.casefold() in (n.casefold() for n in os.listdir(new_dir)):
            raise FileExistsError(17, "File exists", new)
        real(old, old_dir, new, new_dir)

    monkeypatch.setattr(syscalls, "rename_new", insensitive)
    await folder.move("boat.md", "Boat.md")
    assert names(root) == {"Boat.md"}
    assert (root / "Boat.md").read_text() == "a"


async def test_twins_by_case_are_not_one_file(folder: HeapFolder, root: Path) -> None:
    """Two names, even of one inode, are two where the file system tells case apart."""
    (root / "boat.md").write_text("a")
    os.link(root / "boat.md", root / "Boat.md")
    with pytest.raises(PathChanged):
        await folder.move("boat.md", "Boat.md")
    assert names(root) == {"boat.md", "Boat.md"}


# ---- making and removing --------------------------------------------------------------------


async def test_directories_are_made_with_those_above(folder: HeapFolder, root: Path) -> None:
    """Making is repeatable; a file in the way is trouble."""
    stat = await folder.make_dir("a/b/c")
    assert stat.agrees(await folder.make_dir("a/b/c"))
    assert stat.agrees(await stat_of(folder, "a/b/c"))
    (root / "file").touch()
    with pytest.raises(FolderTrouble, match="a file or symlink is in the place of a directory"):
        await folder.make_dir("file/d")


async def test_only_empty_directories_are_removed(folder: HeapFolder, root: Path) -> None:
    """What has anything in it stays whole; what is gone already is fine."""
    await folder.make_dir("d/e")
    (root / "d" / ".hidden").touch()
    assert await folder.remove_dir("d/e")
    assert not await folder.remove_dir("d")
    assert names(root) == {"d", "d/.hidden"}
    assert await folder.remove_dir("gone")
    (root / "file").touch()
    with pytest.raises(FolderTrouble):
        await folder.remove_dir("file")


async def test_only_the_expected_file_is_removed(folder: HeapFolder, root: Path) -> None:
    """A file that was changed, or is a directory by now, stays."""
    (root / "a.md").write_text("one")
    stat = await stat_of(folder, "a.md")
    (root / "a.md").write_text("three")
    with pytest.raises(PathChanged):
        await folder.remove("a.md", stat)
    await folder.remove("a.md", await stat_of(folder, "a.md"))
    with pytest.raises(PathChanged):
        await folder.remove("a.md", stat)
    (root / "a.md").mkdir()
    with pytest.raises(PathChanged):
        await folder.remove("a.md", await stat_of(folder, "a.md"))
    assert names(root) == {"a.md"}


async def test_a_save_just_before_the_removal_is_given_back(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever saves between the last look and the removal keeps their file."""
    (root / "a.md").write_text("old")
    stat = await stat_of(folder, "a.md")
    real = syscalls.rename_new
    saved = False

    def saving(old: str, old_dir: int, new: str, new_dir: int) -> None:
        nonlocal saved
        if not saved:
            saved = True
            (root / "other").write_text("saved")
            (root / "other").rename(root / "a.md")
        real(old, old_dir, new, new_dir)

    monkeypatch.setattr(syscalls, "rename_new", saving)
    with pytest.raises(PathChanged):
        await folder.remove("a.md", stat)
    assert names(root) == {"a.md"}
    assert (root / "a.md").read_text() == "saved"


# ---- temporaries ----------------------------------------------------------------------------


async def test_only_our_own_temporaries_are_swept(folder: HeapFolder, root: Path) -> None:
    """Our pattern goes, at any depth; what merely resembles it, and fresh parts, stay."""
    (root / "d").mkdir()
    outside = root.parent / "outside"
    outside.mkdir()
    ours = [".heapsyncd-0123456789ab.tmp", "d/.heapsyncd-ba9876543210.tmp"]
    fresh, stale = ".heapsyncd-part-0123456789abcdef.tmp", ".heapsyncd-part-fedcba9876543210.tmp"
    theirs = ["x.tmp", ".heapsyncd-notes.tmp.md", ".heapsyncd-x.tmp~", "heapsyncd-1.tmp", "d/y.md"]
    for path in [*ours, fresh, stale, *theirs]:
        (root / path).touch()
    (outside / ours[0]).touch()
    (root / "link").symlink_to(outside)
    (root / ".heapsyncd-0000000000aa.tmp").mkdir()
    os.utime(root / stale, (1, 1))
    assert await folder.clear_temps() == 3
    kept = {*theirs, fresh, "d", "link", ".heapsyncd-0000000000aa.tmp"}
    assert names(root) - {f"link/{ours[0]}"} == kept
    assert (outside / ours[0]).exists()


@pytest.mark.parametrize("call", ["sweep", "write", "make", "append"])
async def test_nothing_is_written_after_a_call_was_cancelled(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The next mirror, or a repair, is alone in the folder."""
    entered, goes_on = threading.Event(), threading.Event()
    checked, opened = marker.check, safe_open.open_root

    def check(at: Path, heap: HeapId | None) -> None:
        entered.set()
        goes_on.wait()
        checked(at, heap)

    def open_root(at: Path) -> int:
        entered.set()
        goes_on.wait()
        return opened(at)

    if call == "append":
        monkeypatch.setattr(safe_open, "open_root", open_root)
    else:
        monkeypatch.setattr(marker, "check", check)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "sweep": folder.clear_temps,
        "write": lambda: folder.write("new.md", b"new", None),
        "make": lambda: folder.make_dir("new"),
        "append": lambda: folder.part("new.bin", "0" * 64).append(0, b"new"),
    }
    (root / ".heapsyncd-0123456789ab.tmp").touch()
    before = names(root)
    task = asyncio.ensure_future(calls[call]())
    try:
        assert await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()
        assert names(root) == before
    finally:
        goes_on.set()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert names(root) != before


async def test_calls_at_once_do_not_disturb_each_other(folder: HeapFolder, root: Path) -> None:
    """Many tasks may work in one folder."""
    await asyncio.gather(
        *(folder.write(f"n{k}.md", b"x" * k, None) for k in range(30)),
        *(folder.make_dir(f"d/{k % 3}/e") for k in range(30)),
    )
    assert {p.name: p.stat().st_size for p in root.glob("n*.md")} == {
        f"n{k}.md": k for k in range(30)
    }
    assert {str(p.relative_to(root)) for p in root.glob("d/*/*")} == {f"d/{k}/e" for k in range(3)}
