"""Edge: the lock that keeps two daemons off one state."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from heapsyncd.errors import FolderTrouble, StateLocked
from heapsyncd.own_files import PRIVATE, lock

NAME: Final = "lock"


@contextlib.contextmanager
def hold_state(state_dir: Path) -> Iterator[None]:
    """Hold the state (made with mode 0700 when absent) while the context is open.

    Whatever ends the process frees it, and a file that is left over means nothing. The process id
    in it is for the message alone.

    Raises:
        StateLocked: another process holds it.
        FolderTrouble: the directory can't be made or used, or is open to others.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(state_dir)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(state_dir / NAME, flags, PRIVATE)
    except OSError as error:
        raise FolderTrouble(
            f"The state directory {state_dir} can't be used: {error.strerror}; "
            "correct its owner and mode, or set another state_dir."
        ) from error
    try:
        _lock(descriptor, state_dir)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _check(state_dir: Path) -> None:
    """Refuse a directory in which others could put files in our files' places."""
    found = state_dir.stat()
    if found.st_uid != os.geteuid():
        raise FolderTrouble(
            f"The state directory {state_dir} belongs to another user (uid {found.st_uid});"
            " set another state_dir."
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise FolderTrouble(
            f"The state directory {state_dir} can be written by others"
            f" (mode {stat.S_IMODE(found.st_mode):o}); run: chmod 700 {state_dir}"
        )


def _lock(descriptor: int, state_dir: Path) -> None:
    try:
        locked = lock(descriptor)
    except OSError as error:
        raise FolderTrouble(
            f"{state_dir} can't be locked: {error.strerror}; put state_dir on a local disk."
        ) from error
    if not locked:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise StateLocked(
            f"Another heapsyncd ({who}) looks after {state_dir} already; "
            "`heapsyncd status` shows what it does."
        )
