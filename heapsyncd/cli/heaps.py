"""``heaps``: list the heaps, or boxes, that the accounts can see."""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import say
from heapsyncd.cli.paths import spellings
from heapsyncd.cli.settings import Options, load, load_with_secrets, pass_options
from heapsyncd.cli.sync import worst_exit_code
from heapsyncd.config import Account, Config
from heapsyncd.errors import HeapsyncdError, UserError

EXAMPLES: Final = """\b
Examples:
  heapsyncd heaps
  heapsyncd heaps --restore-folder Home"""


@click.command("heaps", epilog=EXAMPLES)
@click.option(
    "--restore-folder",
    "lost",
    metavar="NAME",
    help="Write a heap's folder again that was deleted or lost its marker; a title, id or path.",
)
@pass_options
def command(options: Options, lost: str | None) -> int:
    """List the heaps that the accounts can see, and which are mirrored.

    Of a oneheap account, list its boxes.

    A heap's folder that is missing is never taken for deleted notes; its disk may not be mounted.
    --restore-folder makes it again, with all notes and files. Nothing is deleted on the server,
    and files that are still in the folder are kept.
    """
    if lost is not None:
        config = load(options.path)
        logs.configure(config.log, level=options.level)
        return _restore_folder(config, lost)
    config = load_with_secrets(options.path)
    logs.configure(config.log, level=options.level)
    return asyncio.run(_heaps(config))


def _restore_folder(config: Config, wanted: str) -> int:
    """Have a heap's lost folder made again. Returns the exit code."""
    found = asyncio.run(_ask_for_folder(config, [wanted, *spellings(Path(wanted))]))
    if not found:
        raise UserError(
            f"No mirrored heap is called {wanted}, or has this folder; `heapsyncd heaps` lists"
            " them."
        )
    for heap, running in found:
        if heap["is_there"]:
            say(
                f"{heap['title']}: {heap['folder']} is there, and was left alone. Deleted notes:"
                " `heapsyncd trash`; deletions that are held: `heapsyncd deletions`."
            )
            continue
        when = "now" if running else "with the next `heapsyncd sync` or `heapsyncd run`"
        say(f"{heap['title']}: {heap['folder']} is written again {when}")
    return 0


async def _ask_for_folder(config: Config, wanted: list[str]) -> list[tuple[dict[str, Any], bool]]:
    """Return the heaps that are meant, and whether a daemon mirrors them."""
    answer: dict[str, Any] = (
        await control.ask(config.state_dir, "restore_folder", wanted=wanted) or {}
    )
    found = []
    for account in config.accounts:
        heaps = answer.get(account.name)
        if (running := heaps is not None) is False:
            from heapsyncd.sync.offline.status import ask_for_lost_folder

            heaps = await ask_for_lost_folder(account, config.state_dir, wanted)
        found += [(heap, running) for heap in heaps or ()]
    return found


async def _heaps(config: Config) -> int:
    # An account that fails does not hide the heaps of the others.
    return worst_exit_code(
        [await _print_heaps(account, config.state_dir) for account in config.accounts]
    )


async def _print_heaps(account: Account, state_dir: Path) -> int:
    """Print one account's heaps. Returns the exit code."""
    from heapsyncd.sync.runtime.account import list_heaps

    say(f"{account.name}: {account.server}")
    try:
        found = await list_heaps(account, state_dir)
    except HeapsyncdError as error:
        say(f"heapsyncd: {account.name}: {error}", err=True)
        return error.exit_code
    for heap, mirrored in found:
        say(f"  {'mirrored' if mirrored else 'not mirrored':<12}  {heap.id}  {heap.title}")
    if not found:
        say(f"  no {'boxes' if account.selects_boxes else 'heaps'} yet; create one in the app")
    return 0
