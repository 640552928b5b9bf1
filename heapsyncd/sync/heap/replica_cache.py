"""The replicas in memory: loaded from their logs on demand, the most recently used are kept."""

from collections import OrderedDict
from itertools import islice

from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId

_VIEWED = 8
"""This many of the latest keep their view: the echo of an edit and further typing need it."""


class Replicas:
    """A cache of at most ``limit`` replicas (some 100 kB each), least recently used dropped first.

    A replica is only returned for the log position it was loaded at, so it is never outdated. Used
    on the loop only.

    Args:
        limit: the number of replicas kept.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._held: OrderedDict[BlockId, tuple[int, Replica]] = OrderedDict()

    def position(self, block: BlockId) -> int | None:
        """Return the log position of a block's replica; None if there is none."""
        held = self._held.get(block)
        return None if held is None else held[0]

    def get(self, block: BlockId, seq: int) -> Replica | None:
        """Return the replica at exactly this log position; None if it has to be loaded."""
        held = self._held.get(block)
        if held is None or held[0] != seq:
            return None
        self._to_front(block)
        return held[1]

    def take(self, block: BlockId, seq: int) -> Replica | None:
        """Return the replica at exactly this log position, and remove it, in order to change it.

        Nobody else gets it until it is put back.
        """
        held = self._held.pop(block, None)
        return held[1] if held is not None and held[0] == seq else None

    def put(self, block: BlockId, seq: int, replica: Replica) -> None:
        """Keep a replica for this log position."""
        self._held[block] = (seq, replica)
        self._to_front(block)
        self.keep(self._limit)

    def keep(self, most: int) -> None:
        """Drop all replicas but the most recently used ones."""
        while len(self._held) > most:
            self._held.popitem(last=False)

    def forget_views(self) -> None:
        """Free the memory of all views."""
        for _, replica in self._held.values():
            replica.forget_view()

    def _to_front(self, block: BlockId) -> None:
        """Mark a replica as used last, and drop the view of the one that falls behind."""
        self._held.move_to_end(block)
        for _, rests in islice(reversed(self._held.values()), _VIEWED, _VIEWED + 1):
            rests.forget_view()
