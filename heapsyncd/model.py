"""Frozen values that cross the borders between stages."""

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct, field

from heapsyncd.ids import BlockId, HeapId

BlockKind = Literal["document", "file", "tag", "folder"]
PushStatus = Literal["ok", "stale", "not_found", "forbidden", "invalid"]


class Heap(Struct, frozen=True):
    """A heap as the server lists it (PROTOCOL §4)."""

    id: HeapId
    title: str
    block_id: BlockId | None = None
    encrypted: bool = False


class Place(Struct, frozen=True):
    """What an entry of ``heaps`` in the configuration can select: a heap, or a box."""

    id: str
    title: str
    is_readable: bool = True
    """Whether it can be mirrored at all."""


class BlockRow(Struct, frozen=True):
    """A block's row on the server.

    Its title is only a hint; the document's ``title_v0`` is the truth.
    """

    id: BlockId
    heap_id: HeapId
    kind: BlockKind
    title: str = ""
    sync_version: int = 1
    deleted_at_ms: int | None = None
    public_id: str = ""
    """As in ``Fields``."""


class Changed(Struct, frozen=True):
    """A live block in the delta feed."""

    id: BlockId
    sync_version: int
    updated_at_ms: int = 0


class Gone(Struct, frozen=True):
    """A trashed or permanently deleted block in the delta feed."""

    id: BlockId
    deleted_at_ms: int
    permanent: bool = False


class Problem(Struct, frozen=True):
    """Something wrong with one block or file, shown by ``status``."""

    path: str
    """Relative to the heap's folder, or the block's title if it has no file."""
    reason: str
    """For people, without the path."""
    minor: bool = False
    """Whether nothing is left undone because of it: something never mirrored, or a hint."""
    has_file: bool = True
    """False: ``path`` is a title."""


class ChangePage(Struct, frozen=True):
    """One page of the delta feed.

    ``cursor_ms`` is the server's time, the next ``since`` (inclusive).
    """

    changed: tuple[Changed, ...]
    gone: tuple[Gone, ...]
    cursor_ms: int
    more: bool
    unreadable: tuple[Problem, ...] = ()
    """All that the server has and nobody here can read; their paths say what it is."""


class PullAsk(Struct, frozen=True):
    """A request for one block's updates. Without a state vector the full state is sent."""

    id: BlockId
    sync_version: int
    state_vector: bytes | None = None


class Pulled(Struct, frozen=True):
    """The answer for one block. ``full``: it is the whole state, not a difference."""

    id: BlockId
    sync_version: int
    update: bytes
    full: bool


class PullAnswer(Struct, frozen=True):
    """The blocks that fitted into one answer. A block in neither list must be requested again."""

    blocks: tuple[Pulled, ...]
    missing: tuple[BlockId, ...]


class Push(Struct, frozen=True):
    """An update for one version of a block's document."""

    id: BlockId
    sync_version: int
    update: bytes


class PushResult(Struct, frozen=True):
    """The server's answer to one pushed update (PROTOCOL §5)."""

    id: BlockId
    status: PushStatus
    sync_version: int
    remarks: tuple[str, ...] = ()
    """For people: what of an accepted update the server does not take (it stays in the file), or
    why it does not accept the update.
    """


class FileEntry(Struct, frozen=True):
    """One entry of ``files_v0``. ``key`` is the map's key, ``<hash>:<size>`` or the bare hash."""

    key: str
    hash: str
    """sha256 as 64 lower-case hex digits, '' if the document has none."""
    name: str
    size_bytes: int
    mime_type: str = "application/octet-stream"
    is_uploaded: bool = False


class Fields(Struct, frozen=True):
    """What a block's document holds besides its body (PROTOCOL §8)."""

    title: str
    tags: tuple[BlockId, ...]
    """Ids of the ``relations_v1`` entries of type ``tag``, sorted.

    Folders among them are the note's location.
    """
    files: tuple[FileEntry, ...]
    """Sorted by key."""
    deleted_at_ms: int | None = None
    permanently_deleted_at_ms: int | None = None
    public_id: str = ""
    """The id that the server gave the block, where files show that one (``Dialect``); else ''."""


