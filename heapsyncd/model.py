"""Frozen values that cross stage borders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


LineBreaks = Literal["space", "break"]
"""What a line end inside a paragraph means: a space, or a break as some programs show it."""

FENCES = ("---\n", "---\n")
"""The lines around front matter, as they are mostly written."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The raw lines of one key of the front matter, with the comments above it.

    ``is_exact``: no two people's edits of them are merged, for merged lines would not be read as
    these are (broken YAML).
    """

    text: str
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A note's file as its author wrote it; it travels with the document (PROTOCOL §8)."""

    body: str
    """What follows the front matter, line ends as they are."""
    front: Mapping[str, Lines] = field(default_factory=dict)
    """The user's front matter, cut at its keys (``markdown.front_lines``)."""
    order: tuple[str, ...] = ()
    """The keys of ``front`` in the file's order, ours among them where they stand elsewhere than
    they would by themselves.
    """
    fences: tuple[str, str] = FENCES
    bom: bool = False
    line_breaks: LineBreaks = "space"


@dataclass(frozen=True, slots=True)
class StoredSource:
    """What a document has of its source. ``problem``: why what stands there is no source."""

    source: Source | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One block's or file's trouble, shown by ``status``."""

    path: str
    """Relative to the heap's folder, or the block's title when it has no file."""
    reason: str
    """Without the path."""
    minor: bool = False
    """Whether nothing is left undone for it: a thing that is never mirrored, a word of advice."""
