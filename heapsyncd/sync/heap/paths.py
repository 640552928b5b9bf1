"""What a path says by its name alone: attachments, and parked blocks."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from heapsyncd.ids import BlockId

ASSETS = ".assets"
"""The suffix of a note's attachment directory."""
PARKING_PREFIX = ".heapsyncd-move-"
"""The prefix of the temporary names of parked blocks."""


def assets_owner(path: str) -> str | None:
    """Return the path of the note that an attachment's path belongs to; None for other paths.

    ``a/Boat.assets/p.pdf`` belongs to ``a/Boat.md``.
    """
    # Asked several times of every path of a scan: a ``PurePath`` takes twenty times as long.
    parent = path.rpartition("/")[0]
    is_assets = parent.endswith(ASSETS) and parent.rpartition("/")[2] != ASSETS
    return parent.removesuffix(ASSETS) + ".md" if is_assets else None


def assets_of(note_path: str) -> str:
    """Return a note's attachment directory: ``a/Boat.assets`` for ``a/Boat.md``."""
    return note_path.removesuffix(".md") + ASSETS


def link_path(path: str) -> str:
    """Return the path of a note as a link names it."""
    return path.removesuffix(".md")


def last_part(path: str) -> str:
    """Return the last part of a path; a ``PurePath`` takes much longer."""
    return path.rpartition("/")[2]


def parking_path(block: BlockId, path: str) -> str:
    """Return the hidden path in the heap's root under which a block is parked."""
    return f"{PARKING_PREFIX}{block}{PurePosixPath(path).suffix}"


def is_occupied(path: str, taken: Mapping[str, str]) -> bool:
    """Return whether something else is at a path, or a file where one of its directories was."""
    return path in taken or any(taken.get(str(p)) == "file" for p in PurePosixPath(path).parents)


def inside(root: Path, paths: Iterable[str | Path]) -> list[str]:
    """Return the absolute paths that are in a heap's folder, relative to it, each once."""
    roots = (root, root.resolve())
    found = {
        Path(p).relative_to(r).as_posix()
        for p in paths
        for r in roots
        if Path(p).is_relative_to(r)
    }
    return sorted(found)
