"""``heaps``: list the heaps, or boxes, that the accounts can see."""

import asyncio
from pathlib import Path

import click

from heapsyncd import logs
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.cli.sync import worst_exit_code
from heapsyncd.config import Account, Config
from heapsyncd.errors import HeapsyncdError


@click.command("heaps")
@pass_options
def command(options: Options) -> int:
    """List the heaps that the accounts can see, and which are mirrored.

    Of a oneheap account, list its boxes.
    """
    config = load_with_secrets(options.path)
    logs.configure(config.log, level=options.level)
    return asyncio.run(_heaps(config))


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
