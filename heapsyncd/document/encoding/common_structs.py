"""Match common structs as regular expressions, so that ``examine`` passes many of them at once.

An optimisation only: whatever matches here, ``examine.Cursor`` would accept as well.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

MANY: Final = 32
"""The number of structs that are matched at once."""
LENGTH: Final = 127
"""The largest length of a struct that is matched."""

_NAME: Final = 16
"""The longest names and keys that are matched, in bytes."""
_VALUE: Final = 72
"""The longest strings in values and formats that are matched, in bytes."""

# Variable-length integers in their shortest form: clocks below 2^28, client ids below 2^53.
_CLOCK: Final = rb"(?:[\x00-\x7f]|[\x80-\xff]{1,3}[\x01-\x7f])"
_CLIENT: Final = rb"(?:[\x00-\x7f]|[\x80-\xff]{1,6}[\x01-\x7f]|[\x80-\xff]{7}[\x01-\x0f])"
_ID: Final = _CLIENT + _CLOCK

Matcher = Callable[[bytes, int], re.Match[bytes] | None]
"""Matches at a position of the data."""


def _any_of(patterns: Iterable[bytes]) -> bytes:
    return b"(?:" + b"|".join(patterns) + b")"


def _span(first: int, last: int) -> bytes:
    """Match a length and as many bytes."""
    return _any_of(rb"\x%02x.{%d}" % (n, n) for n in range(first, last + 1))


def _item(kind: int, content: bytes, *others: bytes) -> bytes:
    """Match an item with any origins: one, both, or none (the first in its parent)."""
    heads = (
        rb"[\x%02x\x%02x]" % (0x80 | kind, 0xA0 | kind) + _ID,
        rb"[\x%02x\x%02x]" % (0xC0 | kind, 0xE0 | kind) + _ID + _ID,
        rb"[\x%02x\x%02x]" % (0x40 | kind, 0x60 | kind) + _ID,
        rb"\x%02x\x00" % kind + _ID,
    )
    return _any_of([*heads, *others]) + content


def _struct() -> bytes:
    name, value = _span(0, _NAME), _span(0, _VALUE)
    one = rb"\x01" + _any_of(
        [rb"[\x78\x79\x7e\x7f]", rb"\x77" + value, rb"\x7d[\x00-\x7f]", rb"\x7b.{8}"]
    )
    return _any_of(
        [
            _item(4, _span(1, LENGTH)),
            _item(7, rb"(?:\x03" + name + rb"|[\x00-\x02\x04\x06])"),
            _item(8, one, rb"\x28\x00" + _ID + name),
            _item(6, name + value),
            _item(1, rb"[\x01-\x7f]"),
            rb"\x00[\x01-\x7f]",
        ]
    )


@cache
def matchers() -> tuple[Matcher, Matcher]:
    """Return matchers of ``MANY`` structs in a row and of a single one; neither takes Skips.

    Both are compiled on first use.
    """
    one = _struct()
    many = one + b"{%d}+" % MANY
    return re.compile(many, re.DOTALL).match, re.compile(one, re.DOTALL).match


@cache
def ranges() -> Matcher:
    """Return a matcher of ``MANY`` deleted ranges in a row."""
    return re.compile(b"(?:" + _CLOCK + rb"(?!\x00)" + _CLOCK + b"){%d}+" % MANY).match
