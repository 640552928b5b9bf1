"""``status``: what is in sync, what is not, and why; from the daemon or from the cache."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import format_time, is_styled, say, say_json, state_words
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import TryLater

WATCH_EVERY_S: Final = 1.0
DETAIL_LINES: Final = 10
"""How many problems, notices and transfers are shown per heap. --json has all."""

_WAY: Final = {"up": "to send", "down": "to receive"}
_MOVE: Final = {"upload": "sending", "download": "receiving"}

Status = Mapping[str, Any]
"""The document of ``status --json``."""


EXAMPLES: Final = """\b
Examples:
  heapsyncd status
  heapsyncd status --watch
  heapsyncd status --json | jq -r '.accounts[].state'"""


@click.command("status", epilog=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--watch", is_flag=True, help="Keep running and show each change.")
@pass_options
def command(options: Options, *, as_json: bool, watch: bool) -> None:
    """Show what is in sync, what is not, and why.

    Asks the running daemon. Without one, it shows what the cache knows, and when everything was
    last in sync. `heapsyncd --verbose status` adds technical reasons.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    show = _watch if watch else _once
    asyncio.run(show(config, as_json=as_json, verbose=options.level == "debug"))


async def read(config: Config) -> Status:
    """Return the document of ``status --json``: of the running daemon, or of the cache."""
    daemon = "not running"
    try:
        answer = await control.ask(config.state_dir, "status")
    except TryLater:
        answer, daemon = None, "not answering"
    if answer is not None:
        return {**answer, "daemon": "running"}
    from heapsyncd.sync.offline.status import cached_status

    accounts = [await cached_status(account, config.state_dir) for account in config.accounts]
    return {"accounts": accounts, "daemon": daemon}


async def _once(config: Config, *, as_json: bool, verbose: bool) -> None:
    _show(await read(config), as_json=as_json, verbose=verbose)


async def _watch(config: Config, *, as_json: bool, verbose: bool) -> None:
    shown = None
    while True:
        status = await read(config)
        now = _without_clock(status)
        if now != shown:
            if is_styled():
                click.clear()
            _show(status, as_json=as_json, verbose=verbose)
            shown = now
        await asyncio.sleep(WATCH_EVERY_S)


def _without_clock(status: Status) -> Status:
    """Return a status without what changes while nothing happens."""
    accounts = [
        {**account, "in_sync_ms": None} if account["state"] == "in sync" else account
        for account in status["accounts"]
    ]
    return {**status, "accounts": accounts}


def _show(status: Status, *, as_json: bool, verbose: bool) -> None:
    if as_json:
        say_json(status)
    else:
        say(*render(status, verbose=verbose))


def render(status: Status, *, verbose: bool = False) -> Iterator[str]:
    """Yield the status as lines for people; ``verbose`` adds technical reasons."""
    daemon = status["daemon"]
    for account in status["accounts"]:
        yield f"{account['name']}: {account_state(account, daemon)}"
        error = account["error"] if verbose else account.get("summary") or account["error"]
        if error:
            yield f"  {error}"
        if account.get("waits_until_ms"):
            yield f"  {_asked(account)}"
        if account["state"] == "offline" and daemon == "running":
            yield "  It is asked again and again; what changes here is kept, and sent then."
        for heap in account["heaps"]:
            yield from _heap(heap, is_told=bool(account.get("waits_until_ms")))
        yield from _cut(
            [problem_line(problem, "") for problem in account.get("problems", ())], "  "
        )
    if any(heap["notices"] for account in status["accounts"] for heap in account["heaps"]):
        yield "(`heapsyncd history PATH` shows the texts of a review, --seen marks it as done)"
    if daemon == "not running":
        yield "No daemon is running, so later changes are not known."
        yield "`heapsyncd run` keeps everything in sync, `heapsyncd sync` syncs once."
    elif daemon == "not answering":
        yield "The daemon is running but does not answer; check its log or restart it."


