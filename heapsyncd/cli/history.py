"""``history``: the earlier versions of a note."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import format_time, say, say_json, say_text
from heapsyncd.cli.paths import spellings
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import UserError

WHY: Final = {
    "written": "came from the server",
    "saved": "saved here",
    "stale": "saved here, based on an outdated copy",
    "overlap": "saved here, while the same words changed elsewhere",
    "kept": "edited here, deleted on the server",
    "damaged": "restored after damage",
    "deleted": "when it was deleted",
}
"""For people: why a version was kept."""


@click.command("history")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--version", "number", type=int, metavar="N", help="Print the text of this version.")
@click.option("--seen", is_flag=True, help="Mark the note's reviews as seen.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(
    options: Options, path: Path, *, number: int | None, seen: bool, as_json: bool
) -> None:
    """List the earlier versions of a note, latest first. Works offline.

    The last 8 texts of a file and those of the last hour are always kept. So are the text of a
    deleted note and texts that a merge may have combined wrongly. `heapsyncd status` shows those
    ("review") until you mark them with --seen.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    if number is not None:
        say_text(asyncio.run(_text(config, path, number)))
        return
    facts = asyncio.run(versions_of(config, path, seen=seen))
    if as_json:
        say_json(facts)
        return
    say(*render(facts))


async def versions_of(config: Config, path: Path, *, seen: bool = False) -> dict[str, Any]:
    """Return the document of ``history --json``.

    Raises:
        UserError: nothing is known of the path.
    """
    from heapsyncd.sync.offline.versions import versions

    for account in config.accounts:
        found = await versions(account, config.state_dir, spellings(path), seen=seen)
        if found is not None:
            if seen:
                await control.ask(config.state_dir, "recount")
            return found
    raise nothing_kept(path)


async def _text(config: Config, path: Path, number: int) -> bytes:
    from heapsyncd.sync.offline.versions import text

    for account in config.accounts:
        found = await text(account, config.state_dir, spellings(path), number)
        if found is not None:
            return found
    raise UserError(f"{path} has no version {number}; `heapsyncd history {path}` lists them.")


def nothing_kept(path: Path) -> UserError:
    """Return the error for a path that is not and never was a note."""
    return UserError(
        f"No text of {path} is known: it is not a note of a mirrored heap."
        " `heapsyncd status` lists the heaps' folders, `heapsyncd trash` the deleted notes."
    )


def render(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the versions as lines for people."""
    versions = facts["versions"]
    yield f"{facts['path']}  {facts['title']!r} {facts['block']}"
    for version in versions:
        changed = f"+{version['words_added']} -{version['words_removed']} words"
        yield (
            f"{version['number']:6}  {format_time(version['made_at_ms'])}"
            f"  {version['size']:7} bytes"
            f"  {changed:18}  {WHY.get(version['why'], version['why'])}"
        )
        if version["notice"] is not None:
            yield f"        review: {version['notice']}"
    yield (
        f"`heapsyncd history {facts['path']} --version N` prints one, `heapsyncd restore"
        f" {facts['path']} --version N` puts it back"
    )
