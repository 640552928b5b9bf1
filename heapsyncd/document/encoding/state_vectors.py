"""Decode, compare and encode state vectors, snapshots and deletions.

yrs writes clients in the order of a hash table, so that equal vectors differ in bytes. The
functions here sort them.
"""

from collections.abc import Iterator, Mapping
from itertools import islice

from heapsyncd.document.encoding.examine import examine_vector
from heapsyncd.errors import UnreadableDocument


def clocks(state_vector: bytes) -> dict[int, int]:
    """Decode a state vector to clocks by client id.

    Raises:
        UnreadableDocument: the bytes are no state vector.
    """
    return examine_vector(state_vector)


def is_same(one: bytes | None, other: bytes) -> bool:
    """Tell whether two state vectors are equal; unreadable bytes equal only themselves."""
    if one is None or one == other:
        return one == other
    try:
        return clocks(one) == clocks(other)
    except UnreadableDocument:
        return False


def canonical_snapshot(snapshot: bytes) -> bytes:
    """Return bytes that are equal exactly for equal snapshots (deletions and state vector)."""
    numbers = _numbers(snapshot)
    deleted = []
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        deleted.append((client, *islice(numbers, 2 * ranges)))
    seen = [(next(numbers), next(numbers)) for _ in range(next(numbers))]
    return repr((sorted(deleted), sorted(seen))).encode()


Pending = bytes | tuple[int, int, int]
"""What a document cannot use yet: structs whose dependencies are missing, as an update; or a
deletion of structs that have not arrived, as client id, clock and length.
"""


def pending_beyond(update: bytes, state_vector: bytes) -> frozenset[Pending]:
    """Return what remains pending of an update once a document took it in.

    Args:
        update: the part of it that the document does not hold, that is, the update's difference to
            the vector. Any structs in it are pending.
        state_vector: the document's.

    Returns:
        The whole update when it holds structs, else its deletions beyond the vector.
    """
    numbers = _numbers(update)
    if next(numbers):
        return frozenset({update})
    seen = clocks(state_vector)
    found: list[Pending] = []
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        for _ in range(ranges):
            clock, length = next(numbers), next(numbers)
            if clock + length > seen.get(client, 0):
                found.append((client, clock, length))
    return frozenset(found)


Deletions = dict[int, list[tuple[int, int]]]
"""The deleted clock ranges of each client id: from, and up to but not including."""


def deletions(data: bytes) -> Deletions:
    """Decode the end of a valid update, where its deletions are."""
    numbers = _numbers(data)
    found: Deletions = {}
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        pairs = [(next(numbers), next(numbers)) for _ in range(ranges)]
        found[client] = [(clock, clock + length) for clock, length in pairs]
    return found


def encode_deletions(deleted: Deletions) -> bytes:
    """Encode deletions as they are at the end of an update."""
    out = bytearray(encode_varint(len(deleted)))
    for client, ranges in deleted.items():
        out += encode_varint(client) + encode_varint(len(ranges))
        for start, end in ranges:
            out += encode_varint(start) + encode_varint(end - start)
    return bytes(out)


def subtract(deleted: Deletions, others: Deletions) -> Deletions:
    """Return the deletions that are not among the others."""
    left = {c: _subtract(sorted(r), sorted(others.get(c, ()))) for c, r in deleted.items()}
    return {client: ranges for client, ranges in left.items() if ranges}


def _subtract(
    ranges: list[tuple[int, int]], others: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the parts of the ranges that are in none of the others. Both are sorted."""
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


def sorted_vector(state_vector: bytes) -> bytes:
    """Return an equal state vector with its clients in ascending order."""
    return encode_vector(clocks(state_vector))


def encode_vector(known: Mapping[int, int]) -> bytes:
    """Encode clocks by client id as a state vector, the clients in ascending order."""
    pairs = sorted(known.items())
    out = bytearray(encode_varint(len(pairs)))
    for client, clock in pairs:
        out += encode_varint(client) + encode_varint(clock)
    return bytes(out)


def encode_varint(value: int) -> bytes:
    """Encode a variable-length integer as updates do: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _numbers(data: bytes) -> Iterator[int]:
    """Decode consecutive variable-length integers."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
