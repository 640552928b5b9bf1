"""An edit's update without the content of what the edit itself deleted. Pure.

yrs writes a format or a text that an edit put in and took out again with all that was in it, since
documents free nothing (``updates.new_doc``). Yjs sends the length alone, and so does this: an item
becomes a deleted one of the same length, in the same place.
"""

from bisect import bisect_right
from typing import Final

from heapsyncd.document.encoding.examine import (
    ANY,
    BINARY,
    DELETED,
    EMBED,
    FORMAT,
    STRING,
    Cursor,
    examine,
)
from heapsyncd.document.encoding.state_vectors import deletions, number

_PLAIN: Final = frozenset({STRING, FORMAT, EMBED, BINARY, ANY})
"""Content that nothing else lies in."""
_FLAGS: Final = 0xE0


def slim(update: bytes) -> bytes:
    """The same update; UnreadableDocument when it is no sound one."""
    examined = examine(update)
    deleted = deletions(update[examined.deletions :])
    out = bytearray(number(len(examined.sections)))
    changed = False
    for section in examined.sections:
        out += number(section.count) + number(section.client) + number(section.clock)
        gone = sorted(deleted.get(section.client, ()))
        if not gone:
            out += update[section.start : section.end]
            continue
        cursor, clock = Cursor(update, section.start), section.clock
        for _ in range(section.count):
            start = cursor.at
            kind, _ = cursor.head()
            content = cursor.at
            length = cursor.content(kind)
            if kind == STRING:
                length = _units(update, content, cursor.at)
            if kind in _PLAIN and _holds(gone, clock, clock + length):
                out.append(update[start] & _FLAGS | DELETED)
                out += update[start + 1 : content] + number(length)
                changed = True
            else:
                out += update[start : cursor.at]
            clock += length
    return bytes(out) + update[examined.deletions :] if changed else update


def _units(update: bytes, start: int, end: int) -> int:
    """The length of a text as Yjs counts it, in UTF-16 units."""
    cursor = Cursor(update, start)
    size = cursor.count()
    return len(update[end - size : end].decode().encode("utf-16-le")) // 2


def _holds(ranges: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether one of the ranges, in order and apart, holds all of another."""
    at = bisect_right(ranges, start, key=lambda one: one[0]) - 1
    return at >= 0 and end <= ranges[at][1]
