"""A file is replaced whole or not at all, whatever fails, is killed, or saves in between."""

import asyncio
import errno
import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder import replace, syscalls
from heapsyncd.folder.disk import HeapFolder, PathChanged, Write
from heapsyncd.model import Stat

OLD, NEW = b"old text\n", b"new text, quite another\n"
CALLS = [
    *("create", "write", "chmod", "fsync", "sync_file_system", "lstat", "unlink"),
    *("rename", "rename_new", "exchange"),
]


async def stat_of(folder: HeapFolder, path: str) -> Stat:
    found = await folder.stat(path)
    assert found is not None
    return found


def temps(root: Path) -> list[str]:
    return [p.name for p in root.rglob(".heapsyncd-*")]


class Disk:
    """Counts the system calls that change the folder, and lets one of them go wrong."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.act: Callable[[int], None] = lambda _: None
        for name in CALLS:
            monkeypatch.setattr(syscalls, name, self._wrap(name, getattr(syscalls, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            self.act(len(self.calls))
            return real(*args)

        return call

    @contextmanager
    def failing(self, k: int, number: int) -> Iterator[None]:
        """The k-th call from now fails with this errno."""
        self.calls.clear()

        def fail(n: int) -> None:
            if n == k:
                raise OSError(number, os.strerror(number))

        self.act = fail
        yield
        self.act = lambda _: None


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# ---- plain writing --------------------------------------------------------------------------


async def test_a_written_file_is_remembered_as_it_is(folder: HeapFolder, root: Path) -> None:
    """The stat that comes back is the disk's, for new and for replaced files."""
    first = await folder.write("a.md", OLD, None)
    assert first == await folder.stat("a.md")
    second = await folder.write("a.md", NEW, first)
    assert second == await folder.stat("a.md")
    assert (root / "a.md").read_bytes() == NEW
    assert (await folder.read("a.md", 100))[1] == second
    assert not temps(root)


async def test_an_empty_and_a_large_file_are_written(folder: HeapFolder, root: Path) -> None:
    """Every size arrives whole."""
    large = os.urandom(5 << 20)
    await folder.write("empty.md", b"", None)
    await folder.write("large.bin", large, None)
    assert (root / "empty.md").read_bytes() == b""
    assert (root / "large.bin").read_bytes() == large


