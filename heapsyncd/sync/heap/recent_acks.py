"""Which log rows were sent or acknowledged lately: others may not have seen them yet."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from heapsyncd.ids import BlockId

LATELY_S: Final = 60.0
"""For so long others may not have seen what the server acknowledged: their edits may be on the way
to us without knowing of it."""


class RecentAcks:
    """The log rows that were sent, or acknowledged, lately. Times are of one monotonic clock, in
    seconds.
    """

    def __init__(self) -> None:
        self._order: deque[tuple[float, BlockId, int]] = deque()
        self._rows: dict[BlockId, dict[int, float]] = {}

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

    def forget(self) -> None:
        """Rows were merged: their numbers mean something else now."""
        self._order.clear()
        self._rows.clear()
