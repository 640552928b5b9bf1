"""The replicas in use: loaded from their logs on demand, the latest few kept."""

from collections import OrderedDict
from itertools import islice

from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId

_VIEWED = 8
"""So many of the latest keep their view: an edit's echo and what is typed on need it again."""


class Replicas:
    """At most ``limit`` loaded replicas (a replica takes some 50 kB), the least recently used
    given up first.

    A replica is only handed out for the log position it was loaded at, so that it never lags
    behind the cache. Used on the loop only.

    Args:
        limit: see above.
    """

    def __init__(self, limit: int = 200) -> None:
        self._limit = limit
        self._held: OrderedDict[BlockId, tuple[int, Replica]] = OrderedDict()

    def position(self, block: BlockId) -> int | None:
        """The log position of the replica in memory, None when there is none."""
        held = self._held.get(block)
        return None if held is None else held[0]

    def get(self, block: BlockId, seq: int) -> Replica | None:
        """The replica at exactly this log position, None when it has to be loaded."""
        held = self._held.get(block)
        if held is None or held[0] != seq:
            return None
        self._to_front(block)
        return held[1]

    def take(self, block: BlockId, seq: int) -> Replica | None:
        """The replica at exactly this log position, for somebody who will change it: nobody else
        gets it before it is put back.
        """
        held = self._held.pop(block, None)
        return held[1] if held is not None and held[0] == seq else None

    def put(self, block: BlockId, seq: int, replica: Replica) -> None:
        """Keep a replica for this log position."""
        self._held[block] = (seq, replica)
        self._to_front(block)
        while len(self._held) > self._limit:
            self._held.popitem(last=False)

    def forget_views(self) -> None:
        """Free the memory of all views."""
        for _, replica in self._held.values():
            replica.forget_view()

    def _to_front(self, block: BlockId) -> None:
        """Count a replica as used last; each that falls behind the viewed ones gives its up."""
        self._held.move_to_end(block)
        for _, rests in islice(reversed(self._held.values()), _VIEWED, _VIEWED + 1):
            rests.forget_view()
