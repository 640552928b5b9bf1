"""When a change is so large that a person has to see it first. Pure.

A deletion of many files at once is more often an unmounted disk, a runaway script or a broken
server than a target. It is held, whichever side it comes from, until somebody confirms it or takes
it back; whoever deletes in small steps is stopped by the window of an hour. Rewriting many notes
(a formatter) loses nothing, since each text is merged and kept: it is let through, but not faster
than people on the other side can bear, and it is told of.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

NOTE_BYTES: Final = 64 << 20
"""A larger file is no note."""

FILES: Final = 10
"""More files than this, and ..."""
SHARE: Final = 4
"""... more than one in so many of the heap's files, are a mass change."""
WINDOW_MS: Final = 3_600_000
"""Deletions that were let through no longer ago than this count too."""

BURST: Final = 400
"""So many notes may be rewritten at once."""
RATE_PER_S: Final = 100
"""And so many each second after them."""


def is_mass(count: int, total: int) -> bool:
    """Whether a change concerns more than FILES files and more than a quarter of them all."""
    return count > FILES and count * SHARE > total


def brakes(count: int, recent: int, size: int, *, standing: bool) -> bool:
    """Whether a deletion is held.

    Args:
        count: files it would take away; 0 when it concerns folders only.
        recent: files deleted within the window before it.
        size: files the heap has, those in question among them.
        standing: whether earlier deletions are held still; then this one joins them.
    """
    return standing or (count > 0 and is_mass(count + recent, size + recent))


def spread(count: int) -> list[float]:
    """In how many seconds each of so many waiting files is looked at again: in groups, one group a
    second, so that each look costs what it brings.
    """
    return [1.0 + k // RATE_PER_S for k in range(count)]


@dataclass(slots=True)
class RewriteLimit:
    """How many notes were rewritten lately, and whether another may be now.

    Times are of one monotonic clock, in seconds, and never go back.
    """

    _paths: dict[str, float] = field(default_factory=dict)
    _order: deque[tuple[float, str]] = field(default_factory=deque)
    _tokens: float = float(BURST)
    _at_s: float = 0.0

    def left(self, now_s: float) -> int:
        """How many more changed files may be read now."""
        self._tokens = min(float(BURST), self._tokens + (now_s - self._at_s) * RATE_PER_S)
        self._at_s = now_s
        return int(self._tokens)

    def rewritten(self, path: str, now_s: float) -> None:
        """A note was rewritten."""
        self._tokens -= 1
        self._paths[path] = now_s
        self._order.append((now_s, path))

    def notice(self, size: int, now_s: float) -> str | None:
        """What to tell when the notes rewritten within the window are a mass; None otherwise.

        Args:
            size: files the heap has.
            now_s: the clock.
        """
        while self._order and now_s - self._order[0][0] > WINDOW_MS / 1000:
            at_s, path = self._order.popleft()
            if self._paths.get(path) == at_s:
                del self._paths[path]
        count = len(self._paths)
        if not is_mass(count, size):
            return None
        return (
            f"{count} of {size} files were rewritten within an hour, and sent; if that was no"
            " formatter of yours, their earlier texts are kept"
        )
