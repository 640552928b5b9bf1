"""``show``: the text of one version of a note."""

import asyncio
from pathlib import Path
from typing import Final

import click

from heapsyncd import logs
from heapsyncd.cli.history import version_text
from heapsyncd.cli.output import say_text
from heapsyncd.cli.settings import Options, load, pass_options

EXAMPLES: Final = """\b
Examples:
  heapsyncd show Boat.md --version 12
  heapsyncd show Boat.md --version 12 > before.md"""


@click.command("show", epilog=EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--version",
    "number",
    type=int,
    metavar="N",
    help="The version, as listed by `heapsyncd history`.  [default: the latest]",
)
@pass_options
def command(options: Options, path: Path, *, number: int | None) -> None:
    """Print one version of a note, as it was in the file. Works offline."""
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    say_text(asyncio.run(version_text(config, path, number)))
