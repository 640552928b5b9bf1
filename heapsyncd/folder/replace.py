"""Edge: put files in their places, atomically, durably, and after a last look at what was there.

The order for each file: a temporary beside it, its bytes on the disk, the last look, the rename,
the directory on the disk. A kill between any two steps leaves the old text or the new one, and at
most a temporary, which the next start sweeps away.

Between the last look and a rename somebody may still save. So an old file is not renamed over but
exchanged with the temporary, looked at again there, and given back if it is not what it was.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder import safe_open, syscalls
from heapsyncd.folder.names import variants
from heapsyncd.folder.trouble import Moved, trouble
from heapsyncd.folder.walk import stat_of
from heapsyncd.model import Stat

FEW = 4
"""Up to so many files are synced one by one; more of them with one sync of the file system."""


@dataclass(frozen=True, slots=True)
class Write:
    """A file to be written."""

    path: str
    data: bytes
    expect: Stat | None
    """What stands there, as last seen; None: nothing does."""
    mode: int | None = None
    """Permission bits; None: those of the file that is replaced, or what the umask leaves."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A temporary that is ready to take its place."""

    path: str
    dir_fd: int
    temp: str
    name: str
    expect: Stat | None
    stat: Stat
    """Of the temporary."""


Result = Stat | Moved | FolderTrouble


def new_temp_name() -> str:
    """A name of our own pattern (``ignore.TEMP``)."""
    return f".heapsyncd-{secrets.token_hex(6)}.tmp"


def write_all(root: Path, writes: Sequence[Write]) -> list[Result]:
    """Write files; what happened to each, in the order given.

    Raises:
        FolderTrouble: the heap's folder can't be opened; nothing was written.
    """
    results: dict[int, Result] = {}
    staged: dict[int, Staged] = {}
    with _directories(root) as directory:
        for k, write in enumerate(writes):
            with _collected(results, k, write.path):
                dir_fd, name = directory(write.path)
                staged[k] = stage(dir_fd, name, write, sync=len(writes) <= FEW)
        if len(writes) > FEW:
            _sync_all(staged, results)
        touched: dict[int, list[int]] = {}
        for k, ready in staged.items():
            if k not in results:
                with _collected(results, k, ready.path):
                    results[k] = commit(ready)
                    touched.setdefault(ready.dir_fd, []).append(k)
        for dir_fd, those in touched.items():
            try:
                syscalls.fsync(dir_fd)
            except OSError as error:
                results |= {k: trouble(writes[k].path, error) for k in those}
    return [results[k] for k in range(len(writes))]


def stage(dir_fd: int, name: str, write: Write, *, sync: bool) -> Staged:
    """Write the temporary; nothing is left of it when that fails."""
    temp = new_temp_name()
    fd = syscalls.create(temp, 0o666 if write.mode is None else write.mode, dir_fd)
    try:
        try:
            left = memoryview(write.data)
            while left:
                left = left[syscalls.write(fd, left) :]
            keep_attributes(fd, name, dir_fd, write)
            if sync:
                syscalls.fsync(fd)
            found = stat_of(os.fstat(fd))
        finally:
            os.close(fd)
    except BaseException:
        discard(temp, dir_fd)
        raise
    return Staged(write.path, dir_fd, temp, name, write.expect, found)


def commit(ready: Staged) -> Stat:
    """Take the last look and let the temporary take its place.

    Raises:
        Moved: the place is not as expected; nothing changed and the temporary is gone.
        OSError: the same, for another reason.
    """
    try:
        swapped = _take_place(ready)
    except FileExistsError as error:
        discard(ready.temp, ready.dir_fd)
        raise Moved(ready.path, "something new stands there") from error
    except FileNotFoundError as error:
        discard(ready.temp, ready.dir_fd)
        raise Moved(ready.path, "it is not there any more") from error
    except BaseException:
        discard(ready.temp, ready.dir_fd)
        raise
    if swapped:
        _check_replaced(ready)
    return _as_written(ready)


def last_look(path: str, name: str, dir_fd: int, expect: Stat) -> None:
    """Moved unless the file is there and as it was."""
    try:
        found = syscalls.lstat(name, dir_fd)
    except FileNotFoundError as error:
        raise Moved(path, "it is not there any more") from error
    if not stat.S_ISREG(found.st_mode) or not stat_of(found).agrees(expect):
        raise Moved(path, "it was changed meanwhile")


def discard(temp: str, dir_fd: int) -> None:
    """Remove a temporary, if that is possible; the next start tries again."""
    with contextlib.suppress(OSError):
        syscalls.unlink(temp, dir_fd)


def give_back(temp: str, name: str, dir_fd: int) -> None:
    """Put a file of the user's, now under a temporary name, where it was, or beside that."""
    for candidate in variants(name):
        try:
            syscalls.rename_new(temp, dir_fd, candidate, dir_fd)
        except FileExistsError:
            continue
        return


