"""``history``: the earlier versions of a note."""

import asyncio
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import format_time, say, say_diff, say_json, say_text
from heapsyncd.cli.paths import shown, spellings
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import UserError

_WHY: Final = {
    ("written", "server"): "came from the server",
    ("written", "heapsyncd"): "written by heapsyncd",
    ("written", None): "written by heapsyncd",
    ("saved", "this device"): "saved here",
    ("saved", None): "found in the file",
    ("deleted", "this device"): "deleted here",
    ("deleted", "server"): "deleted on the server",
    ("deleted", None): "when it was deleted",
    ("stale", "this device"): "saved here, based on an outdated copy",
    ("stale", None): "saved here, based on an outdated copy",
    ("overlap", "this device"): "saved here, while the same words changed elsewhere",
    ("overlap", None): "while the same words changed here and elsewhere",
    ("kept", "this device"): "edited here, deleted on the server",
    ("kept", None): "edited here, deleted on the server",
    ("damaged", None): "found damaged; the text was restored",
}
"""For people: why a version was kept, and who made it."""
_ONLY: Final = {
    "id": "heapsyncd wrote the note's id",
    "links": "heapsyncd followed a rename in links",
}
"""For people: all that a version changed."""
_LATEST: Final = -1
EXAMPLES: Final = """\b
Examples:
  heapsyncd history Boat.md
  heapsyncd history Boat.md --diff       what the latest version changed
  heapsyncd history Boat.md --diff 12    what version 12 changed"""


class Number(click.ParamType[int]):
    """The number of a version."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; a usage error if it is none."""
        if isinstance(value, int):
            return value
        if not str(value).isdecimal():
            self.fail(f"{value} is no version's number; write the path before it.", param, ctx)
        return int(value)


@click.command("history", epilog=EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--version", "number", type=int, metavar="N", help="Print the text of this version.")
@click.option(
    "--diff",
    "changed",
    type=Number(),
    is_flag=False,
    flag_value=_LATEST,
    metavar="[N]",
    help="Show the words that version N changed; without N, the latest one.",
)
@click.option("--seen", is_flag=True, help="Mark the note's reviews as seen.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(
    options: Options,
    path: Path,
    *,
    number: int | None,
    changed: int | None,
    seen: bool,
    as_json: bool,
) -> None:
    """List the earlier versions of a note, latest first. Works offline.

    How long they are kept is configured ([history]). The last 8 texts of a file and those of the
    last hour always are. So are the text of a deleted note and texts that a merge may have
    combined wrongly. `heapsyncd status` shows those ("review") until you mark them with --seen.
    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    if number is not None:
        say_text(asyncio.run(version_text(config, path, number)))
        return
    if changed is not None:
        facts = asyncio.run(difference_of(config, path, None if changed == _LATEST else changed))
        if as_json:
            say_json(facts)
            return
        say(f"{shown(facts['path'])}  {line(facts)}")
        say_diff(facts["diff"])
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


async def difference_of(config: Config, path: Path, number: int | None) -> dict[str, Any]:
    """Return a version (the latest for None) with the difference to the one before it.

    Raises:
        UserError: there is no such version.
    """
    from heapsyncd.sync.offline.versions import difference

    for account in config.accounts:
        found = await difference(account, config.state_dir, spellings(path), number)
        if found is not None:
            return found
    raise await _no_version(config, path, number)


async def version_text(config: Config, path: Path, number: int | None) -> bytes:
    """Return a version's text; None: the latest one's.

    Raises:
        UserError: there is no such version, or no such note.
    """
    from heapsyncd.sync.offline.versions import text

    for account in config.accounts:
        found = await text(account, config.state_dir, spellings(path), number)
        if found is not None:
            return found
    raise await _no_version(config, path, number)


async def _no_version(config: Config, path: Path, number: int | None) -> UserError:
    await versions_of(config, path, seen=False)  # raises if there is no such note
    return UserError(
        f"{path} has no version {number}; `heapsyncd history {quoted(path)}` lists them."
    )


def quoted(path: str | Path) -> str:
    """Return a path as it is typed in a shell."""
    return shlex.quote(shown(path) if Path(path).is_absolute() else str(path))


def nothing_kept(path: Path) -> UserError:
    """Return the error for a path that is not and never was a note."""
    return UserError(
        f"No text of {path} is known: it is not a note of a mirrored heap."
        " `heapsyncd status` lists the heaps' folders, `heapsyncd trash` the deleted notes."
    )


def why(version: Mapping[str, Any]) -> str:
    """Return, for people, why a version was kept and who made it."""
    if version["why"] == "renamed":
        here = " here" if version["who"] == "this device" else ""
        now = f" to {version['to']}" if version["to"] else ""
        return f"renamed{here}, {version['from']}{now}"
    found = _WHY.get((version["why"], version["who"]), str(version["why"]))
    return _ONLY.get(version["only"], found)


def line(version: Mapping[str, Any]) -> str:
    """Return a version as a line for people."""
    changed = f"+{version['words_added']} -{version['words_removed']} words"
    return (
        f"{version['number']:6}  {format_time(version['made_at_ms'])}  {version['size']:7} bytes"
        f"  {changed:18}  {why(version)}"
    )


def render(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the versions as lines for people."""
    yield f"{shown(facts['path'])}  {facts['title']!r} {facts['block']}"
    for version in facts["versions"]:
        yield line(version)
        if version["notice"] is not None:
            yield f"        review: {version['notice']}"
    path = quoted(facts["path"])
    yield (
        f"`heapsyncd history {path} --diff N` shows what one changed, `heapsyncd show {path}"
        f" --version N` prints it, `heapsyncd restore {path} --version N` puts it back"
    )
