"""``doctor``: look at the set-up, and say what to mend."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import click

from heapsyncd.cli.doctor_checks import Line, judge
from heapsyncd.cli.output import say, say_json
from heapsyncd.cli.settings import Options, pass_options

_WIDTH: Final = 8
"""Of the column with the grades."""


EXAMPLES: Final = """\b
Examples:
  heapsyncd doctor
  heapsyncd doctor --json"""


@click.command("doctor", epilog=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_options
def command(options: Options, *, as_json: bool) -> int:
    """Look at the set-up, and say what to mend.

    Program and packages, configuration, key, state directory, folders, limits of inotify, server,
    clock, service, suspends and daemon: each is "ok", "warning" (it works, but) or "wrong", with
    the command that mends it. Nothing is changed. `heapsyncd check` looks at the notes.

    Exits with 0 if nothing is wrong, otherwise with 1.
    """
    from heapsyncd.cli.doctor_facts import gather

    lines = list(judge(asyncio.run(gather(options.path))))
    if as_json:
        say_json(
            {
                "checks": [
                    {"grade": o.grade, "about": o.about, "what": o.what, "mend": o.mend}
                    for o in lines
                ]
            }
        )
    else:
        say(*render(lines))
    return 1 if any(line.grade == "wrong" for line in lines) else 0


def render(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the lines for people, and how many are not fine."""
    for line in lines:
        yield f"{line.grade:<{_WIDTH}} {line.about}: {line.what}"
        if line.mend is not None:
            yield f"{'':<{_WIDTH}}   to mend it: {line.mend}"
    wrong, warnings = (sum(o.grade == g for o in lines) for g in ("wrong", "warning"))
    found = [f"{wrong} wrong" if wrong else "nothing is wrong"]
    found += [f"{warnings} warning{'' if warnings == 1 else 's'}"] if warnings else []
    yield ", ".join(found)
