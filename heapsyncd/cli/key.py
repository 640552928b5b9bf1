"""``key``: show an account's public key, and export the secret one for a second device."""

import shlex
import sys
from pathlib import Path
from typing import Final

import click

from heapsyncd.cli.credentials import with_secret
from heapsyncd.cli.output import is_terminal, say, say_json
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Account, Config
from heapsyncd.errors import ConfigError, FolderTrouble
from heapsyncd.ids import Seed
from heapsyncd.own_files import write_whole

ASK: Final = ""
"""Stands for a key that is typed in on a terminal."""
_KEY_BYTES: Final = 4096
_NAME = click.option("--account", "name", help="The account.  [default: the only one with a key]")


EXAMPLES: Final = """\b
Examples:
  heapsyncd key show                      what the server's owner has to accept
  heapsyncd key export                    on a terminal, to type in elsewhere
  heapsyncd key export --output FILE      a file, for `setup --import-key FILE`"""


@click.group("key", epilog=EXAMPLES)
def command() -> None:
    """Show the public key, or export the secret one for a second device."""


@command.command("show")
@_NAME
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def show(options: Options, name: str | None, *, as_json: bool) -> None:
    """Print the public key, which identifies you to the server. It is no secret.

    With several accounts, each line begins with the account's name.
    """
    from heapsyncd.wire.signin import public_key

    config = load(options.path)
    found = []
    for account in _with_keys(config, name):
        account = with_secret(account, options.path)  # noqa: PLW2901 - the same, with its key
        assert account.seed is not None
        found.append((account, public_key(account.seed)))
    if as_json:
        say_json(
            {
                "accounts": [
                    {
                        "name": a.name,
                        "server": a.server,
                        "public_key": key,
                        "file": str(a.secret_file),
                    }
                    for a, key in found
                ]
            }
        )
        return
    several = len(found) > 1
    say(*(f"{account.name}: {key}" if several else key for account, key in found))


@command.command("export")
@_NAME
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it to a new file that only you can read (mode 600).",
)
@pass_options
def export(options: Options, name: str | None, output: Path | None) -> None:
    """Give out the secret key, for a second device. Whoever has it can read and change your notes.

    It is shown on a terminal, or written to a file with --output; never into a pipe. On the other
    device, `heapsyncd setup --import-key` asks for it, and `--import-key FILE` reads the file.
    """
    accounts = _with_keys(load(options.path), name)
    if len(accounts) > 1:
        names = ", ".join(account.name for account in accounts)
        raise click.UsageError(f"There are several keys; choose with --account: {names}.")
    account = with_secret(accounts[0], options.path)
    assert account.seed is not None
    text = account.seed.reveal_text()
    if output is None and not sys.stdout.isatty():
        raise click.UsageError(
            "The secret key is shown on a terminal only; give --output FILE to write it to a file."
        )
    say("This is the secret key: whoever has it can read and change your notes.", err=True)
    if output is None:
        say(
            "Type it in where `heapsyncd setup --import-key` asks, then clear this screen.",
            err=True,
        )
        say(text)
        return
    try:
        written = write_whole(output.expanduser().absolute(), f"{text}\n")
    except OSError as error:
        raise FolderTrouble(f"{output} can't be written: {error.strerror}.") from error
    if not written:
        raise FolderTrouble(f"{output} exists and was kept; choose another name.")
    say(f"Wrote the key to {output}. Carry it over, then delete the file. On the other device:")
    server = shlex.quote(account.server)
    say(f"  heapsyncd setup --server {server} --import-key {shlex.quote(output.name)}")


def _with_keys(config: Config, name: str | None) -> list[Account]:
    """Return the accounts that sign in with a key: the named one, or all; at least one."""
    accounts = [account for account in config.accounts if name in {None, account.name}]
    if name is not None and not accounts:
        names = ", ".join(account.name for account in config.accounts)
        raise click.UsageError(f"There is no account {name!r}; there are: {names}.")
    found = [account for account in accounts if account.kind == "heaper"]
    if not found:
        raise ConfigError(
            f"{config.path}: no account signs in with a key; a oneheap account has a password."
        )
    return found


def read_key(source: str) -> Seed:
    """Return a key that was exported on another device. It never stands in an argument.

    Args:
        source: a file; ``-`` for standard input; ``ASK``: it is typed in on a terminal.

    Raises:
        ConfigError, click.UsageError: there is no key. The message never holds what was given.
    """
    if source == ASK or (source == "-" and sys.stdin.isatty()):
        return _typed_key()
    if source == "-":
        return _parsed(sys.stdin.read(_KEY_BYTES), "Standard input")
    if _is_key(source):
        # Not quoted. Others may have seen it: arguments are in the list of processes.
        raise click.UsageError(
            "A key must not be an argument, which others can see; give --import-key alone to type"
            " it in, or name a file."
        )
    try:
        with Path(source).expanduser().open(encoding="ascii", errors="replace") as file:
            text = file.read(_KEY_BYTES)
    except OSError as error:
        raise ConfigError(f"The key file {source} can't be read: {error.strerror}.") from error
    return _parsed(text, source)


def _typed_key() -> Seed:
    if not is_terminal():
        raise click.UsageError(
            "There is no terminal to type the key in; give --import-key FILE, or - to read it from"
            " standard input."
        )
    while True:
        text = click.prompt("The key from the other device (not shown)", type=str, hide_input=True)
        if _is_key(text):
            return Seed.parse(text)
        say(f"heapsyncd: {_NO_KEY}", err=True)


_NO_KEY: Final = (
    "That is no key. It is one line of 43 or 44 letters and digits, as `heapsyncd key export`"
    " shows it on the other device."
)


def _is_key(text: str) -> bool:
    try:
        Seed.parse(text)
    except ValueError:
        return False
    return True


def _parsed(text: str, source: str) -> Seed:
    if not _is_key(text):
        raise ConfigError(f"{source}: {_NO_KEY}")
    return Seed.parse(text)
