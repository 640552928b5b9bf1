"""Presence: the y-protocols awareness states of one document's followers (pure).

An update is a count, then for each client its id, a clock and a JSON text; ``null`` says that the
client left. A higher clock wins; at an equal clock leaving wins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from heapsyncd.errors import ProtocolError
from heapsyncd.wire.lib0 import MAX_UINT, Reader, var_string, var_uint

LEFT = "null"


@dataclass(frozen=True, slots=True)
class State:
    """What one client says of itself."""

    client: int
    clock: int
    json: str


def encode(states: Sequence[State]) -> bytes:
    """The bytes of an awareness update."""
    parts = [var_uint(len(states))]
    for state in states:
        parts += [var_uint(state.client), var_uint(state.clock), var_string(state.json)]
    return b"".join(parts)


def decode(update: bytes) -> list[State]:
    """Read an awareness update; ProtocolError when it is none, or a state is no JSON."""
    reader = Reader(update)
    states = []
    for _ in range(reader.var_uint()):
        state = State(reader.var_uint(), reader.var_uint(), reader.var_string())
        try:
            msgspec.json.decode(state.json)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProtocolError("an awareness state that is no JSON") from error
        states.append(state)
    return states


class Presence:
    """The states of one document, and who brought them.

    Args:
        most: how many states are kept; further clients are not told to others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._states: dict[int, tuple[State, object]] = {}

    def __bool__(self) -> bool:
        return bool(self._states)

    def merge(self, states: Iterable[State], owner: object) -> list[State]:
        """Take what is news; return it, for the others."""
        return [state for state in states if self._merge_one(state, owner)]

    def _merge_one(self, state: State, owner: object) -> bool:
        known = self._states.get(state.client)
        if known is None:
            if state.json == LEFT or len(self._states) >= self._most:
                return False
        elif state.clock < known[0].clock or (
            state.clock == known[0].clock and state.json != LEFT
        ):
            return False
        if state.json == LEFT:
            del self._states[state.client]
        else:
            self._states[state.client] = (state, owner)
        return True

    def leave(self, owner: object) -> list[State]:
        """Forget what this one brought; return what the others have to be told."""
        left = [state for state, who in self._states.values() if who is owner]
        for state in left:
            del self._states[state.client]
        return [State(s.client, min(s.clock + 1, MAX_UINT), LEFT) for s in left]

    def states(self) -> list[State]:
        """All states."""
        return [state for state, _ in self._states.values()]
