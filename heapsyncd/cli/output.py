"""Everything the commands print.

Titles, texts, paths and server messages come from other people. What would control a terminal or
reverse a line's direction is replaced before a person sees it, and escaped in JSON.
"""

import sys
from datetime import datetime
from typing import Any

import click

from heapsyncd.logs import json_text, printable


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people; a line never breaks into several."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_json(value: Any) -> None:
    """Print a JSON document."""
    click.echo(json_text(value))


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
