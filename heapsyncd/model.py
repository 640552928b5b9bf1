"""Frozen values that cross stage borders."""

from dataclasses import dataclass
from typing import Literal

from heapsyncd.ids import BlockId, HeapId

BlockKind = Literal["document", "file", "tag", "folder"]
PushStatus = Literal["ok", "stale", "not_found", "forbidden", "invalid"]


@dataclass(frozen=True, slots=True)
class Heap:
    """A workspace as the server lists it (PROTOCOL §4)."""

    id: HeapId
    title: str
    block_id: BlockId | None = None
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block's row; the row title is only a hint, the document's ``title_v0`` is the truth."""

    id: BlockId
    heap_id: HeapId
    kind: BlockKind
    title: str = ""
    sync_version: int = 1
    deleted_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A live block in the delta feed."""

    id: BlockId
    sync_version: int
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Gone:
    """A trashed (or permanently deleted) block in the delta feed."""

    id: BlockId
    deleted_at_ms: int
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class ChangePage:
    """One page of the delta feed. ``cursor_ms`` is the server's time, the next ``since``
    (inclusive).
    """

    changed: tuple[Changed, ...]
    gone: tuple[Gone, ...]
    cursor_ms: int
    more: bool


@dataclass(frozen=True, slots=True)
class PullAsk:
    """What is asked of one block; without a state vector the full state is sent."""

    id: BlockId
    sync_version: int
    state_vector: bytes | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """One block's answer. ``full``: the whole state of ``sync_version``, not a difference."""

    id: BlockId
    sync_version: int
    update: bytes
    full: bool


@dataclass(frozen=True, slots=True)
class PullAnswer:
    """What fitted into one answer; what was asked and is in neither is asked for again."""

    blocks: tuple[Pulled, ...]
    missing: tuple[BlockId, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """An update for one block's document of one version."""

    id: BlockId
    sync_version: int
    update: bytes


@dataclass(frozen=True, slots=True)
class PushResult:
    """The server's word on one pushed update (PROTOCOL §5)."""

    id: BlockId
    status: PushStatus
    sync_version: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of ``files_v0``. ``key`` is the map's key as it stands (``<hash>:<size>`` or bare
    hash).
    """

    key: str
    hash: str
    """sha256, 64 hex digits without capitals; '' when the document names none."""
    name: str
    size_bytes: int
    mime_type: str = "application/octet-stream"
    is_uploaded: bool = False


@dataclass(frozen=True, slots=True)
class Fields:
    """What a block's document says beside its body (PROTOCOL §8)."""

    title: str
    tags: tuple[BlockId, ...]
    """Ids of ``relations_v1`` entries of type ``tag``, sorted; folders among them are the note's
    place.
    """
    files: tuple[FileEntry, ...]
    """Sorted by key."""
    deleted_at_ms: int | None = None
    permanently_deleted_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One block's or file's trouble, shown by ``status``."""

    path: str
    """Relative to the heap's folder, or the block's title when it has no file."""
    reason: str
    """Without the path."""
    minor: bool = False
    """Whether nothing is left undone for it: a thing that is never mirrored, a word of advice."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What the file system says of a file; ``agrees`` is the question to ask."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Moves on every change, of mode or name too, and can't be set back as mtime can."""
    inode: int
    device: int

    def agrees(self, other: "Stat") -> bool:
        """Whether nothing tells the two apart.

        The device is left out: many file systems get another number at each mount, and inode,
        ctime and mtime would have to agree by chance.
        """
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode) == (
            other.size,
            other.mtime_ns,
            other.ctime_ns,
            other.inode,
        )

    def same_content(self, other: "Stat") -> bool:
        """Whether nothing tells the contents apart; a rename moves ctime and nothing else."""
        return (self.size, self.mtime_ns, self.inode) == (other.size, other.mtime_ns, other.inode)

    @property
    def number(self) -> tuple[int, int]:
        """What the disk calls the file, under whatever name: device and inode."""
        return self.device, self.inode
