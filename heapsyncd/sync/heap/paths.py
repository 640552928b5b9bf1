"""What a path of the folder says by its name alone: attachments, and blocks that are parked."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from heapsyncd.ids import BlockId

ASSETS = ".assets"
"""What the directory of a note's attachments ends in."""
PARKING_PREFIX = ".heapsyncd-move-"
"""How the names begin under which blocks wait until their places are free."""


def assets_owner(path: str) -> str | None:
    """The note's path to which an attachment's path belongs: ``a/Boat.assets/p.pdf`` to
    ``a/Boat.md``.
    """
    parent = PurePosixPath(path).parent
    if parent.name.endswith(ASSETS) and len(parent.name) > len(ASSETS):
        return str(parent.with_name(parent.name.removesuffix(ASSETS) + ".md"))
    return None


def assets_of(note_path: str) -> str:
    """The directory of a note's attachments: ``a/Boat.md`` to ``a/Boat.assets``."""
    return note_path.removesuffix(".md") + ASSETS


def parking_path(block: BlockId, path: str) -> str:
    """The hidden name under which a block waits, in the heap's root."""
    return f"{PARKING_PREFIX}{block}{PurePosixPath(path).suffix}"


def is_occupied(path: str, taken: Mapping[str, str]) -> bool:
    """Whether something else stands at a path, or a file where a directory above it was."""
    return path in taken or any(taken.get(str(p)) == "file" for p in PurePosixPath(path).parents)
