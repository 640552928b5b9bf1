"""Edge: the key files."""

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
"""A key is 44 characters; what is far longer is the wrong file."""


def make_key(file: Path) -> bool:
    """Write a fresh key with mode 0600; False when there is a file already, which is kept.

    Raises:
        FolderTrouble: it can't be written.
    """
    try:
        return write_whole(file, Seed.new().reveal_text() + "\n")
    except OSError as error:
        raise FolderTrouble(f"The key {file} can't be written: {error.strerror}.") from error


def read_key(account: Account, path: Path) -> Seed:
    """An account's key: the systemd credential ``<account>.key`` when there is one, or its file.

    Args:
        account: whose.
        path: the configuration, for messages.

    Raises:
        ConfigError: absent, readable by others, another user's or no key; the message never
            holds the content.
    """
    # A core dump would hold it. Where a sandbox forbids that, it has set its own limit.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory) / f"{account.name}.key" if directory else None
    if credential and credential.exists():
        # systemd guards the directory; the mode of the file says nothing (ACLs).
        return _parse(credential, _read(credential, path, account, guarded=True))
    return _parse(account.key_file, _read(account.key_file, path, account, guarded=False))


def _read(file: Path, path: Path, account: Account, *, guarded: bool) -> bytes:
    try:
        # Non-blocking, so that a pipe in the key's place is not waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(
            f"{path}: [accounts.{account.name}] `key_file`: {file} can't be read "
            f"({error.strerror}); correct the path, or make a key with `heapsyncd setup`."
        ) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{file} is no file; `key_file` of {account.name} names a key file.")
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
        # The cause would quote the content: it is dropped.
        raise ConfigError(
            f"{file} holds no key: one line is expected, an ed25519 seed (32 bytes) in base58."
        ) from None
