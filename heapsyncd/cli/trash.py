"""``trash``: list deleted notes and bring them back."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import logs
from heapsyncd.cli.output import format_time, say, say_json
from heapsyncd.cli.paths import shown, spellings
from heapsyncd.cli.restore import put_back
from heapsyncd.cli.settings import Options, load, load_with_secrets, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import UserError

EXAMPLES: Final = """\b
Examples:
  heapsyncd trash
  heapsyncd trash --restore ~/Heaps/Home/Boat.md"""


@click.command("trash", epilog=EXAMPLES)
@click.option(
    "--restore",
    "paths",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Bring back a note, or a directory with everything in it; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, paths: Sequence[Path], *, as_json: bool) -> None:
    """List the deleted notes, latest first. Works offline.

    They are in the server's trash. --restore takes them out, with their ids and their history, and
    brings the files back.
    """
    config = load_with_secrets(options.path) if paths else load(options.path)
    logs.configure(config.log, level=options.level or "warning")
    if paths:
        restored = asyncio.run(_restore(config, paths))
        if as_json:
            say_json({"restored": restored})
        else:
            say(*(f"{shown(one['path'])}: taken out of the trash" for one in restored))
        return
    accounts = asyncio.run(_list_trash(config))
    if as_json:
        say_json({"accounts": accounts})
        return
    say(*render(accounts))


async def _restore(config: Config, paths: Sequence[Path]) -> list[dict[str, Any]]:
    restored = []
    for path in paths:
        found = await put_back(config, spellings(path), trash=True)
        if not found:
            raise UserError(
                f"{path}: nothing from this path is in the trash; `heapsyncd trash` lists it."
            )
        restored += found
    return restored


async def _list_trash(config: Config) -> list[dict[str, Any]]:
    from heapsyncd.sync.offline.versions import trash

    return [{"name": a.name, "heaps": await trash(a, config.state_dir)} for a in config.accounts]


def render(accounts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the trash as lines for people."""
    total = 0
    for account in accounts:
        for heap in account["heaps"]:
            total += len(heap["trash"])
            for one in heap["trash"]:
                yield f"{format_time(one['deleted_at_ms'])}  {shown(one['file'])}"
    if not total:
        yield "the trash is empty"
        return
    yield "`heapsyncd trash --restore PATH` brings one back"
