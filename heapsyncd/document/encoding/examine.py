"""Validate updates and state vectors before yrs sees their bytes.

yrs trusts what it decodes. A struct without a length makes it read freed memory, deep nesting
overflows its stack, a false count makes it reserve memory that is not there. Each ends the
process, and no handler can catch it. So only bytes pass that follow Yjs' update encoding, version
1, and that yrs reads as Yjs does. Invalid UTF-8 and JSON are left to yrs, which refuses them
itself.

The walk is linear and builds nothing. ``Cursor`` reads struct by struct and alone decides what is
refused; runs of common structs are tried as one regular expression first, which is several times
as fast.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from heapsyncd.document.encoding import common_structs
from heapsyncd.errors import UnreadableDocument

MOST_CLIENT: Final = 2**53 - 1
"""The largest client id: JavaScript's largest safe integer, and all that yrs keeps of one."""
MOST_CLOCK: Final = 2**31 - 1
"""The largest clock: yrs holds clocks in 32 bits and subtracts them as signed numbers."""
MOST_SECTIONS: Final = 20_000
"""The most clients in one update. When 90,000 refer to one another, yrs overflows its stack."""
MOST_DEPTH: Final = 100
"""The most values nested in one another. yrs overflows 8 MB of stack at 13,400."""
UNORDERED: Final = 10_000
"""The most deletions of one client that may be out of order: yrs sorts them in quadratic time."""

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
"""The number of bytes after the type byte of undefined, null, the floats, a big integer, false and
true.
"""
_INTEGER_BYTES: Final = 8
_CLIMB: Final = 8
"""After this many common structs in a row, ``MANY`` at once are tried again."""
_KEPT_BYTES: Final = 1 << 16
"""The largest update that counts as small for the cache."""
_KEPT: Final = 64
"""The number of small results that are cached, and one large one: each update reaches yrs several
times.
"""


Link = tuple[int, int, int]
"""Client and clock of the struct referred to, and the level of the referring one below it: 0 for a
sibling, 1 for a child.
"""


class Section(Struct, frozen=True):
    """The consecutive structs of one client in an update."""

    client: int
    clock: int
    """The clock of the first struct."""
    count: int
    start: int
    """The offset in the update at which the structs begin."""
    end: int
    """The offset at which they end."""
    skip: tuple[int, int] | None = None
    """The first Skip, which represents missing structs: the number of structs before it, and its
    offset.
    """


class Examined(Struct, frozen=True):
    """What is known of an update that passed."""

    sections: tuple[Section, ...]
    deletions: int
    """The offset in the update at which the deletions begin."""

    @property
    def structs(self) -> int:
        """The number of structs."""
        return sum(s.count for s in self.sections)

    def is_gapless(self, seen: Mapping[int, int]) -> bool:
        """Tell whether a document can take in all structs at once.

        Args:
            seen: the clock up to which the document has each client's structs.
        """
        return all(s.skip is None and s.clock <= seen.get(s.client, 0) for s in self.sections)


def examine(update: bytes) -> Examined:
    """Examine an update; cached.

    Raises:
        UnreadableDocument: yrs must not see it.
    """
    return _remembered(update) if len(update) <= _KEPT_BYTES else _last_large(update)


def examine_vector(state_vector: bytes) -> dict[int, int]:
    """Decode a state vector to clocks by client id.

    Raises:
        UnreadableDocument: the bytes are no state vector.
    """
    cursor = Cursor(state_vector)
    try:
        clocks = dict(cursor.id() for _ in range(cursor.count()))
        cursor.expect_end()
    except IndexError:
        raise refusal("it is cut off", cursor.at) from None
    return clocks


def refusal(why: str, at: int) -> UnreadableDocument:
    """Return the error that reports a reason at an offset."""
    return UnreadableDocument(f"its data is refused: {why} (byte {at})")


