"""Everything the commands print.

Titles, texts, paths and server messages come from other people. What would control a terminal or
reverse a line's direction is replaced before a person sees it, and escaped in JSON.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import click

from heapsyncd.logs import json_text, printable

_MARKS: Final = {"-": "[-{}-]", "+": "{{+{}+}}", "@": "@@ line {} @@", "=": "{}"}
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "-": {"fg": "red", "strikethrough": True},
    "+": {"fg": "green"},
    "@": {"fg": "cyan"},
}


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people; a line never breaks into several."""
    for line in lines:
        click.echo(printable(line), err=err)


def is_styled() -> bool:
    """Tell whether stdout is a terminal that shows more than plain text, and may do so."""
    terminal = os.environ.get("TERM", "dumb")
    return sys.stdout.isatty() and terminal != "dumb" and not os.environ.get("NO_COLOR")


def emphasised(text: str, marks: Iterable[tuple[int, int]]) -> str:
    """Return a line of somebody's text, printable, with parts of it in bold on a terminal.

    To be printed by ``click.echo``: ``say`` takes away all that controls a terminal.
    """
    text = printable(text)
    if not is_styled():
        return text
    shown, at = "", 0
    for begin, end in marks:
        shown += text[at:begin] + click.style(text[begin:end], bold=True)
        at = end
    return shown + text[at:]


def width() -> int:
    """Return how many characters a line has on this terminal; 160 if stdout is none."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 160


def is_terminal() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def say_diff(lines: Sequence[Sequence[Sequence[str]]]) -> None:
    """Print a difference (``diff.shown``), indented: words in colours, or marked as git does."""
    styled = is_styled()
    for line in lines:
        click.echo("    " + "".join(_part(sign, text, styled=styled) for sign, text in line))


def _part(sign: str, text: str, *, styled: bool) -> str:
    text = printable(text)
    if not styled or sign == "=":
        return _MARKS[sign].format(text)
    if sign == "@":
        text = _MARKS[sign].format(text)
    return click.style(text or "\N{PILCROW SIGN}", **_STYLES[sign])


def say_json(value: Any) -> None:
    """Print a JSON document; in escapes where the output's encoding lacks a character."""
    is_utf8 = "utf" in (sys.stdout.encoding or "utf-8").lower()
    click.echo(json_text(value, ensure_ascii=not is_utf8))


def say_text(data: bytes) -> None:
    """Print a note's text: exact bytes into a pipe, made printable on a terminal."""
    if not sys.stdout.isatty():
        click.echo(data, nl=False)
        return
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    click.echo("\n".join(map(printable, text.split("\n"))), nl=False)


def format_time(ms: int) -> str:
    """Format a time in milliseconds for people.

    Outside the calendar the number itself is shown.
    """
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def state_words(state: str) -> str:
    """Return an account's state for people; scripts know "offline" by this name."""
    return "not connected" if state == "offline" else state
