"""Edge: the configuration file and the keys it names, read for the commands."""

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from heapsyncd import config
from heapsyncd.config import Account, Config
from heapsyncd.errors import ConfigError
from heapsyncd.ids import Seed

KEY_LIMIT_BYTES: Final = 4096
"""A key is 44 characters; what is far longer is the wrong file."""


@dataclass(frozen=True, slots=True)
class Options:
    """What stands before the command's name."""

    path: Path
    """The configuration file, absolute."""
    level: str | None = None
    """Log level asked for with --verbose or --quiet."""


pass_options = click.make_pass_decorator(Options)


def load(path: Path) -> Config:
    """Read the configuration; the keys are left alone.

    Raises:
        ConfigError: absent, unreadable or wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no configuration at {path}; "
            "`heapsyncd setup --server URL` writes one, `heapsyncd demo` needs none."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    return config.parse(text, path, os.environ)


def load_with_keys(path: Path) -> Config:
    """Read the configuration and the key of every account.

    Raises:
        ConfigError: also when a key file is absent, readable by others or no key.
    """
    loaded = load(path)
    accounts = [replace(a, seed=read_key(a, path)) for a in loaded.accounts]
    return replace(loaded, accounts=tuple(accounts))


def read_key(account: Account, path: Path) -> Seed:
    """An account's key: the systemd credential ``<account>.key`` when there is one, or its file.

    Args:
        account: whose.
        path: the configuration, for messages.

    Raises:
        ConfigError: absent, readable by others or no key; the message never holds the content.
    """
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
