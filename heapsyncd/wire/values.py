"""Define the values that the wire hands to the backends: live events, and an upload's source."""

from typing import Literal, Protocol

from msgspec import Struct

from heapsyncd.errors import BlockError, HeapsyncdError
from heapsyncd.ids import BlockId


class LiveConnected(Struct, frozen=True):
    """A socket is open; documents follow."""


class LiveDisconnected(Struct, frozen=True):
    """The socket is gone, and another one is opened automatically; until then nothing is live."""

    reason: str


class LiveUpdate(Struct, frozen=True):
    """The server sent a change of one block's document, or what we lacked of it."""

    block: BlockId
    sync_version: int
    update: bytes


class LiveAsked(Struct, frozen=True):
    """The server sent its state vector. ``LiveFeed.answer`` with what it lacks, if anything."""

    block: BlockId
    sync_version: int
    state_vector: bytes


class LiveSynced(Struct, frozen=True):
    """The server's answer to our state vector was delivered: the block was current then."""

    block: BlockId


class LiveLost(Struct, frozen=True):
    """A block is no longer followed.

    It is opened again by ``reopen``, by a change of the followed set, or with the next socket. A
    refusal may mean a compaction, so ask the delta feed (PROTOCOL §6).
    """

    block: BlockId
    reason: Literal["denied", "closed"]
    text: str
    """The server's text, for people."""


class LiveAnnounced(Struct, frozen=True):
    """Another device changed something that may not be followed here: ask the delta feed."""


LiveEvent = (
    LiveConnected
    | LiveDisconnected
    | LiveUpdate
    | LiveAsked
    | LiveSynced
    | LiveLost
    | LiveAnnounced
)


class FileChanged(BlockError):
    """A file changed while it was read for an upload; start over with the new content."""


class UploadSource(Protocol):
    """A file to upload: its properties, and its bytes piece by piece."""

    @property
    def hash(self) -> str:
        """sha256 of the content, hex."""

    @property
    def name(self) -> str:
        """The attachment's name."""

    @property
    def size_bytes(self) -> int:
        """The size in bytes."""

    @property
    def mime_type(self) -> str:
        """For instance ``image/png``."""

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` of the content named by ``hash``.

        Raises:
            FileChanged: the file is not what was hashed.
        """


class Unauthorised(HeapsyncdError):
    """401: the token is not accepted. Never leaves the backend: the session renews its tokens."""
