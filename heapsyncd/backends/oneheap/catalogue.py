"""Know which blocks there are of an account's items, and what each of them shows.

A block's id follows from its item's, so that a device whose cache is lost gets the same blocks.
Only blocks that were created on this device have another id until the cache is lost.
"""

import hashlib
from collections.abc import Container, Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace
from ulid import ULID

from heapsyncd.backends.oneheap.documents import Shown, item_data
from heapsyncd.backends.oneheap.shapes import decode
from heapsyncd.cache.remote_items import Part, RemoteFile, RemoteItem
from heapsyncd.folder.item_names import ARCHIVE, COMMENTS_SUFFIX, item_title
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.items.notation import Around, Links
from heapsyncd.items.values import Attachment, Item, ItemType
from heapsyncd.model import FileEntry

_FIRST_CHARS: Final = 200
"""Of a text, enough for the name of a nameless item."""
_MOST_REPLIES: Final = 100
"""A chain of replies is followed no further."""
ARCHIVE_ID: Final = "#archive"
"""Of the directory of archived items, in place of an item's id."""


def block_id(heap: HeapId, item_id: str, part: Part) -> BlockId:
    """Return the id of the block that is a part of an item of the service."""
    text = f"{heap}\0{part}\0{item_id}".encode()
    return BlockId(str(ULID(hashlib.sha256(text).digest()[:16])))


def heap_id(server: str, email: str) -> HeapId:
    """Return the id of the one heap that an account is."""
    digest = hashlib.sha256(f"{server}\0{email}".encode()).digest()
    return HeapId(str(ULID(digest[:16])))


def dated(modified: datetime | None) -> str:
    """Return a date as it is compared and stored; '' for none."""
    return "" if modified is None else modified.isoformat()


