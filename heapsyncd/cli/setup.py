"""``setup``: from a server's address to a working configuration."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

import click

from heapsyncd import config, logs
from heapsyncd.cli.keys import make_key, read_key
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Account, Config, Kind, Log
from heapsyncd.errors import (
    ConfigError,
    FolderTrouble,
    HeapsyncdError,
    OtherServer,
    SignInRefused,
)
from heapsyncd.model import Heap
from heapsyncd.own_files import write_whole

DEFAULT_FOLDER: Final = "~/Heaps"
_FILE = click.Path(path_type=Path)


@click.command("setup")
@click.option("--server", metavar="URL", help="The server's address, https://…")
@click.option(
    "--account", "name", default="home", show_default=True, help="A name of your choice."
)
@click.option(
    "--folder", type=_FILE, help=f"The folder for the mirror.  [default: {DEFAULT_FOLDER}]"
)
@click.option("--kind", type=click.Choice(get_args(Kind)), default="heaper", show_default=True)
@click.option(
    "--key-file", type=_FILE, help="The key file.  [default: NAME.key beside the config]"
)
@click.option("--code", default="", help="The one-time code that a new `heapsyncd serve` printed.")
@pass_options
def command(
    options: Options,
    server: str | None,
    name: str,
    folder: Path | None,
    kind: Kind,
    key_file: Path | None,
    code: str,
) -> int:
    """Write the configuration and a key (if missing), sign in and list the heaps.

    Run again, it keeps what exists and only signs in again. Every account gets its own key: a
    server to which you sign in with a key could use that key to sign in to another server.
    """
    logs.configure(Log(level="warning"), level=options.level)
    loaded = load(options.path) if options.path.exists() else None
    added = None
    if loaded is not None and (account := _find_account(loaded, name)) is not None:
        _check_same(account, options.path, server, folder, key_file)
    else:
        account = _new_account(options.path, server, name, folder, kind, key_file)
        _check_key(account, options.path)
        added = _config_text_with(options.path, account)
        loaded = config.parse(added, options.path, os.environ)
        account = _find_account(loaded, name) or account
    _make_key_if_missing(account)
    if warning := config.plaintext_warning(account.server):
        say(f"heapsyncd: {warning}", err=True)
    account = replace(account, seed=read_key(account, options.path))
    # Find problems, also a cache that belongs to another server, before writing anything.
    found = asyncio.run(_heaps(account, loaded.state_dir, code))
    if added is not None:
        _write(options.path, added, account.folder)
        say(f"Wrote [accounts.{name}] to {options.path}")
    return _print_result(account, found)


def _find_account(loaded: Config, name: str) -> Account | None:
    return next((account for account in loaded.accounts if account.name == name), None)


def _new_account(
    path: Path,
    server: str | None,
    name: str,
    folder: Path | None,
    kind: Kind,
    key_file: Path | None,
) -> Account:
    """Return a new account from the options, asking for missing ones on a terminal."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if server is None:
        if not terminal:
            raise click.UsageError("--server is missing; give the server's address, --server URL.")
        server = click.prompt("The server's address", type=str)
    if folder is None:
        folder = Path(DEFAULT_FOLDER)
        if terminal:
            folder = click.prompt("The folder of the mirror", default=folder, type=_FILE)
    folder = folder.expanduser().absolute()
    # Obsidian shows line ends as breaks, and so its users write them.
    is_vault = any(folder.glob(".obsidian")) or any(folder.glob("*/.obsidian"))
    account = Account(
        name=name,
        kind=kind,
        server=server,
        folder=folder,
        line_breaks="break" if is_vault else "space",
        key_file=(key_file or path.parent / f"{name}.key").expanduser().absolute(),
    )
    if not config.ACCOUNT_NAME.fullmatch(name):
        raise click.UsageError("--account may have only letters, digits, - and _.")
    return account


def _check_same(
    account: Account, path: Path, server: str | None, folder: Path | None, key_file: Path | None
) -> None:
    """Refuse options that contradict the existing account."""
    given = {
        "server": (server and server.rstrip("/"), account.server),
        "folder": (folder and folder.expanduser().absolute(), account.folder),
        "key_file": (key_file and key_file.expanduser().absolute(), account.key_file),
    }
    for key, (wanted, existing) in given.items():
        if wanted is not None and wanted != existing:
            raise ConfigError(
                f"{path}: [accounts.{account.name}] exists with `{key}` {existing}; "
                "edit the file, or choose another name with --account."
            )


def _check_key(account: Account, path: Path) -> None:
    """Refuse a key that already signs in to another server."""
    for other in load(path).accounts if path.exists() else ():
        if other.key_file == account.key_file and other.server != account.server:
            raise ConfigError(
                f"{account.key_file} is the key for {other.server}: either server could sign in to"
                " the other with it. Omit --key-file to get a new key."
            )


def _make_key_if_missing(account: Account) -> None:
    if make_key(account.key_file):
        say(f"Made a key: {account.key_file}. Keep a copy: nothing else can sign you in.")


def _config_text_with(path: Path, account: Account) -> str:
    """Return the configuration's text with the account's section appended."""
    before = path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" if path.exists() else ""
    return before + config.render_account(account)


def _write(path: Path, text: str, folder: Path) -> None:
    try:
        write_whole(path, text, 0o666, replace=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderTrouble(f"{error.filename} can't be written: {error.strerror}.") from error


async def _heaps(
    account: Account, state_dir: Path, code: str
) -> Sequence[tuple[Heap, bool]] | HeapsyncdError:
    """Sign in and list the heaps. Returns the error if a later attempt may succeed.

    Raises:
        OtherServer: the account's cache belongs to another server.
    """
    from heapsyncd.sync.runtime.account import list_heaps

    try:
        return await list_heaps(account, state_dir, code)
    except OtherServer:
        raise
    except HeapsyncdError as error:
        return error


def _print_result(account: Account, found: Sequence[tuple[Heap, bool]] | HeapsyncdError) -> int:
    """Print the heaps, or the error and what to do. Returns the exit code."""
    from heapsyncd.wire.signin import public_key

    if isinstance(found, HeapsyncdError):
        say(f"heapsyncd: {found}", err=True)
        if isinstance(found, SignInRefused):
            assert account.seed is not None
            say("Ask the server's operator to accept this public key:", err=True)
            say(f"  {public_key(account.seed)}", err=True)
            say(
                "If it is a new `heapsyncd serve`, pass the code it printed with --code.", err=True
            )
        say(
            "Configuration and key are kept; once it is solved, run `heapsyncd setup` again.",
            err=True,
        )
        return found.exit_code
    say(f"Signed in to {account.server}")
    for heap, mirrored in found:
        say(f"  {heap.title}{'' if mirrored else '  (not mirrored: see `heaps`)'}")
    say(f"Start with `heapsyncd run`; the mirror will be in {account.folder}")
    return 0
