"""What is followed of one heap, whatever becomes of the sockets; pure."""

from collections.abc import Iterable

from heapsyncd.ids import BlockId
from heapsyncd.wire.live import LiveLink


class Following:
    """The wanted blocks, and the link that is being told of every change of them."""

    def __init__(self) -> None:
        self._wanted: dict[BlockId, None] = {}
        self._absent: set[BlockId] = set()
        self._link: LiveLink | None = None

    @property
    def link(self) -> LiveLink | None:
        """The link of the socket at hand; None while there is none."""
        return self._link

    @property
    def wants_link(self) -> bool:
        """Whether there is anything to follow."""
        return len(self._wanted) > len(self._absent)

    def attach(self, link: LiveLink) -> None:
        """A socket is open: everything wanted is to be opened on it."""
        self._link = link
        for block in self._wanted:
            if block not in self._absent:
                link.queue(block)

    def detach(self) -> None:
        """The socket is gone, and with it all that was open."""
        self._link = None

    def follow(self, blocks: Iterable[BlockId], now_s: float) -> None:
        """Set the whole wanted set."""
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
        """Open a followed block anew; nothing when it is not followed."""
        if block in self._wanted:
            self._absent.discard(block)
            if self._link is not None:
                self._link.queue(block)

    def absent(self, block: BlockId, now_s: float) -> None:
        """There is nothing to open for a block, until somebody asks for it again."""
        if block in self._wanted:
            self._absent.add(block)
        if self._link is not None:
            self._link.skip(block, now_s)
