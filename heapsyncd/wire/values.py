"""Values the wire hands to the backends: live events, and what an upload reads from."""

from dataclasses import dataclass
from typing import Literal, Protocol

from heapsyncd.errors import BlockError, HeapsyncdError
from heapsyncd.ids import BlockId


@dataclass(frozen=True, slots=True)
class LiveConnected:
    """A socket is open; documents follow."""


@dataclass(frozen=True, slots=True)
class LiveDisconnected:
    """The socket is gone and will be opened again by itself; until then nothing is live."""

    reason: str


@dataclass(frozen=True, slots=True)
class LiveUpdate:
    """The server sent a change (or what we lacked) of one block's document."""

    block: BlockId
    sync_version: int
    update: bytes


@dataclass(frozen=True, slots=True)
class LiveAsked:
    """The server said what it has seen; ``LiveFeed.answer`` with what it lacks, or not at all
    when nothing is.
    """

    block: BlockId
    sync_version: int
    state_vector: bytes


@dataclass(frozen=True, slots=True)
class LiveSynced:
    """The server's answer to our state vector has been delivered: the block was current at that
    moment.
    """

    block: BlockId


@dataclass(frozen=True, slots=True)
class LiveLost:
    """One block is not followed any more.

    It is opened again by ``reopen``, by a change of the followed set, or with the next socket: a
    refusal may mean a compaction, so ask the delta feed (PROTOCOL §6).
    """

    block: BlockId
    reason: Literal["denied", "closed"]
    text: str
    """What the server said, for people."""


LiveEvent = LiveConnected | LiveDisconnected | LiveUpdate | LiveAsked | LiveSynced | LiveLost


class FileChanged(BlockError):
    """A file changed while it was being read for an upload; begin anew with the new content."""


class UploadSource(Protocol):
    """A file to upload: what is known of it, and its bytes piece by piece."""

    @property
    def hash(self) -> str:
        """sha256 of the content, hex."""

    @property
    def name(self) -> str:
        """The attachment's name."""

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""

    @property
    def mime_type(self) -> str:
        """For instance ``image/png``."""

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset`` of the content named by ``hash``.

        Raises:
            FileChanged: the file is not what was hashed.
        """


class Unauthorised(HeapsyncdError):
    """401: the token is not accepted. It never leaves the backend: the session refreshes or
    signs in anew.
    """
