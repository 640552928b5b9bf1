"""``server``: what the owner of the embedded server does: keys, heaps, a backup.

Each works while ``serve`` runs, which is asked over the socket in its data directory, and while it
does not.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from heapsyncd import control
from heapsyncd.cli.output import say, say_json
from heapsyncd.errors import ConfigError

if TYPE_CHECKING:
    from heapsyncd.server import Server

DEFAULT_DATA: Final = "heapsyncd-server"

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA,
    show_default=True,
    help="The directory for all data.",
)


EXAMPLES: Final = """\b
Examples:
  heapsyncd server accept KEY --name "Jo's laptop"
  heapsyncd server refuse KEY
  heapsyncd server heaps add Recipes
  heapsyncd server backup ~/server-2026-01-31.tar"""


@click.group("server", epilog=EXAMPLES)
def command() -> None:
    """Accept and refuse keys, add heaps, back up the embedded server, also while `serve` runs."""


@command.command("accept")
@click.argument("key")
@click.option("--name", default="", help="Whose key it is.")
@data_option
def accept(key: str, name: str, data: Path) -> None:
    """Let a device with this public key sign in, from now on.

    It is what `heapsyncd setup` shows on that device, and `heapsyncd key show`. The key is added
    to the file `accounts` of the data directory; `heapsyncd server refuse` shuts it out again.
    """
    _ask(data, "accept", key=key, name=name)
    say("Accepted. Now run `heapsyncd setup` on the device.")


@command.command("refuse")
@click.argument("key")
@data_option
def refuse(key: str, data: Path) -> None:
    """Shut a device with this public key out at once: it was lost, or sold.

    What it sent stays. The key gets a ! before it in the file `accounts` of the data directory;
    `heapsyncd server accept` lets it in again. Devices that share the key are shut out with it.
    """
    _ask(data, "refuse", key=key)
    say("Shut out. What the device has stays on it; nothing more is sent to it or taken from it.")


@command.group("heaps", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@data_option
@click.pass_context
def heaps(ctx: click.Context, data: Path, *, as_json: bool) -> None:
    """List the server's heaps, or add one."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = data
        return
    found = _ask(data, "heaps")["heaps"]
    if as_json:
        say_json({"heaps": found})
        return
    say(*(f"{heap['id']}  {heap['title']}  ({heap['notes']} notes and files)" for heap in found))
    if not found:
        say("no heaps yet; `heapsyncd server heaps add NAME` creates one")


@heaps.command("add")
@click.argument("title", metavar="NAME")
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), help="The directory for all data."
)
@click.pass_context
def add(ctx: click.Context, title: str, data: Path | None) -> None:
    """Create a heap that every account may read and write. Devices get it within a minute."""
    _ask(data or ctx.obj, "add_heap", title=title)
    say(f"Created the heap {title}.")


RESTORING: Final = """\b
To restore it:
  mkdir -m 700 DIR && tar -xf FILE -C DIR
  heapsyncd serve --data DIR"""


@command.command("backup", epilog=RESTORING)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@data_option
def backup(file: Path, data: Path) -> None:
    """Write a copy of all data to a new FILE, a tar archive.

    It is the state of one moment, also while `serve` runs. It holds the server's key, so only you
    can read it.
    """
    from heapsyncd.server.backup import back_up

    size = back_up(data, file.expanduser().absolute())
    say(f"Wrote {file} ({size / 1e6:.1f} MB).")


def handlers(server: "Server") -> dict[str, control.Handler]:
    """Return the answers of a server to the owner's commands."""

    async def accept_key(arguments: Mapping[str, Any]) -> dict[str, Any]:
        await server.accept(str(arguments["key"]), str(arguments.get("name", "")))
        return {}

    async def refuse_key(arguments: Mapping[str, Any]) -> dict[str, Any]:
        await server.refuse(str(arguments["key"]))
        return {}

    async def list_heaps(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "heaps": [
                {"id": heap.id, "title": heap.title, "notes": count}
                for heap, count in await server.heaps()
            ]
        }

    async def add_heap(arguments: Mapping[str, Any]) -> dict[str, Any]:
        title = " ".join(str(arguments["title"]).split())
        if not title or not title.isprintable():
            raise ConfigError("A heap's name must be printable and not empty.")
        if any(heap.title == title for heap, _ in await server.heaps()):
            raise ConfigError(f"There is a heap {title} already; choose another name.")
        return {"id": await server.add_heap(title)}

    return {
        "accept": accept_key,
        "refuse": refuse_key,
        "heaps": list_heaps,
        "add_heap": add_heap,
    }


def _ask(data: Path, request: str, **arguments: str) -> dict[str, Any]:
    """Return the answer of the running server, or, if none runs, work on its data."""
    return asyncio.run(_answer(data.absolute(), request, arguments))


async def _answer(data: Path, request: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    from heapsyncd.server import Server
    from heapsyncd.server.backup import check_data

    check_data(data)
    answer: dict[str, Any] | None = await control.ask(data, request, None, **arguments)
    if answer is None:
        async with Server(data, listens=False) as server:
            answer = await handlers(server)[request](arguments)
    assert answer is not None, "every handler answers"
    return answer
