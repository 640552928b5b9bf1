"""What a heap's mirror knows of the server."""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from heapsyncd.backends.contract import LiveFeed
from heapsyncd.backoff import Paced
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.recent_acks import RecentAcks


@dataclass
class ServerLink:
    """What is known of the server: whether its news was received, and up to when."""

    current: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the server can be reached and its news since then was received.

    Nothing is sent before that, on any path: a deletion has to be known before an edit is pushed
    over it, and an edit before a deletion is."""
    was_current: bool = False
    """Whether its news was received in this run."""
    files_wait: bool = False
    """Whether new files wait to be scanned again once its news was received."""
    breaks: int = 0
    """How often the known news became outdated. News requested before the last time is, too."""
    cursor_ms: int | None = None
    """How far the delta feed was read; the stored cursor may be behind by empty pages."""
    in_doubt: bool = True
    """Whether the server may have been rolled back since it was last heard."""
    is_told: bool = True
    """Whether a lost connection would tell that the server was away: without one, it is in doubt
    at each poll."""
    doubted: set[BlockId] = field(default_factory=set)
    """Blocks of which the server may lack what it acknowledged.

    The next pull asks for their full states."""
    in_trash: set[BlockId] = field(default_factory=set)
    """Blocks in the server's trash that the cache does not know."""
    choosing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a push chooses what to send, and while updates are received.

    An update is merged according to what of ours others can have."""
    recent_acks: RecentAcks = field(default_factory=RecentAcks)
    live: LiveFeed | None = None
    """The live connection, while there is one."""
    follows_all: bool = False
    """Whether every note is followed over it."""
    followed: Mapping[BlockId, int] = field(default_factory=dict)
    """The blocks to be open on it, and their versions."""
    refollow: set[BlockId] = field(default_factory=set)
    """Blocks that can perhaps be followed now, or no more."""
    created: set[BlockId] = field(default_factory=set)
    """Blocks that were created on the server just now, and have nothing yet that others know."""
    channel: BlockId | None = None
    """The block over whose document devices tell each other of what is not followed."""
    announcing: Paced = field(init=False)
    """Announces on the channel that there is something new, not too often."""
    poll_took_s: float = 0.0
    """How long the last poll took."""
    oversized_at_s: float = math.inf
    """When to check for oversized edits again, in monotonic seconds (``oversized``)."""
    oversized_tries: int = 0

    def __post_init__(self) -> None:
        """Connect the channel with the live connection of the moment."""
        self.announcing = Paced(self._announce)

    def _announce(self) -> None:
        if self.live is not None and self.channel is not None:
            self.live.announce(self.channel)

    def hears_of(self, blocks: Iterable[BlockId]) -> bool:
        """Return whether the live connection tells every change that others make of blocks."""
        live = self.live
        if live is None or not live.connected:
            return False
        return all(live.is_open(b) or b in self.created for b in blocks)

    def lost(self) -> None:
        """Note that the server was lost: whoever answers next may have been rolled back.

        It may have been away for less time than anything else needs to notice it.
        """
        self.in_doubt = True
        self.created.clear()  # others may have heard of them meanwhile
        self.outdate()

    def received(self, breaks: int) -> bool:
        """Note that news was received; return whether it is up to date.

        Args:
            breaks: the number of breaks when it was requested.
        """
        self.was_current = True
        if breaks != self.breaks:
            return False
        self.in_doubt = not self.is_told
        self.current.set()
        return True

    def outdate(self) -> None:
        """Have nothing sent until the server's news is received again."""
        self.current.clear()
        self.breaks += 1
