"""The names of one heap in memory: which block is at which path, and what a link's name means.

Loaded from the cache once, then updated with each commit. Every question is a look-up.
"""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct

from heapsyncd.cache import blocks, entries, remote_items
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.folder.layout import Placed
from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId, HeapId, is_ulid
from heapsyncd.markdown.frontmatter import Front
from heapsyncd.model import HEAPER, BlockKind, Dialect, Stat
from heapsyncd.sync.heap.groups import Groups
from heapsyncd.sync.heap.path_tree import PathTree
from heapsyncd.sync.heap.paths import PARKING_PREFIX, last_part, link_path

PLACED_ROLES = ("note", "folder", "file")
CONTENT_ROLES = ("file", "attachment")
_UNLINKABLE = frozenset("[]|\n")


class BlockInfo(Struct, frozen=True):
    """What the index knows of a block."""

    kind: BlockKind
    title: str
    folder: BlockId | None
    live: bool


class Index:
    """Blocks, entries and names of one heap."""

    def __init__(
        self,
        blocks: Iterable[BlockState] = (),
        entries: Iterable[EntryRow] = (),
        aliases: Mapping[str, BlockId] | None = None,
        unsent: Collection[BlockId] = (),
        dialect: Dialect = HEAPER,
        former_ids: Mapping[str, BlockId] | None = None,
    ) -> None:
        self.dialect = dialect
        """How the heap's server differs from a Heaper server."""
        self.blocks: dict[BlockId, BlockInfo] = {}
        self.born: set[BlockId] = set()
        """Blocks created here that the server does not know."""
        self.unsent: set[BlockId] = set()
        """Blocks with edits that the server has not acknowledged."""
        self.wanted: set[BlockId] = set()
        """Blocks of which the server has a newer state."""
        self.stale: set[BlockId] = set()
        """Blocks whose newest state is not in the folder yet."""
        self.troubled: dict[BlockId, str] = {}
        """Blocks with problems, and the reasons."""
        self.entries: dict[str, EntryRow] = {}
        self.stats: dict[str, Stat] = {}
        """The stamps of files and directories as last agreed with the disk."""
        self.remote: set[str] = set()
        """Paths whose contents stay on the server."""
        self.moving: set[str] = set()
        """Paths whose contents have to be sent or fetched."""
        self.parked: set[str] = set()
        """Temporary paths of parked blocks."""
        self.unplaced: set[BlockId] = set()
        """Live blocks that should have a path and have none."""
        self.doomed: set[BlockId] = set()
        """Blocks that are not live and still have a path."""
        self.notes = self.contents = 0
        """The number of live notes, and that of files that are no notes."""
        self.folders: set[str] = set()
        """The paths that are directories."""
        self.path_of: dict[BlockId, str] = {}
        self.attachments: dict[BlockId, dict[str, str]] = defaultdict(dict)
        """For each note, paths by files_v0 key."""
        self.aliases = dict(aliases or {})
        self.retitled: dict[BlockId, str] = {}
        """The titles blocks had when they got their present paths, if they have others now."""
        self.tree = PathTree()  # of all entries
        self._planned: dict[BlockId, str] = {}
        self._by_stem = Groups[BlockId]()
        self._by_path = Groups[tuple[str, BlockId]]()
        self._tags: dict[str, set[BlockId]] = defaultdict(set)
        """The live tag blocks, by title."""
        self._public_ids: dict[BlockId, str] = {}
        self._by_public_id: dict[str, BlockId] = dict(former_ids or {})
        """Also by former ids, and of blocks that were forgotten: files may still show these."""
        for block in blocks:
            self.add_block(block)
            self.set_status(block, unsent=block.id in unsent)
        for entry in entries:
            self.put(entry)

    @classmethod
    def of_heap(cls, tx: Tx, heap_id: HeapId, dialect: Dialect = HEAPER) -> "Index":
        """Load a heap's index from the cache."""
        return cls(
            blocks.of_heap(tx, heap_id),
            entries.of_heap(tx, heap_id),
            entries.aliases(tx, heap_id),
            frozenset(blocks.unsent(tx, heap_id)),
            dialect,
            remote_items.gone_ids(tx, heap_id) if dialect.public_ids else None,
        )

    def add_block(self, block: BlockState) -> bool:
        """Take over a new or changed row; return whether that may change paths."""
        live = block.deleted_at_ms is None
        old = self.blocks.get(block.id)
        if old is not None and old.title != block.title and block.id in self.path_of:
            self.retitled.setdefault(block.id, old.title)
        was_live = old is not None and old.live
        if block.kind == "document":
            self.notes += live - was_live
        new = BlockInfo(block.kind, block.title, block.folder_id, live)
        self._public_ids[block.id] = block.public_id
        if block.public_id:
            self._by_public_id[block.public_id] = block.id
        self._untag(block.id)
        self.blocks[block.id] = new
        if live and block.kind == "tag":
            self._tags[block.title].add(block.id)
        self._house(block.id)
        return old != new

    def set_status(self, block: BlockState, *, unsent: bool) -> None:
        """Take over what a block's new or changed row says about pending work and problems."""
        for ids, holds in (
            (self.born, block.born_here),
            (self.unsent, unsent),
            (self.wanted, block.wanted > 0),
            (self.stale, block.stale),
        ):
            (ids.add if holds else ids.discard)(block.id)
        if block.problem is None:
            self.troubled.pop(block.id, None)
        else:
            self.troubled[block.id] = block.problem

    def sendable(self) -> set[BlockId]:
        """Return the blocks whose unsent edits can be sent now."""
        return self.unsent - self.born - self.wanted - self.troubled.keys()

    def forget(self, block: BlockId) -> None:
        """Remove a block, whose entries are removed already."""
        for ids in (self.born, self.unsent, self.wanted, self.stale):
            ids.discard(block)
        self.troubled.pop(block, None)
        self._untag(block)
        known = self.blocks.pop(block, None)
        if known is not None and known.kind == "document":
            self.notes -= known.live
        self._unplan(block)
        self._house(block)
        self.retitled.pop(block, None)
        self.attachments.pop(block, None)
        self._public_ids.pop(block, None)

    def put(self, entry: EntryRow) -> None:
        """Take over a new or changed entry."""
        self.drop(entry.path)
        self.entries[entry.path] = entry
        self.contents += entry.role in CONTENT_ROLES
        self.tree.add(entry.path)
        stat = entry.stat
        if stat is not None:
            self.stats[entry.path] = stat
        if entry.todo == "remote":
            self.remote.add(entry.path)
        elif entry.todo is not None:
            self.moving.add(entry.path)
        if entry.path.startswith(PARKING_PREFIX):
            self.parked.add(entry.path)
        if entry.role == "folder":
            self.folders.add(entry.path)
        if entry.role in PLACED_ROLES:
            self._unplan(entry.block_id)
            self.path_of[entry.block_id] = entry.path
            self._name(entry.block_id, entry.path)
            self._house(entry.block_id)
        elif entry.key is not None:
            self.attachments[entry.block_id][entry.key] = entry.path

    def drop(self, path: str) -> EntryRow | None:
        """Remove an entry and return it; None if there is none."""
        entry = self.entries.pop(path, None)
        if entry is None:
            return None
        self.contents -= entry.role in CONTENT_ROLES
        self.tree.drop(path)
        self.stats.pop(path, None)
        for paths in (self.remote, self.moving, self.parked, self.folders):
            paths.discard(path)
        if entry.role in PLACED_ROLES:
            if self.path_of.get(entry.block_id) == path:
                del self.path_of[entry.block_id]
            self._unname(entry.block_id, path)
            self._house(entry.block_id)
        elif entry.key is not None and self.attachments[entry.block_id].get(entry.key) == path:
            del self.attachments[entry.block_id][entry.key]
        return entry

    def plan(self, places: Mapping[BlockId, str]) -> list[BlockId]:
        """Take over the future paths of blocks: links to notes without a file use them already.

        Returns:
            The blocks that have another future path now.
        """
        for block in [b for b in self._planned if self._planned[b] != places.get(b)]:
            self._unplan(block)
        new = [b for b in places if b not in self.path_of and b not in self._planned]
        for block in new:
            self._planned[block] = places[block]
            self._name(block, places[block])
        return new

    @contextlib.contextmanager
    def expecting(self, places: Mapping[BlockId, str]) -> Iterator[None]:
        """Let links find notes that are about to be stored at these paths.

        The paths of those that are not stored when the block ends are forgotten.
        """
        for block, path in places.items():
            self._unplan(block)
            self._planned[block] = path
            self._name(block, path)
        try:
            yield
        finally:
            for block in places:
                self._unplan(block)

    def _untag(self, block: BlockId) -> None:
        known = self.blocks.get(block)
        if known is not None and known.kind == "tag" and known.live:
            tags = self._tags[known.title]
            tags.discard(block)
            if not tags:
                del self._tags[known.title]

    def _unplan(self, block: BlockId) -> None:
        path = self._planned.pop(block, None)
        if path is not None:
            self._unname(block, path)

    def _name(self, block: BlockId, path: str) -> None:
        name = link_path(path)
        self._by_path.add(collision_key(name), (path, block))
        self._by_stem.add(collision_key(last_part(name)), block)

    def _unname(self, block: BlockId, path: str) -> None:
        name = link_path(path)
        self._by_path.discard(collision_key(name), (path, block))
        self._by_stem.discard(collision_key(last_part(name)), block)

    def _house(self, block: BlockId) -> None:
        known, has_path = self.blocks.get(block), block in self.path_of
        is_live = known is not None and known.live
        should = known is not None and is_live and known.kind != "tag"
        (self.unplaced.add if should and not has_path else self.unplaced.discard)(block)
        (self.doomed.add if has_path and not is_live else self.doomed.discard)(block)

    def paths_of(self, block: BlockId) -> list[str]:
        """Return the paths of a block's file and its attachments; none if it has no file."""
        path = self.path_of.get(block)
        return [] if path is None else [path, *self.attachments.get(block, {}).values()]

    def below(self, path: str) -> list[EntryRow]:
        """Return the entries inside a directory, at any depth."""
        return [self.entries[p] for p in self.tree.below(path)]

    def placed(self, among: Iterable[BlockId] | None = None) -> list[Placed]:
        """Return every live block that has, or should have, a path; or those among some blocks."""
        found = ((i, self.blocks[i]) for i in (self.blocks if among is None else among))
        live = ((i, k) for i, k in found if k.live and k.kind != "tag")
        return [Placed(i, k.kind, k.title, k.folder, self.retitled.get(i)) for i, k in live]

    def folder_at(self, path: str) -> BlockId | None:
        """Return the folder block of a directory; None for the heap's root or an unknown one."""
        entry = self.entries.get(path)
        return entry.block_id if entry is not None and entry.role == "folder" else None

    def has_twin(self, path: str) -> bool:
        """Return whether another path has the same name for links."""
        return len(self._by_path.of(collision_key(link_path(path)))) > 1

    def files(self) -> int:
        """Return the number of files in the heap's folder."""
        return len(self.entries) - len(self.folders)

    def is_live(self, block: BlockId) -> bool:
        """Return whether a block is known and not deleted."""
        known = self.blocks.get(block)
        return known is not None and known.live

    def shown_id(self, block: BlockId, public_id: str | None = None) -> str | None:
        """Return the id that a block's file shows; None if it shows none.

        Args:
            block: the block.
            public_id: the one in a document of the block, if that may not be stored yet.
        """
        if not self.dialect.public_ids:
            return block
        return (self._public_ids.get(block) if public_id is None else public_id) or None

    def ids_in(self, front: Front) -> tuple[str, ...]:
        """Return the values in a file's front matter that may be the id of its block."""
        return front.id_values if self.dialect.public_ids else front.ids

    def is_shown_id(self, value: str) -> bool:
        """Return whether a value is an id that files of this heap show."""
        return value in (self._by_public_id if self.dialect.public_ids else self.blocks)

    def block_with_id(self, value: str) -> BlockId | None:
        """Return the block whose files show an id; None for none that is known."""
        found = self._by_public_id.get(value) if self.dialect.public_ids else BlockId(value)
        return found if found in self.blocks else None

    def kind(self, block: BlockId) -> BlockKind | None:
        """Return a block's kind; None if it is unknown."""
        known = self.blocks.get(block)
        return None if known is None else known.kind

    def tag_named(self, title: str) -> BlockId | None:
        """Return the live tag block with this title (of several, the smallest id)."""
        return min(self._tags.get(title, ()), default=None)

    def tag_titles(self, tags: Iterable[BlockId]) -> list[str]:
        """Return the titles of the tag blocks among these, in the given order."""
        found = (self.blocks.get(t) for t in tags)
        return [k.title for k in found if k is not None and k.kind == "tag" and k.live and k.title]

    def path_for_links(self, block: BlockId) -> str | None:
        """Return the path that links to a block are named after: its present or its future one."""
        return self.path_of.get(block) or self._planned.get(block)

    def name_of(self, block: str) -> str | None:
        """Return the name for a link to a block: its file's name, or its path if ambiguous.

        None if the block has no path, or none that works as a link.
        """
        path = self.path_for_links(BlockId(block))
        if path is None:
            return None
        full = link_path(path)
        if _UNLINKABLE & set(full) or is_ulid(full):
            return None
        stem = last_part(full)
        for name in (stem, full):
            if self.block_of(name) == block:
                return name
        return None

    def namesakes(self, file_name: str) -> set[BlockId]:
        """Return the blocks that links may name otherwise when a file of this name comes or goes.

        Of more than two notes with one name, only one that needs no path can be.
        """
        name = link_path(file_name)
        alike = set(self._by_stem.of(collision_key(name)))
        if sum(1 for b in alike if self.kind(b) != "folder") <= 2:
            return alike
        return alike & {b for b in [self.block_of(name)] if b is not None}

    def block_of(self, name: str, *, folders: bool = True) -> BlockId | None:
        """Return the block that a link's name means; None for no block, or several.

        Args:
            name: the name, or a path.
            folders: a folder may be meant, where no note has this name.
        """
        key = link_key(name)
        # Of paths that differ only in case, the first one has the name, on every device.
        exact = [block for _, block in sorted(self._by_path.of(key))]
        for block in exact:
            if self.kind(block) != "folder":
                return block
        candidates = self._by_stem.of(key)
        # A block without a kind is a note that is about to be stored.
        notes = [c for c in candidates if self.kind(c) in {"document", None}]
        if exact and folders and not notes:
            return exact[0]
        others = [c for c in candidates if folders or self.kind(c) != "folder"]
        choice = notes or others
        return choice[0] if len(choice) == 1 else None


def link_key(name: str) -> str:
    """Return the key that all spellings of a link's name share."""
    return collision_key(name.strip().removesuffix(".md"))
