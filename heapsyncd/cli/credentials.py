"""Edge: the files of keys and passwords."""

import contextlib
import os
import resource
import stat
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from heapsyncd.config import SECRET, Account
from heapsyncd.errors import ConfigError, FolderTrouble
from heapsyncd.ids import Password, Seed
from heapsyncd.own_files import write_whole

LIMIT_BYTES: Final = 4096
"""A key has 44 characters, a password not many more. A larger file is the wrong one."""


def write_secret(account: Account) -> bool:
    """Write an account's key or password with mode 0600.

    Returns:
        False if the file exists, which is kept.

    Raises:
        FolderTrouble: the file cannot be written.
    """
    if account.password is not None:
        text = account.password.reveal()
    else:
        text = (account.seed or Seed.new()).reveal_text()
    file = account.secret_file
    try:
        return write_whole(file, f"{text}\n")
    except OSError as error:
        raise FolderTrouble(
            f"The {SECRET[account.kind]} {file} can't be written: {error.strerror}."
        ) from error


def with_secret(account: Account, path: Path) -> Account:
    """Return the account with its key or password.

    It is read from the systemd credential ``<account>.key`` or ``<account>.password``, or else
    from the account's file.

    Args:
        account: the account.
        path: the configuration file, for messages.

    Raises:
        ConfigError: the file is missing, readable by others, owned by another user or invalid. The
            message never holds the content.
    """
    # A core dump would contain the secret. A sandbox that forbids this call has its own limit.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if (credential := _credential(account)) is not None:
        # systemd protects the directory. The file's mode is meaningless because of ACLs.
        return _parse(account, credential, _read(credential, path, account, guarded=True))
    file = account.secret_file
    return _parse(account, file, _read(file, path, account, guarded=False))


def has_secret(account: Account) -> bool:
    """Return whether there is a file of the account's key or password, right or wrong."""
    return _credential(account) is not None or os.path.lexists(account.secret_file)


def _credential(account: Account) -> Path | None:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    file = Path(directory) / f"{account.name}.{SECRET[account.kind]}"
    return file if file.exists() else None


def _read(file: Path, path: Path, account: Account, *, guarded: bool) -> bytes:
    secret = SECRET[account.kind]
    try:
        # Non-blocking, so that a FIFO in place of the file does not hang.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        fix = "make a key" if account.kind == "heaper" else "enter the password"
        raise ConfigError(
            f"{path}: [accounts.{account.name}] `{secret}_file`: {file} can't be read "
            f"({error.strerror}); correct the path, or {fix} with `heapsyncd setup`."
        ) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(
                f"{file} is not a file; `{secret}_file` of {account.name} must name a {secret}"
                " file."
            )
        if not guarded and found.st_uid != os.geteuid():
            raise ConfigError(
                f"The {secret} {file} belongs to another user (uid {found.st_uid}), who can read"
                f" and replace it; run: chown {os.geteuid()} {file}"
            )
        if not guarded and found.st_mode & 0o077:
            raise ConfigError(
                f"The {secret} {file} is open to others (mode {stat.S_IMODE(found.st_mode):o}); "
                f"run: chmod 600 {file}"
            )
        return os.read(descriptor, LIMIT_BYTES + 1)
    finally:
        os.close(descriptor)


def _parse(account: Account, file: Path, data: bytes) -> Account:
    try:
        if len(data) > LIMIT_BYTES:
            raise ValueError
        if account.kind == "heaper":
            return replace(account, seed=Seed.parse(data.decode("ascii")))
        return replace(account, password=Password.parse(data.decode("utf-8")))
    except ValueError:
        form = {
            "heaper": "an ed25519 seed (32 bytes) in base58",
            "oneheap": "the account's password, in UTF-8",
        }[account.kind]
        # Drop the cause, which would quote the content.
        raise ConfigError(
            f"{file} holds no {SECRET[account.kind]}; it must be one line, {form}."
        ) from None