LineBreaks = Literal["space", "break"]
"""What a line end inside a paragraph means: a space, or a line break."""

FENCES = ("---\n", "---\n")
"""The usual lines around front matter."""


class Lines(Struct, frozen=True):
    """The raw lines of one key of the front matter, with the comments above it.

    ``is_exact``: edits of two authors must not be merged, because merged lines would be normalised
    to others than these (broken YAML).
    """

    text: str
    is_exact: bool = False


class Source(Struct, frozen=True):
    """The text of a note's file as its author wrote it, to be kept in its document (PROTOCOL §8).

    Our own keys of the front matter are not in it, only their places.
    """

    body: str
    """What follows the front matter, with its line ends."""
    front: Mapping[str, Lines] = field(default_factory=dict)
    """The user's front matter, cut at its keys (``markdown.front_lines``)."""
    order: tuple[str, ...] = ()
    """The keys of ``front`` in the file's order. Our own keys are named only where they are not at
    their default places.
    """
    fences: tuple[str, str] = FENCES
    bom: bool = False
    line_breaks: LineBreaks = "space"


class StoredSource(Struct, frozen=True):
    """The source found in a document. Both are None when the document has none.

    ``problem``: for people, why the root does not hold a valid source.
    """

    source: Source | None = None
    problem: str | None = None


class MergedFile(Struct, frozen=True):
    """Three versions of a note's file merged into one.

    ``notices``: what a person should review, each for people.
    """

    data: bytes
    notices: tuple[str, ...] = ()


class HistoryLimits(Struct, frozen=True):
    """How long earlier texts of an account's notes are kept; the latest ones always are."""

    days: int = 90
    """Older ones are deleted."""
    mb: float = 200.0
    """The oldest beyond this size (in 10^6 bytes, compressed) are deleted."""


class Dialect(Struct, frozen=True):
    """How a kind of server differs from a Heaper server, as far as a mirror has to know."""

    public_ids: bool = False
    """Whether files show the ids that the server gave (``Fields.public_id``) instead of ours. A
    block has none until the server made it.
    """
    tag_blocks: bool = True
    """Whether tags are blocks. Otherwise ``tags`` in front matter is a key like any of the user's.
    """
    mentions: bool = True
    """Whether ``[[Name]]`` in a note mentions a block. Otherwise it is text."""
    content_hashes: bool = True
    """Whether ``FileEntry.hash`` is the sha256 of the content. Otherwise it only tells one version
    of a content from another.
    """
    at_root: bool = False
    """Whether the account has one heap, which is mirrored to the account's folder itself."""
    live: bool = True
    """Whether the server tells changes as they happen."""
    has_trash: bool = True
    """Whether the server keeps what is deleted. Otherwise a deletion is final there."""
    merge_files: Callable[[bytes, bytes, bytes], MergedFile] | None = None
    """Merges the base, our version and the server's version of a note's file, where documents of
    two ``sync_version``s are to be merged by the files they show. The base is b"" if it is not
    known: then everything of both is kept. None: they are merged as trees.
    """


HEAPER = Dialect()


class Stat(Struct, frozen=True):
    """A file's stat. Compare with ``agrees``."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Changes with every change, also of mode or name, and unlike mtime cannot be set back."""
    inode: int
    device: int

    def agrees(self, other: "Stat") -> bool:
        """Return whether the two stats show no difference.

        The device is ignored: many file systems get another number at each mount, and inode, ctime
        and mtime would have to match by chance.
        """
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode) == (
            other.size,
            other.mtime_ns,
            other.ctime_ns,
            other.inode,
        )

    def same_content(self, other: "Stat") -> bool:
        """Return whether the stats show no change of content. A rename changes only ctime."""
        return (self.size, self.mtime_ns, self.inode) == (other.size, other.mtime_ns, other.inode)

    @property
    def number(self) -> tuple[int, int]:
        """Device and inode: what identifies the file under any name."""
        return self.device, self.inode
