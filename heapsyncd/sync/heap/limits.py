"""Decide when a change is so large that a person has to see it first. Pure.

A deletion of many files at once is more often an unmounted disk, a faulty script or a broken
server than an intention. It is held, whichever side it comes from, until somebody confirms or
undoes it; a window of an hour catches those that come in small steps. Rewriting many notes (a
formatter) loses nothing, because each text is merged and kept. It is let through, but no faster
than people on the other side can bear, and it is reported.
"""

from collections import deque
from typing import Final

from msgspec import Struct, field

NOTE_BYTES: Final = 64 << 20
"""A larger file is not read as a note."""
MUCH_WORK: Final = 100
"""After so many changes, memory is given back."""
KEPT_AT_REST: Final = 20
"""So many replicas are kept then: who edits goes on with a note of the last ones."""

FILES: Final = 10
"""More files than this, and ..."""
SHARE: Final = 4
"""... more than one in this many of the heap's files, are a mass change."""
WINDOW_MS: Final = 3_600_000
"""Deletions that were let through within this time count too."""

BURST: Final = 400
"""This many notes may be rewritten at once."""
RATE_PER_S: Final = 100
"""And this many per second after that."""


def is_mass(count: int, total: int) -> bool:
    """Return whether a change concerns more than FILES files and more than a quarter of all."""
    return count > FILES and count * SHARE > total


def must_hold(count: int, recent: int, size: int, *, standing: bool) -> bool:
    """Return whether a deletion has to be held.

    Args:
        count: the files it removes; 0 if it concerns folders only.
        recent: the files deleted earlier within the window.
        size: the files of the heap, including those to delete.
        standing: earlier deletions are still held; then this one joins them.
    """
    return standing or (count > 0 and is_mass(count + recent, size + recent))


def spread(count: int) -> list[float]:
    """Return after how many seconds each waiting file is scanned again.

    They are scanned in groups, one per second, so that no scan is done for a few files.
    """
    return [1.0 + k // RATE_PER_S for k in range(count)]


class RewriteLimit(Struct):
    """Limits how many notes are rewritten in a short time.

    Times are monotonic seconds of one clock, and never decrease.
    """

    burst: float = BURST
    _paths: dict[str, float] = field(default_factory=dict)
    _order: deque[tuple[float, str]] = field(default_factory=deque)
    _tokens: float = float(BURST)
    _at_s: float = 0.0

    def left(self, now_s: float) -> int:
        """Return how many more changed files may be read now."""
        self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * RATE_PER_S)
        self._at_s = now_s
        return int(self._tokens)

    def rewritten(self, path: str, now_s: float) -> None:
        """Count a note that was rewritten."""
        self._tokens -= 1
        self._paths[path] = now_s
        self._order.append((now_s, path))

    def notice(self, size: int, now_s: float) -> str | None:
        """Return a notice if the notes rewritten within the window are a mass change.

        Args:
            size: the files of the heap.
            now_s: the time.
        """
        while self._order and now_s - self._order[0][0] > WINDOW_MS / 1000:
            at_s, path = self._order.popleft()
            if self._paths.get(path) == at_s:
                del self._paths[path]
        count = len(self._paths)
        if not is_mass(count, size):
            return None
        return (
            f"{count} of {size} files were rewritten within an hour, and sent. If you did not"
            " intend that: their earlier texts are kept in the history"
        )
