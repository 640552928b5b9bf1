"""``restore``: restore an earlier version of a note."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.history import nothing_kept
from heapsyncd.cli.output import is_terminal, say, say_diff
from heapsyncd.cli.paths import shown, spellings
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.config import Config

EXAMPLES: Final = """\b
Examples:
  heapsyncd restore Boat.md
  heapsyncd restore Boat.md --version 12 --yes"""


@click.command("restore", epilog=EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--version",
    "number",
    type=int,
    metavar="N",
    help="The version to restore, as listed by `heapsyncd history`.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_options
def command(options: Options, path: Path, *, number: int | None, yes: bool) -> None:
    """Restore an earlier version of a note: version N, or the latest that differs.

    The changes are shown first; on a terminal you are asked. The text is written to the file as
    if you had typed it, so other devices get it too. The current text stays in the history. A
    deleted note is taken out of the trash.
    """
    config = load_with_secrets(options.path)
    logs.configure(config.log, level=options.level or "warning")
    paths = spellings(path)
    asks = is_terminal() and not yes
    found = asyncio.run(put_back(config, paths, number=number, preview=asks))
    if not found:
        raise nothing_kept(path)
    for one in found:
        say(f"{shown(one['path'])}: {_what(one, will=asks)}")
        say_diff(one["diff"])
    if not asks or not any(one["changed"] for one in found):
        return
    if not click.confirm("Restore it?"):
        say("nothing was changed")
        return
    # What was shown: a newer version may have come meanwhile.
    number = next((one["number"] for one in found if one["made_at_ms"] is not None), number)
    asyncio.run(put_back(config, paths, number=number))
    say("restored")


def _what(one: dict[str, Any], *, will: bool) -> str:
    if one["made_at_ms"] is None:
        return "comes out of the trash" if will else "taken out of the trash"
    if not one["changed"]:
        return f"nothing to change; it is the text of version {one['number']}"
    return f"version {one['number']}" + ("" if will else " restored")


async def put_back(
    config: Config,
    paths: Sequence[str],
    *,
    number: int | None = None,
    trash: bool = False,
    preview: bool = False,
) -> list[dict[str, Any]]:
    """Let the running daemon restore what is wanted, or do it here if none is running.

    Returns one entry for each restored note, or for each that would be; [] if nothing is known of
    the paths.
    """
    restored: list[dict[str, Any]] | None = await control.ask(
        config.state_dir,
        "restore",
        lambda _: None,
        paths=list(paths),
        number=number,
        trash=trash,
        preview=preview,
    )
    if restored is not None:
        return restored
    from heapsyncd.statelock import hold_state
    from heapsyncd.sync.offline.versions import restore_alone
    from heapsyncd.sync.report import RestoreRequest

    wanted = RestoreRequest(tuple(paths), number, trash, preview)
    with hold_state(config.state_dir):
        return [
            one
            for account in config.accounts
            for one in await restore_alone(account, config.state_dir, wanted)
        ]
