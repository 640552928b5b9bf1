"""What the commands print: everything goes through here on its way to a terminal.

Titles, texts, paths and a server's words are other people's. What would steer a terminal, or turn
a line's direction around, is replaced before a person sees it, and escaped in JSON.
"""

import sys
from datetime import datetime
from typing import Any

import click

from heapsyncd.logs import json_text, printable


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people, each on one line."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_json(value: Any) -> None:
    """Print a JSON document."""
    click.echo(json_text(value))


def say_text(data: bytes) -> None:
    """Print a note's text: its exact bytes, unless somebody looks on."""
    if not sys.stdout.isatty():
        click.echo(data, nl=False)
        return
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    click.echo("\n".join(map(printable, text.split("\n"))), nl=False)


def moment(ms: int) -> str:
    """A time for people; what no calendar holds is said as it is."""
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
