"""Refuse updates nested too deep, and others that cost yrs more than their length suggests.

* Nesting: yrs deletes what is in a type by recursion, and overflows 8 MB of stack at some 35,000
  levels. Editors use a few dozen.
* First entries: an entry of a map that names no predecessor is compared with all entries of its
  key. Apps name the latest entry unless they know of none, so each client writes one at most.
* Value runs: values that are written one struct each, each behind the last, are joined by yrs into
  one struct, and each join copies all of them. Apps write them as one struct.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct, field

from heapsyncd.document.encoding.examine import (
    ANY,
    LINKED,
    PARENT_SUB,
    STRING,
    Cursor,
    Link,
    examine,
)
from heapsyncd.errors import UnreadableDocument

LIMIT: Final = 10_000
"""The most levels, first entries of one key, and values in a run."""
FEW: Final = 5_000
"""An update with at most this many structs needs no closer look."""

_CLASSES: Final = bytes(
    b if b <= 1 else ord("a") if b <= 9 else ord("k") if 0x21 <= b <= 0x29 else 0xFF
    for b in range(256)
)
_FIRST: Final = (b"\1\0", b"a\0", b"k\0", b"k\1")
"""The bytes that begin a struct that is first in its parent, or (``k``) a first entry there. Other
bytes may look the same, so counting them gives an upper bound.
"""
_BEHIND: Final = tuple(bytes([flags | ANY]) for flags in (0x80, 0xA0, 0xC0, 0xE0))
"""The bytes that begin a value with an origin. Other bytes may look the same."""


def upper_bound(update: bytes) -> int:
    """Return a quick upper bound of the levels and of the first entries of a key in an update."""
    structs = examine(update).structs
    if structs <= FEW:
        return structs
    return min(structs, sum(map(update.translate(_CLASSES).count, _FIRST)))


def exact_cost(update: bytes) -> int:
    """Count the levels and the first entries of a document that has only this update.

    Returns:
        The larger of the two.

    Raises:
        UnreadableDocument: it is more than ``LIMIT``.
    """
    found = _read(update)
    deep, entries = _deepest(found), _most_entries(found.values())
    if deep > LIMIT:
        raise UnreadableDocument(f"its nodes are nested more than {LIMIT} deep")
    if entries > LIMIT:
        raise UnreadableDocument(f"one of its keys has over {LIMIT} entries without a predecessor")
    return max(deep, entries)


def check_value_runs(update: bytes) -> None:
    """Raise UnreadableDocument when an update holds a value run longer than ``LIMIT``."""
    if examine(update).structs <= LIMIT or sum(map(update.count, _BEHIND)) <= LIMIT:
        return
    if max((s.value_run for s in _read(update).values()), default=0) > LIMIT:
        raise UnreadableDocument(f"it has over {LIMIT} values in a row as separate structs")


def levels(update: bytes) -> int:
    """Return how many types nest at most in a document that has only this update."""
    return _deepest(_read(update))


class _Structs(Struct):
    """The structs of one client, in the order of their clocks."""

    starts: list[int] = field(default_factory=list)
    """The clock of each struct."""
    links: list[tuple[Link, ...]] = field(default_factory=list)
    """What each struct refers to."""
    levels: list[int | None] = field(default_factory=list)
    """The nesting level of each struct; None until it is computed."""
    entries: Counter[bytes] = field(default_factory=Counter)
    """The number of first entries, by parent and key."""
    value_run: int = 0
    """The length of the longest value run."""


def _read(update: bytes) -> dict[int, _Structs]:
    return {
        section.client: _structs(
            Cursor(update, section.start), section.client, section.clock, section.count
        )
        for section in examine(update).sections
    }


def _structs(cursor: Cursor, client: int, clock: int, count: int) -> _Structs:
    found, value_run = _Structs(), 0
    for _ in range(count):
        at = cursor.at
        kind, links = cursor.read_head()
        if cursor.data[at] & (LINKED | PARENT_SUB) == PARENT_SUB:
            found.entries[cursor.data[at + 1 : cursor.at]] += 1
        value_run = value_run + 1 if kind == ANY and (client, clock - 1, 0) in links else 0
        found.value_run = max(found.value_run, value_run)
        found.starts.append(clock)
        found.links.append(links)
        length = cursor.skip_content(kind)
        clock += length if kind != STRING else _units(cursor.data[cursor.at - length : cursor.at])
    found.levels = [None] * count
    return found


def _units(text: bytes) -> int:
    """Return the length of a text in UTF-16 units."""
    if text.isascii():
        return len(text)
    return len(text.decode(errors="replace").encode("utf-16-le")) // 2


def _most_entries(found: Iterable[_Structs]) -> int:
    total: Counter[bytes] = Counter()
    for structs in found:
        total.update(structs.entries)
    return max(total.values(), default=0)


def _deepest(found: dict[int, _Structs]) -> int:
    return max(
        (_level(found, s, k) for s in found.values() for k in range(len(s.starts))), default=0
    )


def _level(found: dict[int, _Structs], structs: _Structs, at: int) -> int:
    """Return how many types a struct lies in, at most. Siblings lie equally deep. Iterative."""
    stack = [(structs, at)]
    while stack:
        structs, at = stack[-1]
        if structs.levels[at] is None:
            # 0 until it is known: only a circle of references reads it, and yrs refuses circles.
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
    """Yield the structs that a struct refers to, and how many levels below each it lies."""
    for client, clock, step in structs.links[at]:
        other = found.get(client)
        k = bisect_right(other.starts, clock) - 1 if other is not None else -1
        if other is not None and k >= 0:
            yield other, k, step
