"""``setup``: from an account at a server to a working configuration."""

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import click
from msgspec.structs import replace

from heapsyncd import config, logs
from heapsyncd.cli import preview
from heapsyncd.cli.ask import answering_server, ask, typed_server
from heapsyncd.cli.credentials import has_secret, with_secret, write_secret
from heapsyncd.cli.key import ASK, read_key
from heapsyncd.cli.output import is_terminal, say
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import SECRET, Account, Config, Kind, Log
from heapsyncd.errors import (
    ConfigError,
    FolderTrouble,
    HeapsyncdError,
    OtherServer,
    SignInRefused,
    for_people,
)
from heapsyncd.ids import Password, Seed
from heapsyncd.model import Place
from heapsyncd.own_files import write_whole
from heapsyncd.wire.address import as_typed, plaintext_warning

DEFAULT_FOLDERS: Final[Mapping[Kind, str]] = {"heaper": "~/Heaps", "oneheap": "~/Oneheap"}
OF_KIND: Final[Mapping[str, Kind]] = {
    "--key-file": "heaper",
    "--code": "heaper",
    "--import-key": "heaper",
    "--email": "oneheap",
    "--password-file": "oneheap",
}
"""The options that only one kind of account has."""
_FILE = click.Path(path_type=Path)


EXAMPLES: Final = """\b
Examples:
  heapsyncd setup                                        asks for what it needs
  heapsyncd setup --server heaper.example --folder ~/Heaps
  heapsyncd setup --server heaper.example --import-key   a second device"""


@click.command("setup", epilog=EXAMPLES)
@click.option(
    "--server",
    metavar="URL",
    help="The server's address, as in the browser.  [default with --kind oneheap: the public"
    " service]",
)
@click.option(
    "--account", "name", default="home", show_default=True, help="A name of your choice."
)
@click.option(
    "--folder",
    type=_FILE,
    help=f"The folder for the mirror.  [default: {' or '.join(DEFAULT_FOLDERS.values())}]",
)
@click.option(
    "--kind", type=click.Choice(get_args(Kind)), help="The kind of server.  [default: heaper]"
)
@click.option(
    "--key-file", type=_FILE, help="The key file.  [default: NAME.key beside the config]"
)
@click.option(
    "--import-key",
    "imported",
    is_flag=False,
    flag_value=ASK,
    metavar="[FILE|-]",
    help="Use the key of another device (`heapsyncd key export`): from a file, from standard input"
    " (-), or typed in.",
)
@click.option("--email", metavar="E", help="Who signs in, with --kind oneheap.")
@click.option(
    "--password-file",
    type=_FILE,
    help="The password file, with --kind oneheap; if there is none, the password is asked for and"
    " written to it.  [default: NAME.password beside the config]",
)
@click.option("--code", default="", help="The one-time code that a new `heapsyncd serve` printed.")
@pass_options
def command(
    options: Options,
    server: str | None,
    name: str,
    folder: Path | None,
    kind: Kind | None,
    key_file: Path | None,
    imported: str | None,
    email: str | None,
    password_file: Path | None,
    code: str,
) -> int:
    """Write the configuration and a key (if missing), sign in and list the heaps.

    Nothing is written before a server of the right kind answers at the address. Run again, it
    keeps what exists and only signs in again. Every account gets its own key: a server to which
    you sign in with a key could use that key to sign in to another.

    A oneheap account has an e-mail address and a password instead. Nothing is written until it is
    accepted. The password is asked for on a terminal, or read from --password-file.
    """
    logs.configure(Log(level="warning"), level=options.level)
    loaded = load(options.path) if options.path.exists() else None
    account = None if loaded is None else _find_account(loaded, name)
    kind = kind or ("heaper" if account is None else account.kind)
    _check_kind(kind, (key_file, code, imported is not None, email, password_file))
    given = {
        "kind": kind,
        "server": typed_server(server, ask_again=account is None and kind == "heaper"),
        "folder": folder and folder.expanduser().absolute(),
        "email": email,
        "secret_file": (file := key_file or password_file) and file.expanduser().absolute(),
    }
    seed = None if imported is None else read_key(imported)
    added = None
    if loaded is not None and account is not None:
        _check_same(account, options.path, given)
    else:
        account = _new_account(options.path, name, kind, given)
        _check_secret(account, options.path)
        added = _config_text_with(options.path, account)
        loaded = config.parse(added, options.path, os.environ)
        account = _find_account(loaded, name) or account
    if warning := plaintext_warning(account.server):
        say(f"heapsyncd: {warning}", err=True)
    had_secret = has_secret(account)
    account = _with_secret(account, options.path, seed)
    # Find problems, also a cache that belongs to another server, before writing anything.
    found = asyncio.run(_heaps(account, loaded.state_dir, code))
    if isinstance(found, HeapsyncdError) and account.kind == "oneheap":
        return _print_failure(account, found, is_written=added is None, had_secret=had_secret)
    if not had_secret and write_secret(account):
        say(f"Wrote the {SECRET[account.kind]} to {account.secret_file}")
    if added is not None:
        _write(options.path, added, account.folder)
        say(f"Wrote [accounts.{name}] to {options.path}")
    exit_code = _print_result(account, found, options.path)
    if exit_code == 0 and is_terminal():
        asyncio.run(preview.show_first([account], loaded))
    return exit_code


