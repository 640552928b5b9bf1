"""What was seen in the folder, and the changes that were recognised in it. Values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.paths import assets_owner


@dataclass(frozen=True, slots=True)
class Found:
    """A path on the disk that we did not know."""

    path: str
    kind: Literal["file", "dir"]
    inode: int
    """0 when it tells nothing."""
    device: int
    size: int = 0
    front_id: str | None = None
    """The id in a note's front matter."""
    digest: bytes | None = None
    """sha256 of the content; None when nobody asked for it."""

    @property
    def number(self) -> tuple[int, int]:
        """As ``Stat.number``."""
        return self.device, self.inode

    @property
    def is_note(self) -> bool:
        """Whether this becomes a note: a markdown file anywhere but among attachments."""
        return (
            self.kind == "file" and self.path.endswith(".md") and assets_owner(self.path) is None
        )


@dataclass(frozen=True, slots=True)
class Moved:
    """An entry stands at another path now."""

    entry: EntryRow
    path: str


@dataclass(frozen=True, slots=True)
class Created:
    """Something new. ``copy_of``: its front matter names a block that still stands elsewhere."""

    found: Found
    copy_of: BlockId | None = None

    @property
    def path(self) -> str:
        """Where it stands."""
        return self.found.path


@dataclass(frozen=True, slots=True)
class Vanished:
    """An entry is gone and nothing took its place."""

    entry: EntryRow


@dataclass(frozen=True, slots=True)
class Recognised:
    """The changes of the folder, in the order they are to be carried out."""

    moved: tuple[Moved, ...]
    created: tuple[Created, ...]
    """Directories before what is in them."""
    vanished: tuple[Vanished, ...]
    undecided: tuple[str, ...] = ()
    """Directories that may be known ones, once all files are settled. Nothing is said of them,
    and of what is below, before that."""

    def in_order(self) -> Iterator[Moved | Created]:
        """Moves, and before them the new directories: what moves into one needs its block. Outer
        directories come first, and whoever stood where a directory is now before that.
        """
        away = {m.entry.path: m for m in self.moved if m.entry.role != "folder"}
        folders: list[Moved | Created] = [m for m in self.moved if m.entry.role == "folder"]
        folders += [c for c in self.created if c.found.kind == "dir"]
        for step in sorted(folders, key=lambda s: (s.path.count("/"), s.path)):
            if isinstance(step, Created) and step.path in away:
                yield away.pop(step.path)
            yield step
        yield from away.values()
