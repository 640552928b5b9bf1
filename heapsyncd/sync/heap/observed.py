"""What a scan found in the folder, and the changes recognised in it. Values."""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.paths import assets_owner


class Found(Struct, frozen=True):
    """A path on disk without an entry."""

    path: str
    kind: Literal["file", "dir"]
    inode: int
    """0 if it identifies nothing."""
    device: int
    size: int = 0
    front_id: str | None = None
    """The id in a note's front matter."""
    digest: bytes | None = None
    """The sha256 of the content; None if it was not read."""

    @property
    def number(self) -> tuple[int, int]:
        """Return the device and inode, as ``Stat.number``."""
        return self.device, self.inode

    @property
    def is_note(self) -> bool:
        """Return whether this is a note: a markdown file that is not among attachments."""
        return (
            self.kind == "file" and self.path.endswith(".md") and assets_owner(self.path) is None
        )


class Moved(Struct, frozen=True):
    """An entry's file is at another path now."""

    entry: EntryRow
    path: str


class Created(Struct, frozen=True):
    """A new path. ``copy_of``: its front matter names a block that still has another file."""

    found: Found
    copy_of: BlockId | None = None

    @property
    def path(self) -> str:
        """Return the path."""
        return self.found.path


class Vanished(Struct, frozen=True):
    """An entry's file is missing, and nothing replaced it."""

    entry: EntryRow


class Recognised(Struct, frozen=True):
    """The changes of the folder, in the order in which they have to be carried out."""

    moved: tuple[Moved, ...]
    created: tuple[Created, ...]
    """Directories before what is in them."""
    vanished: tuple[Vanished, ...]
    undecided: tuple[str, ...] = ()
    """Directories that may be known ones.

    Nothing is decided about them, and about what is in them, before all files are settled."""

    def in_order(self) -> Iterator[Moved | Created]:
        """Yield moves and new directories so that each can be carried out when its turn comes.

        What moves into a directory needs its block first, so outer directories come first. A file
        that was at a new directory's path moves before that.
        """
        away = {m.entry.path: m for m in self.moved if m.entry.role != "folder"}
        folders: list[Moved | Created] = [m for m in self.moved if m.entry.role == "folder"]
        folders += [c for c in self.created if c.found.kind == "dir"]
        for step in sorted(folders, key=lambda s: (s.path.count("/"), s.path)):
            if isinstance(step, Created) and step.path in away:
                yield away.pop(step.path)
            yield step
        yield from away.values()
