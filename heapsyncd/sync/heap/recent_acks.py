"""What was sent or acknowledged lately: others may not have seen it, and the server echoes it."""

import hashlib
from collections import deque
from collections.abc import Iterable
from typing import Final

from heapsyncd.ids import BlockId

LATELY_S: Final = 60.0
"""For this long, others may not have seen what the server acknowledged.

Their edits may be on the way to us, made without it."""
UNHEARD_S: Final = 5.0
"""For this long, the echo of a push is waited for. After that, the server sends none."""
RESUMED_S: Final = 10.0
"""For this long, what was not heard when a run or a live link ended counts as unheard still, until
the next news."""


class RecentAcks:
    """The log rows that were sent or acknowledged lately. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._order: deque[tuple[float, BlockId, int]] = deque()
        self._rows: dict[BlockId, dict[int, float]] = {}
        self._pushed: dict[tuple[BlockId, int, bytes], tuple[float, int]] = {}
        self._unheard: dict[BlockId, dict[int, float]] = {}
        self._resumed: dict[BlockId, dict[int, float]] = {}
        self._crossed: dict[BlockId, float] = {}

    def add(self, block: BlockId, rows: Iterable[int], now_s: float) -> None:
        """Note rows that are sent now."""
        for row in rows:
            self._order.append((now_s, block, row))
            self._rows.setdefault(block, {})[row] = now_s

    def of(self, block: BlockId, now_s: float) -> frozenset[int]:
        """Return a block's rows that were noted within LATELY_S."""
        while self._order and now_s - self._order[0][0] > LATELY_S:
            at_s, old, row = self._order.popleft()
            rows = self._rows.get(old, {})
            if rows.get(row) == at_s:  # its last time
                del rows[row]
            if not rows:
                self._rows.pop(old, None)
        return frozenset(self._rows.get(block, ()))

    def pushed(
        self,
        block: BlockId,
        sync_version: int,
        update: bytes,
        rows: Iterable[int],
        now_s: float,
    ) -> None:
        """Note that rows are pushed now as one update, which the server sends to all followers."""
        rows = sorted(rows)
        self.sent(block, rows, now_s)
        while self._pushed and now_s - next(iter(self._pushed.values()))[0] > LATELY_S:
            del self._pushed[next(iter(self._pushed))]
        key = _key(block, sync_version, update)
        self._pushed.pop(key, None)
        self._pushed[key] = now_s, rows[-1]

    def sent(self, block: BlockId, rows: Iterable[int], now_s: float) -> None:
        """Note that unsent rows are sent now, which the server has not reported yet."""
        rows = list(rows)
        self.add(block, rows, now_s)
        if rows:
            self._unheard[block] = self._lately(block, now_s) | dict.fromkeys(rows, now_s)

    def acknowledged(self, block: BlockId, rows: Iterable[int], now_s: float) -> None:
        """Note that pushed rows were acknowledged: their echo is waited for from now on.

        The answer to a push may take longer than UNHEARD_S.
        """
        rows = list(rows)
        self.add(block, rows, now_s)
        unheard = self._unheard.get(block, {})
        unheard |= dict.fromkeys(unheard.keys() & rows, now_s)

    def is_echo(self, block: BlockId, sync_version: int, update: bytes) -> bool:
        """Return whether an update is, byte for byte, one that was pushed lately."""
        return _key(block, sync_version, update) in self._pushed

    def echoed(self, block: BlockId, sync_version: int, update: bytes) -> None:
        """Note the echo of a push: the server reported this push and all before it."""
        _, last = self._pushed[_key(block, sync_version, update)]
        self.heard(block, [row for row in self._unheard.get(block, ()) if row <= last])

    def heard(self, block: BlockId, rows: Iterable[int] | None = None) -> None:
        """Note that the server reported pushed rows of a block; None: all of them."""
        unheard = self._unheard.get(block, {})
        for row in list(unheard if rows is None else rows):
            unheard.pop(row, None)

    def unheard(self, block: BlockId, now_s: float) -> frozenset[int]:
        """Return a block's rows that were pushed lately, if the server did not report it since.

        What arrives from there now may have been written before the push arrived.
        """
        return frozenset(self._lately(block, now_s))

    def resume(self, block: BlockId, row: int, made_s: float) -> None:
        """Note a row that the last run made, and may have sent."""
        self.add(block, [row], made_s)
        self._resumed.setdefault(block, {})[row] = made_s

    def resumed(self, block: BlockId, now_s: float) -> frozenset[int]:
        """Return a block's rows of which the last run, or live link, may not have heard."""
        rows = self._resumed.get(block, {})
        return frozenset(row for row, made_s in rows.items() if now_s - made_s <= RESUMED_S)

    def interrupted(self, now_s: float) -> None:
        """Note that the live link ended: it will not report what is unheard now."""
        for block in list(self._unheard):
            self._resumed.setdefault(block, {}).update(self._lately(block, now_s))

    def caught_up(self) -> None:
        """Note that the server's news was received since a start, or since the live link ended."""
        self._resumed.clear()

    def tidy(self, now_s: float) -> None:
        """Free what is remembered of rows that were sent long ago."""
        for block in list(self._unheard):
            self._lately(block, now_s)

    def _lately(self, block: BlockId, now_s: float) -> dict[int, float]:
        rows = self._unheard.pop(block, {})
        left = {row: at_s for row, at_s in rows.items() if now_s - at_s <= UNHEARD_S}
        if left:
            self._unheard[block] = left
        return left

    def crossed(self, block: BlockId, due_s: float) -> None:
        """Note when to look at a block's crossings (``cache.crossings.Crossing``)."""
        self._crossed[block] = due_s

    def due(self, now_s: float) -> list[BlockId]:
        """Remove and return the blocks whose crossings are due."""
        found = [b for b, due_s in self._crossed.items() if due_s <= now_s]
        for block in found:
            del self._crossed[block]
        return found

    def crossed_blocks(self) -> set[BlockId]:
        """Return the blocks with crossings that are not due yet."""
        return set(self._crossed)


def _key(block: BlockId, sync_version: int, update: bytes) -> tuple[BlockId, int, bytes]:
    return block, sync_version, hashlib.blake2b(update, digest_size=16).digest()
