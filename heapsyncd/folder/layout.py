"""Compute the path of each block, a pure function of the blocks and their current paths.

Each directory is filled in three rounds, each in the order of the block ids. So the result does
not depend on the input's order, and a new name never takes a path that is in use:

1. Blocks already in this directory keep their name if it still fits their title.

2. Blocks that come from another directory keep their name if it equals their title.

3. All others get the first free variant of the name made from their title.

Then *twins*, blocks with the same preferred name, are numbered by their ids if one of them is new.
So two devices that each gave the plain name to their own note agree on which one keeps it.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from heapsyncd.folder.names import (
    ASSETS_SUFFIX,
    NOTE_SUFFIX,
    carries,
    collision_key,
    number_of,
    safe_name,
    split_suffix,
    variant,
    variants,
)
from heapsyncd.ids import BlockId
from heapsyncd.model import BlockKind

MAX_DIRECTORY_BYTES = 2048
"""A directory with a longer path is placed at the top: most programs fail at 4096 bytes."""

_NAME_BYTES = 255
_MARK_BYTES = 16
"""The most that making a name safe and unique adds to a title."""


class Placed(Struct, frozen=True):
    """A live block to place. Tags have no path."""

    id: BlockId
    kind: BlockKind
    title: str
    folder: BlockId | None
    """The folder block that contains it; None or the id of no placed folder means the top."""
    titled: str | None = None
    """The title that its current path was made for.

    While the title stays the same, so does the name.

    None if unknown; then ``Boat (2).md`` counts as made for the title ``Boat``.
    """


def place(
    blocks: Iterable[Placed],
    current: Mapping[BlockId, str],
) -> dict[BlockId, str]:
    """Return a path for every block, relative to the heap's folder, with ``/``.

    No two paths are equal on a file system that ignores case or normalisation.

    Args:
        blocks: all blocks of the heap that need a path.
        current: the blocks' current paths. Names of blocks that are not in ``blocks`` are free.
    """
    placed = {b.id: b for b in blocks if b.kind != "tag"}
    children: dict[BlockId | None, list[Placed]] = defaultdict(list)
    parents = _parents(placed)
    for block in sorted(placed.values(), key=lambda b: b.id):
        children[parents[block.id]].append(block)
    paths: dict[BlockId, str] = {}
    directories: list[tuple[BlockId | None, str]] = [(None, "")]
    while directories:
        folder, path = directories.pop()
        was = "" if folder is None else current.get(folder)
        names = _fill(children[folder], current, was)
        for block in children[folder]:
            paths[block.id] = f"{path}/{names[block.id]}" if path else names[block.id]
            if block.kind == "folder":
                directories.append((block.id, paths[block.id]))
    return paths


def _fill(
    blocks: Sequence[Placed],
    current: Mapping[BlockId, str],
    directory: str | None,
) -> dict[BlockId, str]:
    """Return the names of the blocks in one directory.

    ``directory`` is its current path, None if it does not exist yet.
    """
    names: dict[BlockId, str] = {}
    taken: set[str] = set()

    def give(block: Placed, name: str) -> None:
        names[block.id] = name
        taken.add(collision_key(name))

    moving: list[tuple[Placed, str]] = []
    others: list[Placed] = []
    for block in blocks:
        where, _, name = current.get(block.id, "").rpartition("/")
        if not name or not fits(block, name):
            others.append(block)
        elif where == directory and collision_key(name) not in taken:
            give(block, name)
        elif _equals_title(block, name):
            moving.append((block, name))
        else:
            others.append(block)
    for block, name in moving:
        if collision_key(name) in taken:
            others.append(block)
        else:
            give(block, name)
    # Names once skipped stay taken, because nothing is freed while a directory is filled. So
    # each iterator can go on where it stopped.
    spellings: dict[tuple[str, str], Iterator[str]] = {}
    for block in sorted(others, key=lambda b: b.id):
        target = _preferred_name(block)
        key = (target, _suffix(block, target))  # a file's number precedes its suffix
        free = spellings.setdefault(key, variants(*key))
        give(block, next(name for name in free if collision_key(name) not in taken))
    if any(" (" in names[b.id] for b in others):
        _renumber_twins(blocks, {b.id for b in others}, names)
    return names


def _renumber_twins(
    blocks: Iterable[Placed], arrived: Container[BlockId], names: dict[BlockId, str]
) -> None:
    """Number twins again from the first new one on: smaller ids get smaller numbers."""
    groups: dict[tuple[str, str], dict[Placed, int]] = defaultdict(dict)
    for block in sorted(blocks, key=lambda b: b.id):
        target = _preferred_name(block)
        suffix = _suffix(block, target)
        group = groups[collision_key(target), suffix]
        number = number_of(names[block.id], target, suffix=suffix)
        if number is not None and (group or block.id in arrived):
            group[block] = number
    for (_, suffix), numbers in groups.items():
        pairs = zip(numbers, sorted(numbers.values()), strict=True)
        dealt = {b.id: variant(_preferred_name(b), n, suffix=suffix) for b, n in pairs}
        old = {collision_key(names[i]) for i in dealt}
        if old == {collision_key(n) for n in dealt.values()}:  # names cut for length may differ
            names.update(dealt)


def fits(block: Placed, name: str) -> bool:
    """Return whether a block that has this name may keep it."""
    is_note = name.endswith(NOTE_SUFFIX)
    if is_note != (block.kind == "document") and block.kind != "folder":
        return False
    if block.kind != "document" and name.casefold().endswith(ASSETS_SUFFIX):
        return False
    if _equals_title(block, name):
        return True
    if block.titled is not None:
        return block.titled == block.title
    target = _preferred_name(block)
    return number_of(name, target, suffix=_suffix(block, target)) is not None


def _equals_title(block: Placed, name: str) -> bool:
    stem = name.removesuffix(NOTE_SUFFIX) if block.kind == "document" else name
    return carries(stem, block.title)


def _preferred_name(block: Placed) -> str:
    """Return the name made from the title."""
    if block.kind == "document":
        return safe_name(block.title, suffix=NOTE_SUFFIX)
    name = safe_name(block.title)
    # A file block must not look like a note, or a rebuilt cache would make it one.
    return f"{name}_" if block.kind == "file" and name.endswith(NOTE_SUFFIX) else name


def _suffix(block: Placed, name: str) -> str:
    match block.kind:
        case "document":
            return NOTE_SUFFIX
        case "file":
            return split_suffix(name)[1]
        case _:
            return ""


def _parents(placed: Mapping[BlockId, Placed]) -> dict[BlockId, BlockId | None]:
    """Return each block's folder, with cycles and overlong paths removed."""
    parents: dict[BlockId, BlockId | None] = {}
    for block in placed.values():
        folder = placed.get(block.folder) if block.folder is not None else None
        parents[block.id] = folder.id if folder is not None and folder.kind == "folder" else None
    lengths: dict[BlockId, int] = {}
    for block in sorted(placed.values(), key=lambda b: b.id):
        if block.kind != "folder":
            continue
        for step in reversed(_chain(block.id, parents, lengths)):
            parent = parents[step]
            own = min(_NAME_BYTES, _size(placed[step].title) + _MARK_BYTES) + 1
            if parent is not None and lengths[parent] + own > MAX_DIRECTORY_BYTES:
                parent = parents[step] = None
            lengths[step] = own if parent is None else lengths[parent] + own
    return parents


def _chain(
    start: BlockId, parents: dict[BlockId, BlockId | None], done: Container[BlockId]
) -> list[BlockId]:
    """Return the folders from ``start`` up to one that is done or at the top, cutting cycles."""
    chain: dict[BlockId, None] = {}
    step: BlockId | None = start
    while step is not None and step not in done:
        if step in chain:
            order = list(chain)
            # Cut at the cycle's smallest id, so that the result does not depend on the start.
            parents[min(order[order.index(step) :])] = None
            return _chain(start, parents, done)
        chain[step] = None
        step = parents[step]
    return list(chain)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
