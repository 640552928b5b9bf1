"""``sync``: one full pass, and how it ended."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import replace

from heapsyncd import control, logs
from heapsyncd.cli.output import is_terminal, say, state_words
from heapsyncd.cli.settings import Options, load, load_with_secrets, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import StateLocked
from heapsyncd.sync.report import Progress, Verdict

LEFT_LINES: Final = 8
"""How many lines of what is left are shown per account."""


EXAMPLES: Final = """\b
Examples:
  heapsyncd sync
  heapsyncd sync --dry-run
  heapsyncd sync --timeout 60 && systemctl poweroff"""


@click.command("sync", epilog=EXAMPLES)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up after this time.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print one JSON document.")
@pass_options
def command(options: Options, timeout_s: float | None, *, dry_run: bool, as_json: bool) -> int:
    """Sync once in both directions, then exit: 0 if folder and server agree.

    If the daemon is running, it does the pass: everything saved before is on the server after a 0.
    Ctrl-C ends only the waiting.

    Other exit codes: 3 the server refuses the account, 4 it cannot be reached, 1 something is
    left, which is listed. What is never mirrored (symlinks, special files, notes and names that
    are not UTF-8) is listed too. It only counts as left if it took the place of something
    mirrored.

    On a terminal, a heap that was never mirrored here, and whose folder has files, is asked about
    first. --dry-run says what would be sent, fetched, renamed and deleted; also beside a daemon.
    """
    if as_json and not dry_run:
        raise click.UsageError("--json is for --dry-run.")
    config = load(options.path)
    if dry_run:
        # What is only thought through is not to be logged as done.
        logs.configure(config.log, level=options.level or "error")
        from heapsyncd.cli import preview

        loaded = load_with_secrets(options.path)
        return worst_exit_code(asyncio.run(preview.dry_run(loaded, timeout_s, as_json=as_json)))
    logs.configure(config.log, level=options.level)
    if not asyncio.run(_is_wanted(config, options)):
        return 1
    from heapsyncd.cli.progress import progress_bar

    with progress_bar() as progress:
        verdicts = asyncio.run(_sync(config, options.path, timeout_s, progress))
    return print_verdicts(verdicts)


async def _is_wanted(config: Config, options: Options) -> bool:
    """Ask about heaps that are mirrored for the first time, unless a daemon does it."""
    from heapsyncd.cli import preview

    if not is_terminal() or await control.ask(config.state_dir, "status") is not None:
        return True
    logs.configure(config.log, level=options.level or "error")
    wanted = await preview.is_wanted(load_with_secrets(options.path))
    logs.configure(config.log, level=options.level)
    return wanted


async def _sync(
    config: Config,
    path: Path,
    timeout_s: float | None,
    progress: Callable[[Progress], None] | None,
) -> dict[str, Verdict]:
    """Do one full pass: have the running daemon do it, or do it here if there is none."""
    verdicts = await _ask_daemon(config, timeout_s, progress)
    if verdicts is not None:
        return verdicts
    from heapsyncd.daemon import run_once

    try:
        return await run_once(load_with_secrets(path), timeout_s=timeout_s, progress=progress)
    except StateLocked:
        # A daemon that has just started may answer now. Another `sync` never does.
        verdicts = await _ask_daemon(config, timeout_s, progress)
        if verdicts is None:
            raise
        return verdicts


async def _ask_daemon(
    config: Config, timeout_s: float | None, progress: Callable[[Progress], None] | None
) -> dict[str, Verdict] | None:
    """Return the verdicts of the daemon's pass; None if no daemon answers."""
    shown: dict[str, Progress] = {}

    def hear(steps: Iterable[dict[str, Any]]) -> None:
        found = {step["label"]: Progress(**step) for step in steps}
        done = [replace(s, done=s.total) for label, s in shown.items() if label not in found]
        shown.clear()
        shown.update(found)
        if progress is not None:
            for step in (*done, *found.values()):
                progress(step)

    answer = await control.ask(config.state_dir, "sync", hear, timeout_s=timeout_s)
    if answer is None:
        return None
    known = {
        name: Verdict(**{**v, "left": tuple(v["left"]), "minor": tuple(v["minor"])})
        for name, v in answer["accounts"].items()
    }
    new = Verdict("error", 1, ("the running daemon does not have this account yet; restart it",))
    return {account.name: known.get(account.name, new) for account in config.accounts}


def print_verdicts(verdicts: Mapping[str, Verdict]) -> int:
    """Print how the pass ended for each account. Returns the exit code."""
    for name, verdict in verdicts.items():
        good = verdict.exit_code == 0
        counts = {"sent": verdict.sent, "arrived": verdict.arrived}
        moved = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        said = f"{name}: {state_words(verdict.state)}{'; ' if moved else ''}{moved}"
        say(said, err=not good)
        lines = [*verdict.left, *(f"minor: {line}" for line in verdict.minor)]
        for line in lines[:LEFT_LINES]:
            say(f"  {line}", err=True)
        if (more := len(lines) - LEFT_LINES) > 0:
            say(f"  and {more} more; `heapsyncd status` lists them", err=True)
    return worst_exit_code(verdict.exit_code for verdict in verdicts.values())


def worst_exit_code(codes: Iterable[int]) -> int:
    """Return the exit code for several: what a person must fix precedes what time fixes."""
    found = set(codes)
    return next((code for code in (2, 3, 5, 4) if code in found), max(found, default=0))
