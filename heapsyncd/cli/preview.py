"""What ``sync`` would do: for ``--dry-run``, and before a first sync into a folder with files."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.paths import shown
from heapsyncd.config import Account, Config
from heapsyncd.errors import HeapsyncdError, TryLater

DETAIL_LINES: Final = 100
"""How many steps are shown per heap. --json has all."""

_WORDS: Final = {
    ("send", "server"): ("update there", "send"),
    ("fetch", "here"): ("update here", "fetch"),
    ("rename", "server"): ("rename there", "rename there"),
    ("rename", "here"): ("rename here", "rename here"),
    ("delete", "server"): ("delete there", "delete there"),
    ("delete", "here"): ("delete here", "delete here"),
    ("hold", "server"): ("hold, not delete there", "hold, not delete there"),
    ("hold", "here"): ("hold, not delete here", "hold, not delete here"),
}
"""What is done, for what exists on that side and for what is new there."""


async def dry_run(config: Config, timeout_s: float | None, *, as_json: bool) -> list[int]:
    """Print what a sync would do. Returns an exit code for each account."""
    accounts: list[dict[str, Any]] = []
    codes = []
    for account in config.accounts:
        heaps: list[dict[str, Any]] = []
        failure: HeapsyncdError | None = None
        try:
            async with asyncio.timeout(timeout_s):
                heaps = await _preview(account, config)
        except TimeoutError:
            failure = TryLater(f"{account.server} did not answer in time")
        except HeapsyncdError as error:
            failure = error
        codes.append(0 if failure is None else failure.exit_code)
        reason = None if failure is None else str(failure)
        accounts.append({"name": account.name, "error": reason, "heaps": heaps})
        if failure is not None and not as_json:
            say(f"heapsyncd: {account.name}: {failure}", err=True)
    if as_json:
        say_json({"accounts": accounts})
    else:
        say(*render(accounts), "Nothing was sent or changed.")
    return codes


async def _preview(
    account: Account, config: Config, *, only_first: bool = False
) -> list[dict[str, Any]]:
    from heapsyncd.sync.offline.preview import preview

    return await preview(account, config.state_dir, only_first=only_first)


async def is_wanted(config: Config) -> bool:
    """Ask before heaps are mirrored for the first time into folders with files."""
    if not await show_first(config.accounts, config):
        return True
    if click.confirm("Sync now?", default=True):
        return True
    say("Nothing was sent or changed.")
    return False


async def show_first(accounts: Sequence[Account], config: Config) -> bool:
    """Print what the first sync of heaps whose folders have files would do; return whether any is.

    An account that cannot be asked is left out: the sync itself says what is wrong.
    """
    from heapsyncd.sync.offline.preview import may_be_first

    found: list[dict[str, Any]] = []
    for account in accounts:
        with contextlib.suppress(HeapsyncdError):
            if await may_be_first(account):
                heaps = await _preview(account, config, only_first=True)
                found.append({"name": account.name, "heaps": heaps})
    if not any(account["heaps"] for account in found):
        return False
    say("Files are where heaps are mirrored for the first time. The first sync would:")
    say(*render(found))
    return True


def render(accounts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the steps as lines for people."""
    for account in accounts:
        for heap in account["heaps"]:
            yield f"{account['name']}: {heap['title']}: {_counted(heap['steps'])}"
            lines = [*map(_step, heap["steps"]), *map(_problem, heap["problems"])]
            yield from lines[:DETAIL_LINES]
            if (more := len(lines) - DETAIL_LINES) > 0:
                yield f"  and {more} more (--json lists them)"


def _counted(steps: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for step in steps:
        words = _words(step)
        counts[words] = counts.get(words, 0) + 1
    return ", ".join(f"{words} {count}" for words, count in counts.items()) or "nothing to do"


def _words(step: Mapping[str, Any]) -> str:
    return _WORDS[step["action"], step["side"]][bool(step["new"])]


def _step(step: Mapping[str, Any]) -> str:
    to = f" -> {shown(step['to_file'])}" if "to_file" in step else ""
    return f"  {_words(step)}: {shown(step['file'])}{to}"


def _problem(problem: Mapping[str, Any]) -> str:
    where = f"{problem['path']}: " if problem["path"] else ""
    return f"  leave alone: {where}{problem['reason']}"