async def test_a_short_write_is_continued(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system takes only a few bytes at a time, the rest follows."""
    real = syscalls.write
    monkeypatch.setattr(syscalls, "write", lambda fd, data: real(fd, data[:3]))
    await folder.write("a.md", NEW, None)
    assert (root / "a.md").read_bytes() == NEW


async def test_the_mode_is_kept(folder: HeapFolder, root: Path) -> None:
    """A new file has the usual mode, a replaced one its own, a wished one wins."""
    umask = os.umask(0o027)
    try:
        stat_now = await folder.write("a.md", OLD, None)
        assert stat.S_IMODE((root / "a.md").stat().st_mode) == 0o640
        (root / "a.md").chmod(0o604)
        stat_now = await stat_of(folder, "a.md")
        stat_now = await folder.write("a.md", NEW, stat_now)
        assert stat.S_IMODE((root / "a.md").stat().st_mode) == 0o604
        await folder.write("a.md", OLD, stat_now, mode=0o600)
        assert stat.S_IMODE((root / "a.md").stat().st_mode) == 0o600
        await folder.write("b.md", OLD, None, mode=0o666)
        assert stat.S_IMODE((root / "b.md").stat().st_mode) == 0o666
    finally:
        os.umask(umask)


async def test_owner_and_extended_attributes_are_kept(folder: HeapFolder, root: Path) -> None:
    """What desktop programs attach to a file stays on its next version."""
    await folder.write("a.md", OLD, None)
    try:
        os.setxattr(root / "a.md", "user.xdg.tags", b"boat")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    if os.geteuid() == 0:
        os.chown(root / "a.md", 1234, 5678)
    await folder.write("a.md", NEW, await stat_of(folder, "a.md"))
    assert os.getxattr(root / "a.md", "user.xdg.tags") == b"boat"
    if os.geteuid() == 0:
        found = (root / "a.md").stat()
        assert (found.st_uid, found.st_gid) == (1234, 5678)


# ---- the last look --------------------------------------------------------------------------


async def test_a_file_in_the_way_is_not_overwritten(folder: HeapFolder, root: Path) -> None:
    """Where nothing was expected, whatever stands there stays: a file, a directory, a symlink."""
    (root / "file.md").write_bytes(OLD)
    (root / "dir.md").mkdir()
    (root / "link.md").symlink_to("nowhere.md")
    for path in ("file.md", "dir.md", "link.md"):
        with pytest.raises(PathChanged, match="something new exists there"):
            await folder.write(path, NEW, None)
    assert (root / "file.md").read_bytes() == OLD
    assert not (root / "nowhere.md").exists()
    assert not temps(root)


@pytest.mark.parametrize("change", ["edit", "touch", "replace", "delete", "symlink", "dir"])
async def test_what_changed_since_is_not_overwritten(
    folder: HeapFolder, root: Path, change: str
) -> None:
    """Any change since the plan was made keeps the file as it is now."""
    path = root / "a.md"
    expect = await folder.write("a.md", OLD, None)
    if change == "edit":
        path.write_bytes(b"other\n")
    elif change == "touch":
        os.utime(path, ns=(expect.mtime_ns, expect.mtime_ns))
    else:
        path.rename(root / "kept.md")
        if change == "replace":
            path.write_bytes(OLD)
        elif change == "symlink":
            path.symlink_to("kept.md")
        elif change == "dir":
            path.mkdir()
    before = {p.name: p.lstat().st_ino for p in root.iterdir()}
    with pytest.raises(PathChanged):
        await folder.write("a.md", NEW, expect)
    assert {p.name: p.lstat().st_ino for p in root.iterdir()} == before


@pytest.mark.parametrize("change", ["replace", "edit", "delete"])
@pytest.mark.parametrize("call", ["exchange", "rename_new"])
async def test_a_save_after_the_last_look_is_not_lost(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch, change: str, call: str
) -> None:
    """Whoever saves between the last look and the rename keeps their text in place."""
    expect = await folder.write("a.md", OLD, None) if call == "exchange" else None
    real = getattr(syscalls, call)
    done = False

    def racing(*args: Any) -> Any:
        nonlocal done
        if not done:
            done = True
            if change == "delete":
                (root / "a.md").unlink(missing_ok=True)
            elif change == "replace":
                (root / "mine").write_bytes(b"mine")
                (root / "mine").rename(root / "a.md")
            else:
                (root / "a.md").write_bytes(b"mine")
        return real(*args)

    monkeypatch.setattr(syscalls, call, racing)
    if change == "delete" and call == "rename_new":
        await folder.write("a.md", NEW, expect)  # nothing was there, and nothing is
        return
    with pytest.raises(PathChanged):
        await folder.write("a.md", NEW, expect)
    if change == "delete":
        assert not (root / "a.md").exists()
    else:
        assert (root / "a.md").read_bytes() == b"mine"
    assert not temps(root)


async def test_what_can_not_be_exchanged_back_is_kept_beside(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if our text is deleted before a late save is given back, the save is kept."""
    expect = await folder.write("a.md", OLD, None)
    real = syscalls.exchange
    times = 0

    def racing(one: str, other: str, dir_fd: int) -> bool:
        nonlocal times
        times += 1
        if times == 1:
            (root / "mine").write_bytes(b"mine")
            (root / "mine").rename(root / "a.md")
        else:
            (root / "a.md").unlink()
        return real(one, other, dir_fd)

    monkeypatch.setattr(syscalls, "exchange", racing)
    with pytest.raises(PathChanged):
        await folder.write("a.md", NEW, expect)
    assert (root / "a.md").read_bytes() == b"mine"
    assert not temps(root)


async def test_a_save_right_after_is_found_later(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stat that comes back does not agree with a file that was saved meanwhile."""
    real = replace._stat_after_rename

    def saving(ready: replace.Staged) -> Stat:
        with (root / "a.md").open("ab") as file:
            file.write(b"more")
        return real(ready)

    monkeypatch.setattr(replace, "_stat_after_rename", saving)
    result = await folder.write("a.md", NEW, None)
    assert not result.agrees(await stat_of(folder, "a.md"))


async def test_file_systems_without_exchange_replace_too(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where names can't be exchanged, a rename does it, and never overwrites a new file."""

    def unknown(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(syscalls, "_renameat2", unknown)
    expect = await folder.write("a.md", OLD, None)
    await folder.write("a.md", NEW, expect)
    with pytest.raises(PathChanged):
        await folder.write("a.md", OLD, None)
    assert (root / "a.md").read_bytes() == NEW
    assert (root / "a.md").stat().st_nlink == 1
    assert not temps(root)


# ---- many -----------------------------------------------------------------------------------


async def test_many_files_wait_for_the_disk_once(
    folder: HeapFolder, root: Path, disk: Disk
) -> None:
    """A batch costs one sync of the file system and one for each directory."""
    await folder.make_dir("d")
    disk.calls.clear()
    writes = [Write(f"{'d/' if k % 2 else ''}{k}.md", b"x" * k, None) for k in range(50)]
    results = await folder.write_many(writes)
    assert [r.size for r in results if isinstance(r, Stat)] == list(range(50))
    assert disk.calls.count("sync_file_system") == 1
    assert disk.calls.count("fsync") == 2
    last_rename = max(k for k, c in enumerate(disk.calls) if c == "rename_new")
    assert disk.calls.index("sync_file_system") < disk.calls.index("rename_new")
    assert disk.calls.index("fsync") > last_rename


async def test_few_files_are_synced_one_by_one(folder: HeapFolder, disk: Disk) -> None:
    """One save does not make the whole system's buffers be written."""
    disk.calls.clear()
    await folder.write("a.md", NEW, None)
    assert disk.calls.count("sync_file_system") == 0
    assert disk.calls.index("fsync") < disk.calls.index("rename_new")
    assert disk.calls[-2:].count("fsync") == 1


async def test_one_file_s_trouble_does_not_stop_the_others(folder: HeapFolder, root: Path) -> None:
    """Each result stands in its place: written, moved, refused."""
    (root / "there.md").write_bytes(OLD)
    (root / "link").symlink_to("/tmp")
    paths = ["a.md", "there.md", "../out.md", "link/x.md", "gone/x.md", "x" * 300 + ".md", "b.md"]
    results = await folder.write_many([Write(p, NEW, None) for p in paths])
    kinds = [Stat, PathChanged, FolderTrouble, FolderTrouble, PathChanged, FolderTrouble, Stat]
    assert [type(r) for r in results] == kinds
    assert {p.name for p in root.iterdir()} == {".heapsyncd", "a.md", "b.md", "there.md", "link"}
    assert await folder.write_many([]) == []


# ---- failures and kills ---------------------------------------------------------------------


async def states(folder: HeapFolder, root: Path) -> tuple[Path, Stat]:
    path = root / "a.md"
    path.unlink(missing_ok=True)
    return path, await folder.write("a.md", OLD, None)


async def count_calls(folder: HeapFolder, root: Path, disk: Disk, expect: Stat | None) -> int:
    disk.calls.clear()
    await folder.write("a.md", NEW, expect)
    return len(disk.calls)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("new", [True, False])
async def test_each_failing_call_leaves_old_or_new_text(
    folder: HeapFolder, root: Path, disk: Disk, number: int, new: bool
) -> None:
    """Whichever system call fails: the old text or the new one entire, no temporary after the
    sweep, and the next attempt succeeds.
    """
    path, expect = await states(folder, root)
    if new:
        path.unlink()
    total = await count_calls(folder, root, disk, None if new else expect)
    assert total >= 6
    for k in range(1, total + 1):
        _, expect = await states(folder, root)
        if new:
            path.unlink()
        with disk.failing(k, number):
            (result,) = await folder.write_many([Write("a.md", NEW, None if new else expect)])
        found = path.read_bytes() if path.exists() else None
        allowed = (None, NEW) if new else (OLD, NEW)
        assert found in allowed, (k, disk.calls)
        if isinstance(result, Stat):
            assert found == NEW
        elif isinstance(result, FolderTrouble):
            assert str(result).startswith("a.md: ")
        await folder.clear_temps()
        assert not temps(root), (k, disk.calls)
        assert {p.name for p in root.iterdir()} <= {".heapsyncd", "a.md"}
        await folder.write("a.md", NEW, await folder.stat("a.md"))
        assert path.read_bytes() == NEW


async def test_a_full_disk_leaves_no_temporary_behind(
    folder: HeapFolder, root: Path, disk: Disk
) -> None:
    """What was written of the temporary is given back at once, and the message says what to do."""
    _, expect = await states(folder, root)
    disk.calls.clear()
    await folder.write("a.md", NEW, expect)
    at = disk.calls.index("write") + 1
    path, expect = await states(folder, root)
    with disk.failing(at, errno.ENOSPC), pytest.raises(FolderTrouble, match="the disk is full"):
        await folder.write("a.md", NEW, expect)
    assert path.read_bytes() == OLD
    assert not temps(root)


async def test_a_failed_sync_of_a_batch_writes_nothing(
    folder: HeapFolder, root: Path, disk: Disk
) -> None:
    """Bytes that may not be on the disk never take a place."""
    disk.calls.clear()

    def fail(n: int) -> None:
        if disk.calls[n - 1] == "sync_file_system":
            raise OSError(errno.EIO, "Input/output error")

    disk.act = fail
    results = await folder.write_many([Write(f"{k}.md", NEW, None) for k in range(9)])
    assert all(isinstance(r, FolderTrouble) for r in results)
    assert {p.name for p in root.iterdir()} == {".heapsyncd"}


KILLED = """
    import json, os, signal, sys
    from pathlib import Path
    from heapsyncd.folder import places, replace, syscalls
    root, calls = Path(sys.argv[1]), sys.argv[4:]
    old, new = (text.encode() for text in sys.argv[2:4])
    left = 0
    def wrap(real):
        def call(*args):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)
        return call
    def write(data):
        expect = places.look(root, "a.md")
        (result,) = replace.write_all(root, [replace.Write("a.md", data, expect)])
        assert not isinstance(result, Exception), result
    for name in calls:
        setattr(syscalls, name, wrap(getattr(syscalls, name)))
    status, k = -9, 0
    while status == -9:
        k += 1
        write(old)
        if (child := os.fork()) == 0:
            left = k + 1  # the look before is none of the writing
            write(new)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = (root / "a.md").read_text()
        temps = len(list(root.glob(".heapsyncd-*")))
        places.clear_temps(root, 0)
        print(json.dumps([status, found, temps, sorted(p.name for p in root.iterdir())]))
"""


async def test_a_kill_at_each_call_leaves_old_or_new_text(folder: HeapFolder, root: Path) -> None:
    """SIGKILL before each system call of a replacement: old or new text, nothing after a sweep."""
    arguments = [str(root), OLD.decode(), NEW.decode(), *CALLS]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", textwrap.dedent(KILLED), *arguments],
        check=True,
        timeout=30,
        capture_output=True,
    )
    *kills, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) >= 8
    assert {status for status, *_ in kills} == {-9}
    texts = [found for _, found, *_ in kills]
    # Up to some call the old text, from there on the new one.
    assert texts == sorted(texts, key=lambda t: t == NEW.decode())
    assert set(texts) == {OLD.decode(), NEW.decode()}
    assert any(temps for _, _, temps, _ in kills)
    assert all(names == [".heapsyncd", "a.md"] for *_, names in kills)
    assert last[:3] == [0, NEW.decode(), 0]
