"""The wall before yrs: updates and state vectors are read here before yrs sees their bytes.

yrs trusts what it decodes. A struct without a length makes it read freed memory, deep nesting
overflows its stack, a false count makes it reserve memory that is not there: the process ends, and
no handler hears of it. So only what follows Yjs' update encoding, version 1, and what yrs reads as
Yjs does, passes. What is no UTF-8 or no JSON is left to yrs, which refuses it itself.

The walk is linear and builds nothing. ``Cursor`` reads struct by struct and alone decides what is
refused; runs of common structs are tried as one regular expression first, several times as fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from heapsyncd.document.encoding import common_structs
from heapsyncd.errors import UnreadableDocument

MOST_CLIENT: Final = 2**53 - 1
"""JavaScript's largest safe integer, and all that yrs keeps of a client id."""
MOST_CLOCK: Final = 2**31 - 1
"""yrs holds clocks in 32 bits and subtracts them as signed numbers."""
MOST_SECTIONS: Final = 20_000
"""Clients in one update. When 90,000 build on one another, yrs overflows 8 MB of stack."""
MOST_DEPTH: Final = 100
"""Values within values. yrs overflows 8 MB of stack at 13,400."""
UNORDERED: Final = 10_000
"""More deletions of one client than this must be in order: yrs sorts them in quadratic time."""

_KIND: Final = 0x1F
_ORIGIN, _RIGHT_ORIGIN, PARENT_SUB = 0x80, 0x40, 0x20
LINKED: Final = _ORIGIN | _RIGHT_ORIGIN
_GC, _SKIP = 0, 10
DELETED, _JSON, BINARY, STRING, EMBED, FORMAT, _TYPE, ANY, _SUBDOC = range(1, 10)
_XML_ELEMENT, _XML_HOOK = 3, 5
_NAMELESS_TYPES: Final = frozenset({0, 1, 2, 4, 6})
"""Array, Map, Text, XmlFragment and XmlText."""
_OBJECT, _ARRAY, _BYTES, _TEXT, _INTEGER = 118, 117, 116, 119, 125
_NESTED: Final = frozenset({_OBJECT, _ARRAY})
_SIZED: Final = {127: 0, 126: 0, 124: 4, 123: 8, 122: 8, 121: 0, 120: 0}
"""Bytes that follow undefined, null, the floats, a big integer, false and true."""
_INTEGER_BYTES: Final = 8
_CLIMB: Final = 8
"""After so many common structs in a row, many at once are tried again."""
_KEPT_BYTES: Final = 1 << 16
_KEPT: Final = 64
"""So many small updates that were examined are remembered, and the last large one: each comes to
yrs several times."""


Link = tuple[int, int, int]
"""Client and clock of a struct, and how much deeper another one lies: 0 beside it, 1 in it."""


@dataclass(frozen=True, slots=True)
class Section:
    """The structs of one client in an update, one after the other."""

    client: int
    clock: int
    """Of the first struct."""
    count: int
    start: int
    """Where in the update its structs begin."""
    end: int
    skip: tuple[int, int] | None = None
    """The first Skip, which stands for structs that are not there: how many structs are before
    it, and where it begins."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known of an update that passed."""

    sections: tuple[Section, ...]
    deletions: int
    """Where in the update its deletions begin."""

    @property
    def structs(self) -> int:
        """How many structs it has."""
        return sum(s.count for s in self.sections)

    def is_gapless(self, seen: Mapping[int, int]) -> bool:
        """Whether its structs begin where those of a document end, or before, and have no gap."""
        return all(s.skip is None and s.clock <= seen.get(s.client, 0) for s in self.sections)


def examine(update: bytes) -> Examined:
    """Read an update through; UnreadableDocument when yrs must not see it."""
    return _remembered(update) if len(update) <= _KEPT_BYTES else _last_large(update)


def examine_vector(state_vector: bytes) -> dict[int, int]:
    """Read a state vector, client id -> clock; UnreadableDocument when it is none."""
    cursor = Cursor(state_vector)
    try:
        clocks = dict(cursor.id() for _ in range(cursor.count()))
        cursor.finish()
    except IndexError:
        raise refused("it is cut off", cursor.at) from None
    return clocks


