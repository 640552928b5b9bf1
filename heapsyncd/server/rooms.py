"""Track who follows which document, and notify them (PROTOCOL §6).

A *follower* is one socket's session with one document of one version. A *room* is a document name
with its followers and their presence. Rooms distribute what was committed; what a follower sends
is applied by ``documents`` first.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct, field

from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server.awareness import Budget, Presence
from heapsyncd.server.documents import Published
from heapsyncd.server.limits import Limits
from heapsyncd.wire.awareness import encode
from heapsyncd.wire.hocuspocus import Awareness, Close, Message, Update

COMPACTED = "stale: the document was compacted into a newer version"
DELETED = "not_found: the document was deleted for good"


class Follower(Protocol):
    """One socket's session with one document. No method waits or raises."""

    @property
    def number(self) -> int:
        """The number that identifies it."""
        ...

    def recheck_rights(self) -> None:
        """End the session if its rights changed."""
        ...

    def send(self, message: Message) -> None:
        """Send a message about the document."""
        ...

    def end(self) -> None:
        """End the session, because the document was closed for it."""
        ...


class Room(Struct):
    """A document of one version that somebody follows."""

    presence: Presence
    followers: set[Follower] = field(default_factory=set)

    def send(self, message: Message, *, but: int | None = None) -> None:
        """Send a message to all followers but the one with that number."""
        for follower in self.followers:
            if follower.number != but:
                follower.send(message)


class Rooms:
    """All rooms. ``limits``: how much presence they keep."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._budget = Budget(limits.awareness_socket_bytes, limits.awareness_total_bytes)
        self._rooms: dict[tuple[BlockId, int], Room] = {}

    def join(self, block: BlockId, version: int, follower: Follower) -> Room:
        """Add a follower; returns its room."""
        room = self._rooms.get((block, version))
        if room is None:
            room = self._rooms[block, version] = Room(
                Presence(
                    self._limits.awareness_states, self._limits.awareness_room_bytes, self._budget
                )
            )
        room.followers.add(follower)
        return room

    def leave(self, block: BlockId, version: int, follower: Follower) -> None:
        """Remove a follower with its presence. Repeating it is harmless."""
        room = self._rooms.get((block, version))
        if room is None or follower not in room.followers:
            return
        room.followers.discard(follower)
        left = room.presence.leave(follower)
        if left:
            room.send(Awareness(encode(left)))
        if not room.followers:
            del self._rooms[block, version]

    def publish(self, published: Sequence[Published]) -> None:
        """Distribute what was committed; sessions with a version that ended are closed."""
        for change in published:
            if change.replaced_version is not None:
                self.end(change.block, change.replaced_version, COMPACTED)
                continue
            room = self._rooms.get((change.block, change.sync_version))
            if room is not None:
                room.send(Update(change.update), but=change.origin)

    def gone(self, block: BlockId, version: int) -> None:
        """Close all sessions with a document that was deleted for good."""
        self.end(block, version, DELETED)

    def end(self, block: BlockId, version: int, reason: str) -> None:
        """Close all sessions with a document."""
        room = self._rooms.pop((block, version), None)
        if room is None:
            return
        for follower in list(room.followers):
            room.presence.leave(follower)
            follower.send(Close(reason))
            follower.end()

    def select(self, of: Callable[[Follower], bool] = lambda _follower: True) -> list[Follower]:
        """Return the followers that match."""
        return [
            follower
            for room in self._rooms.values()
            for follower in room.followers
            if of(follower)
        ]

    def followers(self, block: BlockId, version: int) -> int:
        """Return how many followers a document has."""
        room = self._rooms.get((block, version))
        return len(room.followers) if room is not None else 0


class Address(Struct, frozen=True):
    r"""A document name as it is in a message (PROTOCOL §6).

    Newer clients append ``\0`` and a session of theirs, so that one socket can carry a document
    twice; answers use the whole address.
    """

    heap: HeapId
    block: BlockId
    sync_version: int

    @classmethod
    def parse(cls, text: str) -> "Address | None":
        """Parse ``<heap>:<block>:v<version>``; None when it is something else."""
        parts = text.partition("\0")[0].split(":")
        if len(parts) != 3 or not parts[2].startswith("v"):
            return None
        digits = parts[2][1:]
        if (
            not (digits.isascii() and digits.isdigit())
            or len(digits) > 15
            or digits != str(int(digits))
        ):
            return None
        return cls(HeapId(parts[0]), BlockId(parts[1]), int(digits))
