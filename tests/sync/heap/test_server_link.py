"""Of which blocks every change is told, so that nothing has to be asked before a push."""

from typing import cast

from heapsyncd.backends.contract import LiveFeed
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.server_link import ServerLink

OPEN, NEW = BlockId("01J8XYZ0ABCDEFGHJKMNPQRST0"), BlockId("01J8XYZ0ABCDEFGHJKMNPQRST1")


class Live:
    """A live connection on which one block is open."""

    connected = True

    def is_open(self, block: BlockId) -> bool:
        return block == OPEN


def test_what_was_created_before_the_server_was_lost_is_not_ours_alone() -> None:
    """Nobody knows a block that was created just now; after an outage others may have edited or
    deleted it.
    """
    link = ServerLink(live=cast("LiveFeed", Live()), created={NEW})
    assert link.hears_of([OPEN, NEW])
    link.outdate()
    assert link.hears_of([OPEN, NEW])
    link.lost()
    assert link.hears_of([OPEN])
    assert not link.hears_of([OPEN, NEW])