def _take_place(ready: Staged) -> bool:
    """Whether the temporary's name holds now what stood in the place."""
    if ready.expect is None:
        syscalls.rename_new(ready.temp, ready.dir_fd, ready.name, ready.dir_fd)
        return False
    last_look(ready.path, ready.name, ready.dir_fd, ready.expect)
    if syscalls.exchange(ready.temp, ready.name, ready.dir_fd):
        return True
    syscalls.rename(ready.temp, ready.dir_fd, ready.name, ready.dir_fd)
    return False


def _check_replaced(ready: Staged) -> None:
    """Throw away what was replaced if it is what was expected, else give it back: it is newer."""
    expect = ready.expect
    assert expect is not None
    try:
        old = stat_of(syscalls.lstat(ready.temp, ready.dir_fd))
        # Not ctime, which the exchange moved.
        known = (old.inode, old.size, old.mtime_ns) == (
            expect.inode,
            expect.size,
            expect.mtime_ns,
        )
    except OSError:
        known = False
    if known:
        discard(ready.temp, ready.dir_fd)
        return
    try:
        syscalls.exchange(ready.temp, ready.name, ready.dir_fd)
    except OSError:
        give_back(ready.temp, ready.name, ready.dir_fd)
    else:
        discard(ready.temp, ready.dir_fd)
    raise Moved(ready.path, "it was changed meanwhile")


def _as_written(ready: Staged) -> Stat:
    """What to remember: the rename moved ctime. If somebody saved since, what we wrote, so that
    their change is found.
    """
    try:
        now = stat_of(syscalls.lstat(ready.name, ready.dir_fd))
    except OSError:
        return ready.stat
    ours = ready.stat
    same = (now.inode, now.size, now.mtime_ns) == (ours.inode, ours.size, ours.mtime_ns)
    return now if same else ours


def keep_attributes(fd: int, name: str, dir_fd: int, write: Write) -> None:
    """Mode, owner and extended attributes of what is replaced; a wished mode wins."""
    mode = write.mode
    if write.expect is not None:
        try:
            old = syscalls.lstat(name, dir_fd)
        except FileNotFoundError:
            return  # the last look will tell
        if not stat.S_ISREG(old.st_mode):
            return  # as well
        new = os.fstat(fd)
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            with contextlib.suppress(OSError):  # only root may give files away
                os.fchown(fd, old.st_uid, old.st_gid)
        _copy_extended(fd, name, dir_fd)
        mode = stat.S_IMODE(old.st_mode) if mode is None else mode
    if mode is not None:
        syscalls.chmod(fd, mode)


def _copy_extended(fd: int, name: str, dir_fd: int) -> None:
    # As far as it goes: not every file system has them, and some are not ours to set.
    with contextlib.suppress(OSError):
        old_fd = safe_open.open_file(name, dir_fd)
        try:
            for key in os.listxattr(old_fd):
                with contextlib.suppress(OSError):
                    os.setxattr(fd, key, os.getxattr(old_fd, key))
        finally:
            os.close(old_fd)


def _sync_all(staged: dict[int, Staged], results: dict[int, Result]) -> None:
    """One sync for each file system (mount points may lie inside the folder)."""
    devices: dict[int, list[int]] = {}
    for k, ready in staged.items():
        devices.setdefault(ready.stat.device, []).append(k)
    for those in devices.values():
        try:
            syscalls.sync_file_system(staged[those[0]].dir_fd)
        except OSError as error:
            for k in those:
                discard(staged[k].temp, staged[k].dir_fd)
                results[k] = trouble(staged[k].path, error)


@contextmanager
def _collected(results: dict[int, Result], k: int, path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        results[k] = Moved(path, "its directory is not there any more")
    except OSError as error:
        results[k] = trouble(path, error)
    except (Moved, FolderTrouble) as reason:
        results[k] = reason


class _Directories:
    """The open directories of a batch, each opened once."""

    def __init__(self, root_fd: int, stack: ExitStack) -> None:
        self._root_fd = root_fd
        self._stack = stack
        self._open: dict[str, int] = {}

    def __call__(self, path: str) -> tuple[int, str]:
        """The open directory of a path, and the path's last name."""
        *above, name = safe_open.components(path)
        key = "/".join(above)
        if key not in self._open:
            self._open[key] = safe_open.descend(self._root_fd, above)
            self._stack.callback(os.close, self._open[key])
        return self._open[key], name


@contextmanager
def _directories(root: Path) -> Iterator[_Directories]:
    with ExitStack() as stack:
        root_fd = safe_open.open_root(root)
        stack.callback(os.close, root_fd)
        yield _Directories(root_fd, stack)
