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


def decode(update: bytes, most_bytes: int = MAX_UINT) -> list[State]:
    """Read an awareness update.

    Raises:
        ProtocolError: it is none, or a state is no JSON or larger than ``most_bytes``.
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
            raise ProtocolError("an awareness state that is no JSON") from error
        states.append(state)
    return states


class Budget:
    """How many bytes may be kept: of each holder, and of all together.

    Args:
        of_one: bytes of one holder.
        of_all: bytes of all.
    """

    def __init__(self, of_one: int, of_all: int) -> None:
        self._of_one = of_one
        self._left = of_all
        self._used: dict[object, int] = {}

    def take(self, holder: object, size: int) -> bool:
        """Count bytes, when they fit."""
        used = self._used.get(holder, 0) + size
        if used > self._of_one or size > self._left:
            return False
        self._used[holder] = used
        self._left -= size
        return True

    def give(self, holder: object, size: int) -> None:
        """The bytes are kept no longer."""
        self._left += size
        self._used[holder] -= size
        if not self._used[holder]:
            del self._used[holder]


@dataclass(frozen=True, slots=True)
class _Kept:
    state: State
    owner: object
    holder: object
    size: int


class Presence:
    """The states of one document, and who brought them.

    Args:
        most: how many states are kept; further clients are not told to others.
        most_bytes: how large they may be together.
        budget: what all documents share.
    """

    def __init__(self, most: int, most_bytes: int, budget: Budget) -> None:
        self._most = most
        self._left_bytes = most_bytes
        self._budget = budget
        self._states: dict[int, _Kept] = {}

    def __bool__(self) -> bool:
        return bool(self._states)

    def merge(self, states: Iterable[State], owner: object, holder: object) -> list[State]:
        """Take what is news and fits; return it, for the others.

        Args:
            states: what came.
            owner: who leaves with it.
            holder: on whose account it is kept.
        """
        return [state for state in states if self._merge_one(state, owner, holder)]

    def _merge_one(self, state: State, owner: object, holder: object) -> bool:
        known = self._states.get(state.client)
        if known is None:
            if state.json == LEFT or len(self._states) >= self._most:
                return False
        elif state.clock < known.state.clock or (
            state.clock == known.state.clock and state.json != LEFT
        ):
            return False
        if state.json == LEFT:
            self._drop(state.client)
            return True
        return self._keep(_Kept(state, owner, holder, len(encode([state]))), known)

    def _keep(self, kept: _Kept, known: _Kept | None) -> bool:
        """Put a state in the place of the one before; what does not fit leaves that one."""
        if known is not None:
            self._drop(known.state.client)
        if kept.size <= self._left_bytes and self._budget.take(kept.holder, kept.size):
            self._left_bytes -= kept.size
            self._states[kept.state.client] = kept
            return True
        if known is not None:
            self._keep(known, None)
        return False

    def _drop(self, client: int) -> None:
        kept = self._states.pop(client)
        self._left_bytes += kept.size
        self._budget.give(kept.holder, kept.size)

    def leave(self, owner: object) -> list[State]:
        """Forget what this one brought; return what the others have to be told."""
        left = [kept.state for kept in self._states.values() if kept.owner is owner]
        for state in left:
            self._drop(state.client)
        return [State(s.client, min(s.clock + 1, MAX_UINT), LEFT) for s in left]

    def states(self) -> list[State]:
        """All states."""
        return [kept.state for kept in self._states.values()]
