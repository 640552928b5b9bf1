"""A battery that dies: what was not synced is not on the disk afterwards.

The system calls that change the folder are watched. A file's bytes are safe once it was synced, a
name once its directory was (or the whole file system). ``PowerCuts.cut`` takes away the rest: the
bytes, so that files are empty, or the names, so that changes of directories did not happen.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from heapsyncd.folder import syscalls

Loss = Literal["bytes", "names", "both"]


@dataclass
class _Change:
    """A change of directories that is not safe yet."""

    unsafe: set[Path]
    """The directories to be synced."""
    undo: Callable[[], object]


@dataclass
class PowerCuts:
    """What is not safe yet.

    Args:
        aside: a directory on the same file system, for what was removed.
    """

    aside: Path
    _changes: list[_Change] = field(default_factory=list)
    _dirty: dict[int, int] = field(default_factory=dict)
    """Files with unsynced bytes: inode to a descriptor of ours."""
    _kept: int = 0

    def cut(self, loss: Loss) -> int:
        """The power is gone; how much was lost. What is there afterwards is on the disk."""
        lost = 0
        if loss != "names":
            for fd in self._dirty.values():
                os.ftruncate(fd, 0)
                lost += 1
        if loss != "bytes":
            for change in reversed(self._changes):
                change.undo()
                lost += 1
        self.all_safe()
        return lost

    def all_safe(self) -> None:
        """The file system was synced, or is taken as it is."""
        for fd in self._dirty.values():
            os.close(fd)
        self._dirty.clear()
        self._changes.clear()

    @contextlib.contextmanager
    def watched(self) -> Iterator["PowerCuts"]:
        """Notice every system call that changes a folder."""
        self.aside.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("create", "write", "fsync", "sync_file_system", "unlink", "mkdir",
                         "rmdir", "rename", "rename_new", "exchange"):  # fmt: skip
                call = getattr(syscalls, name)
                patch.setattr(syscalls, name, self._noticing(getattr(self, f"_{name}"), call))
            try:
                yield self
            finally:
                self.all_safe()

    def _noticing(self, notice: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def noticed(*args: Any) -> Any:
            return notice(call, *args)

        return noticed

    def _changed(self, undo: Callable[[], object], *places: Path) -> None:
        self._changes.append(_Change({p.parent for p in places}, undo))

    def _keep(self, path: Path) -> Path | None:
        """A second name for a file that is about to lose its own."""
        self._kept += 1
        kept = self.aside / str(self._kept)
        with contextlib.suppress(FileNotFoundError):
            kept.hardlink_to(path)
            return kept
        return None

    # ---- the calls ------------------------------------------------------------------------

    def _create(self, call: Callable[..., int], name: str, mode: int, dir_fd: int) -> int:
        fd = call(name, mode, dir_fd)
        path = _path(dir_fd, name)
        self._changed(lambda: path.unlink(missing_ok=True), path)
        return fd

    def _write(self, call: Callable[..., int], fd: int, data: memoryview) -> int:
        inode = os.fstat(fd).st_ino
        if inode not in self._dirty:
            self._dirty[inode] = os.dup(fd)
        return call(fd, data)

    def _fsync(self, call: Callable[..., None], fd: int) -> None:
        call(fd)
        dirty = self._dirty.pop(os.fstat(fd).st_ino, None)
        if dirty is not None:
            os.close(dirty)
        directory = _path(fd)
        for change in self._changes:
            change.unsafe.discard(directory)
        self._changes = [c for c in self._changes if c.unsafe]

    def _sync_file_system(self, call: Callable[..., None], fd: int) -> None:
        call(fd)
        self.all_safe()

    def _unlink(self, call: Callable[..., None], name: str, dir_fd: int) -> None:
        path = _path(dir_fd, name)
        kept = self._keep(path)
        call(name, dir_fd)
        self._changed(lambda: kept and kept.rename(path), path)

    def _mkdir(self, call: Callable[..., None], name: str, dir_fd: int) -> None:
        call(name, dir_fd)
        path = _path(dir_fd, name)
        self._changed(path.rmdir, path)

    def _rmdir(self, call: Callable[..., None], name: str, dir_fd: int) -> None:
        call(name, dir_fd)
        path = _path(dir_fd, name)
        self._changed(path.mkdir, path)

    def _rename(
        self, call: Callable[..., None], old: str, old_dir: int, new: str, new_dir: int
    ) -> None:
        before, after = _path(old_dir, old), _path(new_dir, new)
        kept = self._keep(after)
        call(old, old_dir, new, new_dir)

        def undo() -> None:
            after.rename(before)
            if kept is not None:
                kept.rename(after)

        self._changed(undo, before, after)

    def _rename_new(
        self, call: Callable[..., None], old: str, old_dir: int, new: str, new_dir: int
    ) -> None:
        before, after = _path(old_dir, old), _path(new_dir, new)
        call(old, old_dir, new, new_dir)
        self._changed(lambda: after.rename(before), before, after)

    def _exchange(self, call: Callable[..., bool], one: str, other: str, dir_fd: int) -> bool:
        done = call(one, other, dir_fd)
        first, second = _path(dir_fd, one), _path(dir_fd, other)

        def undo() -> None:
            spare = self.aside / "spare"
            first.rename(spare)
            second.rename(first)
            spare.rename(second)

        if done:
            self._changed(undo, first)
        return done


def _path(fd: int, name: str = "") -> Path:
    """Where a descriptor's file, or a name in its directory, is now."""
    return Path(f"/proc/self/fd/{fd}").readlink() / name
