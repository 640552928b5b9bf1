"""``deletions``: show, confirm or undo held deletions."""

import asyncio
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.paths import shown, spellings
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import UserError

DETAIL_LINES: Final = 20
"""How many paths are shown per heap and direction. --json has all."""


EXAMPLES: Final = """\b
Examples:
  heapsyncd deletions
  heapsyncd deletions --undo
  heapsyncd deletions --confirm ~/Heaps/Home/Old ~/Heaps/Home/draft.md"""


@click.command("deletions", epilog=EXAMPLES)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option("--confirm", is_flag=True, help="Carry out the deletions.")
@click.option("--undo", is_flag=True, help="Bring the files (or notes) back instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(
    options: Options, paths: Sequence[Path], *, confirm: bool, undo: bool, as_json: bool
) -> None:
    """Show, confirm or undo held deletions.

    Deletions are held if they are more than 10 files and more than a quarter of a heap, in one
    pass or within an hour, here or on the server. Nothing is deleted on the other side until you
    --confirm. --undo brings everything back, also what was deleted within the hour before the rest
    was held.

    With PATH, only what was at that path, or in that folder. You decide once: your other devices
    with the same key do the same, without asking again.
    """
    if confirm and undo:
        raise click.UsageError("--confirm and --undo exclude each other; give one of them.")
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    decision = "confirm" if confirm else "undo" if undo else None
    accounts, running = asyncio.run(_decide(config, decision, paths))
    if as_json:
        say_json({"accounts": accounts})
        return
    say(*render(accounts, decision, running=running))


async def _decide(
    config: Config, decision: str | None, paths: Sequence[Path]
) -> tuple[list[dict[str, Any]], bool]:
    """Decide on what is at these paths, or on everything; return what ``held_now`` does."""
    for path in paths:  # first: nothing is decided if one is mistyped
        accounts, _ = await held_now(config, None, spellings(path))
        if not any(account["heaps"] for account in accounts):
            raise UserError(
                f"{path}: no deletion is held there; `heapsyncd deletions` lists those that are."
            )
    spelled = [spelling for path in paths for spelling in spellings(path)]
    return await held_now(config, decision, spelled if paths else None)


async def held_now(
    config: Config, decision: str | None = None, paths: Sequence[str] | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Return every account's held deletions, and whether all accounts are running."""
    answer = await control.ask(config.state_dir, "deletions", decision=decision, paths=paths)
    answered = {a["name"]: a for a in (answer or {"accounts": []})["accounts"]}
    accounts, running = [], True
    for account in config.accounts:
        if account.name not in answered:
            from heapsyncd.sync.offline.status import cached_deletions

            running = False
            found = await cached_deletions(account, config.state_dir, decision, paths)
            answered[account.name] = {"name": account.name, "heaps": found}
        accounts.append(answered[account.name])
    return accounts, running


def render(
    accounts: Sequence[Mapping[str, Any]], decision: str | None, *, running: bool
) -> Iterator[str]:
    """Yield the held deletions, and what happens to them, as lines for people."""
    heaps = [(account["name"], heap) for account in accounts for heap in account["heaps"]]
    for name, heap in heaps:
        yield from _heap(name, heap)
    total = sum(len(heap["held"]) for _, heap in heaps)
    if not heaps:
        yield "no deletions are held"
        return
    when = "now" if running else "with the next `heapsyncd sync` or `heapsyncd run`"
    if decision == "confirm":
        yield f"confirmed: {_counted(total)} carried out {when}"
    elif decision == "undo":
        total += sum(len(heap["passed"]) for _, heap in heaps)
        yield f"undone: {_counted(total)} brought back {when}"
    else:
        yield "`heapsyncd deletions --confirm` carries them out, `--undo` brings everything back"
        first = next(iter([*heaps[0][1]["held"], *heaps[0][1]["passed"]]))
        path = shlex.quote(shown(first["file"]))
        yield f"or decide on a part of them: `heapsyncd deletions --undo {path}`"


def _counted(count: int) -> str:
    return f"{count} deletion is" if count == 1 else f"{count} deletions are"


def _heap(account: str, heap: Mapping[str, Any]) -> Iterator[str]:
    for where in ("here", "on the server"):
        held = [h for h in heap["held"] if h["deleted"] == where]
        if held:
            yield (
                f"{account}: {heap['title']}: {_counted(len(held)).rpartition(' ')[0]} made"
                f" {where} {'is' if len(held) == 1 else 'are'} held"
            )
            yield from _cut(_grouped(held))
        passed = [p for p in heap["passed"] if p["deleted"] == where]
        if passed:
            yield f"{account}: {heap['title']}: let through before, --undo brings these back too"
            yield from _cut(_grouped(passed))


def _grouped(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each path, but one for a folder with everything that was in it."""
    by_path = {one["path"]: one for one in found}
    tops: dict[str, int] = {}
    for path, one in sorted(by_path.items()):
        folders = (str(p) for p in reversed(Path(path).parents))
        top = next((f for f in folders if f in tops and _is_alike(by_path[f], one)), path)
        tops[top] = tops.get(top, -1) + 1
    for path, inside in tops.items():
        more = f"  and {inside} more in it" if inside else ""
        yield f"  {shown(by_path[path]['file'])}{more}{_decided(by_path[path])}"


def _is_alike(folder: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    return bool(folder["kind"] == "folder" and folder["decision"] == one["decision"])


def _cut(lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    yield from found[:DETAIL_LINES]
    if (more := len(found) - DETAIL_LINES) > 0:
        yield f"  and {more} more (--json lists them)"


def _decided(held: Mapping[str, Any]) -> str:
    words = {"confirm": "  (confirmed)", "undo": "  (will be brought back)"}
    return words.get(held["decision"], "")