def refused(why: str, at: int) -> UnreadableDocument:
    """The error for a place in an update."""
    return UnreadableDocument(f"its data is not taken in: {why} (byte {at})")


class Cursor:
    """Reads an update; ``at`` is where.

    All methods raise UnreadableDocument for what is refused, and IndexError past the end.
    """

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        """Read one byte."""
        self.at += 1
        return self.data[self.at - 1]

    def number(self, most: int) -> int:
        """Read a variable-length integer in its shortest spelling.

        yrs shifts the bits of longer ones round, so that they are other numbers there.
        """
        data, at = self.data, self.at
        byte = data[at]
        if byte < 0x80:
            self.at = at + 1
            value = byte
        else:
            value, shift = byte & 0x7F, 7
            while byte >= 0x80 and shift < 63:
                at += 1
                byte = data[at]
                value |= (byte & 0x7F) << shift
                shift += 7
            self.at = at + 1
            if not 0 < byte < 0x80:
                raise refused("a number is spelled oddly", self.at)
        if value > most:
            raise refused(f"{value} is more than the {most} that fit", self.at)
        return value

    def count(self) -> int:
        """Read how many things follow, each of at least one byte."""
        count = self.number(MOST_CLOCK)
        if count > len(self.data) - self.at:
            raise refused(f"{count} are announced where fewer can be", self.at)
        return count

    def some(self) -> int:
        """Read the length of a struct."""
        length = self.number(MOST_CLOCK)
        if not length:
            raise refused("a struct has no length", self.at)
        return length

    def span(self) -> int:
        """Pass over a string or byte array; how many bytes it has."""
        length = self.count()
        self.at += length
        return length

    def id(self) -> tuple[int, int]:
        """Read client and clock."""
        return self.number(MOST_CLIENT), self.number(MOST_CLOCK)

    def head(self) -> tuple[int, tuple[Link, ...]]:
        """Read a struct up to its content: its kind, and what it builds on."""
        info = self.byte()
        kind = info & _KIND
        if kind in {_GC, _SKIP}:
            if info != kind:
                raise refused("a struct is of no known kind", self.at)
            return kind, ()
        links: tuple[Link, ...] = ()
        if info & _ORIGIN:
            links += ((*self.id(), 0),)
        if info & _RIGHT_ORIGIN:
            links += ((*self.id(), 0),)
        if not links:
            if self.number(1):
                self.span()
            else:
                links = ((*self.id(), 1),)
            if info & PARENT_SUB:
                self.span()
        return kind, links

    def content(self, kind: int) -> int:
        """Pass over the content of a struct; its length, of a text in bytes."""
        if kind in {_GC, _SKIP, DELETED}:
            return self.some()
        if kind == STRING:
            length = self.span()
            if not length:
                raise refused("a struct has no length", self.at)
            return length
        if kind == ANY:
            count = self.some()
            self.values(count)
            return count
        self._single(kind)
        return 1

    def _single(self, kind: int) -> None:
        """Pass over content of length one."""
        if kind == _TYPE:
            self._type()
        elif kind == FORMAT:
            self.span()
            self.span()
        elif kind in {EMBED, BINARY}:
            self.span()
        elif kind == _SUBDOC:
            self.span()
            self.values(1)
        elif kind == _JSON:
            raise refused("it holds content of an old kind, which yrs reads wrongly", self.at)
        else:
            raise refused("a struct is of no known kind", self.at)

    def _type(self) -> None:
        type_ = self.byte()
        if type_ == _XML_ELEMENT:
            self.span()
        elif type_ == _XML_HOOK:
            raise refused("it holds an XmlHook, which yrs reads wrongly", self.at)
        elif type_ not in _NAMELESS_TYPES:
            raise refused("it holds a type that is not known", self.at)

    def values(self, left: int) -> None:
        """Pass over so many values, whatever is in them."""
        outer: list[tuple[int, bool]] = []
        keyed = False
        while left or outer:
            if not left:
                left, keyed = outer.pop()
                continue
            left -= 1
            if keyed:
                self.span()
            kind = self.byte()
            if kind in _NESTED:
                outer.append((left, keyed))
                if len(outer) > MOST_DEPTH:
                    raise refused(f"values lie over {MOST_DEPTH} deep in one another", self.at)
                left, keyed = self.count(), kind == _OBJECT
            else:
                self._value(kind)

    def _value(self, kind: int) -> None:
        if kind in _SIZED:
            self.at += _SIZED[kind]
        elif kind in {_TEXT, _BYTES}:
            self.span()
        elif kind == _INTEGER:
            self._integer()
        else:
            raise refused("it holds a value of no known kind", self.at)

    def _integer(self) -> None:
        for _ in range(_INTEGER_BYTES):
            if self.byte() < 0x80:
                return
        raise refused("a number is too long", self.at)

    def finish(self) -> None:
        """Make sure that exactly everything was read.

        An update of version 2 is an empty one of version 1 with something behind it.
        """
        if self.at != len(self.data):
            if self.at > len(self.data):
                raise refused("it is cut off", len(self.data))
            raise refused("something follows its end", self.at)


