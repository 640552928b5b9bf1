"""Who follows which document, and what they are told (PROTOCOL §6).

A *seat* is one socket's place at one document of one version. A *room* is a document name with its
seats and their presence. Rooms tell what was committed; what a seat sends goes through
``documents`` first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import awareness
from heapsyncd.server.documents import Published
from heapsyncd.server.limits import Limits
from heapsyncd.wire.hocuspocus import Awareness, Close, Message, Update

COMPACTED = "stale: the document was compacted into a newer version"
DELETED = "not_found: the document was deleted for good"


class Seat(Protocol):
    """One socket's place at one document. No method waits or raises."""

    @property
    def number(self) -> int:
        """Tells it from all others."""
        ...

    def check(self) -> None:
        """End it when its rights have changed."""
        ...

    def tell(self, message: Message) -> None:
        """Send a message about the document."""
        ...

    def end(self) -> None:
        """The document was closed for this seat."""
        ...


@dataclass(slots=True)
class Room:
    """A document of one version that somebody follows."""

    presence: awareness.Presence
    seats: set[Seat] = field(default_factory=set)

    def tell(self, message: Message, *, but: int | None = None) -> None:
        """Send a message to all seats but the one with that number."""
        for seat in self.seats:
            if seat.number != but:
                seat.tell(message)


class Rooms:
    """All rooms. ``limits``: how much presence they keep."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._budget = awareness.Budget(
            limits.awareness_socket_bytes, limits.awareness_total_bytes
        )
        self._rooms: dict[tuple[BlockId, int], Room] = {}

    def join(self, block: BlockId, version: int, seat: Seat) -> Room:
        """Take a seat."""
        room = self._rooms.get((block, version))
        if room is None:
            room = self._rooms[block, version] = Room(
                awareness.Presence(
                    self._limits.awareness_states, self._limits.awareness_room_bytes, self._budget
                )
            )
        room.seats.add(seat)
        return room

    def leave(self, block: BlockId, version: int, seat: Seat) -> None:
        """Give the seat up; its presence goes with it. Leaving twice is harmless."""
        room = self._rooms.get((block, version))
        if room is None or seat not in room.seats:
            return
        room.seats.discard(seat)
        left = room.presence.leave(seat)
        if left:
            room.tell(Awareness(awareness.encode(left)))
        if not room.seats:
            del self._rooms[block, version]

    def publish(self, published: Sequence[Published]) -> None:
        """Tell what was committed; whoever sits at a version that ended is sent away."""
        for change in published:
            if change.replaced_version is not None:
                self.end(change.block, change.replaced_version, COMPACTED)
                continue
            room = self._rooms.get((change.block, change.sync_version))
            if room is not None:
                room.tell(Update(change.update), but=change.origin)

    def gone(self, block: BlockId, version: int) -> None:
        """A document was deleted for good."""
        self.end(block, version, DELETED)

    def end(self, block: BlockId, version: int, reason: str) -> None:
        """Send everybody away from a document."""
        room = self._rooms.pop((block, version), None)
        if room is None:
            return
        for seat in list(room.seats):
            room.presence.leave(seat)
            seat.tell(Close(reason))
            seat.end()

    def seats(self, of: Callable[[Seat], bool] = lambda _seat: True) -> list[Seat]:
        """The seats that fit."""
        return [seat for room in self._rooms.values() for seat in room.seats if of(seat)]

    def followers(self, block: BlockId, version: int) -> int:
        """How many seats a document has."""
        room = self._rooms.get((block, version))
        return len(room.seats) if room is not None else 0


@dataclass(frozen=True, slots=True)
class Address:
    r"""A document name as it stands in a message (PROTOCOL §6).

    Newer clients append ``\0`` and a session of theirs, so that one socket can carry a document
    twice; answers go to the whole address.
    """

    heap: HeapId
    block: BlockId
    sync_version: int

    @classmethod
    def parse(cls, text: str) -> "Address | None":
        """Read ``<heap>:<block>:v<version>``; None when it is something else."""
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
