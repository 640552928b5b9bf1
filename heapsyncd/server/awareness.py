"""Keep presence: the y-protocols awareness states of one document's followers. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from heapsyncd.wire.awareness import LEFT, State, encode
from heapsyncd.wire.lib0 import MAX_UINT


class Budget:
    """Limits the bytes that are kept: for each holder, and for all together.

    Args:
        of_one: the most bytes of one holder.
        of_all: the most bytes of all.
    """

    def __init__(self, of_one: int, of_all: int) -> None:
        self._of_one = of_one
        self._left = of_all
        self._used: dict[object, int] = {}

    def take(self, holder: object, size: int) -> bool:
        """Reserve bytes; returns whether they fit."""
        used = self._used.get(holder, 0) + size
        if used > self._of_one or size > self._left:
            return False
        self._used[holder] = used
        self._left -= size
        return True

    def give(self, holder: object, size: int) -> None:
        """Release bytes."""
        self._left += size
        self._used[holder] -= size
        if not self._used[holder]:
            del self._used[holder]


class _Kept(Struct, frozen=True):
    state: State
    owner: object
    holder: object
    size: int


class Presence:
    """The states of one document, and who sent them.

    Args:
        most: the most states kept; further clients are not shown to others.
        most_bytes: the most bytes of all states together.
        budget: the budget that all documents share.
    """

    def __init__(self, most: int, most_bytes: int, budget: Budget) -> None:
        self._most = most
        self._left_bytes = most_bytes
        self._budget = budget
        self._states: dict[int, _Kept] = {}

    def __bool__(self) -> bool:
        return bool(self._states)

    def merge(self, states: Iterable[State], owner: object, holder: object) -> list[State]:
        """Store the states that are new and fit; returns them, for the other followers.

        Args:
            states: what arrived.
            owner: whose leaving removes them.
            holder: whose budget they count against.
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
        """Replace a state; one that does not fit leaves the old one in place."""
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
        """Remove what an owner sent; returns the states to send to the others."""
        left = [kept.state for kept in self._states.values() if kept.owner is owner]
        for state in left:
            self._drop(state.client)
        return [State(s.client, min(s.clock + 1, MAX_UINT), LEFT) for s in left]

    def states(self) -> list[State]:
        """Return all states."""
        return [kept.state for kept in self._states.values()]