def _examined(update: bytes) -> Examined:
    cursor = Cursor(update)
    try:
        sections = _sections(cursor)
        start = cursor.at
        _deletions(cursor)
        cursor.finish()
    except IndexError:
        raise refused("it is cut off", len(update)) from None
    return Examined(sections, start)


_remembered, _last_large = lru_cache(_KEPT)(_examined), lru_cache(1)(_examined)


def _sections(cursor: Cursor) -> tuple[Section, ...]:
    sections: dict[int, Section] = {}
    for _ in range(cursor.number(MOST_SECTIONS)):
        count = cursor.count()
        client, clock = cursor.id()
        if not count or client in sections:
            raise refused("a client comes twice, or with nothing", cursor.at)
        start = cursor.at
        length, skip = _structs(cursor, count)
        if clock + length > MOST_CLOCK:
            raise refused(f"a clock is beyond {MOST_CLOCK}", cursor.at)
        sections[client] = Section(client, clock, count, start, cursor.at, skip)
    return tuple(sections.values())


def _structs(cursor: Cursor, count: int) -> tuple[int, tuple[int, int] | None]:
    """Pass over structs; their length together, at most, and the first Skip."""
    data = cursor.data
    many, one = common_structs.matchers()
    left, length, skip = count, 0, None
    good = _CLIMB
    while left:
        if good >= _CLIMB and left >= common_structs.MANY:
            if found := many(data, cursor.at):
                cursor.at = found.end()
                left -= common_structs.MANY
                length += common_structs.MANY * common_structs.LENGTH
                continue
            good = 0
        if found := one(data, cursor.at):
            cursor.at = found.end()
            length += common_structs.LENGTH
            good += 1
        else:
            at = cursor.at
            kind, _ = cursor.head()
            if kind == _SKIP and skip is None:
                skip = count - left, at
            length += cursor.content(kind)
            good = 0
        left -= 1
    return length, skip


def _deletions(cursor: Cursor) -> None:
    seen = set()
    for _ in range(cursor.count()):
        client = cursor.number(MOST_CLIENT)
        if client in seen:
            raise refused("the deletions of a client come twice", cursor.at)
        seen.add(client)
        _ranges(cursor)


def _ranges(cursor: Cursor) -> None:
    """Pass over the deletions of one client."""
    data, many = cursor.data, common_structs.ranges()
    count = left = cursor.count()
    end = 0
    while left:
        if count <= UNORDERED and left >= common_structs.MANY and (found := many(data, cursor.at)):
            cursor.at = found.end()
            left -= common_structs.MANY
            continue
        clock, length = cursor.number(MOST_CLOCK), cursor.some()
        if clock < end and count > UNORDERED:
            raise refused("its many deletions are not in order", cursor.at)
        end = clock + length
        if end > MOST_CLOCK:
            raise refused(f"a clock is beyond {MOST_CLOCK}", cursor.at)
        left -= 1
