"""Common structs as regular expressions, so that ``examine`` passes over many of them at once.

What matches here, ``examine.Cursor`` would pass, too: these say nothing of their own.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

MANY: Final = 32
"""So many structs are matched at once, each of length one."""

_NAME: Final = 16
"""Bytes of the longest names and keys."""
_VALUE: Final = 72
"""Bytes of the longest strings in values and formats."""
_TEXT: Final = 127
"""Bytes of the longest text."""

# Numbers in their shortest spelling: clocks below 2^28, client ids below 2^53.
_CLOCK: Final = rb"(?:[\x00-\x7f]|[\x80-\xff]{1,3}[\x01-\x7f])"
_CLIENT: Final = rb"(?:[\x00-\x7f]|[\x80-\xff]{1,6}[\x01-\x7f]|[\x80-\xff]{7}[\x01-\x0f])"
_ID: Final = _CLIENT + _CLOCK

Matcher = Callable[[bytes, int], re.Match[bytes] | None]
"""Matches at a place."""


def _any_of(patterns: Iterable[bytes]) -> bytes:
    return b"(?:" + b"|".join(patterns) + b")"


def _span(first: int, last: int) -> bytes:
    """A length, then so many ASCII characters."""
    return _any_of(rb"\x%02x[\x00-\x7f]{%d}" % (n, n) for n in range(first, last + 1))


def _item(kind: int, content: bytes, *others: bytes) -> bytes:
    """An item beside another one, beside two, or the first in its parent."""
    heads = (
        rb"[\x%02x\x%02x]" % (0x80 | kind, 0xA0 | kind) + _ID,
        rb"[\x%02x\x%02x]" % (0xC0 | kind, 0xE0 | kind) + _ID + _ID,
        rb"[\x%02x\x%02x]" % (0x40 | kind, 0x60 | kind) + _ID,
        rb"\x%02x\x00" % kind + _ID,
    )
    return _any_of([*heads, *others]) + content


def _of_length_one() -> bytes:
    name, value = _span(0, _NAME), _span(0, _VALUE)
    one = rb"\x01" + _any_of(
        [rb"[\x78\x79\x7e\x7f]", rb"\x77" + value, rb"\x7d[\x00-\x7f]", rb"\x7b.{8}"]
    )
    return _any_of(
        [
            _item(4, rb"\x01[\x00-\x7f]"),
            _item(7, rb"(?:\x03" + name + rb"|[\x00-\x02\x04\x06])"),
            _item(8, one, rb"\x28\x00" + _ID + name),
            _item(6, name + value),
            rb"\x00\x01",
        ]
    )


@cache
def matchers() -> tuple[Matcher, Matcher]:
    """What matches ``MANY`` structs in a row, and one; compiled when first asked for.

    One may be a text; then group 1 is before its length, which is one byte. All others have length
    one. No Skips are among them.
    """
    one = _of_length_one()
    text = _item(4, b"()" + _span(2, _TEXT))
    return (
        re.compile(one + b"{%d}+" % MANY, re.DOTALL).match,
        re.compile(one + b"|" + text, re.DOTALL).match,
    )
