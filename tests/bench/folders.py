"""Folders of notes under a bench's hand: filled, saved into, and waited for."""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench.notes import reworded

DEADLINE_S: Final = 3600.0
_LOOK_S: Final = 0.002


def directory(text: str) -> Path:
    """A directory that is there, as an argument."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no directory; make it first")
    return path


def fill(folder: Path, notes: Mapping[str, str]) -> None:
    """Write notes, by path."""
    for path, text in notes.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def spread(paths: Sequence[str], most: int) -> list[str]:
    """At most so many of the paths, from beginning to end."""
    step = max(1, len(paths) // most)
    return list(paths[::step][:most])


def prepared(file: Path, turn: int, word: str) -> Callable[[], object]:
    """Replace a word in a file, as an editor saves: all at once, when it is called."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(reworded(file.read_text("utf-8"), turn, word), "utf-8")
    return lambda: beside.replace(file)


def added(file: Path, text: str) -> Callable[[], object]:
    """Add a file, as an editor saves: all at once, when it is called."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(f"{text}\n", "utf-8")
    return lambda: beside.replace(file)


def has(word: str) -> Callable[[Path], bool]:
    """Whether a file says a word."""
    looked_for = word.encode()
    return lambda file: looked_for in file.read_bytes()


def until(true: Callable[[], object], trouble: str) -> None:
    """Wait until something is true; TimeoutError says what is not."""
    end = time.monotonic() + DEADLINE_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(trouble)
        time.sleep(_LOOK_S)


def wait_for(folder: Path, paths: Iterable[str], true: Callable[[Path], bool]) -> None:
    """Wait until something is true of each file."""
    left = list(paths)

    def there() -> bool:
        with contextlib.suppress(FileNotFoundError):
            while left and true(folder / left[-1]):
                left.pop()
        return not left

    until(there, "not all notes arrived")


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: the median, and what nearly all are below."""
    ranked = sorted(seconds)
    return {f"p{q}": ranked[q * (len(ranked) - 1) // 100] * 1000 for q in (50, 95)}
