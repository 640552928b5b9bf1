"""What the place of a block in the folder says about its item. Pure.

A block is a new box, an item in a box or in the archive, a comment or a sidecar by the directory
that it is in and by its title.
"""

from msgspec.structs import replace

from heapsyncd.backends.oneheap.catalogue import ARCHIVE_ID, Catalogue
from heapsyncd.backends.oneheap.documents import Shown
from heapsyncd.cache.remote_items import Part
from heapsyncd.folder.item_names import ARCHIVE, COMMENTS_SUFFIX, is_box_name
from heapsyncd.folder.names import ASSETS_SUFFIX, collision_key, safe_name
from heapsyncd.ids import BlockId
from heapsyncd.items.values import Item

_ONLY_AT_TOP = "the service has boxes at the top only: this folder is not sent, nor what is in it"


class Misplaced(Exception):
    """Something has no place on the service; the message says why, for people."""


def directory_of(catalogue: Catalogue, what: Shown) -> tuple[str, Part] | None:
    """Return what a new directory is: the item and the part; None: a new box.

    Raises:
        Misplaced: it is nothing that the service has.
    """
    title, place = what.title, catalogue.place(what.folder)
    if title.casefold().endswith(COMMENTS_SUFFIX):
        owner = _beside(catalogue, title[: -len(COMMENTS_SUFFIX)], what.folder)
        if owner is None:
            raise Misplaced("there is no note beside it whose comments these could be")
        return owner.id, "comments"
    if title.casefold().endswith(ASSETS_SUFFIX):
        raise Misplaced("there is no note beside it whose attachments these could be")
    if what.folder is None:
        if collision_key(title) == collision_key(ARCHIVE):
            return ARCHIVE_ID, "archive"
        if is_box_name(title):
            return None
    elif place == (ARCHIVE_ID, "archive"):
        boxes = (item for item in catalogue.items.values() if item.type == "box")
        found = [box for box in boxes if safe_name(box.name) == title]
        if len(found) == 1:
            return found[0].id, "archived"
        raise Misplaced("no box has this name: items are archived in directories of their boxes")
    raise Misplaced(_ONLY_AT_TOP)


def sidecar_of(catalogue: Catalogue, what: Shown) -> Item | None:
    """Return the file item whose sidecar a new note is; None: it is a note of its own."""
    owner = _beside(catalogue, what.title, what.folder)
    if owner is None or owner.type != "file" or catalogue.has(owner.id, "sidecar"):
        return None
    return owner


def _beside(catalogue: Catalogue, name: str, folder: BlockId | None) -> Item | None:
    """Return the item in a directory whose file has a name; None for none or several."""
    found = [
        item
        for item in catalogue.items.values()
        if item.type != "comment"
        and not catalogue.is_attached(item)
        and name in {catalogue.title(item), safe_name(catalogue.title(item))}
        and catalogue.folder_of(item) == folder
    ]
    return found[0] if len(found) == 1 else None


def new_item(catalogue: Catalogue, what: Shown, title: str) -> Item:
    """Return the empty item that a new block is by its kind and place."""
    if what.kind == "folder":
        return Item("", "box", title)
    if what.kind == "file":
        return Item("", "file", title, filename=title)
    place = catalogue.place(what.folder)
    if place is not None and place[1] == "comments":
        return Item("", "comment", title, target_id=place[0])
    return Item("", "note", title)


def placed(catalogue: Catalogue, item: Item, folder: BlockId | None) -> Item:
    """Return an item in the box, or in the archive, that a directory is.

    Raises:
        Misplaced: the directory is none of the service's.
    """
    if folder is None:
        return replace(item, box_id=None, archived=False)
    place = catalogue.place(folder)
    if place is None:
        raise Misplaced(
            "the folder it is in is no box of the service: move it to the top or into a box"
        )
    owner, part = place
    return replace(item, box_id=None if part == "archive" else owner, archived=part != "item")


def why_unmovable(catalogue: Catalogue, item: Item, folder: BlockId | None) -> str | None:
    """Return why an item cannot go to a directory, for people; None if it can."""
    place = catalogue.place(folder)
    if item.type == "box":
        return "boxes are flat, and cannot be archived: it was put back"
    if item.type in {"comment", "sticky"} or (place is not None and place[1] == "comments"):
        return f"the service cannot move a {item.type} there: it was put back"
    return None
