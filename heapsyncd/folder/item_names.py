"""Names and places of items' files, as pure functions.

An item stands in the directory of its box, archived ones below ``Archive``. What belongs to an
item stands beside its file: attachments in ``X.assets``, comments in ``X.comments``. ``X`` is the
name of a note's file without ``.md``, and the whole name of any other file or directory. Where a
note and a directory have one ``X``, it belongs to the note.
"""

import re
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final, Literal

from msgspec import Struct

from heapsyncd.folder.names import (
    ASSETS_SUFFIX,
    NOTE_SUFFIX,
    SUBSTITUTE,
    collision_key,
    number_of,
    safe_name,
    split_suffix,
    variants,
)
from heapsyncd.items.values import Item

ARCHIVE: Final = "Archive"
COMMENTS_SUFFIX: Final = ".comments"
_OWNED: Final = (ASSETS_SUFFIX, COMMENTS_SUFFIX)
_FIRST_WORDS: Final = 40
"""The most characters of a text that name a nameless item."""
_MARKUP: Final = re.compile(r"^\W+", re.MULTILINE)
_MOST_BYTES: Final = 230
"""Of the name of a file or box; with a number and ``.comments`` it stays below 255."""

Role = Literal["item", "attachment", "comment", "sidecar"]


class Spot(Struct, frozen=True):
    """What a path says by its place.

    ``box``: the name of the box's directory, '' at the top. ``owner``: the path of what an
    attachment, comment or sidecar belongs to, '' for an item of its own; that of a note lacks its
    ``.md``. ``is_nested``: it is where nothing is synced, as in a directory inside a box.
    """

    role: Role
    box: str
    archived: bool
    owner: str = ""
    is_nested: bool = False


def box_name(name: str) -> str:
    """Return the directory's name for a box, before it is made unique."""
    return _not_reserved(_with_room(safe_name(name)))


def is_box_name(directory: str) -> bool:
    """Tell whether a directory at the top can be a box."""
    return _owned_suffix(directory) is None and not _is_archive(directory)


def item_title(item: Item) -> str:
    """Return what an item's file is called by: its name, else its date or its first words."""
    if item.name.strip():
        return item.name
    if item.date is not None:
        return day_text(item.date)
    if item.type == "file":
        return item.filename
    return first_words(item.body or item.description)


def day_text(date: datetime) -> str:
    """Return the day of a date, as in ``2026-12-01``."""
    return date.astimezone(UTC).date().isoformat()


def first_words(text: str) -> str:
    """Return the first words of a text, without the markup before them; '' if it has none."""
    words = _MARKUP.sub("", text[:4096]).split()
    out = ""
    for word in words:
        longer = f"{out} {word}" if out else word
        if len(longer) > _FIRST_WORDS:
            break
        out = longer
    return out or "".join(words[:1])[:_FIRST_WORDS]


def file_name(item: Item) -> str:
    """Return the name of an item's file, before it is made unique."""
    if item.type == "box":
        return box_name(item.name)
    if item.type == "file":
        # A file must not pass for a note or a sidecar; a directory of something owned neither.
        name = _not_reserved(_with_room(safe_name(item.filename or item.name)))
        return f"{name}{SUBSTITUTE}" if name.casefold().endswith(NOTE_SUFFIX) else name
    return safe_name(item_title(item), suffix=NOTE_SUFFIX)


def could_be_named(title: str, name: str) -> bool:
    """Tell whether a note's file has the name that is made from a title, or a variant of it."""
    base = safe_name(title, suffix=NOTE_SUFFIX)
    return number_of(name, base, suffix=NOTE_SUFFIX) is not None


def unique_names(items: Iterable[Item], known: Mapping[str, str]) -> dict[str, str]:
    """Return the file names of the items of one directory, by id.

    No two are equal on a file system that ignores case or normalisation, and none has the name of
    another one's sidecar. The result does not depend on the order of the items.

    Args:
        items: all of the directory.
        known: the present names, by id. A name that still says the item, or that a nameless item
            was given, is kept.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    waiting: list[Item] = []
    for item in sorted(items, key=lambda i: i.id):
        now = known.get(item.id)
        if now is not None and _fits(item, now) and collision_key(now) not in taken:
            names[item.id] = now
            taken |= _claims(item, now)
        else:
            waiting.append(item)
    for item in waiting:
        wanted = file_name(item)
        suffix = NOTE_SUFFIX if is_note(item) else split_suffix(wanted)[1]
        name = next(n for n in variants(wanted, suffix) if not taken & _claims(item, n))
        names[item.id] = name
        taken |= _claims(item, name)
    return names


def is_note(item: Item) -> bool:
    """Tell whether an item's file is markdown."""
    return item.type not in {"file", "box"}


