"""The tests that pytest finds, with their marks: asked of pytest itself, in a process of its own.

Also the plugin of that process (``-p tests.collected``), which prints them.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
_HEAD = "collected: "


def collected(files: Iterable[str]) -> dict[str, frozenset[str]]:
    """By ``file::function``, below ``tests/``: the names of the marks of all its parameters.

    Raises:
        AssertionError: a file is not there, or can't be imported.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.collected", "--collect-only", "-qq"),
            *("-p", "no:cacheprovider", *sorted({str(TESTS / file) for file in files})),
        ],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(_HEAD)]
    return {name: frozenset(marks) for name, marks in json.loads(line[len(_HEAD) :]).items()}


def unproved(table: Mapping[Any, tuple[str, ...]]) -> dict[Any, list[str]]:
    """The rows (a sentence, then ``file::function`` each) whose tests do not prove them.

    A test proves nothing when pytest does not find it, leaves it out, or expects it to fail.
    """
    found = collected(name.partition("::")[0] for _, *tests in table.values() for name in tests)
    proofs = {name for name, marks in found.items() if not marks & {"skip", "xfail"}}
    wrong = {
        row: [name for name in tests if name not in proofs] for row, (_, *tests) in table.items()
    }
    return {row: names for row, names in wrong.items() if names or not table[row][1:]}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Print what was found."""
    found: dict[str, set[str]] = {}
    for item in session.items:
        name = f"{item.path.relative_to(TESTS)}::{getattr(item, 'originalname', item.name)}"
        found.setdefault(name, set()).update(mark.name for mark in item.iter_markers())
    print(f"\n{_HEAD}{json.dumps({name: sorted(marks) for name, marks in found.items()})}")
