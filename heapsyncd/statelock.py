"""Edge: the lock that prevents two daemons from using the same state."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from heapsyncd.errors import ConfigError, FolderTrouble, StateLocked
from heapsyncd.own_files import PRIVATE, lock

NAME: Final = "lock"
_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Reasons of the disk's, which may pass. Others are a wrong setting."""


@contextlib.contextmanager
def hold_state(state_dir: Path) -> Iterator[None]:
    """Hold the state's lock while the context is open; create the directory (0700) if absent.

    The kernel ties the lock to the process: however the process ends, the lock is released, and a
    leftover file means nothing. The process id in it is only for the message.

    Raises:
        StateLocked: another process holds it.
        ConfigError: there can be no directory where the setting says.
        FolderTrouble: the directory cannot be used, or is writable by others.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _PASSING:
            raise FolderTrouble(f"{state_dir} can't be made: {error.strerror}.") from error
        raise ConfigError(
            f"The state directory {state_dir} can't be made: {error.strerror};"
            " set another state_dir."
        ) from error
    try:
        check(state_dir)
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


def check(state_dir: Path) -> None:
    """Refuse a directory in which others could replace our files.

    Raises:
        FolderTrouble: it belongs to another user, or is writable by others.
        OSError: it cannot be looked at.
    """
    found = state_dir.stat()
    if found.st_uid != os.geteuid():
        raise FolderTrouble(
            f"The state directory {state_dir} belongs to another user (uid {found.st_uid});"
            " set another state_dir."
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise FolderTrouble(
            f"The state directory {state_dir} is writable by others"
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
            f"Another heapsyncd ({who}) is using {state_dir} already; "
            "`heapsyncd status` shows what it is doing."
        )
