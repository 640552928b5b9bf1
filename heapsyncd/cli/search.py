"""``search``: find words in notes, offline."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec import to_builtins

from heapsyncd.cli.heap_names import HeapName, require_heaps
from heapsyncd.cli.output import emphasised, say, say_json, width
from heapsyncd.cli.paths import shown, spellings
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config

if TYPE_CHECKING:
    from heapsyncd.sync.offline.search import Found

LIMIT: Final = 50
LINES: Final = 3
"""How many lines of a note are shown; --json has all."""
EXAMPLES: Final = """\b
What to type:
  "red boat"    these words in this order
  boat OR hut   one of the two
  boat*         words that begin so
  -draft        not this
  tag:client    with this tag
  title:boat    in the title or an alias
  in:Projects   in this folder or below it
  heap:Home     in this heap

\b
Examples:
  heapsyncd search varnish deck
  heapsyncd search '"spring cleaning"' -draft in:Projects
  heapsyncd search --newest --limit 5 tag:client"""
TAKES_LONG: Final = 1000
"""From so many notes on, it is told that they are indexed."""


class QueryCommand(click.Command):
    """A command whose arguments may begin with a dash: ``-draft`` is a word not to find."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put such words behind the options. Short options have one letter only."""
        words = [a for a in args if a[:1] == "-" and a[:2] != "--" and len(a) > 2]
        if words and "--" not in args:
            args = [*(a for a in args if a not in words), "--", *words]
        return super().parse_args(ctx, args)


@click.command("search", cls=QueryCommand, epilog=EXAMPLES)
@click.argument("query", nargs=-1, required=True)
@click.option("--heap", type=HeapName(), help="Search only this heap (title or id).")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=LIMIT,
    show_default=True,
    metavar="N",
    help="Show at most this many notes.",
)
@click.option("--newest", is_flag=True, help="Show the notes that were changed last first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(
    options: Options,
    query: tuple[str, ...],
    heap: str | None,
    limit: int,
    *,
    newest: bool,
    as_json: bool,
) -> None:
    """Find notes by what is in their files, the best first. Works offline.

    A note has to have all the words, in any case, with or without accents. The last word may be
    the beginning of one. Chinese, Japanese, Korean and Thai are found by any part.
    """
    config = load(options.path)
    found = asyncio.run(_search(config, query, heap, limit, newest=newest))
    if as_json:
        say_json({"hits": to_builtins(found)})
        return
    for hit in found:
        say(shown(hit.file))
        for line in _lines(hit):
            click.echo(line)
    if not found:
        say("nothing found")


async def _search(
    config: Config, typed: tuple[str, ...], heap: str | None, limit: int, *, newest: bool
) -> list["Found"]:
    from heapsyncd.sync.offline.search import query_of, search_cache

    query = query_of(typed, heap)
    await require_heaps(config, [place.name for place in query.places if place.kind == "heap"])
    folders = {
        place.name: spellings(Path(place.name))
        for place in query.places
        if place.kind == "in" and _is_mirrored(config, place.name)
    }

    def tell(count: int) -> None:
        if count >= TAKES_LONG:
            say(f"indexing {count} notes, once after the upgrade...", err=True)

    found: list[Found] = []
    for account in config.accounts:
        found += await search_cache(
            account, config.state_dir, query, folders, limit, newest_first=newest, tell=tell
        )
    if newest:
        found.sort(key=lambda hit: -hit.modified_ms)
    return found[:limit]


def _is_mirrored(config: Config, name: str) -> bool:
    """Tell whether a name, as the shell sees it, is a directory in a mirror or around one."""
    roots = [root for a in config.accounts for root in (a.folder, a.folder.resolve())]
    return Path(name).is_dir() and any(
        root.is_relative_to(typed) or Path(typed).is_relative_to(root)
        for typed in spellings(Path(name))
        for root in roots
    )


def _lines(hit: "Found") -> Iterator[str]:
    """Yield the lines of a note that have the words, for people."""
    for line in hit.lines[:LINES]:
        number = f"  {line.number}: "
        part = line.around(max(20, width() - len(number) - 4))
        yield number + emphasised(part.text, part.marks)
    if (more := len(hit.lines) - LINES) > 0:
        yield f"  and {more} more line{'s' if more > 1 else ''}"
