"""Remove from an edit's update the content of what the edit itself deleted. Pure.

Documents free nothing (``updates.new_doc``), so yrs writes a text or a format that an edit
inserted and deleted again with its content. Yjs sends only the length. So does this: such an item
becomes a deleted one of the same length in the same place.
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
from heapsyncd.document.encoding.state_vectors import deletions, encode_varint

_PLAIN: Final = frozenset({STRING, FORMAT, EMBED, BINARY, ANY})
"""Kinds of content that cannot contain other structs."""
_FLAGS: Final = 0xE0


def slim(update: bytes) -> bytes:
    """Return an equivalent update without the content of items that it also deletes.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    examined = examine(update)
    deleted = deletions(update[examined.deletions :])
    out = bytearray(encode_varint(len(examined.sections)))
    changed = False
    for section in examined.sections:
        out += (
            encode_varint(section.count)
            + encode_varint(section.client)
            + encode_varint(section.clock)
        )
        gone = sorted(deleted.get(section.client, ()))
        if not gone:
            out += update[section.start : section.end]
            continue
        cursor, clock = Cursor(update, section.start), section.clock
        for _ in range(section.count):
            start = cursor.at
            kind, _ = cursor.read_head()
            content = cursor.at
            length = cursor.skip_content(kind)
            if kind == STRING:
                length = _units(update, content, cursor.at)
            if kind in _PLAIN and _holds(gone, clock, clock + length):
                out.append(update[start] & _FLAGS | DELETED)
                out += update[start + 1 : content] + encode_varint(length)
                changed = True
            else:
                out += update[start : cursor.at]
            clock += length
    return bytes(out) + update[examined.deletions :] if changed else update


def _units(update: bytes, start: int, end: int) -> int:
    """Return the length of a text as Yjs counts it, in UTF-16 units."""
    cursor = Cursor(update, start)
    size = cursor.count()
    return len(update[end - size : end].decode().encode("utf-16-le")) // 2


def _holds(ranges: list[tuple[int, int]], start: int, end: int) -> bool:
    """Tell whether one of the sorted, disjoint ranges contains the range from start to end."""
    at = bisect_right(ranges, start, key=lambda one: one[0]) - 1
    return at >= 0 and end <= ranges[at][1]
