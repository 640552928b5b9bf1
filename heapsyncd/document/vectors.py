"""State vectors and snapshots as numbers: yrs writes their clients in the order of a hash table,
so that equal ones differ in bytes. Here they are put in order.
"""

from collections.abc import Iterator
from itertools import islice


def clocks(state_vector: bytes) -> dict[int, int]:
    """A state vector as client id -> clock."""
    numbers = _numbers(state_vector)
    return {next(numbers): next(numbers) for _ in range(next(numbers))}


def ordered_snapshot(snapshot: bytes) -> bytes:
    """Bytes that are equal exactly for equal snapshots: deletions, and the state vector."""
    numbers = _numbers(snapshot)
    deleted = []
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        deleted.append((client, *islice(numbers, 2 * ranges)))
    seen = [(next(numbers), next(numbers)) for _ in range(next(numbers))]
    return repr((sorted(deleted), sorted(seen))).encode()


def reaches_beyond(update: bytes, state_vector: bytes) -> bool:
    """Whether an update that holds nothing a vector has seen, deletions apart, holds structs, or
    deletes ones beyond the vector.
    """
    numbers = _numbers(update)
    if next(numbers):
        return True
    seen = clocks(state_vector)
    for _ in range(next(numbers)):
        client, ranges = next(numbers), next(numbers)
        if any(next(numbers) + next(numbers) > seen.get(client, 0) for _ in range(ranges)):
            return True
    return False


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
