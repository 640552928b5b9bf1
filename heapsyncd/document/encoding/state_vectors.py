"""State vectors, snapshots and deletions as numbers.

yrs writes the clients of a vector in the order of a hash table, so that equal ones differ in
bytes. Here they are put in order.
"""

from collections.abc import Iterator
from itertools import islice

from heapsyncd.document.encoding.examine import examine_vector
from heapsyncd.errors import UnreadableDocument


def clocks(state_vector: bytes) -> dict[int, int]:
    """A state vector as client id -> clock; UnreadableDocument when it is none."""
    return examine_vector(state_vector)


def is_same(one: bytes | None, other: bytes) -> bool:
    """Whether two state vectors say the same; one that is none is never the same."""
    if one is None or one == other:
        return one == other
    try:
        return clocks(one) == clocks(other)
    except UnreadableDocument:
        return False


def ordered_snapshot(snapshot: bytes) -> bytes:
    """Bytes that are equal exactly for equal snapshots: deletions, and the state vector."""
    numbers = _numbers(snapshot)
    deleted = []
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        deleted.append((client, *islice(numbers, 2 * ranges)))
    seen = [(next(numbers), next(numbers)) for _ in range(next(numbers))]
    return repr((sorted(deleted), sorted(seen))).encode()


Early = bytes | tuple[int, int, int]
"""Structs that came before what they build on, as an update; or a deletion of what has not come:
client id, clock, length.
"""


def beyond(update: bytes, state_vector: bytes) -> frozenset[Early]:
    """What an update, which holds nothing that a vector has seen but for deletions, has for later:
    all of it if it holds structs, else its deletions beyond the vector.
    """
    numbers = _numbers(update)
    if next(numbers):
        return frozenset({update})
    seen = clocks(state_vector)
    found: list[Early] = []
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        for _ in range(ranges):
            clock, length = next(numbers), next(numbers)
            if clock + length > seen.get(client, 0):
                found.append((client, clock, length))
    return frozenset(found)


Deletions = dict[int, list[tuple[int, int]]]
"""Of each client id the clocks that are deleted: from, and up to but without."""


def deletions(data: bytes) -> Deletions:
    """Read the end of a sound update, where its deletions are."""
    numbers = _numbers(data)
    found: Deletions = {}
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        pairs = [(next(numbers), next(numbers)) for _ in range(ranges)]
        found[client] = [(clock, clock + length) for clock, length in pairs]
    return found


def written(deleted: Deletions) -> bytes:
    """Deletions as they stand at the end of an update."""
    out = bytearray(number(len(deleted)))
    for client, ranges in deleted.items():
        out += number(client) + number(len(ranges))
        for start, end in ranges:
            out += number(start) + number(end - start)
    return bytes(out)


def without(deleted: Deletions, others: Deletions) -> Deletions:
    """Those deletions that are not among others."""
    left = {c: _without(sorted(r), sorted(others.get(c, ()))) for c, r in deleted.items()}
    return {client: ranges for client, ranges in left.items() if ranges}


def _without(
    ranges: list[tuple[int, int]], others: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Both in order. What of the ranges is in none of the others."""
    left = []
    first = 0
    for start, end in ranges:
        at = start
        while first < len(others) and others[first][1] <= start:
            first += 1
        for low, high in islice(others, first, None):
            if low >= end:
                break
            if at < low:
                left.append((at, low))
            at = max(at, high)
        if at < end:
            left.append((at, end))
    return left


def ordered(state_vector: bytes) -> bytes:
    """The same vector with its clients in order."""
    pairs = sorted(clocks(state_vector).items())
    out = bytearray(number(len(pairs)))
    for client, clock in pairs:
        out += number(client) + number(clock)
    return bytes(out)


def number(value: int) -> bytes:
    """A variable-length integer, as client ids stand in updates."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _numbers(data: bytes) -> Iterator[int]:
    """Variable-length integers, seven bits a byte, the lowest first."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
