"""Edge: heapsyncd's own files (keys, configuration, locks): written whole, locked by one."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
"""The mode of a file that only its owner may read."""


def write_whole(path: Path, text: str, mode: int = PRIVATE, *, replace: bool = False) -> bool:
    """Write a small file atomically, as UTF-8. The rest as ``place_whole``."""
    return place_whole(path, lambda out: out.write(text.encode()), mode, replace=replace)


def place_whole(
    path: Path,
    write: Callable[[BinaryIO], object],
    mode: int = PRIVATE,
    *,
    replace: bool = False,
) -> bool:
    """Write a file atomically, and create the directories above it.

    A process that is killed leaves the old file or the new one, never a part.

    Args:
        path: the file.
        write: writes its content.
        mode: its permission bits, reduced by the umask.
        replace: replace an existing file; otherwise it is kept.

    Returns:
        Whether the file was written.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not replace and os.path.lexists(path):
        return False
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(beside, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        if replace:
            beside.replace(path)
        elif not _link_new(beside, path):
            return False
    finally:
        beside.unlink(missing_ok=True)
    # Without this, a power cut can lose the new name, and a key with it.
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True


def _link_new(beside: Path, path: Path) -> bool:
    """Give a complete file its name unless the name is taken; return whether it got it."""
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        return False
    except OSError:
        # File systems such as FAT have no hard links, and cannot tell two writers apart.
        if os.path.lexists(path):
            return False
        beside.replace(path)
    return True


def lock(descriptor: int) -> bool:
    """Lock an open file for this process; return False if another process holds the lock.

    The kernel releases the lock when the descriptor is closed or the process ends.

    Raises:
        OSError: the file system does not support locks.
    """
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
