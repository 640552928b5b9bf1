"""``sync``: one full pass, and a verdict."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import click

from heapsyncd import logs
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options, load_with_keys, pass_options
from heapsyncd.sync.report import Verdict

LEFT_LINES: Final = 8
"""So many lines of what is left are shown for an account."""


@click.command("sync")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up after so long.",
)
@pass_options
def command(options: Options, timeout_s: float | None) -> int:
    """One full pass both ways, then exit: 0 when folder and server agree.

    Otherwise 3 (the server refuses the key), 4 (it can't be reached) or 1 (something is left;
    what, is said). What is never mirrored (symlinks, special files, notes and names that are no
    UTF-8 text) is said too, and is no failure unless it took the place of something mirrored.
    """
    config = load_with_keys(options.path)
    logs.configure(config.log, level=options.level)
    from heapsyncd.cli.progress import progress_bar
    from heapsyncd.daemon import run_once

    with progress_bar() as progress:
        verdicts = asyncio.run(run_once(config, timeout_s=timeout_s, progress=progress))
    return tell(verdicts)


def tell(verdicts: Mapping[str, Verdict]) -> int:
    """Print how the pass ended for each account; return the exit code."""
    for name, verdict in verdicts.items():
        good = verdict.exit_code == 0
        say(f"{name}: {verdict.state}", err=not good)
        lines = [*verdict.left, *(f"minor: {line}" for line in verdict.minor)]
        for line in lines[:LEFT_LINES]:
            say(f"  {line}", err=True)
        if (more := len(lines) - LEFT_LINES) > 0:
            say(f"  and {more} more; `heapsyncd status` lists them", err=True)
    return worst(verdict.exit_code for verdict in verdicts.values())


def worst(codes: Iterable[int]) -> int:
    """The exit code of several: what a person must mend comes before what time mends."""
    found = set(codes)
    return next((code for code in (2, 3, 5, 4) if code in found), max(found, default=0))