def _find_account(loaded: Config, name: str) -> Account | None:
    return next((account for account in loaded.accounts if account.name == name), None)


def _check_kind(kind: Kind, values: Sequence[object]) -> None:
    """Refuse options of another kind of account. ``values`` are in the order of ``OF_KIND``."""
    for (option, its_kind), value in zip(OF_KIND.items(), values, strict=True):
        if value and its_kind != kind:
            raise click.UsageError(f"{option} is for --kind {its_kind}.")


def _new_account(path: Path, name: str, kind: Kind, given: Mapping[str, Any]) -> Account:
    """Return a new account from the options, asking for missing ones on a terminal."""
    if not config.ACCOUNT_NAME.fullmatch(name):
        raise click.UsageError("--account may have only letters, digits, - and _.")
    known = config.ACCOUNT[kind]
    values = dict(given)
    values["secret_file"] = given["secret_file"] or (
        (path.parent / f"{name}.{SECRET[kind]}").absolute()
    )
    _check_file(Account(name, kind, "", Path(), values["secret_file"]), path)
    values["server"] = given["server"] or known["server"].default
    if kind == "heaper":
        values["server"] = answering_server(values["server"])
    if "email" in known:
        values["email"] = given["email"] or ask("--email", "Your e-mail address")
    else:
        del values["email"]
    folder = given["folder"]
    if folder is None:
        folder = Path(DEFAULT_FOLDERS[kind])
        if is_terminal():
            folder = click.prompt("The folder of the mirror", default=folder, type=_FILE)
    values["folder"] = folder = folder.expanduser().absolute()
    if (interval_s := known["poll_interval"].default) is not None:
        values["poll_interval_s"] = interval_s
    # Obsidian shows line ends as breaks, and so its users write them.
    is_vault = any(folder.glob(".obsidian")) or any(folder.glob("*/.obsidian"))
    return Account(name, line_breaks="break" if is_vault else "space", **values)


def _check_file(account: Account, path: Path) -> None:
    """Refuse a key file that is there and wrong, before anything is asked."""
    if account.kind == "heaper" and has_secret(account):
        with_secret(account, path)


def _check_same(account: Account, path: Path, given: Mapping[str, Any]) -> None:
    """Refuse options that contradict the existing account."""
    for key, wanted in given.items():
        existing = getattr(account, key)
        if key == "server":
            existing = as_typed(existing)  # as the option was read
        if wanted is not None and wanted != existing:
            setting = f"{SECRET[account.kind]}_file" if key == "secret_file" else key
            raise ConfigError(
                f"{path}: [accounts.{account.name}] exists with `{setting}` {existing}; "
                "edit the file, or choose another name with --account."
            )


