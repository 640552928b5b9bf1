"""``explain``: why a file is in its current state."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import replace

from heapsyncd import control, logs
from heapsyncd.cli.output import format_time, say, say_json
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import TryLater, UserError

EXAMPLES: Final = """\b
Examples:
  heapsyncd explain Boat.md
  heapsyncd explain --json ~/Heaps/Home/Boat.md"""


@click.command("explain", epilog=EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, path: Path, *, as_json: bool) -> None:
    """Explain a file's state: base, disk, server, and the rule that applies.

    Works offline. The file need not exist any more.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    facts = asyncio.run(_explain(config, path))
    if as_json:
        say_json(facts)
        return
    say(*render(facts))


async def _explain(config: Config, path: Path) -> dict[str, Any]:
    from heapsyncd.sync.offline.explain import explain

    # Try the path as typed first. A symlink above the folder is fine; one inside is not followed.
    for absolute in (os.path.abspath, _with_real_parent):
        for account in config.accounts:
            folder = Path(absolute(account.folder / "x")).parent
            facts = await explain(
                replace(account, folder=folder), config.state_dir, Path(absolute(path))
            )
            if facts is not None:
                return {**facts, "now": await _now(config, facts)}
    raise UserError(f"{path} is not in a mirrored folder; `heapsyncd status` lists the folders.")


async def _now(config: Config, facts: Mapping[str, Any]) -> str | None:
    """Return what the running daemon says of the account or heap as a whole.

    None if nothing is wrong with them.
    """
    try:
        status = await control.ask(config.state_dir, "status")
    except TryLater as error:
        return str(error)
    if status is None:
        return "no daemon is running"
    for account in status["accounts"]:
        if account["name"] == facts["account"] and account["state"] != "in sync":
            folders = [h for h in account["heaps"] if h["id"] == facts["heap"]["id"]]
            reasons = [
                p["reason"] for h in folders for p in h["problems"] if p["path"] == h["folder"]
            ]
            return ": ".join(filter(None, [account["state"], account["error"], *reasons]))
    return None


def _with_real_parent(path: Path) -> str:
    return str(path.parent.resolve() / path.name)


def render(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the facts as lines for people."""
    heap, block = facts["heap"], facts["block"]
    yield f"file     {facts['path']}"
    yield f"heap     {heap['title']}  {heap['id']}  (account {facts['account']})"
    if block is None:
        yield "block    none"
    else:
        yield f"block    {facts['role']} of {block['kind']} {block['id']} {block['title']!r}"
    yield from _base(facts)
    yield from _text(facts["text"])
    yield from _disk(facts["disk"])
    yield from _server(facts)
    if facts["now"] is not None:
        yield f"now      {facts['now']}"
    if facts["problem"] is not None:
        yield f"problem  {facts['problem']}"
    if (hold := facts["hold"]) is not None:
        yield f"hold     deleted {hold['deleted']}, {format_time(hold['since_ms'])}"
    yield f"rule     {facts['rule']}"


def _base(facts: Mapping[str, Any]) -> Iterator[str]:
    if (base := facts["base"]) is None:
        yield "base     none"
        return
    yield (
        f"base     {format_time(base['made_at_ms'])}, {base['size']} bytes, sha256"
        f" {base['sha256'][:12]}, {base['kept']} kept"
    )


def _text(text: Mapping[str, Any] | None) -> Iterator[str]:
    words = {
        "exact": "as it was saved, from the document",
        "patched": "as it was saved, with the lines of what was changed in the document since",
        "local": 'in the style of this device\'s file: `source` is "local"',
        "rendering": "made from the document, which has no text as it was saved",
    }
    if text is not None:
        problem = "" if text["problem"] is None else f" that can be used: {text['problem']}"
        yield f"text     {words[text['kind']]}{problem}"


def _disk(disk: Mapping[str, Any]) -> Iterator[str]:
    words = {
        None: "nothing to compare with",
        "no": "unchanged since",
        "gone": "gone since",
        "content": "changed since",
        "stamps only": "same content, other timestamps since",
    }
    yield f"disk     {_stamps(disk['now'])}; {words[disk['changed']]}"
    if disk["agreed"] is not None and disk["agreed"] != disk["now"]:
        yield f"         as agreed: {_stamps(disk['agreed'])}"
    if disk["ignored_by"] is not None:
        yield f"         ignored: {disk['ignored_by']}"


def _stamps(stamps: Mapping[str, int] | None) -> str:
    if stamps is None:
        return "does not exist"
    return f"{stamps['size']} bytes, {format_time(stamps['mtime_ns'] // 1_000_000)}"


def _server(facts: Mapping[str, Any]) -> Iterator[str]:
    if (server := facts["server"]) is None:
        gone = facts["trashed_at_ms"]
        known = "does not know it" if gone is None else f"deleted {format_time(gone)}"
        yield f"server   {known}"
        return
    parts = [f"version {server['sync_version']}"] if server["sync_version"] else ["not there yet"]
    parts.append(f"{server['unsent_updates']} updates unsent ({server['unsent_bytes']} bytes)")
    if server["changed_at_ms"] is not None:
        parts.append(f"last heard of {format_time(server['changed_at_ms'])}")
    if server["wanted"]:
        parts.append("newer state to pull")
    if facts["stale"]:
        parts.append("newer state to write")
    if facts["todo"] is not None:
        parts.append(f"{facts['todo']} pending")
    if server["deleted_at_ms"] is not None:
        parts.append(f"deleted {format_time(server['deleted_at_ms'])}")
    yield f"server   {', '.join(parts)}"
