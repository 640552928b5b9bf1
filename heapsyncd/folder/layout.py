"""Where each block stands in the heap's folder; a pure function of blocks and present paths.

A directory is filled in three rounds, each in the order of the block ids, so that the result does
not depend on the order of the input and a new name never takes a path that somebody has:

1. blocks that stand there already, under a name that still fits their title;
2. blocks that bring a name along from another directory that says just their title;
3. all others, under the first free spelling of the name made from their title.

Then twins that came just now, and those after them, have their names in the order of their ids: on
two devices that each gave the plain name to their own note, the same one keeps it.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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
"""A directory with a longer path goes to the top: most programs end at 4096."""

_NAME_BYTES = 255
_MARK_BYTES = 16
"""What making a name safe and unique may add to a title."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A live block that is to have a place. Tags have none."""

    id: BlockId
    kind: BlockKind
    title: str
    folder: BlockId | None
    """The folder block it is in; None, or an id that is no placed folder: the top."""
    titled: str | None = None
    """The title its present path was made for: while that stays, so does the name. None: not
    known, then ``Boat (2).md`` is taken to be made for the title ``Boat``."""


def place(
    blocks: Iterable[Placed],
    current: Mapping[BlockId, str],
) -> dict[BlockId, str]:
    """Give every block its path, relative to the heap's folder, with ``/``.

    No two paths are the same to a file system that ignores case or normalisation.

    Args:
        blocks: all blocks of the heap that are to have a place.
        current: where blocks stand now. Names of blocks that are not in ``blocks`` are free.
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
    """The names in one directory. ``directory``: its present path; None: it is not there yet."""
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
        elif _says_title(block, name):
            moving.append((block, name))
        else:
            others.append(block)
    for block, name in moving:
        if collision_key(name) in taken:
            others.append(block)
        else:
            give(block, name)
    # What stays in the iterator is not taken yet: nothing is freed while a directory is filled.
    spellings: dict[tuple[str, str], Iterator[str]] = {}
    for block in sorted(others, key=lambda b: b.id):
        target = _target(block)
        key = (target, _suffix(block, target))  # a file's mark stands elsewhere than a folder's
        free = spellings.setdefault(key, variants(*key))
        give(block, next(name for name in free if collision_key(name) not in taken))
    if any(" (" in names[b.id] for b in others):
        _deal_to_twins(blocks, {b.id for b in others}, names)
    return names


def _deal_to_twins(
    blocks: Iterable[Placed], arrived: Container[BlockId], names: dict[BlockId, str]
) -> None:
    """Deal the names of twins anew, smaller numbers to smaller ids, from the first one that got
    its name just now.
    """
    groups: dict[tuple[str, str], dict[Placed, int]] = defaultdict(dict)
    for block in sorted(blocks, key=lambda b: b.id):
        target = _target(block)
        suffix = _suffix(block, target)
        group = groups[collision_key(target), suffix]
        number = number_of(names[block.id], target, suffix=suffix)
        if number is not None and (group or block.id in arrived):
            group[block] = number
    for (_, suffix), numbers in groups.items():
        pairs = zip(numbers, sorted(numbers.values()), strict=True)
        dealt = {b.id: variant(_target(b), n, suffix=suffix) for b, n in pairs}
        old = {collision_key(names[i]) for i in dealt}
        if old == {collision_key(n) for n in dealt.values()}:  # over-long ones may be cut apart
            names.update(dealt)


def fits(block: Placed, name: str) -> bool:
    """Whether a block may have this name, if it has it already."""
    is_note = name.endswith(NOTE_SUFFIX)
    if is_note != (block.kind == "document") and block.kind != "folder":
        return False
    if block.kind != "document" and name.casefold().endswith(ASSETS_SUFFIX):
        return False
    if _says_title(block, name):
        return True
    if block.titled is not None:
        return block.titled == block.title
    target = _target(block)
    return number_of(name, target, suffix=_suffix(block, target)) is not None


def _says_title(block: Placed, name: str) -> bool:
    stem = name.removesuffix(NOTE_SUFFIX) if block.kind == "document" else name
    return carries(stem, block.title)


def _target(block: Placed) -> str:
    """The name made from the title."""
    if block.kind == "document":
        return safe_name(block.title, suffix=NOTE_SUFFIX)
    name = safe_name(block.title)
    # A file that is no note must not look like one, or a rebuilt cache would make it one.
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
    """Each block's folder, without circles and without paths that are too long."""
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
    """The folders from ``start`` up to one that is done or at the top; a circle is cut."""
    chain: dict[BlockId, None] = {}
    step: BlockId | None = start
    while step is not None and step not in done:
        if step in chain:
            order = list(chain)
            # The smallest id of a circle comes to the top, wherever the walk entered it.
            parents[min(order[order.index(step) :])] = None
            return _chain(start, parents, done)
        chain[step] = None
        step = parents[step]
    return list(chain)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