class Catalogue(Struct):
    """The account's items without their texts, and their blocks."""

    heap: HeapId
    boxes: tuple[str, ...] = ("*",)
    """Which boxes are mirrored: their ids, or globs of their names."""
    items: dict[str, Item] = field(default_factory=dict)
    """By id. Of their texts only the first words are kept."""
    files: dict[str, RemoteFile] = field(default_factory=dict)
    """Contents by the service's id."""
    new_files: dict[str, RemoteFile] = field(default_factory=dict)
    """Those of them that are not stored yet."""
    _blocks: dict[tuple[str, Part], BlockId] = field(default_factory=dict)
    _places: dict[BlockId, tuple[str, Part]] = field(default_factory=dict)
    _owned: dict[str, set[str]] = field(default_factory=dict)
    """For each item, those that name it as their parent, target or box."""
    _links: Links | None = None

    def load(self, rows: Iterable[RemoteItem], files: Iterable[RemoteFile]) -> None:
        """Take over what the cache has."""
        for row in rows:
            if row.gone:
                continue
            item = decode(row.item) if row.part == "item" else None
            if item is not None and item.id:
                self.put(item)
            if row.item_id:
                self.bind(row.block_id, row.item_id, row.part)
        self.files = {f.file_id: f for f in files}

    def put(self, item: Item) -> None:
        """Take over a new or changed item."""
        self._disown(item.id)
        short = {name: getattr(item, name)[:_FIRST_CHARS] for name in ("body", "description")}
        self.items[item.id] = replace(item, **short)
        for owner in self._owners(item):
            self._owned.setdefault(owner, set()).add(item.id)
        self._links = None

    def drop(self, item_id: str) -> None:
        """Forget an item."""
        self._disown(item_id)
        self.items.pop(item_id, None)
        self._links = None

    def bind(self, block: BlockId, item_id: str, part: Part = "item") -> None:
        """Remember which block is a part of an item."""
        self._blocks[item_id, part] = block
        self._places[block] = item_id, part

    def unbind(self, block: BlockId) -> None:
        """Forget a block."""
        place = self._places.pop(block, None)
        if place is not None and self._blocks.get(place) == block:
            del self._blocks[place]

    def block(self, item_id: str, part: Part = "item") -> BlockId:
        """Return the block that is a part of an item, whether it exists or will."""
        return self._blocks.get((item_id, part)) or block_id(self.heap, item_id, part)

    def has(self, item_id: str, part: Part) -> bool:
        """Tell whether a part of an item is a block."""
        return (item_id, part) in self._blocks

    def place(self, block: BlockId | None) -> tuple[str, Part] | None:
        """Return the item and the part that a block is; None if it is none that exists."""
        return None if block is None else self._places.get(block)

    def owned(self, item_id: str) -> list[Item]:
        """Return the items that name an item as their parent, target or box."""
        return [self.items[i] for i in sorted(self._owned.get(item_id, ())) if i in self.items]

    def is_attached(self, item: Item) -> bool:
        """Tell whether an item is an attachment, which is a content and no block."""
        return item.type == "file" and item.parent_id is not None

    def is_mirrored(self, item: Item) -> bool:
        """Tell whether the configuration asks for an item, and it has a place in the folder."""
        if self.is_attached(item):
            return False
        if item.type == "comment":
            root = self.root_of(item)
            return root is not None and self.is_mirrored(root)
        box = item if item.type == "box" else self._box_of(item)
        if box is None:
            return "*" in self.boxes
        return any(p == box.id or fnmatchcase(box.name, p) for p in self.boxes)

    def root_of(self, comment: Item) -> Item | None:
        """Return the item that a comment, or the comment it replies to, is about."""
        found: Item | None = comment
        for _ in range(_MOST_REPLIES):
            if found is None or found.type != "comment":
                return found
            found = self.items.get(found.target_id or "")
        return None

    def _box_of(self, item: Item) -> Item | None:
        if item.type == "sticky":
            parent = self.items.get(item.parent_id or "")
            if parent is None or parent.type in {"box", "sticky"}:
                return parent if parent is not None and parent.type == "box" else None
            return self._box_of(parent)
        box = self.items.get(item.box_id or "")
        return box if box is not None and box.type == "box" else None

    def folder_of(self, item: Item) -> BlockId | None:
        """Return the block of the directory that an item's file is in; None for the top."""
        if item.type == "box":
            return None
        if item.type == "comment":
            root = self.root_of(item)
            return None if root is None else self.block(root.id, "comments")
        return self._directory(self._box_of(item), archived=item.archived)

    def _directory(self, box: Item | None, *, archived: bool) -> BlockId | None:
        if not archived:
            return None if box is None else self.block(box.id)
        if box is None:
            return self.block(ARCHIVE_ID, "archive")
        return self.block(box.id, "archived")

    def directories(self, item: Item) -> Iterator[tuple[str, Part]]:
        """Yield the directories that have to exist for an item's file, outer ones first."""
        if item.type == "comment":
            root = self.root_of(item)
            if root is not None:
                yield from self.directories(root)
                yield root.id, "comments"
        elif item.type != "box" and item.archived:
            yield ARCHIVE_ID, "archive"
            box = self._box_of(item)
            if box is not None:
                yield box.id, "archived"

    def dependents(self, item_id: str) -> Iterator[tuple[str, Part]]:
        """Yield the blocks that show something of an item."""
        for part in ("item", "sidecar", "comments", "archived"):
            if part == "item" or self.has(item_id, part):
                yield item_id, part
        for other in self.owned(item_id):
            if other.type == "sticky":
                yield other.id, "item"

    def title(self, item: Item) -> str:
        """Return the title of an item's block."""
        return (item.filename or item.name) if item.type == "file" else item_title(item)

    def has_sidecar(self, item: Item) -> bool:
        """Tell whether a file item has something to say beside its content."""
        is_named = bool(item.name) and item.name != item.filename
        return item.type == "file" and bool(item.tags or item.description or is_named)

    def around(self, item: Item, now: datetime | None = None) -> Around:
        """Return the surroundings of an item's file."""
        default: ItemType = item.type if item.type in {"comment", "file"} else "note"
        root = self.root_of(item) if item.type == "comment" else None
        named = item.filename if item.type == "file" else item.name
        return Around(
            named,
            owns_title=item.type == "file",
            default_type=default,
            owner_id=None if root is None else root.id,
            links=self.links(),
            now=now,
        )

    def links(self) -> Links:
        """Return how items are named in links."""
        if self._links is None:
            self._links = Links.of(
                {
                    i: self.title(item)
                    for i, item in list(self.items.items())
                    if item.type != "file"
                }
            )
        return self._links

    def directory_shown(self, item_id: str, part: Part) -> Shown | None:
        """Return what a directory shows that stands for no item; None if its item is gone."""
        if part == "archive":
            return Shown("folder", ARCHIVE, None)
        owner = self.items.get(item_id)
        if owner is None:
            return None
        if part == "archived":
            return Shown("folder", owner.name, self.block(ARCHIVE_ID, "archive"))
        return Shown("folder", self.title(owner) + COMMENTS_SUFFIX, self.folder_of(owner))

    def item_shown(self, item: Item, part: Part, before: Shown | None) -> Shown:
        """Return what a block of an item shows.

        Args:
            item: the item, with its texts.
            part: ``item`` or ``sidecar``.
            before: what the block showed; its file's lines are kept where they say the same, and
                so are a nameless item's title and contents that are not uploaded yet.
        """
        folder, onto = self.folder_of(item), None if before is None else before.data
        if item.type == "box":
            return Shown("folder", item.name, None)
        if part == "sidecar":
            data = item_data(item, self.around(item), onto)
            return Shown("document", item.filename or item.name, folder, item.id, data)
        if item.type == "file":
            own = Attachment(
                item.id, item.name, item.filename, item.size, item.mime_type, item.modified
            )
            files = self._entries([own], item.id, before)
            return Shown("file", self.title(item), folder, "", None, files)
        title = self.title(item)
        if not item.name.strip() and before is not None and before.title:
            title = before.title
        files = self._entries(item.files, item.id, before)
        data = item_data(item, self.around(item), onto)
        return Shown("document", title, folder, item.id, data, files)

    def _entries(
        self, found: Iterable[Attachment], owner_id: str, before: Shown | None
    ) -> tuple[FileEntry, ...]:
        """Return the entries of files_v0, and learn the keys of contents that are new."""
        have = {f.key: f for f in before.files} if before is not None else {}
        entries: dict[str, FileEntry] = {}
        waiting = {f.key: f for f in have.values() if not f.is_uploaded}
        for one in found:
            was = self.files.get(one.id)
            known = self.known_file(one, owner_id, waiting)
            is_replaced = one.id == owner_id and known is was and bool(waiting)
            if known is None or (is_replaced and known.key not in have):
                continue  # whoever saved what waits to be sent saw this content
            sha256, _, _ = known.key.partition(":")
            name = one.filename or one.name or one.id
            mime = one.mime_type or "application/octet-stream"
            entry = FileEntry(known.key, sha256, name, known.size, mime, is_uploaded=True)
            old = have.get(known.key)
            if old is not None and old.name == name and old.is_uploaded:
                entry = old
            entries[known.key] = entry
        entries = waiting | entries
        return tuple(entries[key] for key in sorted(entries))

    def files_of(self, item_id: str) -> dict[str, RemoteFile]:
        """Return the contents that an item has on the service, by their keys."""
        return {
            f.key: f
            for f in list(self.files.values())
            if f.owner_id == item_id and not f.is_pending
        }

    def known_file(
        self, found: Attachment, owner_id: str, waiting: Container[str] = ()
    ) -> RemoteFile | None:
        """Return the content of a file as we know it; None for one that is not shown yet.

        A content that changed on the service gets another key. One that may be what is being
        attached from here waits until that is known; ``waiting``: the keys of what still is to be.
        """
        modified = dated(found.modified)
        known = self.files.get(found.id)
        if known is not None and (known.size, known.modified) == (found.size, modified):
            return known
        if known is None and (not found.size or self._may_be_ours(found, owner_id, waiting)):
            return None
        token = hashlib.sha256(f"{found.id}\0{found.size}\0{modified}".encode()).hexdigest()
        made = RemoteFile(found.id, owner_id, f"{token}:{found.size}", found.size, modified)
        self.put_file(made)
        return made

    def _may_be_ours(self, found: Attachment, owner_id: str, waiting: Container[str]) -> bool:
        return any(
            f.is_pending and f.key in waiting and (f.owner_id, f.size) == (owner_id, found.size)
            for f in list(self.files.values())
        )

    def put_file(self, file: RemoteFile) -> None:
        """Take over a content; it is stored with the next change."""
        self.files[file.file_id] = self.new_files[file.file_id] = file

    def _owners(self, item: Item) -> set[str]:
        return {o for o in (item.parent_id, item.target_id, item.box_id) if o}

    def _disown(self, item_id: str) -> None:
        old = self.items.get(item_id)
        for owner in self._owners(old) if old is not None else ():
            self._owned.get(owner, set()).discard(item_id)
