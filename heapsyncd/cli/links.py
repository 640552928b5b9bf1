"""``links``: which notes a note names."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd.cli.output import say, say_json, width
from heapsyncd.cli.paths import shown, spellings
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import UserError

EXAMPLES: Final = """\b
Examples:
  heapsyncd links Boat.md
  heapsyncd links --json ~/Heaps/Home/Boat.md"""


@click.command("links", epilog=EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, path: Path, *, as_json: bool) -> None:
    """List the notes that a note names in [[links]], with the lines. Works offline.

    Names of notes that do not exist yet are listed, too.
    """
    facts = asyncio.run(_links(load(options.path), path))
    if as_json:
        say_json(facts)
        return
    say(*render(facts["links"]))
    for missing in facts["missing"]:
        say(f"[[{missing['name']}]]: there is no such note yet", *lines_of(missing))
    if not facts["links"] and not facts["missing"]:
        say("it names no notes")


async def _links(config: Config, path: Path) -> dict[str, Any]:
    from heapsyncd.sync.offline.links import links

    for account in config.accounts:
        found = await links(account, config.state_dir, spellings(path))
        if found is not None:
            return found
    raise no_note(path)


def no_note(path: Path) -> UserError:
    """Return the error for a path that is no note."""
    return UserError(
        f"{path} is not a note of a mirrored heap, or was not mirrored yet."
        " `heapsyncd status` lists the heaps' folders."
    )


def render(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield notes with their lines for people."""
    for note in found:
        yield shown(note["file"])
        yield from lines_of(note)


def lines_of(note: Mapping[str, Any]) -> Iterator[str]:
    """Yield a note's lines for people, as wide as the terminal."""
    for line in note["lines"]:
        number, text = f"  {line['number']}: ", line["text"].strip()
        most = max(20, width() - len(number))
        yield number + (text if len(text) <= most else f"{text[: most - 2]} …")
