"""Edge: read the configuration file for the commands."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click

from heapsyncd import config
from heapsyncd.cli.credentials import with_secret
from heapsyncd.config import Config
from heapsyncd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Options:
    """The options given before the command's name."""

    path: Path
    """The configuration file, absolute."""
    level: str | None = None
    """The log level requested with --verbose or --quiet."""


pass_options = click.make_pass_decorator(Options)


def load(path: Path, env: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration without keys and passwords.

    Args:
        path: the file, absolute.
        env: the environment variables to read it with.

    Raises:
        ConfigError: the file is missing, unreadable, writable by everybody or invalid.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no configuration at {path}; "
            "`heapsyncd setup --server URL` writes one, `heapsyncd demo` needs none."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path} is writable by everybody (mode {stat.S_IMODE(mode):o}), who could name"
            f" another server in it; run: chmod o-w {path}"
        )
    return config.parse(text, path, env)


def load_with_secrets(path: Path) -> Config:
    """Read the configuration, and the key or password of every account.

    Raises:
        ConfigError: as ``load``, and as ``with_secret``.
    """
    loaded = load(path)
    return replace(loaded, accounts=tuple(with_secret(a, path) for a in loaded.accounts))
