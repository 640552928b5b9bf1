"""The state of one account: its catalogue, its rows in the cache, and whose turn it is."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct, field
from msgspec.structs import replace

from heapsyncd.backends.oneheap.catalogue import Catalogue
from heapsyncd.backends.oneheap.documents import Shown, document, shown
from heapsyncd.backends.oneheap.shapes import encode
from heapsyncd.cache import remote_items
from heapsyncd.cache.remote_items import Part, RemoteFile, RemoteItem
from heapsyncd.database import Database, Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.items.values import Item
from heapsyncd.wire.oneheap.calls import Calls


class OneheapAccount(Struct):
    """What the parts of the backend share.

    ``turn`` is held while the service's items are read or written and the rows are changed: a
    page that was read before a write of ours must not be taken for a later state.
    """

    heap: HeapId
    db: Database
    calls: Calls
    catalogue: Catalogue
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    intents: dict[BlockId, RemoteItem] = field(default_factory=dict)
    """The rows of items that are being created."""
    unshown: dict[str, str] = field(default_factory=dict)
    """Items of which no file can be made, with the reasons."""
    date_s: float | None = None
    """The service's clock in its last answer to a search."""

    def now(self) -> datetime | None:
        """Return the service's time, as of its last answer; None before the first."""
        return None if self.date_s is None else datetime.fromtimestamp(self.date_s, UTC)

    async def row(self, block: BlockId) -> RemoteItem | None:
        """Return a block's row."""
        return await self.db.read(lambda tx: remote_items.get(tx, block))

    async def save(
        self,
        rows: Iterable[RemoteItem] = (),
        announced: Iterable[RemoteItem] = (),
        without: str = "",
    ) -> None:
        """Store rows, the second ones as changed just now, and the contents learnt meanwhile.

        ``without``: a content that the service does not have any more, or not under this id.
        """
        kept, news = list(rows), list(announced)
        self.catalogue.files.pop(without, None)
        files, self.catalogue.new_files = list(self.catalogue.new_files.values()), {}

        def store(tx: Tx) -> None:
            remote_items.save(tx, kept)
            remote_items.announce(tx, self.heap, news, time.time_ns() // 1_000_000)
            remote_items.put_files(tx, self.heap, files)
            remote_items.drop_files(tx, self.heap, [without])

        if kept or news or files or without:
            await self.db.write(store)
        for row in (*kept, *news):
            if row.intent:
                self.intents[row.block_id] = row
            else:
                self.intents.pop(row.block_id, None)

    async def load(self) -> None:
        """Take over what the cache has."""

        def read(tx: Tx) -> tuple[list[RemoteItem], list[RemoteFile]]:
            return remote_items.outline(tx, self.heap), remote_items.files(tx, self.heap)

        rows, files = await self.db.read(read)
        self.catalogue.load(rows, files)
        self.intents = {r.block_id: r for r in rows if r.intent}

    def remade(self, row: RemoteItem, what: Shown | None) -> RemoteItem | None:
        """Return a row that shows something else now; None if it already shows that.

        Args:
            row: the block.
            what: what it is to show; None: it is gone on the service.
        """
        if what is None:
            return None if row.gone else replace(row, gone="there", version=row.version + 1)
        if not row.gone and row.document != remote_items.EMPTY and self.shows(row) == what:
            return None
        return replace(row, gone="", version=row.version + 1, document=document(what), intent=b"")

    def shows(self, row: RemoteItem) -> Shown:
        """Return what a row's document shows."""
        return shown(row.kind, [row.document])

    def made(self, item_id: str, part: Part, what: Shown, type_: str) -> RemoteItem:
        """Return the row of a new block."""
        block = self.catalogue.block(item_id, part)
        return RemoteItem(block, self.heap, part, item_id, type_, b"", document=document(what))

    def with_item(self, row: RemoteItem, item: Item) -> RemoteItem:
        """Return an item's row with its newest state."""
        return replace(row, item=encode(item), item_id=item.id, type=item.type)

    async def rows_of(self, places: Sequence[tuple[str, Part]]) -> list[RemoteItem | None]:
        """Return the rows of parts of items, None where there is none."""
        return await self.db.read(
            lambda tx: [remote_items.of_item(tx, self.heap, i, part) for i, part in places]
        )
