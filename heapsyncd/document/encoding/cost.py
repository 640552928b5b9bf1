"""What of an update costs yrs more than its length: counted here, so that it can be refused.

* When a type is deleted, yrs deletes what is in it by recursion: at some 35,000 levels it
  overflows 8 MB of stack. An editor has no use for more than a few dozen.
* An entry of a map that names no one before it is compared with all entries of its key. An app
  names the last one, unless it knows of none: each of its clients does so once at most.
* Values that are told one by one, each behind the last, are put together into one struct, which
  copies all of them each time. An app tells them as that one struct.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

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

MOST: Final = 10_000
"""Of levels, of first entries of one key, and of values in a row."""
FEW: Final = 5_000
"""So many structs in an update need no closer look."""

_CLASSES: Final = bytes(
    b if b <= 1 else ord("a") if b <= 9 else ord("k") if 0x21 <= b <= 0x29 else 0xFF
    for b in range(256)
)
_FIRST: Final = (b"\1\0", b"a\0", b"k\0", b"k\1")
"""How a struct begins that is the first one in its parent, or a first entry (``k``) there; and
other bytes here and there."""
_BEHIND: Final = tuple(bytes([flags | ANY]) for flags in (0x80, 0xA0, 0xC0, 0xE0))
"""How a value begins that is behind something; and other bytes."""


def at_most(update: bytes) -> int:
    """No fewer than the levels of an update, or the first entries of a key in it, told quickly."""
    structs = examine(update).structs
    if structs <= FEW:
        return structs
    return min(structs, sum(map(update.translate(_CLASSES).count, _FIRST)))


def counted(update: bytes) -> int:
    """The levels or the first entries, whichever is more, of a document that has this alone.

    Raises:
        UnreadableDocument: they are more than ``MOST``.
    """
    found = _read(update)
    deep, entries = _deepest(found), _most_entries(found.values())
    if deep > MOST:
        raise UnreadableDocument(f"its nodes lie over {MOST} deep in one another")
    if entries > MOST:
        raise UnreadableDocument(f"a key of it has over {MOST} entries that know of no other")
    return max(deep, entries)


def refuse_rows(update: bytes) -> None:
    """UnreadableDocument when an update tells more than ``MOST`` values in a row one by one."""
    if examine(update).structs <= MOST or sum(map(update.count, _BEHIND)) <= MOST:
        return
    if max((s.row for s in _read(update).values()), default=0) > MOST:
        raise UnreadableDocument(f"it tells over {MOST} values in a row one by one")


def levels(update: bytes) -> int:
    """How many types lie in one another at most, in a document that has this update alone."""
    return _deepest(_read(update))


@dataclass(slots=True)
class _Structs:
    """One client's structs."""

    starts: list[int] = field(default_factory=list)
    """The clock of each."""
    links: list[tuple[Link, ...]] = field(default_factory=list)
    levels: list[int | None] = field(default_factory=list)
    entries: Counter[bytes] = field(default_factory=Counter)
    """How many name no one before them, by their parent and key."""
    row: int = 0
    """The most values that are told one by one, each behind the last."""


def _read(update: bytes) -> dict[int, _Structs]:
    return {
        section.client: _structs(
            Cursor(update, section.start), section.client, section.clock, section.count
        )
        for section in examine(update).sections
    }


def _structs(cursor: Cursor, client: int, clock: int, count: int) -> _Structs:
    found, row = _Structs(), 0
    for _ in range(count):
        at = cursor.at
        kind, links = cursor.head()
        if cursor.data[at] & (LINKED | PARENT_SUB) == PARENT_SUB:
            found.entries[cursor.data[at + 1 : cursor.at]] += 1
        row = row + 1 if kind == ANY and (client, clock - 1, 0) in links else 0
        found.row = max(found.row, row)
        found.starts.append(clock)
        found.links.append(links)
        length = cursor.content(kind)
        clock += length if kind != STRING else _units(cursor.data[cursor.at - length : cursor.at])
    found.levels = [None] * count
    return found


def _units(text: bytes) -> int:
    """How many UTF-16 units a text has."""
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