def _check_secret(account: Account, path: Path) -> None:
    """Refuse a key or password that already signs in to another server."""
    secret = SECRET[account.kind]
    for other in load(path).accounts if path.exists() else ():
        if other.secret_file == account.secret_file and other.server != account.server:
            raise ConfigError(
                f"{account.secret_file} is the {SECRET[other.kind]} for {other.server}: either"
                f" server could sign in to the other with it. Omit --{secret}-file to get a new"
                " one."
            )


def _with_secret(account: Account, path: Path, seed: Seed | None) -> Account:
    """Return the account with its key, which is made if missing, or with its password.

    Args:
        account: without key or password.
        path: the configuration file.
        seed: the key of another device, which becomes this one's.
    """
    if account.kind == "heaper":
        # Before the first sign-in: whoever accepts the key has to have it.
        if write_secret(replace(account, seed=seed)):
            made = "Made a key" if seed is None else "Imported the key to"
            say(f"{made}: {account.secret_file}. Keep a copy: nothing else can sign you in.")
        account = with_secret(account, path)
        if seed is not None and account.seed != seed:
            raise ConfigError(
                f"{account.secret_file} holds another key, and was kept. Move it away first, or"
                " give the account another name with --account."
            )
        return account
    if has_secret(account):
        return with_secret(account, path)
    if not is_terminal():
        raise click.UsageError(
            f"There is no password file {account.secret_file}; write the password into it (chmod"
            " 600), or run setup on a terminal, which asks for it."
        )
    text = click.prompt(f"The password of {account.email}", type=str, hide_input=True)
    return replace(account, password=Password(text))


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
) -> Sequence[tuple[Place, bool]] | HeapsyncdError:
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


def _print_failure(
    account: Account, error: HeapsyncdError, *, is_written: bool, had_secret: bool
) -> int:
    """Print why an account with a password could not sign in. Returns the exit code."""
    say(f"heapsyncd: {error}", err=True)
    if had_secret and isinstance(error, SignInRefused):
        say(f"The password was read from {account.secret_file}; correct it there.", err=True)
    kept = "Nothing was changed" if is_written else "Nothing was written"
    say(f"{kept}; once it is solved, run `heapsyncd setup` again.", err=True)
    return error.exit_code


def _print_result(
    account: Account, found: Sequence[tuple[Place, bool]] | HeapsyncdError, path: Path
) -> int:
    """Print the heaps, or the error and what to do. Returns the exit code."""
    again = _again(account, path)
    if isinstance(found, HeapsyncdError):
        say(f"heapsyncd: {for_people(found)}", err=True)
        if isinstance(found, SignInRefused):
            _print_refused(account)
        say(f"Configuration and key are kept. Then run again: {again}", err=True)
        return found.exit_code
    what = "boxes" if account.selects_boxes else "heaps"
    say(f"Signed in to {account.server}. Your {what}:")
    for place, mirrored in found:
        say(f"  {place.title}{'' if mirrored else '  (not mirrored: see `heaps`)'}")
    if not found:
        say("  none yet; create one in the app, or with `heapsyncd server heaps add NAME`")
    say(f"They will be mirrored to {account.folder}")
    say(
        "Next: `heapsyncd service install` keeps the mirror running from login on;"
        " `heapsyncd run` runs it until Ctrl-C."
    )
    return 0


def _print_refused(account: Account) -> None:
    """Print what makes the server accept the account's key."""
    from heapsyncd.wire.signin import public_key

    assert account.seed is not None
    key = public_key(account.seed)
    say("If the server is `heapsyncd serve`, its owner runs:", err=True)
    say(f"  heapsyncd server accept {key}", err=True)
    say("If it is a new one, give the code that it printed with --code instead.", err=True)


def _again(account: Account, path: Path) -> str:
    """Return the command that sets this account up again."""
    words = ["heapsyncd"]
    if path != config.default_path(os.environ):
        words += ["--config", str(path)]
    words.append("setup")
    if account.name != "home":
        words += ["--account", account.name]
    return shlex.join(words)
