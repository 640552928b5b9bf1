"""``backlinks``: which notes name a note."""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd.cli.links import no_note, render
from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.paths import spellings
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config

EXAMPLES: Final = """\b
Examples:
  heapsyncd backlinks Boat.md
  heapsyncd backlinks Sails.md     (a note that does not exist yet)"""


@click.command("backlinks", epilog=EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, path: Path, *, as_json: bool) -> None:
    """List the notes that name a note in [[links]], with the lines. Works offline.

    The note need not exist yet.
    """
    facts = asyncio.run(_backlinks(load(options.path), path))
    if as_json:
        say_json(facts)
        return
    say(*render(facts["backlinks"]))
    if not facts["backlinks"]:
        say("no note names it")


async def _backlinks(config: Config, path: Path) -> dict[str, Any]:
    from heapsyncd.sync.offline.links import backlinks

    for account in config.accounts:
        found = await backlinks(account, config.state_dir, spellings(path))
        if found is not None:
            return found
    raise no_note(path)
