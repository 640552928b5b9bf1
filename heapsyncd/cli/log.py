"""``log``: what changed in all notes."""

import asyncio
import time
from typing import Any, Final

import click

from heapsyncd import logs
from heapsyncd.cli.activity import Span
from heapsyncd.cli.heap_names import HeapName, require_heaps
from heapsyncd.cli.history import why
from heapsyncd.cli.output import format_time, say, say_json
from heapsyncd.cli.paths import shown
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config

SHOWN: Final = 200
"""How many versions are shown without --json; the latest ones are."""
ALL: Final = 5_000
EXAMPLES: Final = """\b
Examples:
  heapsyncd log --since 2h
  heapsyncd log Home --since 30d"""


@click.command("log", epilog=EXAMPLES)
@click.argument("heap", type=HeapName(), required=False)
@click.option(
    "--since", "span_ms", type=Span(), default="7d", show_default=True, help="How far back."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, heap: str | None, *, span_ms: int, as_json: bool) -> None:
    """List the versions of all notes, or of those of one HEAP, newest last. Works offline.

    Each line has the time, the words that were added and removed, the version's number, the note,
    and who changed it. At most the latest 200 are listed; with --json, 5000.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    found = asyncio.run(_recent(config, heap, span_ms, ALL if as_json else SHOWN))
    if as_json:
        say_json({"log": found})
        return
    say(*map(_line, found) if found else ["no note changed in this time"])


async def _recent(
    config: Config, heap: str | None, span_ms: int, limit: int
) -> list[dict[str, Any]]:
    from heapsyncd.sync.offline.versions import recent

    if heap is not None:
        await require_heaps(config, [heap])
    at_ms = time.time_ns() // 1_000_000 - span_ms
    found = [
        version
        for account in config.accounts
        for version in await recent(account, config.state_dir, at_ms, limit, heap)
    ]
    return sorted(found, key=lambda version: version["made_at_ms"])[-limit:]


def _line(version: dict[str, Any]) -> str:
    words = f"+{version['words_added']} -{version['words_removed']}"
    return (
        f"{format_time(version['made_at_ms'])[:19]}  {words:>9} words  {version['number']:5}"
        f"  {shown(version['file'])}  {why(version)}"
    )
