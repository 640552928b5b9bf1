"""What the control socket's requests ask of the running accounts."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from heapsyncd import control
from heapsyncd.errors import CacheClosed, FolderTrouble, NotRunning
from heapsyncd.sync.report import Commands, Report, RestoreRequest, UndoRequest

TELL_EVERY_S: Final = 0.2
"""How often a command that waits for longer work hears of its progress."""
LOOK_UP_S: Final = 0.1
"""How long `status` waits for the caches: a person who asks has an answer at once."""
WAIT_S: Final = 2.0
"""How long a command waits for an account that starts, or rests for a repair."""
LOOK_S: Final = 0.05
"""How often it looks meanwhile."""

T = TypeVar("T")


def handlers(reports: Callable[[], Iterable[Report]]) -> dict[str, control.Handler]:
    """Return the answers to the control socket's requests."""

    async def status(arguments: Mapping[str, Any]) -> dict[str, Any]:
        # While a busy cache stores many notes, the numbers are right all the same; what waits, and
        # what to review, is as last looked up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_UP_S):
                await recount(arguments)
        return {"accounts": [report.snapshot() for report in reports()]}

    async def deletions(arguments: Mapping[str, Any]) -> dict[str, Any]:
        decision, paths = arguments.get("decision"), arguments.get("paths")
        running = await _running(reports, but_in_trouble=True)
        return {
            "accounts": [
                {"name": name, "heaps": await commands.deletions(decision, paths)}
                for name, commands in running.items()
            ]
        }

    async def restore_folder(arguments: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [str(name) for name in arguments.get("wanted", [])]
        running = await _running(reports, but_in_trouble=True)
        return {name: await commands.restore_folder(wanted) for name, commands in running.items()}

    async def fetch(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        paths = [str(p) for p in arguments.get("paths", [])]
        running = await _running(reports, paths)
        return [found for one in running.values() for found in await one.fetch(paths)]

    async def recount(_arguments: Mapping[str, Any]) -> None:
        await recount_all(reports())

    return {
        "status": status,
        "deletions": deletions,
        "restore_folder": restore_folder,
        "fetch": fetch,
        "recount": recount,
    }


async def recount_all(reports: Iterable[Report]) -> None:
    """Update the reports of all running accounts from their caches and folders."""
    for commands in [r.commands for r in reports if r.commands is not None]:
        # An unreadable cache is reported already, and a closed one is of an account that ends.
        with contextlib.suppress(FolderTrouble, CacheClosed):
            await commands.recount()


def long_handlers(reports: Callable[[], Iterable[Report]]) -> dict[str, control.LongHandler]:
    """Return the answers to requests that may concern many files."""

    async def restore(arguments: Mapping[str, Any], tell: control.Tell) -> list[dict[str, Any]]:
        wanted = RestoreRequest(
            tuple(str(p) for p in arguments.get("paths", [])),
            arguments.get("number"),
            bool(arguments.get("trash")),
            bool(arguments.get("preview")),
        )

        async def work() -> list[dict[str, Any]]:
            running = await _running(reports, wanted.paths)
            return [found for one in running.values() for found in await one.restore(wanted)]

        return await telling(work(), tell)

    async def undo(arguments: Mapping[str, Any], tell: control.Tell) -> list[dict[str, Any]]:
        wanted = UndoRequest(
            int(arguments["since_ms"]),
            tuple(str(p) for p in arguments.get("paths", [])),
            bool(arguments.get("preview")),
        )

        async def work() -> list[dict[str, Any]]:
            running = await _running(reports, wanted.paths or None)
            return [found for one in running.values() for found in await one.undo(wanted)]

        return await telling(work(), tell)

    return {"restore": restore, "undo": undo}


async def _running(
    reports: Callable[[], Iterable[Report]],
    paths: Sequence[str] | None = None,
    *,
    but_in_trouble: bool = False,
) -> dict[str, Commands]:
    """Return the commands of the accounts that a request concerns, by name.

    Args:
        reports: of all accounts.
        paths: only accounts with one of these; None: all.
        but_in_trouble: leave out accounts that do not run because they are in trouble.

    Raises:
        NotRunning: no mirror of one of them runs, although a moment was waited for it.
    """
    end_s = time.monotonic() + WAIT_S
    while True:
        asked = [r for r in reports() if paths is None or r.has_one_of(paths)]
        if but_in_trouble:
            asked = [r for r in asked if not _is_in_trouble(r)]
        missing = next((r for r in asked if r.commands is None), None)
        if missing is None:
            return {r.name: r.commands for r in asked if r.commands is not None}
        if _is_in_trouble(missing) or time.monotonic() > end_s:
            raise NotRunning(_why_not(missing))
        await asyncio.sleep(LOOK_S)


def _is_in_trouble(report: Report) -> bool:
    return report.commands is None and report.error is not None and not report.rests


def _why_not(report: Report) -> str:
    if report.rests:
        return f"{report.name} is being repaired; try again when `heapsyncd check --repair` ended."
    if report.error is not None:
        return (
            f"{report.name} is in trouble, and can do nothing until that is over: {report.error}"
        )
    return f"{report.name} is starting; try again in a moment."


async def telling(
    work: Coroutine[Any, Any, T] | asyncio.Task[T],
    tell: control.Tell,
    news: Callable[[], Any] = lambda: None,
) -> T:
    """Return the result of work; tell the news again and again, and cancel it if nobody hears."""
    task = work if isinstance(work, asyncio.Task) else asyncio.create_task(work)
    try:
        while not task.done():
            await tell(news())
            await asyncio.wait((task,), timeout=TELL_EVERY_S)
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