def item_place(item: Item, box: str | None, name: str) -> str:
    """Return an item's path.

    Args:
        item: the item.
        box: the name of its box's directory; None: it is in no box.
        name: its file's name.
    """
    parts = [ARCHIVE] if item.archived else []
    return "/".join([*parts, *([box] if box else []), name])


def assets_place(path: str) -> str:
    """Return the directory of the attachments of what stands at a path."""
    return _stem(path) + ASSETS_SUFFIX


def comments_place(path: str) -> str:
    """Return the directory of the comments on what stands at a path."""
    return _stem(path) + COMMENTS_SUFFIX


def sidecar_place(path: str) -> str:
    """Return the path of the sidecar of a file."""
    return path + NOTE_SUFFIX


def spot_of(path: str, files: Container[str] = frozenset()) -> Spot:
    """Return what a path says by its place.

    Args:
        path: of a file, relative to the mirror.
        files: the paths of the items that are files; beside one, ``X.md`` is a sidecar.
    """
    at = PurePosixPath(path)
    parts = at.parts[:-1]
    archived = bool(parts) and _is_archive(parts[0])
    inner = parts[1:] if archived else parts
    box = inner[0] if inner and is_box_name(inner[0]) else ""
    rest = inner[1:] if box else inner
    is_nested = any(_owned_suffix(part) is None for part in rest)
    is_markdown = path.endswith(NOTE_SUFFIX)
    if is_markdown and path.removesuffix(NOTE_SUFFIX) in files:
        return Spot("sidecar", box, archived, path.removesuffix(NOTE_SUFFIX), is_nested)
    suffix = _owned_suffix(rest[-1]) if rest else None
    if suffix is None:
        return Spot("item", box, archived, "", is_nested)
    owner = str(at.parent)[: -len(suffix)]
    if suffix == ASSETS_SUFFIX:
        return Spot("attachment", box, archived, owner, is_nested)
    # Among comments, other files have no place.
    return Spot("comment", box, archived, owner, is_nested or not is_markdown)


def _owned_suffix(directory: str) -> str | None:
    return next((s for s in _OWNED if directory.casefold().endswith(s)), None)


def _is_archive(name: str) -> bool:
    return collision_key(name) == collision_key(ARCHIVE)


def _stem(path: str) -> str:
    return path.removesuffix(NOTE_SUFFIX)


def _not_reserved(name: str) -> str:
    return name if is_box_name(name) else f"{name}{SUBSTITUTE}"


def _with_room(name: str) -> str:
    """Return a name short enough for a number, and for ``.comments`` behind its suffix."""
    if len(name.encode()) <= _MOST_BYTES:
        return name
    import regex

    stem, suffix = split_suffix(name)
    kept = ""
    for grapheme in regex.findall(r"\X", stem):
        if len(f"{kept}{grapheme}{suffix}".encode()) > _MOST_BYTES:
            break
        kept += grapheme
    return safe_name((kept or stem[:_FIRST_WORDS]) + suffix)


def _fits(item: Item, name: str) -> bool:
    """Tell whether an item may keep a name: it still says the item, or it was given for good."""
    if is_note(item) != name.endswith(NOTE_SUFFIX):
        return False
    if is_note(item) and not item.name.strip():
        return True
    wanted = file_name(item)
    suffix = NOTE_SUFFIX if is_note(item) else split_suffix(wanted)[1]
    return number_of(name, wanted, suffix=suffix) is not None


def _claims(item: Item, name: str) -> set[str]:
    """Return the names that a file takes: its own, and its sidecar's."""
    own = {collision_key(name)}
    return own | {collision_key(name + NOTE_SUFFIX)} if item.type == "file" else own
