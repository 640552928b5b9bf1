"""``setup``: from a server's address to a configuration that works."""

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
@click.option("--account", "name", default="home", show_default=True, help="A name of yours.")
@click.option("--folder", type=_FILE, help=f"The mirror.  [default: {DEFAULT_FOLDER}]")
@click.option("--kind", type=click.Choice(get_args(Kind)), default="heaper", show_default=True)
@click.option("--key-file", type=_FILE, help="The key.  [default: NAME.key beside the config]")
@click.option(
    "--code", default="", help="What a new `heapsyncd serve` printed: its first device owns it."
)
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
    """Write the configuration and (when absent) a fresh key, sign in and list the heaps.

    Run again it changes nothing that is there, and tries to sign in again. Every account gets a
    key of its own: a server that knows one key for another server too could sign in there with it.
    """
    logs.configure(Log(level="warning"), level=options.level)
    loaded = load(options.path) if options.path.exists() else None
    added = None
    if loaded is not None and (account := _named(loaded, name)) is not None:
        _check_same(account, options.path, server, folder, key_file)
    else:
        account = _asked(options.path, server, name, folder, kind, key_file)
        _check_key(account, options.path)
        added = _text_with(options.path, account)
        loaded = config.parse(added, options.path, os.environ)
        account = _named(loaded, name) or account
    _key(account)
    if warning := config.in_clear(account.server):
        say(f"heapsyncd: {warning}", err=True)
    account = replace(account, seed=read_key(account, options.path))
    # What is wrong, a cache of another server too, is said before the configuration is written.
    found = asyncio.run(_heaps(account, loaded.state_dir, code))
    if added is not None:
        _write(options.path, added, account.folder)
        say(f"Wrote [accounts.{name}] to {options.path}")
    return _tell(account, found)


def _named(loaded: Config, name: str) -> Account | None:
    return next((account for account in loaded.accounts if account.name == name), None)


def _asked(
    path: Path,
    server: str | None,
    name: str,
    folder: Path | None,
    kind: Kind,
    key_file: Path | None,
) -> Account:
    """A new account from the options, and from questions when somebody sits at a terminal."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if server is None:
        if not terminal:
            raise click.UsageError("--server URL is missing.")
        server = click.prompt("The server's address", type=str)
    if folder is None:
        folder = Path(DEFAULT_FOLDER)
        if terminal:
            folder = click.prompt("The folder of the mirror", default=folder, type=_FILE)
    account = Account(
        name=name,
        kind=kind,
        server=server,
        folder=folder.expanduser().absolute(),
        key_file=(key_file or path.parent / f"{name}.key").expanduser().absolute(),
    )
    if not config.ACCOUNT_NAME.fullmatch(name):
        raise click.UsageError("--account has letters, digits, - and _ only.")
    return account


def _check_same(
    account: Account, path: Path, server: str | None, folder: Path | None, key_file: Path | None
) -> None:
    given = {
        "server": (server and server.rstrip("/"), account.server),
        "folder": (folder and folder.expanduser().absolute(), account.folder),
        "key_file": (key_file and key_file.expanduser().absolute(), account.key_file),
    }
    for key, (wanted, stands) in given.items():
        if wanted is not None and wanted != stands:
            raise ConfigError(
                f"{path}: [accounts.{account.name}] exists with `{key}` {stands}; "
                "edit the file, or give --account another name."
            )


def _check_key(account: Account, path: Path) -> None:
    """Refuse a key that signs in to another server already."""
    for other in load(path).accounts if path.exists() else ():
        if other.key_file == account.key_file and other.server != account.server:
            raise ConfigError(
                f"{account.key_file} is the key for {other.server}: either server could sign in to"
                " the other with it. Leave --key-file out, and a new one is made."
            )


def _key(account: Account) -> None:
    if make_key(account.key_file):
        say(f"Made a key: {account.key_file}. Keep a copy: it is all that signs you in.")


def _text_with(path: Path, account: Account) -> str:
    """The configuration with the account's section; what stands there is kept as it is."""
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
    """Sign in and list the heaps; or why not, which may be otherwise next time.

    Raises:
        OtherServer: the account's cache belongs to another one.
    """
    from heapsyncd.sync.runtime.account import list_heaps

    try:
        return await list_heaps(account, state_dir, code)
    except OtherServer:
        raise
    except HeapsyncdError as error:
        return error


def _tell(account: Account, found: Sequence[tuple[Heap, bool]] | HeapsyncdError) -> int:
    from heapsyncd.wire.signin import public_key

    if isinstance(found, HeapsyncdError):
        say(f"heapsyncd: {found}", err=True)
        if isinstance(found, SignInRefused):
            assert account.seed is not None
            say("The server's operator has to accept this public key:", err=True)
            say(f"  {public_key(account.seed)}", err=True)
            say("A new `heapsyncd serve` printed a code: give it with --code.", err=True)
        say("Configuration and key are kept; then run `heapsyncd setup` again.", err=True)
        return found.exit_code
    say(f"Signed in to {account.server}")
    for heap, mirrored in found:
        say(f"  {heap.title}{'' if mirrored else '  (not mirrored: see `heaps`)'}")
    say(f"Start with `heapsyncd run`; the mirror will be in {account.folder}")
    return 0
