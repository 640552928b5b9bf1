"""Edge: files of our own: written whole or not at all, and locked by one process."""

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

PRIVATE = 0o600
"""The mode of what only its owner may read."""


def write_whole(path: Path, text: str, mode: int = PRIVATE, *, replace: bool = False) -> bool:
    """Write a file (and the directories above it) so that it is never there in part, whatever ends
    the process; whether it was written.

    Args:
        path: where.
        text: all of it.
        mode: less what the umask takes away.
        replace: put it in the place of what stands there, which is kept otherwise.

    Raises:
        OSError: it can't be written; nothing is left behind.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not replace and os.path.lexists(path):
        return False
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(beside, flags, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        if replace:
            beside.replace(path)
        else:
            path.hardlink_to(beside)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    # A name that the disk does not have yet is lost with the power, and the key with it.
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True


def lock(descriptor: int) -> bool:
    """Lock an open file for this process; False: another one has it. The kernel frees it when the
    descriptor is closed or the process ends, however it ends.

    Raises:
        OSError: its file system can't lock.
    """
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
