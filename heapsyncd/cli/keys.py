"""Edge: key files."""

import contextlib
import os
import resource
import stat
from pathlib import Path
from typing import Final

from heapsyncd.config import Account
from heapsyncd.errors import ConfigError, FolderTrouble
from heapsyncd.ids import Seed
from heapsyncd.own_files import write_whole

KEY_LIMIT_BYTES: Final = 4096
"""A key has 44 characters. A much longer file is the wrong one."""


def make_key(file: Path) -> bool:
    """Write a fresh key with mode 0600. Returns False if the file exists, which is kept.

    Raises:
        FolderTrouble: the file cannot be written.
    """
    try:
        return write_whole(file, Seed.new().reveal_text() + "\n")
    except OSError as error:
        raise FolderTrouble(f"The key {file} can't be written: {error.strerror}.") from error


def read_key(account: Account, path: Path) -> Seed:
    """Return an account's key, from the systemd credential ``<account>.key`` or else its file.

    Args:
        account: the account.
        path: the configuration file, for messages.

    Raises:
        ConfigError: the key is missing, readable by others, owned by another user or invalid. The
            message never holds the content.
    """
    # A core dump would contain the key. A sandbox that forbids this call has its own limit.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory) / f"{account.name}.key" if directory else None
    if credential and credential.exists():
        # systemd protects the directory. The file's mode is meaningless because of ACLs.
        return _parse(credential, _read(credential, path, account, guarded=True))
    return _parse(account.key_file, _read(account.key_file, path, account, guarded=False))


def _read(file: Path, path: Path, account: Account, *, guarded: bool) -> bytes:
    try:
        # Non-blocking, so that a FIFO in place of the key does not hang.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(
            f"{path}: [accounts.{account.name}] `key_file`: {file} can't be read "
            f"({error.strerror}); correct the path, or make a key with `heapsyncd setup`."
        ) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(
                f"{file} is not a file; `key_file` of {account.name} must name a key file."
            )
        if not guarded and found.st_uid != os.geteuid():
            raise ConfigError(
                f"The key {file} belongs to another user (uid {found.st_uid}), who can read and"
                f" replace it; run: chown {os.geteuid()} {file}"
            )
        if not guarded and found.st_mode & 0o077:
            raise ConfigError(
                f"The key {file} is open to others (mode {stat.S_IMODE(found.st_mode):o}); "
                f"run: chmod 600 {file}"
            )
        return os.read(descriptor, KEY_LIMIT_BYTES)
    finally:
        os.close(descriptor)


def _parse(file: Path, data: bytes) -> Seed:
    try:
        return Seed.parse(data.decode("ascii"))
    except ValueError:
        # Drop the cause, which would quote the content.
        raise ConfigError(
            f"{file} holds no key; it must be one line, an ed25519 seed (32 bytes) in base58."
        ) from None
