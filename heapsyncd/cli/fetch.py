"""``fetch``: contents brought here that stay on the server otherwise."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import say
from heapsyncd.cli.paths import spellings
from heapsyncd.cli.settings import Options, load_with_keys, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import UserError

LOOK_AGAIN_S: Final = 0.2
STANDSTILL_S: Final = 30.0
"""So long may nothing arrive before we stop waiting; the daemon goes on."""

Told = Sequence[Mapping[str, Any]]


@click.command("fetch")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@pass_options
def command(options: Options, paths: tuple[Path, ...]) -> int:
    """Bring files here that are on the server only (`files = "on-demand"`).

    PATH: a file or what stands for it (*.heapsyncd-remote), a note (its attachments), or a
    directory (all that is in it). What was fetched stays, and is kept current.
    """
    config = load_with_keys(options.path)
    logs.configure(config.log, level=options.level)
    told = asyncio.run(_fetch(config, [a for p in paths for a in spellings(p)]))
    if not told:
        raise UserError(
            f"{', '.join(map(str, paths))}: no file of a mirrored heap;"
            " `heapsyncd status` lists the heaps' folders."
        )
    say(*render(told))
    return 0 if all(one["here"] for one in told) else 1


async def _fetch(config: Config, paths: list[str]) -> Told:
    told: Told | None = await control.ask(config.state_dir, "fetch", paths=paths)
    if told is None:
        return await _alone(config, paths)
    last, since = -1, time.monotonic()
    while any(not one["here"] and one["problem"] is None for one in told):
        done = sum(one["done"] for one in told)
        if done != last:
            last, since = done, time.monotonic()
        elif time.monotonic() - since > STANDSTILL_S:
            break
        await asyncio.sleep(LOOK_AGAIN_S)
        told = await control.ask(config.state_dir, "fetch", paths=paths)
        if told is None:
            return await _alone(config, paths)
    return told


async def _alone(config: Config, paths: Sequence[str]) -> Told:
    """No daemon runs: one pass fetches them, with whatever else there is to do."""
    from heapsyncd.cli.progress import progress_bar
    from heapsyncd.daemon import run_once
    from heapsyncd.sync.offline.fetch import mark

    async def told() -> Told:
        return [t for a in config.accounts for t in await mark(a, config.state_dir, paths)]

    before = await told()
    if any(not one["here"] for one in before):
        with progress_bar() as progress:
            await run_once(config, progress=progress)
        return await told()
    return before


def render(told: Told) -> Iterator[str]:
    """How each file is, as lines for people."""
    for one in told:
        if one["here"]:
            yield f"{one['path']}: here"
        else:
            yield f"{one['path']}: {one['problem'] or 'not here yet; the daemon goes on'}"
