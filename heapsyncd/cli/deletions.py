"""``deletions``: show, confirm or undo held deletions."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config

DETAIL_LINES: Final = 20
"""How many paths are shown per heap and direction. --json has all."""


@click.command("deletions")
@click.option("--confirm", is_flag=True, help="Carry out the deletions.")
@click.option("--undo", is_flag=True, help="Bring the files (or notes) back instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, *, confirm: bool, undo: bool, as_json: bool) -> None:
    """Show, confirm or undo held deletions.

    Deletions are held if they are more than 10 files and more than a quarter of a heap, in one
    pass or within an hour, here or on the server. Nothing is deleted on the other side until you
    --confirm. --undo brings everything back.
    """
    if confirm and undo:
        raise click.UsageError("--confirm and --undo exclude each other; give one of them.")
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    decision = "confirm" if confirm else "undo" if undo else None
    accounts, running = asyncio.run(held_now(config, decision))
    if as_json:
        say_json({"accounts": accounts})
        return
    say(*render(accounts, decision, running=running))


async def held_now(
    config: Config, decision: str | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Return every account's held deletions, and whether all accounts are running."""
    answer = await control.ask(config.state_dir, "deletions", decision=decision)
    answered = {a["name"]: a for a in (answer or {"accounts": []})["accounts"]}
    accounts, running = [], True
    for account in config.accounts:
        if account.name not in answered:
            from heapsyncd.sync.offline.status import cached_deletions

            running = False
            found = await cached_deletions(account, config.state_dir, decision)
            answered[account.name] = {"name": account.name, "heaps": found}
        accounts.append(answered[account.name])
    return accounts, running


def render(
    accounts: Sequence[Mapping[str, Any]], decision: str | None, *, running: bool
) -> Iterator[str]:
    """Yield the held deletions, and what happens to them, as lines for people."""
    total = 0
    for account in accounts:
        for heap in account["heaps"]:
            total += len(heap["held"])
            yield from _heap(account["name"], heap)
    if not total:
        yield "no deletions are held"
        return
    when = "now" if running else "with the next `heapsyncd sync` or `heapsyncd run`"
    if decision == "confirm":
        yield f"confirmed: {total} deletions are carried out {when}"
    elif decision == "undo":
        yield f"undone: {total} deletions are brought back {when}"
    else:
        yield "`heapsyncd deletions --confirm` carries them out, `--undo` brings everything back"


def _heap(account: str, heap: Mapping[str, Any]) -> Iterator[str]:
    for where in ("here", "on the server"):
        held = [h for h in heap["held"] if h["deleted"] == where]
        if not held:
            continue
        yield f"{account}: {heap['title']}: {len(held)} deletions made {where} are held"
        yield from (f"  {h['path']}{_decided(h)}" for h in held[:DETAIL_LINES])
        if (more := len(held) - DETAIL_LINES) > 0:
            yield f"  and {more} more (--json lists them)"


def _decided(held: Mapping[str, Any]) -> str:
    words = {"confirm": "  (confirmed)", "undo": "  (will be brought back)"}
    return words.get(held["decision"], "")
