"""How deep shared types lie in one another in an update.

When a type is deleted, yrs deletes what is in it by recursion: at some 35,000 levels it overflows
8 MB of stack. An editor has no use for more than a few dozen.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from heapsyncd.document.examine import Cursor, Link, examine

MOST_LEVELS: Final = 5_000
"""Of types within types."""

_FIRST_IN: Final = re.compile(rb"[\x01-\x09\x21-\x29]\x00")
"""How a struct begins that is the first one in its parent, among other bytes."""


def at_most(update: bytes) -> int:
    """No fewer than the levels of an update: each needs a struct that is the first one in it."""
    return len(_FIRST_IN.findall(update))


def levels(update: bytes) -> int:
    """How many types lie in one another at most, in a document that has this update alone."""
    found = {
        section.client: _structs(Cursor(update, section.start), section.clock, section.count)
        for section in examine(update).sections
    }
    return max(
        (_level(found, s, k) for s in found.values() for k in range(len(s.starts))), default=0
    )


@dataclass(slots=True)
class _Structs:
    """One client's structs."""

    starts: list[int] = field(default_factory=list)
    """The clock of each."""
    links: list[tuple[Link, ...]] = field(default_factory=list)
    levels: list[int | None] = field(default_factory=list)


def _structs(cursor: Cursor, clock: int, count: int) -> _Structs:
    found = _Structs()
    for _ in range(count):
        kind, links = cursor.head()
        found.starts.append(clock)
        found.links.append(links)
        clock += cursor.content(kind)
    found.levels = [None] * count
    return found


def _level(found: dict[int, _Structs], structs: _Structs, at: int) -> int:
    """How many types a struct lies in, at most: what stands beside another one lies as deep."""
    stack = [(structs, at)]
    while stack:
        structs, at = stack[-1]
        if structs.levels[at] is None:
            # Whoever comes back here goes in a circle: no document takes that in.
            structs.levels[at] = 0
            stack += [(s, k) for s, k, _ in _linked(found, structs, at) if s.levels[k] is None]
        else:
            stack.pop()
            structs.levels[at] = max(
                ((s.levels[k] or 0) + step for s, k, step in _linked(found, structs, at)),
                default=0,
            )
    return structs.levels[at] or 0


def _linked(
    found: dict[int, _Structs], structs: _Structs, at: int
) -> Iterator[tuple[_Structs, int, int]]:
    """The structs that one builds on, and by how many levels it lies deeper."""
    for client, clock, step in structs.links[at]:
        other = found.get(client)
        k = bisect_right(other.starts, clock) - 1 if other is not None else -1
        if other is not None and k >= 0:
            yield other, k, step
