"""``restore``: restore an earlier version of a note."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from heapsyncd import control, logs
from heapsyncd.cli.history import nothing_kept
from heapsyncd.cli.output import say
from heapsyncd.cli.paths import spellings
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.config import Config


@click.command("restore")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--version",
    "number",
    type=int,
    metavar="N",
    help="The version to restore, as listed by `heapsyncd history`.",
)
@pass_options
def command(options: Options, path: Path, *, number: int | None) -> None:
    """Restore an earlier version of a note: version N, or the latest that differs.

    The text is written to the file as if you had typed it, so other devices get it too. The
    current text stays in the history. A deleted note is taken out of the trash.
    """
    config = load_with_secrets(options.path)
    logs.configure(config.log, level=options.level)
    restored = asyncio.run(put_back(config, spellings(path), number=number))
    if not restored:
        raise nothing_kept(path)
    for one in restored:
        say(f"{one['path']}: {_what(one)}")


def _what(one: dict[str, Any]) -> str:
    if one["made_at_ms"] is None:
        return "taken out of the trash"
    return f"version {one['number']} restored"


async def put_back(
    config: Config, paths: Sequence[str], *, number: int | None = None, trash: bool = False
) -> list[dict[str, Any]]:
    """Let the running daemon restore what is wanted, or do it here if none is running.

    Returns one entry for each restored note; [] if nothing is known of the paths.
    """
    restored: list[dict[str, Any]] | None = await control.ask(
        config.state_dir, "restore", paths=list(paths), number=number, trash=trash
    )
    if restored is not None:
        return restored
    from heapsyncd.statelock import hold_state
    from heapsyncd.sync.offline.versions import restore_alone
    from heapsyncd.sync.report import RestoreRequest

    wanted = RestoreRequest(tuple(paths), number, trash)
    with hold_state(config.state_dir):
        return [
            one
            for account in config.accounts
            for one in await restore_alone(account, config.state_dir, wanted)
        ]
