"""Encode and decode awareness updates of y-protocols (PROTOCOL §6).

An update is a count, then for each client its id, a clock and a JSON text; ``null`` means that the
client left. A higher clock wins; at equal clocks, leaving wins.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from heapsyncd.errors import ProtocolError
from heapsyncd.wire.lib0 import MAX_UINT, Reader, var_string, var_uint

LEFT = "null"


class State(Struct, frozen=True):
    """What one client says about itself."""

    client: int
    clock: int
    json: str


def encode(states: Sequence[State]) -> bytes:
    """Encode an awareness update."""
    parts = [var_uint(len(states))]
    for state in states:
        parts += [var_uint(state.client), var_uint(state.clock), var_string(state.json)]
    return b"".join(parts)


def decode(update: bytes, most_bytes: int = MAX_UINT) -> list[State]:
    """Decode an awareness update.

    Raises:
        ProtocolError: it is not one, or a state is not JSON or is larger than ``most_bytes``.
    """
    reader = Reader(update)
    states = []
    for _ in range(reader.var_uint()):
        state = State(reader.var_uint(), reader.var_uint(), reader.var_string())
        if len(state.json.encode()) > most_bytes:
            raise ProtocolError("an awareness state is too large")
        try:
            msgspec.json.decode(state.json)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProtocolError("an awareness state is not JSON") from error
        states.append(state)
    return states
