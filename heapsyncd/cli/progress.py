"""A progress bar, only on a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from heapsyncd.logs import printable
from heapsyncd.sync.report import Progress


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None] | None]:
    """Yield a function that takes progress reports, None if stdout is not a terminal."""
    if not sys.stdout.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    # Transient, so that only the result stays on the screen. Logs on the terminal go above it.
    is_above = sys.stderr.isatty()
    with Bars(*columns, console=Console(), transient=True, redirect_stderr=is_above) as bars:

        def step(progress: Progress) -> None:
            if progress.label not in tasks:
                tasks[progress.label] = bars.add_task(printable(progress.label), count="")
            bars.update(
                tasks[progress.label],
                completed=progress.done,
                total=progress.total,
                count=count(progress),
                visible=progress.done < progress.total,
            )

        yield step


def count(progress: Progress) -> str:
    """Return the progress for people: ``12/300 notes`` or ``3.4/60.0 MB``."""
    if progress.unit == "bytes":
        return f"{progress.done / 1e6:.1f}/{progress.total / 1e6:.1f} MB"
    return f"{progress.done}/{progress.total} {progress.unit}"
