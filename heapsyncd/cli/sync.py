"""``sync``: one full pass, and how it ended."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import click

from heapsyncd import logs
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.sync.report import Verdict

LEFT_LINES: Final = 8
"""How many lines of what is left are shown per account."""


@click.command("sync")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up after this time.",
)
@pass_options
def command(options: Options, timeout_s: float | None) -> int:
    """Sync once in both directions, then exit: 0 if folder and server agree.

    Other exit codes: 3 the server refuses the account, 4 it cannot be reached, 1 something is
    left, which is listed. What is never mirrored (symlinks, special files, notes and names that
    are not UTF-8) is listed too. It only counts as left if it took the place of something
    mirrored.
    """
    config = load_with_secrets(options.path)
    logs.configure(config.log, level=options.level)
    from heapsyncd.cli.progress import progress_bar
    from heapsyncd.daemon import run_once

    with progress_bar() as progress:
        verdicts = asyncio.run(run_once(config, timeout_s=timeout_s, progress=progress))
    return print_verdicts(verdicts)


def print_verdicts(verdicts: Mapping[str, Verdict]) -> int:
    """Print how the pass ended for each account. Returns the exit code."""
    for name, verdict in verdicts.items():
        good = verdict.exit_code == 0
        say(f"{name}: {verdict.state}", err=not good)
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
