"""Let its owner, the demo and tests act on a server without the wire."""

import hashlib
from collections.abc import Collection, Sequence
from functools import partial

from heapsyncd.document.rebuild import rebuild
from heapsyncd.document.replica import Replica
from heapsyncd.errors import FolderTrouble
from heapsyncd.ids import BlockId, HeapId, new_block_id
from heapsyncd.model import BlockKind, FileEntry
from heapsyncd.server import data, transfers
from heapsyncd.server.accounts import Account
from heapsyncd.server.data import Access, Stored
from heapsyncd.server.heaps import HeapRow
from heapsyncd.server.loaded_documents import Batch, LoadedDocument
from heapsyncd.server.rows import Row
from heapsyncd.server.services import Services
from heapsyncd.server.sockets import Socket
from heapsyncd.server.uploads import mark_uploaded


class Admin:
    """Mixed into ``Server``. Every change takes the path of a client's change and reaches the
    sockets.
    """

    _services: Services
    _sockets: Collection[Socket]

    async def accept(self, public_key: str, name: str = "") -> None:
        """Let a key sign in, by a line in the ``accounts`` file; ConfigError if it is no key."""
        await self._list(public_key, name)

    async def refuse(self, public_key: str) -> None:
        """Shut a key out, by a line in the ``accounts`` file, and end its sign-ins at once."""
        await self._list(public_key, None)

    async def add_account(self, public_key: str, name: str = "") -> Account:
        """Accept a key (base58)."""
        return await self._services.accounts.add(public_key, name)

    def drop_sockets(self, code: int) -> None:
        """Close every WebSocket."""
        for socket in list(self._sockets):
            socket.close(code, "closed by the server")

    async def add_heap(self, title: str) -> HeapId:
        """Create a heap that every account may read and write."""
        return (await self._services.heaps.add(title)).id

    async def heaps(self) -> list[tuple[HeapRow, int]]:
        """Return every heap, oldest first, with the number of its notes and files."""
        counts = await self._services.db.read(data.counts)
        return [(heap, counts.get(heap.id, 0)) for heap in self._services.heaps.all()]

    async def grant(self, heap_id: HeapId, access: Access, public_key: str | None = None) -> None:
        """Set what an account may do in a heap; None: everybody without a grant of their own."""
        account = None if public_key is None else await self.add_account(public_key)
        await self._services.heaps.grant(heap_id, access, account)
        self._services.recheck_rights()

    async def add_block(
        self,
        heap_id: HeapId,
        kind: BlockKind = "document",
        title: str = "",
        *updates: bytes,
        block: BlockId | None = None,
    ) -> BlockId:
        """Create a block whose document consists of the updates; ``title`` is its row title."""
        id_ = block or new_block_id()
        made = partial(_made, id_, heap_id, kind, title, updates)
        await self._services.documents.change(id_, made, sum(map(len, updates)))
        return id_

    async def apply(self, block: BlockId, update: bytes) -> bool:
        """Change a document as another client would; returns whether anything changed."""
        work = partial(_applied, block, update)
        return await self._services.documents.change(block, work, len(update))

    async def document(self, block: BlockId) -> Replica:
        """Return a copy of a document as it is committed."""
        return Replica.load((await self._stored(block)).updates)

    async def version(self, block: BlockId) -> int:
        """Return a document's current ``sync_version``."""
        return (await self._stored(block)).sync_version

    async def row(self, block: BlockId) -> Row:
        """Return a block's row; KeyError when there is none."""
        row = await self._services.db.read(lambda tx: data.row(tx, block))
        if row is None:
            raise KeyError(block)
        return row

    async def compact(self, block: BlockId) -> int:
        """Replace a document by a fresh one with the same content and no common history.

        Returns the new ``sync_version``; sockets that have the old name open get a Close (PROTOCOL
        §7).
        """
        return await self._services.documents.change(block, partial(_compacted, block))

    async def add_file(
        self,
        block: BlockId,
        name: str,
        content: bytes,
        mime_type: str = "application/octet-stream",
    ) -> FileEntry:
        """Attach a file with its content to a block."""
        stored, hash_ = await self._stored(block), hashlib.sha256(content).hexdigest()
        await self._services.blobs.put(hash_, content)
        await self._services.db.write(
            lambda tx: transfers.hold(tx, stored.heap_id, hash_, len(content))
        )
        key = f"{hash_}:{len(content)}"
        entry = FileEntry(key, hash_, name, len(content), mime_type, is_uploaded=True)
        await mark_uploaded(self._services, block, entry)
        return entry

    def followers(self, block: BlockId) -> int:
        """Return how many sockets follow a document's current version."""
        place = self._services.documents.where(block)
        return 0 if place is None else self._services.rooms.followers(block, place[1])

    async def _list(self, public_key: str, name: str | None) -> None:
        try:
            await self._services.accounts.accept(public_key, name)
        except OSError as error:
            raise FolderTrouble(f"{error.filename} can't be written: {error.strerror}.") from error
        self._services.recheck_rights()

    async def _stored(self, block: BlockId) -> Stored:
        return (await self._services.db.read(lambda tx: data.stored(tx, [block])))[block]


def _made(
    block: BlockId,
    heap_id: HeapId,
    kind: BlockKind,
    title: str,
    updates: Sequence[bytes],
    batch: Batch,
) -> None:
    loaded = batch.insert(block, heap_id, kind, title)
    for update in updates:
        batch.apply(loaded, update)


def _applied(block: BlockId, update: bytes, batch: Batch) -> bool:
    return batch.apply(_known(batch, block), update)


def _compacted(block: BlockId, batch: Batch) -> int:
    loaded = _known(batch, block)
    batch.replace(loaded, rebuild([loaded.merged()]))
    return loaded.sync_version


def _known(batch: Batch, block: BlockId) -> LoadedDocument:
    loaded = batch.get(block)
    if loaded is None:
        raise KeyError(block)
    return loaded
