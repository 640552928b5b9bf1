"""``search``: find words in notes, offline."""

import asyncio
from dataclasses import asdict
from typing import Final

import click

from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config

LIMIT: Final = 50
"""The maximum number of notes shown."""


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("--heap", metavar="NAME", help="Search only this heap (title or id).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, query: tuple[str, ...], heap: str | None, *, as_json: bool) -> None:
    """Find notes that contain all the words. Works offline.

    The last word may be the beginning of a word.
    """
    config = load(options.path)
    found = asyncio.run(_search(config, " ".join(query), heap))
    if as_json:
        say_json({"hits": found})
        return
    for hit in found:
        say(f"{hit['heap']}/{hit['path']}")
        if hit["snippet"]:
            say(f"    {hit['snippet']}")
    if not found:
        say("nothing found")


async def _search(config: Config, query: str, heap: str | None) -> list[dict[str, str]]:
    from heapsyncd.sync.offline.status import search_cache

    found: list[dict[str, str]] = []
    for account in config.accounts:
        hits = await search_cache(account, config.state_dir, query, heap, LIMIT)
        found += [{"account": account.name, **asdict(hit)} for hit in hits]
    return found
