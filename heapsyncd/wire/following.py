"""Track which blocks of one heap are followed, independent of sockets. Pure."""

from collections.abc import Iterable

from heapsyncd.ids import BlockId
from heapsyncd.wire.live import LiveLink


class Following:
    """The followed blocks, and the link that is told every change of them."""

    def __init__(self) -> None:
        self._wanted: dict[BlockId, None] = {}
        self._absent: set[BlockId] = set()
        self._link: LiveLink | None = None

    @property
    def link(self) -> LiveLink | None:
        """The link of the current socket; None while there is none."""
        return self._link

    @property
    def wants_link(self) -> bool:
        """Whether there is anything to follow."""
        return len(self._wanted) > len(self._absent)

    def attach(self, link: LiveLink) -> None:
        """Queue all followed blocks on the link of a new socket."""
        self._link = link
        for block in self._wanted:
            if block not in self._absent:
                link.queue(block)

    def detach(self) -> None:
        """Drop the link of a socket that is gone, and with it all open documents."""
        self._link = None

    def follow(self, blocks: Iterable[BlockId], now_s: float) -> None:
        """Replace the set of followed blocks."""
        wanted = dict.fromkeys(blocks)
        before, self._wanted = self._wanted, wanted
        self._absent &= wanted.keys()
        if self._link is not None:
            for block in before.keys() - wanted.keys():
                self._link.leave(block, now_s)
            for block in wanted:
                if block not in before:
                    self._link.queue(block)

    def reopen(self, block: BlockId) -> None:
        """Open a followed block again; ignored for others."""
        if block in self._wanted:
            self._absent.discard(block)
            if self._link is not None:
                self._link.queue(block)

    def absent(self, block: BlockId, now_s: float) -> None:
        """Record that a block cannot be opened until ``reopen`` or another socket asks for it."""
        if block in self._wanted:
            self._absent.add(block)
        if self._link is not None:
            self._link.skip(block, now_s)
