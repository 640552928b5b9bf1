"""A device for tests of a oneheap backend: it edits the documents that the backend hands out."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from heapsyncd.backends.oneheap.backend import OneheapBackend
from heapsyncd.backends.oneheap.documents import Shown, document, shown
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.ids import BlockId, HeapId, Password, new_block_id
from heapsyncd.model import BlockKind, BlockRow, FileEntry, PullAsk, Push, PushResult
from tests.oneheap.saves import saved
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap


class Device:
    """What a mirror does with a backend, without files: it knows what each block shows."""

    def __init__(self, service: Oneheap, backend: OneheapBackend) -> None:
        self.service, self.backend = service, backend
        self.heap = HeapId("")
        self.rows: dict[BlockId, BlockRow] = {}
        self.documents: dict[BlockId, bytes] = {}
        self.versions: dict[BlockId, int] = {}
        self.places: dict[BlockId, int] = {}
        self.gone: set[BlockId] = set()
        self.cursor = 0

    async def poll(self) -> set[BlockId]:
        """Take in the service's news; return the blocks that show something else now."""
        if not self.heap:
            (found,) = await self.backend.heaps()
            self.heap = found.id
        self.backend._polled_s = None
        news: set[BlockId] = set()
        while True:
            page = await self.backend.changes(self.heap, self.cursor)
            for one in page.changed:
                if self.places.get(one.id) != one.updated_at_ms:
                    self.places[one.id] = one.updated_at_ms
                    news.add(one.id)
            for gone in page.gone:
                if gone.permanent and gone.id not in self.gone:
                    self.gone.add(gone.id)
                    self.documents.pop(gone.id, None)
                    news.add(gone.id)
            self.cursor = page.cursor_ms
            if not page.more:
                break
        await self.pull(news - self.gone)
        return news

    async def pull(self, blocks: set[BlockId]) -> None:
        """Get documents."""
        left = sorted(blocks)
        while left:
            answer = await self.backend.pull(self.heap, [PullAsk(b, 0) for b in left])
            for one in answer.blocks:
                self.documents[one.id], self.versions[one.id] = one.update, one.sync_version
                row = await self.backend.row(self.heap, one.id)
                assert row is not None
                self.rows[one.id] = row
            done = {b.id for b in answer.blocks} | set(answer.missing)
            left = [b for b in left if b not in done]

    def shown(self, block: BlockId) -> Shown:
        """What a block shows."""
        return shown(self.rows[block].kind, [self.documents[block]])

    def named(self, title: str) -> BlockId:
        """The one live block with a title."""
        (found,) = [b for b in self.documents if self.shown(b).title == title]
        return found

    def text(self, title: str) -> str:
        """The file of a note, without our keys."""
        data = self.shown(self.named(title)).data
        assert data is not None
        return data.decode()

    def titles(self) -> list[str]:
        """The titles of all live blocks."""
        return sorted(self.shown(b).title for b in self.documents)

    async def push(self, *updates: tuple[BlockId, bytes]) -> list[PushResult]:
        """Push updates; take what was accepted for known, then the news."""
        pushes = [Push(block, self.versions[block], update) for block, update in updates]
        results = await self.backend.push(self.heap, pushes)
        for (block, update), result in zip(updates, results, strict=True):
            if result.status == "ok":
                self.documents[block] = merge([self.documents[block], update])
        return results

    def update(self, block: BlockId, target: Target) -> bytes:
        """An update that changes fields of a block's document."""
        live = Replica.load([self.documents[block]])
        made = edit(live, target).update
        assert made is not None
        return made

    async def edit(self, title: str, target: Target) -> PushResult:
        """Change fields of a block."""
        block = self.named(title)
        (result,) = await self.push((block, self.update(block, target)))
        return result

    async def save(self, title: str, text: str) -> PushResult:
        """Save a note's file with another text."""
        block = self.named(title)
        (result,) = await self.push((block, self.saving(block, text)))
        return result

    def saving(self, block: BlockId, text: str) -> bytes:
        """The update of a save: what a document of the new text has, in place of the old."""
        return saved(self.documents[block], text.encode())

    async def create(
        self, title: str, text: str | None = None, folder: str = "", kind: BlockKind = "document"
    ) -> PushResult:
        """Create a block."""
        block = new_block_id()
        row = await self.backend.insert(self.heap, block, kind, title)
        self.rows[block] = replace(row, title=title)
        self.versions[block] = row.sync_version
        self.documents[block] = b"\0\0"
        await self.pull({block})
        parent = self.named(folder) if folder else None
        data = None if text is None else text.encode()
        made = document(Shown(kind, title, parent, "", data))
        (result,) = await self.push((block, made))
        return result


@asynccontextmanager
async def device_of(
    service: Oneheap, path: Path, boxes: Sequence[str] = ("*",)
) -> AsyncIterator[Device]:
    """A device with its cache in a file."""
    async with (
        await Database.open(path, SCHEMA) as db,
        OneheapBackend(
            service.url, EMAIL, Password.parse(PASSWORD), db, boxes=tuple(boxes)
        ) as backend,
    ):
        device = Device(service, backend)
        await device.poll()
        yield device


class Source:
    """A file to upload."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.content = name, content
        self.hash, self.size_bytes = hashlib.sha256(content).hexdigest(), len(content)
        self.mime_type = "application/pdf"

    async def read(self, offset: int, length: int) -> bytes:
        """A piece."""
        return self.content[offset : offset + length]

    @property
    def entry(self) -> FileEntry:
        """As the mirror writes it."""
        return FileEntry(f"{self.hash}:{self.size_bytes}", self.hash, self.name, self.size_bytes)
