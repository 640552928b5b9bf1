"""``undo``: take this device's recent edits back."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.activity import Span
from heapsyncd.cli.heap_names import HeapName, require_heaps
from heapsyncd.cli.output import is_terminal, say, say_diff, say_json
from heapsyncd.cli.paths import shown, spellings
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.config import Config

EXAMPLES: Final = """\b
Examples:
  heapsyncd undo --since 10m
  heapsyncd undo --since 1h --path Projects --dry-run"""


@click.command("undo", epilog=EXAMPLES)
@click.option("--since", "span_ms", type=Span(), required=True, help="How far back, as 10m or 2h.")
@click.option("--heap", type=HeapName(), metavar="NAME", help="Only in this heap (title or id).")
@click.option(
    "--path",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Only this note, or what is below this directory; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; do not ask.")
@pass_options
def command(
    options: Options,
    *,
    span_ms: int,
    heap: str | None,
    paths: Sequence[Path],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Take back what was done on this device in the last minutes or hours.

    Edits of texts are taken out; what came from elsewhere since stays. Notes, files and folders
    that were renamed or moved go back, new ones go to the trash, deleted ones come back. What no
    trash would keep stays, and is named: new attachments, new contents of files, and everything
    new of a oneheap account. The changes are shown first; on a terminal you are asked. All texts
    stay in the history.
    """
    config = load_with_secrets(options.path)
    logs.configure(config.log, level=options.level or "warning")
    since_ms = time.time_ns() // 1_000_000 - span_ms
    absolute = [spelling for path in paths for spelling in spellings(path)]
    if heap is not None:
        folders = asyncio.run(_folders(config, heap))
        absolute = [p for p in absolute if _is_below(p, folders)] if paths else folders
    asks = is_terminal() and not (yes or dry_run or as_json)
    if (heap or paths) and not absolute:
        found = []
    else:
        found = asyncio.run(_undo(config, since_ms, absolute, preview=asks or dry_run))
    if as_json:
        say_json({"undone": found})
        return
    for one in found:
        say(f"{shown(one['file'])}: {_what(one, will=asks or dry_run)}")
        say_diff(one["diff"])
    if all(one["action"] == "left" for one in found):
        say("there is nothing to take back")
    elif asks:
        if not click.confirm("Take this back?"):
            say("nothing was changed")
            return
        done = asyncio.run(_undo(config, since_ms, absolute, preview=False))
        before = [(one["path"], one["action"]) for one in found]
        for one in done:  # what is otherwise than it was shown
            if (one["path"], one["action"]) not in before:
                say(f"{shown(one['file'])}: {_what(one, will=False)}")
        say("taken back")


async def _folders(config: Config, heap: str) -> list[str]:
    """Return the folders of the heaps with this title or id."""
    from heapsyncd.sync.offline.versions import heap_folders

    await require_heaps(config, [heap])
    return [
        folder
        for account in config.accounts
        for folder in await heap_folders(account, config.state_dir, heap)
    ]


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _what(one: dict[str, Any], *, will: bool) -> str:
    """Return what is done with a note, for people."""
    reason = f" ({one['reason']})" if one["reason"] else ""
    match one["action"]:
        case "name":
            return f"{'goes' if will else 'went'} back to {shown(one['to_file'])}"
        case "trash":
            return f"is new, {'goes' if will else 'went'} to the trash"
        case "back":
            return f"{'comes' if will else 'came'} out of the trash"
        case "left":
            return f"stays as it is{reason}"
        case _:
            return f"edits {'to take' if will else 'taken'} back{reason}"


async def _undo(
    config: Config, since_ms: int, paths: Sequence[str], *, preview: bool
) -> list[dict[str, Any]]:
    """Let the running daemon take the edits back, or do it here if none is running."""
    done: list[dict[str, Any]] | None = await control.ask(
        config.state_dir,
        "undo",
        lambda _: None,
        since_ms=since_ms,
        paths=list(paths),
        preview=preview,
    )
    if done is not None:
        return done
    from heapsyncd.statelock import hold_state
    from heapsyncd.sync.offline.versions import undo_alone
    from heapsyncd.sync.report import UndoRequest

    wanted = UndoRequest(since_ms, tuple(paths), preview)
    with hold_state(config.state_dir):
        return [
            one
            for account in config.accounts
            for one in await undo_alone(account, config.state_dir, wanted)
        ]
