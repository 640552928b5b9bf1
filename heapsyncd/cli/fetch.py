"""``fetch``: download files that are only on the server."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import say
from heapsyncd.cli.paths import spellings
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import UserError

LOOK_AGAIN_S: Final = 0.2
STANDSTILL_S: Final = 30.0
"""Stop waiting after this many seconds without progress. The daemon continues."""

Results = Sequence[Mapping[str, Any]]


EXAMPLES: Final = """\b
Examples:
  heapsyncd fetch ~/Heaps/Home/film.mp4.heapsyncd-remote
  heapsyncd fetch ~/Heaps/Home/Projects"""


@click.command("fetch", epilog=EXAMPLES)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@pass_options
def command(options: Options, paths: tuple[Path, ...]) -> int:
    """Download files that are only on the server (`files = "on-demand"`).

    PATH: a file or its placeholder (*.heapsyncd-remote), a note (its attachments), or a directory
    (everything in it). A fetched file stays and is kept current.
    """
    config = load_with_secrets(options.path)
    logs.configure(config.log, level=options.level)
    results = asyncio.run(_fetch(config, [a for p in paths for a in spellings(p)]))
    if not results:
        raise UserError(
            f"{', '.join(map(str, paths))}: no file of a mirrored heap;"
            " `heapsyncd status` lists the heaps' folders."
        )
    say(*render(results))
    return 0 if all(one["here"] for one in results) else 1


async def _fetch(config: Config, paths: list[str]) -> Results:
    results: Results | None = await control.ask(config.state_dir, "fetch", paths=paths)
    if results is None:
        return await _fetch_without_daemon(config, paths)
    last, since = -1, time.monotonic()
    while any(not one["here"] and one["problem"] is None for one in results):
        done = sum(one["done"] for one in results)
        if done != last:
            last, since = done, time.monotonic()
        elif time.monotonic() - since > STANDSTILL_S:
            break
        await asyncio.sleep(LOOK_AGAIN_S)
        results = await control.ask(config.state_dir, "fetch", paths=paths)
        if results is None:
            return await _fetch_without_daemon(config, paths)
    return results


async def _fetch_without_daemon(config: Config, paths: Sequence[str]) -> Results:
    """Fetch the files in one full pass of our own, because no daemon is running."""
    from heapsyncd.cli.progress import progress_bar
    from heapsyncd.daemon import run_once
    from heapsyncd.sync.offline.fetch import mark

    async def results() -> Results:
        return [t for a in config.accounts for t in await mark(a, config.state_dir, paths)]

    before = await results()
    if any(not one["here"] for one in before):
        with progress_bar() as progress:
            await run_once(config, progress=progress)
        return await results()
    return before


def render(results: Results) -> Iterator[str]:
    """Yield each file's state as a line for people."""
    for one in results:
        if one["here"]:
            yield f"{one['path']}: here"
        else:
            yield f"{one['path']}: {one['problem'] or 'not here yet; the daemon continues'}"
