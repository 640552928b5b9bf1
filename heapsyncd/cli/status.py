"""``status``: what is in sync, what is not, and why; from the daemon or from the cache."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import TryLater

WATCH_EVERY_S: Final = 1.0
DETAIL_LINES: Final = 10
"""How many problems, notices and transfers are shown per heap. --json has all."""

_WAY: Final = {"up": "to send", "down": "to receive"}

Status = Mapping[str, Any]
"""The document of ``status --json``."""


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--watch", is_flag=True, help="Keep running and show each change.")
@pass_options
def command(options: Options, *, as_json: bool, watch: bool) -> None:
    """Show what is in sync, what is not, and why.

    Asks the running daemon. Without one, it shows what the cache knows.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    asyncio.run(_watch(config, as_json=as_json) if watch else _once(config, as_json=as_json))


async def read(config: Config) -> tuple[Status, str | None]:
    """Return the status, and a remark on its source if that is not the running daemon."""
    remark = "No daemon is running; this is the last known state, without later changes."
    try:
        answer = await control.ask(config.state_dir, "status")
    except TryLater as error:
        answer, remark = None, f"{error} This is the last known state."
    if answer is not None:
        return answer, None
    from heapsyncd.sync.offline.status import cached_status

    accounts = [await cached_status(account, config.state_dir) for account in config.accounts]
    return {"accounts": accounts}, remark


async def _once(config: Config, *, as_json: bool) -> None:
    status, remark = await read(config)
    _show(status, remark, as_json=as_json)


async def _watch(config: Config, *, as_json: bool) -> None:
    shown = None
    while True:
        status, remark = await read(config)
        if (status, remark) != shown:
            if sys.stdout.isatty():
                click.clear()
            _show(status, remark, as_json=as_json)
            shown = status, remark
        await asyncio.sleep(WATCH_EVERY_S)


def _show(status: Status, remark: str | None, *, as_json: bool) -> None:
    if as_json:
        say_json(status)
    else:
        say(*render(status), *([remark] if remark else []))


def render(status: Status) -> Iterator[str]:
    """Yield the status as lines for people."""
    for account in status["accounts"]:
        yield f"{account['name']}: {account['state']}"
        if account["error"]:
            yield f"  {account['error']}"
        for heap in account["heaps"]:
            yield from _heap(heap)
    if any(heap["notices"] for account in status["accounts"] for heap in account["heaps"]):
        yield "(`heapsyncd history PATH` shows the texts of a review, --seen marks it as done)"


def _heap(heap: Mapping[str, Any]) -> Iterator[str]:
    counts = {
        "to send": heap["pending_up"],
        "to receive": heap["pending_down"],
        "deletions held": heap["held_deletions"],
    }
    waiting = "".join(f", {count} {what}" for what, count in counts.items() if count)
    yield f"  {heap['title']}: {heap['notes']} notes{waiting}  ({heap['folder']})"
    problems = sorted(heap["problems"], key=lambda p: bool(p.get("minor")))
    details = [
        *(_problem(problem, heap["folder"]) for problem in problems),
        *(f"review: {notice}" for notice in heap["notices"]),
        *(f"{_WAY[p['direction']]}: {p['path']}: {p['reason']}" for p in heap["pending"]),
        *(f"transfer: {_transfer(transfer)}" for transfer in heap["transfers"]),
    ]
    yield from (f"    {line}" for line in details[:DETAIL_LINES])
    if (more := len(details) - DETAIL_LINES) > 0:
        yield f"    and {more} more (--json lists them)"


def _problem(problem: Mapping[str, Any], folder: str) -> str:
    # The heap's line and the reason already name the folder itself.
    where = "" if problem["path"] == folder else f"{problem['path']}: "
    return f"{'minor' if problem.get('minor') else 'problem'}: {where}{problem['reason']}"


def _transfer(transfer: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in transfer.items())
