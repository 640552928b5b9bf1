"""``check``: compare cache, folder and server, and repair what is damaged."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.credentials import with_secret
from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.paths import shown
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Account, Config
from heapsyncd.errors import ConfigError, TryLater
from heapsyncd.sync.report import Progress

if TYPE_CHECKING:
    from heapsyncd.sync.offline.check.findings import Checked, Step

DAMAGED: Final = 6
"""The exit code if there is damage (left)."""
DETAIL_LINES: Final = 20
"""How many findings are shown per account. --json has all."""
SETTLE_S: Final = 1.0
"""Beside a daemon, what is found counts if it is found again after this."""


EXAMPLES: Final = """\b
Examples:
  heapsyncd check
  heapsyncd check --offline
  heapsyncd check --repair && heapsyncd sync"""


@click.command("check", epilog=EXAMPLES)
@click.option("--repair", is_flag=True, help="Repair what can be repaired; nothing is lost.")
@click.option("--offline", is_flag=True, help="Do not ask the server.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, *, repair: bool, offline: bool, as_json: bool) -> int:
    """Compare cache, folder and server with each other, and say what is damaged.

    Every document, text and file is read. What only waits (edits not sent, files not read yet) is
    listed, and is no damage. Nothing is changed without --repair. That copies the cache first, and
    leaves the rest to the next `heapsyncd sync`. If the daemon is running, it does the repair, and
    does not mirror the account meanwhile. The key is needed only to compare with the server.

    Exits with 0 if nothing is damaged, and with 6 if something is, or stays so after --repair.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level or "error")
    from heapsyncd.cli.progress import progress_bar

    with progress_bar() as progress:
        step = progress or _ignore
        found = asyncio.run(_check(config, options, step, wants_repair=repair, offline=offline))
    if as_json:
        say_json({"accounts": found})
    else:
        say(*render(found))
    left = (f for one in found for f in one["findings"] if not f["repaired"])
    return DAMAGED if any(f["damage"] for f in left) else 0


def _ignore(_progress: Progress) -> None:
    pass


async def _check(
    config: Config, options: Options, step: "Step", *, wants_repair: bool, offline: bool
) -> list[dict[str, Any]]:
    """Return the accounts of ``check --json``."""
    if not wants_repair:
        looked = [await _look(config, a, options, step, offline=offline) for a in config.accounts]
        return [one.as_dict() for one in looked]
    mended = await _mended_by_daemon(config, step, offline=offline)
    if mended is not None:
        return mended
    from heapsyncd.statelock import hold_state
    from heapsyncd.sync.offline.check.repair import check_and_repair

    with hold_state(config.state_dir):
        found = []
        for one in config.accounts:
            account, why = _with_key(one, options, offline=offline)
            found.append(await check_and_repair(account, config.state_dir, step, offline=why))
    return [one.as_dict() for one in found]


async def _mended_by_daemon(
    config: Config, step: "Step", *, offline: bool
) -> list[dict[str, Any]] | None:
    """Let the running daemon check and repair its accounts; None if none is running."""

    def hear(steps: Iterable[dict[str, Any]]) -> None:
        for one in steps:
            step(Progress(**one))

    why = "not asked" if offline else None
    answer = await control.ask(config.state_dir, "repair", hear, offline=why)
    if answer is None:
        return None
    found: list[dict[str, Any]] = answer["accounts"]
    known = {one["name"] for one in found}
    for account in config.accounts:
        if account.name not in known:
            say(f"{account.name}: the running daemon does not have this account yet", err=True)
    return found


async def _look(
    config: Config, account: Account, options: Options, step: "Step", *, offline: bool
) -> "Checked":
    """Check an account; beside a daemon twice, because it changes cache and folder meanwhile."""
    from heapsyncd.sync.offline.check.account import check

    account, why = _with_key(account, options, offline=offline)
    is_running = await _is_running(config)
    found = await check(account, config.state_dir, step, offline=why, is_running=is_running)
    if is_running and found.findings:
        first = set(found.findings)
        await asyncio.sleep(SETTLE_S)
        found = await check(account, config.state_dir, step, offline=why, is_running=True)
        found.findings = [f for f in found.findings if f in first]
    return found


def _with_key(account: Account, options: Options, *, offline: bool) -> tuple[Account, str | None]:
    """Return the account with its key, and why the server is not to be asked; None: it is."""
    if offline:
        return account, "not asked"
    try:
        return with_secret(account, options.path), None
    except ConfigError as error:
        return account, str(error)


async def _is_running(config: Config) -> bool:
    try:
        return await control.ask(config.state_dir, "status") is not None
    except TryLater:
        return True


def render(accounts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what was checked and found, as lines for people."""
    damaged = repairable = 0
    for account in accounts:
        if account["cache"] is None:
            yield f"{account['name']}: there is no cache yet; `heapsyncd sync` makes one"
            continue
        yield from _heaps(account)
        found = account["findings"]
        left = [f for f in found if not f["repaired"] and f["damage"]]
        damaged += len(left)
        repairable += sum(f["repair"] is not None for f in left)
        for finding in found[:DETAIL_LINES]:
            yield from _finding(finding)
        if (more := len(found) - DETAIL_LINES) > 0:
            yield f"  and {more} more (--json lists them)"
        yield from (f"  waiting: {line}" for line in account["waiting"])
        if account["put_aside"]:
            yield f"  the cache as it was: {shown(account['put_aside'])}"
    is_repaired = any(f["repaired"] for account in accounts for f in account["findings"])
    yield from _result(damaged, repairable, is_repaired=is_repaired)


def _heaps(account: Mapping[str, Any]) -> Iterator[str]:
    for heap in account["heaps"]:
        compared = "cache, folder and server compared"
        if heap["server"] != "compared":
            compared = f"cache and folder compared, not the server: {heap['server']}"
        counts = f"{_counted(heap['notes'], 'note')}, {_counted(heap['files'], 'file')}"
        yield f"{account['name']}: {heap['title']}: {counts}; {compared}"
    if not account["heaps"]:
        yield f"{account['name']}: only the cache was looked at"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _finding(finding: Mapping[str, Any]) -> Iterator[str]:
    where = shown(finding["file"]) if finding["file"] else finding["path"]
    place = f"{where}: " if where else ""
    if finding["repaired"]:
        yield f"  repaired: {place}{finding['what']}"
        yield f"    {finding['repair']}"
        return
    yield f"  {'damage' if finding['damage'] else 'left over'}: {place}{finding['what']}"
    if finding["repair"]:
        yield f"    --repair would {finding['repair']}"
    elif finding["advice"]:
        yield f"    to mend it: {finding['advice']}"


def _result(damaged: int, repairable: int, *, is_repaired: bool) -> Iterator[str]:
    if is_repaired:
        yield "`heapsyncd sync` (or `run`) carries out the rest of the repair"
    if not damaged:
        yield "nothing is damaged"
        return
    yield f"found damage in {_counted(damaged, 'place')}"
    if repairable:
        some = "it" if damaged == 1 else f"{repairable} of them"
        yield f"`heapsyncd check --repair` repairs {some}; nothing is lost by it"