def account_state(account: Mapping[str, Any], daemon: str) -> str:
    """Return an account's state, and when it was last in sync."""
    state, at_ms = account["state"], account.get("in_sync_ms")
    last = f"last in sync {_when(at_ms)}" if at_ms is not None else "never in sync yet"
    if daemon != "running":
        is_left = any(_waits(heap) for heap in account["heaps"])
        if at_ms is not None and not is_left:
            last = f"in sync as of {_when(at_ms)}"
        return f"{daemon}; {last}"
    if state == "in sync":
        return "in sync"
    return f"{state_words(state)}; {last}"


def _asked(what: Mapping[str, Any]) -> str:
    return f"the server asks to wait until {_when(what['waits_until_ms'])}"


def _when(at_ms: int) -> str:
    """Return a time for people: without the date today, without seconds."""
    try:
        at = datetime.fromtimestamp(at_ms / 1000).astimezone()
    except (ValueError, OverflowError, OSError):
        return format_time(at_ms)
    is_today = at.date() == datetime.now().astimezone().date()
    return at.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")


def _waits(heap: Mapping[str, Any]) -> bool:
    """Return whether something of a heap is left to do."""
    counts = ("pending_up", "pending_down", "held_deletions", "transfers")
    return any(heap[what] for what in counts) or any(not p.get("minor") for p in heap["problems"])


def _heap(heap: Mapping[str, Any], *, is_told: bool) -> Iterator[str]:
    """Yield a heap's lines; ``is_told``: the account's say already how long the server waits."""
    yield f"  {heap['title']}: {counts(heap)}  ({heap['folder']})"
    if heap.get("waits_until_ms") and not is_told:
        yield f"    {_asked(heap)}"
    if heap["held_deletions"]:
        yield f"    {_counted(heap['held_deletions'], 'deletion')} held until you decide;"
        yield "    `heapsyncd deletions` shows them and what you can do"
    yield from _cut(details(heap), "    ")


def counts(heap: Mapping[str, Any]) -> str:
    """Return how many notes and files a heap has, and how many wait."""
    has = [_counted(heap["notes"], "note")]
    if heap.get("files"):
        has.append(_counted(heap["files"], "file"))
    if 0 < heap.get("followed", 0) < heap["notes"]:
        has.append(f"the newest {heap['followed']} followed live")
    waiting = {"to send": heap["pending_up"], "to receive": heap["pending_down"]}
    return ", ".join([*has, *(f"{count} {what}" for what, count in waiting.items() if count)])


def details(heap: Mapping[str, Any]) -> list[str]:
    """Return a line for each problem, review, transfer and waiting note of a heap."""
    problems = sorted(heap["problems"], key=lambda p: bool(p.get("minor")))
    return [
        *(problem_line(problem, heap["folder"]) for problem in problems),
        *(f"review: {notice}" for notice in heap["notices"]),
        *(_transfer(transfer) for transfer in heap["transfers"]),
        *(f"{_WAY[p['direction']]}: {p['path']}: {p['reason']}" for p in heap["pending"]),
    ]


def _cut(lines: Sequence[str], indent: str) -> Iterator[str]:
    yield from (f"{indent}{line}" for line in lines[:DETAIL_LINES])
    if (more := len(lines) - DETAIL_LINES) > 0:
        yield f"{indent}and {more} more (--json lists them)"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def problem_line(problem: Mapping[str, Any], folder: str) -> str:
    """Return a problem for people; ``folder`` is the heap's, which its line names already."""
    # The heap's line and the reason already name the folder itself.
    where = "" if problem["path"] == folder else f"{problem['path']}: "
    return f"{'minor' if problem.get('minor') else 'problem'}: {where}{problem['reason']}"


def _transfer(transfer: Mapping[str, Any]) -> str:
    """Return a transfer's direction, path, size, share, speed and remaining time."""
    size, done, speed = transfer["size"] or 0, transfer["done"], transfer.get("speed")
    line = f"{_MOVE[transfer['direction']]}: {transfer['path']}: "
    if not done:
        return f"{line}{size / 1e6:.1f} MB, not begun"
    line += f"{done / 1e6:.1f} of {size / 1e6:.1f} MB ({100 * done // max(size, 1)} %)"
    if speed:
        left_s = round((size - done) / speed)
        line += f", {speed / 1e6:.1f} MB/s, {left_s // 60}:{left_s % 60:02} left"
    return line
