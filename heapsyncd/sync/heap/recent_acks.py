"""What was sent or acknowledged lately: others may not have seen it, and its echo comes back."""

import hashlib
from collections import deque
from collections.abc import Iterable
from typing import Final

from heapsyncd.ids import BlockId

LATELY_S: Final = 60.0
"""For so long others may not have seen what the server acknowledged: their edits may be on the way
to us without knowing of it."""
UNHEARD_S: Final = 5.0
"""So long the echo of a push is waited for. A server that sends none is believed after that."""


class RecentAcks:
    """The log rows that were sent, or acknowledged, lately. Times are of one monotonic clock, in
    seconds.
    """

    def __init__(self) -> None:
        self._order: deque[tuple[float, BlockId, int]] = deque()
        self._rows: dict[BlockId, dict[int, float]] = {}
        self._pushed: dict[tuple[BlockId, int, bytes], float] = {}
        self._unheard: dict[BlockId, float] = {}

    def add(self, block: BlockId, rows: Iterable[int], now_s: float) -> None:
        """Rows are sent now, or were acknowledged."""
        for row in rows:
            self._order.append((now_s, block, row))
            self._rows.setdefault(block, {})[row] = now_s

    def of(self, block: BlockId, now_s: float) -> frozenset[int]:
        """A block's rows."""
        while self._order and now_s - self._order[0][0] > LATELY_S:
            at_s, old, row = self._order.popleft()
            rows = self._rows.get(old, {})
            if rows.get(row) == at_s:  # its last time
                del rows[row]
            if not rows:
                self._rows.pop(old, None)
        return frozenset(self._rows.get(block, ()))

    def pushed(self, block: BlockId, sync_version: int, update: bytes, now_s: float) -> None:
        """Note that an update is pushed now: the server sends it back to all followers."""
        for key, at_s in list(self._pushed.items()):
            if now_s - at_s <= LATELY_S:
                break
            del self._pushed[key]
        key = _key(block, sync_version, update)
        self._pushed.pop(key, None)
        self._pushed[key] = self._unheard[block] = now_s

    def is_echo(self, block: BlockId, sync_version: int, update: bytes) -> bool:
        """Whether an update is, byte for byte, one that was pushed lately: it says nothing new."""
        return _key(block, sync_version, update) in self._pushed

    def heard(self, block: BlockId) -> None:
        """Note that the server has told of a block what was pushed of it."""
        self._unheard.pop(block, None)

    def is_unheard(self, block: BlockId, now_s: float) -> bool:
        """Whether a block was pushed lately and the server has not told of it since: what comes
        from there now may have been written before the push arrived.
        """
        at_s = self._unheard.get(block)
        if at_s is not None and now_s - at_s > UNHEARD_S:
            del self._unheard[block]
            return False
        return at_s is not None

    def forget(self) -> None:
        """Rows were merged: their numbers mean something else now."""
        self._order.clear()
        self._rows.clear()


def _key(block: BlockId, sync_version: int, update: bytes) -> tuple[BlockId, int, bytes]:
    return block, sync_version, hashlib.blake2b(update, digest_size=16).digest()