class Cursor:
    """Reads an update from offset ``at`` on.

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
        """Read a variable-length integer of at most ``most``, in its shortest form.

        yrs shifts the surplus bits of longer forms out of place, and so reads another number.
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
                raise refusal("a number is not in its shortest form", self.at)
        if value > most:
            raise refusal(f"{value} is more than the {most} that fit", self.at)
        return value

    def count(self) -> int:
        """Read the number of things that follow, each of at least one byte."""
        count = self.number(MOST_CLOCK)
        if count > len(self.data) - self.at:
            raise refusal(f"a count of {count} exceeds the bytes that follow", self.at)
        return count

    def struct_length(self) -> int:
        """Read the length of a struct, which is not 0."""
        length = self.number(MOST_CLOCK)
        if not length:
            raise refusal("a struct has no length", self.at)
        return length

    def skip_bytes(self) -> int:
        """Skip a string or byte array; returns its length in bytes."""
        length = self.count()
        self.at += length
        return length

    def id(self) -> tuple[int, int]:
        """Read a client id and a clock."""
        return self.number(MOST_CLIENT), self.number(MOST_CLOCK)

    def read_head(self) -> tuple[int, tuple[Link, ...]]:
        """Read a struct up to its content; returns its kind and what it refers to."""
        info = self.byte()
        kind = info & _KIND
        if kind in {_GC, _SKIP}:
            if info != kind:
                raise refusal("a struct has an unknown kind", self.at)
            return kind, ()
        links: tuple[Link, ...] = ()
        if info & _ORIGIN:
            links += ((*self.id(), 0),)
        if info & _RIGHT_ORIGIN:
            links += ((*self.id(), 0),)
        if not links:
            if self.number(1):
                self.skip_bytes()
            else:
                links = ((*self.id(), 1),)
            if info & PARENT_SUB:
                self.skip_bytes()
        return kind, links

    def skip_content(self, kind: int) -> int:
        """Skip the content of a struct; returns its length (of a text: in bytes)."""
        if kind in {_GC, _SKIP, DELETED}:
            return self.struct_length()
        if kind == STRING:
            length = self.skip_bytes()
            if not length:
                raise refusal("a struct has no length", self.at)
            return length
        if kind == ANY:
            count = self.struct_length()
            self.skip_values(count)
            return count
        self._skip_single(kind)
        return 1

    def _skip_single(self, kind: int) -> None:
        """Skip content of length one."""
        if kind == _TYPE:
            self._skip_type()
        elif kind == FORMAT:
            self.skip_bytes()
            self.skip_bytes()
        elif kind in {EMBED, BINARY}:
            self.skip_bytes()
        elif kind == _SUBDOC:
            self.skip_bytes()
            self.skip_values(1)
        elif kind == _JSON:
            raise refusal("it holds JSON content of an old kind, which yrs misreads", self.at)
        else:
            raise refusal("a struct has an unknown kind", self.at)

    def _skip_type(self) -> None:
        type_ = self.byte()
        if type_ == _XML_ELEMENT:
            self.skip_bytes()
        elif type_ == _XML_HOOK:
            raise refusal("it holds an XmlHook, which yrs misreads", self.at)
        elif type_ not in _NAMELESS_TYPES:
            raise refusal("it holds an unknown type", self.at)

    def skip_values(self, left: int) -> None:
        """Skip a number of values with everything nested in them. Iterative."""
        outer: list[tuple[int, bool]] = []
        keyed = False
        while left or outer:
            if not left:
                left, keyed = outer.pop()
                continue
            left -= 1
            if keyed:
                self.skip_bytes()
            kind = self.byte()
            if kind in _NESTED:
                outer.append((left, keyed))
                if len(outer) > MOST_DEPTH:
                    raise refusal(f"values are nested more than {MOST_DEPTH} deep", self.at)
                left, keyed = self.count(), kind == _OBJECT
            else:
                self._skip_value(kind)

    def _skip_value(self, kind: int) -> None:
        if kind in _SIZED:
            self.at += _SIZED[kind]
        elif kind in {_TEXT, _BYTES}:
            self.skip_bytes()
        elif kind == _INTEGER:
            self._skip_integer()
        else:
            raise refusal("it holds a value of an unknown kind", self.at)

    def _skip_integer(self) -> None:
        for _ in range(_INTEGER_BYTES):
            if self.byte() < 0x80:
                return
        raise refusal("a number is too long", self.at)

    def expect_end(self) -> None:
        """Check that exactly everything was read.

        An update of version 2 looks like an empty one of version 1 with something behind it.
        """
        if self.at != len(self.data):
            if self.at > len(self.data):
                raise refusal("it is cut off", len(self.data))
            raise refusal("something follows its end", self.at)


def _examined(update: bytes) -> Examined:
    cursor = Cursor(update)
    try:
        sections = _sections(cursor)
        start = cursor.at
        _deletions(cursor)
        cursor.expect_end()
    except IndexError:
        raise refusal("it is cut off", len(update)) from None
    return Examined(sections, start)


_remembered, _last_large = lru_cache(_KEPT)(_examined), lru_cache(1)(_examined)


def _sections(cursor: Cursor) -> tuple[Section, ...]:
    sections: dict[int, Section] = {}
    for _ in range(cursor.number(MOST_SECTIONS)):
        count = cursor.count()
        client, clock = cursor.id()
        if not count or client in sections:
            raise refusal("a client is listed twice, or without structs", cursor.at)
        start = cursor.at
        length, skip = _structs(cursor, count)
        if clock + length > MOST_CLOCK:
            raise refusal(f"a clock is beyond {MOST_CLOCK}", cursor.at)
        sections[client] = Section(client, clock, count, start, cursor.at, skip)
    return tuple(sections.values())


def _structs(cursor: Cursor, count: int) -> tuple[int, tuple[int, int] | None]:
    """Skip a section's structs; returns an upper bound of their length, and the first Skip."""
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
            kind, _ = cursor.read_head()
            if kind == _SKIP and skip is None:
                skip = count - left, at
            length += cursor.skip_content(kind)
            good = 0
        left -= 1
    return length, skip


def _deletions(cursor: Cursor) -> None:
    seen = set()
    for _ in range(cursor.count()):
        client = cursor.number(MOST_CLIENT)
        if client in seen:
            raise refusal("the deletions of a client are listed twice", cursor.at)
        seen.add(client)
        _ranges(cursor)


def _ranges(cursor: Cursor) -> None:
    """Skip the deleted ranges of one client."""
    data, many = cursor.data, common_structs.ranges()
    count = left = cursor.count()
    end = 0
    while left:
        if count <= UNORDERED and left >= common_structs.MANY and (found := many(data, cursor.at)):
            cursor.at = found.end()
            left -= common_structs.MANY
            continue
        clock, length = cursor.number(MOST_CLOCK), cursor.struct_length()
        if clock < end and count > UNORDERED:
            raise refusal("its many deletions are not in order", cursor.at)
        end = clock + length
        if end > MOST_CLOCK:
            raise refusal(f"a clock is beyond {MOST_CLOCK}", cursor.at)
        left -= 1
