"""Edge: read the configuration file for the commands."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd import config
from heapsyncd.cli.credentials import with_secret
from heapsyncd.config import Config
from heapsyncd.errors import ConfigError, FolderTrouble


class Options(Struct, frozen=True):
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
        ConfigError: the file is missing, unreadable, writable by everybody or invalid, or its
            state_dir is no directory.
        FolderTrouble: the state cannot be read.
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
    loaded = config.parse(text, path, env)
    _check_state_dir(path, loaded.state_dir)
    return loaded


def _check_state_dir(path: Path, state_dir: Path) -> None:
    """Check that the state is in a directory, if there is one yet."""
    for place in (state_dir, *state_dir.parents):
        try:
            is_directory = stat.S_ISDIR(place.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise FolderTrouble(f"{state_dir} can't be read: {error.strerror}.") from error
        if not is_directory:
            raise ConfigError(
                f"{path}: `state_dir` {state_dir} can't be used: {place} is not a directory;"
                " set another state_dir."
            )
        if not os.access(place, os.X_OK):
            raise FolderTrouble(f"{place} can't be read; check its owner and mode.")
        return


def load_with_secrets(path: Path) -> Config:
    """Read the configuration, and the key or password of every account.

    Raises:
        ConfigError: as ``load``, and as ``with_secret``.
    """
    loaded = load(path)
    return replace(loaded, accounts=tuple(with_secret(a, path) for a in loaded.accounts))
