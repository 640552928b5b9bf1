"""``activity``: what came and went lately."""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any, Final

import click

from heapsyncd import logs
from heapsyncd.cli.output import format_time, say, say_json
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config

LOOK_S: Final = 1.0
SHOWN: Final = 200
"""How many events are shown per account without --json; the latest ones are."""
ALL: Final = 10_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NAMES: Final = {"up": "sent", "down": "arrived"}

Event = Mapping[str, Any]


class Span(click.ParamType[int]):
    """A span of time such as ``90s``, ``10m``, ``2h`` or ``3d``, in milliseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the milliseconds; a usage error if it is no span."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if match is None:
            self.fail(f"{value} is no span of time; write 10m, 2h or 3d", param, ctx)
        return int(match[1]) * _UNITS[match[2]] * 1000


EXAMPLES: Final = """\b
Examples:
  heapsyncd activity --since 10m
  heapsyncd activity --follow"""


@click.command("activity", epilog=EXAMPLES)
@click.option("--since", "span_ms", type=Span(), default="1d", help="How far back, as 10m or 2h.")
@click.option("--follow", is_flag=True, help="Keep running and show what comes and goes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (or one a line).")
@pass_options
def command(options: Options, span_ms: int, *, follow: bool, as_json: bool) -> None:
    """Show what came and went lately, the newest last.

    A change made here counts when the server has acknowledged it, a change of the server when the
    folder shows it. The time is how long that took since this device knew of the change.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    asyncio.run(_show(config, span_ms, follow=follow, as_json=as_json))


async def _show(config: Config, span_ms: int, *, follow: bool, as_json: bool) -> None:
    from heapsyncd.sync.offline.activity import cached_activity

    at_ms = time.time_ns() // 1_000_000 - span_ms
    seen: dict[str, int] = {}
    limit = ALL if as_json else SHOWN
    while True:
        events = [
            event
            for account in config.accounts
            for event in await cached_activity(
                account, config.state_dir, at_ms, limit, seen.get(account.name, 0)
            )
        ]
        events.sort(key=lambda event: event["at_ms"])
        seen.update((event["account"], event["number"]) for event in events)
        if not follow:
            break
        for event in events:
            if as_json:
                say_json(event)
            else:
                say(line(event))
        await asyncio.sleep(LOOK_S)
    if as_json:
        say_json({"activity": events})
    else:
        say(*map(line, events) if events else ["nothing came or went in this time"])


def line(event: Event) -> str:
    """Return an event as a line for people."""
    shown = f"{format_time(event['at_ms'])[:19]}  {NAMES[event['direction']]:<7}"
    shown += f"  {event['heap']}: {event['path']}"
    if event["what"] not in {"edited", "content"}:
        shown += f" ({event['what']})"
    if event["latency_ms"] is not None:
        shown += f"  {event['latency_ms'] / 1000:.1f} s"
    return shown
