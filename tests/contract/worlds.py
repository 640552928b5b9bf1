"""Servers the contract suite runs against: each a backend, and hands that reach around it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pycrdt import Doc, Map, XmlElement, XmlFragment, XmlText

from heapsyncd.backends.contract import Backend
from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.backends.oneheap.backend import OneheapBackend
from heapsyncd.backends.oneheap.catalogue import block_id, heap_id
from heapsyncd.cache import remote_items
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database, Tx
from heapsyncd.ids import BlockId, HeapId, Password, Seed
from heapsyncd.model import BlockKind, PullAsk, Pulled
from heapsyncd.server import Server
from heapsyncd.wire.signin import public_key
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap

Document = Doc[Any]
SEED = Seed(bytes(range(32)))


class World(ABC):
    """One running server with one account, and what another client or an administrator does."""

    backend: Backend
    lacks: ClassVar[Mapping[str, str]] = {}
    """What this server cannot promise, each with the reason."""

    def needs(self, *features: str) -> None:
        """Skip a test that is about what this server cannot promise."""
        for feature in features:
            if feature in self.lacks:
                pytest.skip(f"{feature}: {self.lacks[feature]}")

    @abstractmethod
    def another(self, seed: Seed) -> Backend:
        """A backend for another key; it is not entered yet."""

    @abstractmethod
    async def sign_ins(self) -> int:
        """How often somebody has signed in at the server."""

    @abstractmethod
    async def add_heap(self, title: str) -> HeapId:
        """Make a heap the account may write."""

    @abstractmethod
    async def hide(self, heap_id: HeapId) -> None:
        """Take all rights to a heap away."""

    @abstractmethod
    async def add_block(self, heap_id: HeapId, kind: BlockKind, title: str, text: str) -> BlockId:
        """Make a block whose document says ``text``."""

    @abstractmethod
    async def write(self, block: BlockId, text: str) -> None:
        """Insert text at the start of the document, as another client."""

    @abstractmethod
    async def delete(self, block: BlockId, at_ms: int | None) -> None:
        """Put a block into the trash; None: take it out again."""

    @abstractmethod
    async def compact(self, block: BlockId) -> int:
        """Put a fresh document in the place of the old; returns its ``sync_version``."""

    @abstractmethod
    async def text(self, block: BlockId) -> str:
        """What the document says now."""

    @abstractmethod
    async def drop(self) -> None:
        """Break every live connection."""


def said(doc: Document) -> str:
    """The text of a document's paragraphs."""
    paragraphs = doc.get("content_v0", type=XmlFragment).children
    return "".join(str(node) for paragraph in paragraphs for node in paragraph.children)


def speak(doc: Document, text: str) -> bytes:
    """Insert text at the start of the first paragraph, made when absent; returns the update."""
    before = doc.get_state()
    body = doc.get("content_v0", type=XmlFragment)
    with doc.transaction():
        if len(body.children):
            body.children[0].children[0].insert(0, text)
        else:
            body.children.append(XmlElement("paragraph", {}, [XmlText(text)]))
    return doc.get_update(before)


class HeaperWorld(World):
    """The embedded server over HTTP and WebSocket."""

    def __init__(self, server: Server, backend: HeaperBackend) -> None:
        self.server = server
        self.backend = backend

    def another(self, seed: Seed) -> Backend:
        return HeaperBackend(self.server.url, seed)

    async def sign_ins(self) -> int:
        def count(tx: Tx) -> int:
            return int(tx.execute("SELECT count(*) FROM sessions").fetchone()[0])

        return await self.server._services.db.read(count)

    async def add_heap(self, title: str) -> HeapId:
        return await self.server.add_heap(title)

    async def hide(self, heap_id: HeapId) -> None:
        await self.server.grant(heap_id, "none", public_key(SEED))

    async def add_block(self, heap_id: HeapId, kind: BlockKind, title: str, text: str) -> BlockId:
        doc = Document()
        return await self.server.add_block(heap_id, kind, title, speak(doc, text))

    async def _doc(self, block: BlockId) -> Document:
        doc = Document()
        doc.apply_update((await self.server.document(block)).state())
        return doc

    async def write(self, block: BlockId, text: str) -> None:
        await self.server.apply(block, speak(await self._doc(block), text))

    async def delete(self, block: BlockId, at_ms: int | None) -> None:
        doc = await self._doc(block)
        before = doc.get_state()
        doc.get("meta_v0", type=Map)["deleted_at"] = at_ms
        await self.server.apply(block, doc.get_update(before))

    async def compact(self, block: BlockId) -> int:
        return await self.server.compact(block)

    async def text(self, block: BlockId) -> str:
        return said(await self._doc(block))

    async def drop(self) -> None:
        self.server.drop_sockets(4205)


@asynccontextmanager
async def heaper_world(folder: Path) -> AsyncIterator[HeaperWorld]:
    """A fresh embedded server, and the backend signed in at it."""
    async with (
        Server(folder / "server", accounts=[public_key(SEED)]) as server,
        HeaperBackend(server.url, SEED) as backend,
    ):
        yield HeaperWorld(server, backend)


class OneheapWorld(World):
    """A oneheap service for tests, over HTTP."""

    lacks: ClassVar[Mapping[str, str]] = {
        "heaps": "an account is one heap, whose rights nobody takes away",
        "history": "each state of an item is a document of its own",
        "trash": "the service deletes for good",
        "tags": "tags are words of an item",
        "texts": "boxes and files have none",
        "empty blocks": "a block is sent with its first document, which says what it is",
        "limits": "pushes become requests of any size",
        "hashes": "the service knows contents by its own ids only",
        "resuming": "a content is sent in one request",
        "live": "the service tells nothing by itself",
    }

    def __init__(self, service: Oneheap, backend: OneheapBackend, db: Database) -> None:
        self.service, self.backend, self._own, self._db = service, backend, backend, db
        self.heap = heap_id(service.url, EMAIL)

    def another(self, seed: Seed) -> Backend:
        return OneheapBackend(self.service.url, EMAIL, Password.parse("wrong"), self._db)

    async def sign_ins(self) -> int:
        return len(self.service.seen("POST", "/Authentications/"))

    async def add_heap(self, title: str) -> HeapId:
        return self.heap

    async def hide(self, heap_id: HeapId) -> None:
        self.needs("heaps")

    async def add_block(self, heap_id: HeapId, kind: BlockKind, title: str, text: str) -> BlockId:
        if kind == "tag":
            self.needs("tags")
        text_of = {"body": text} if kind == "document" else {}
        names = {"document": "note", "folder": "box", "file": "file"}
        item = self.service.add(names[kind], name=title, **text_of)
        await self._seen()
        return block_id(heap_id, item, "item")

    async def _seen(self) -> None:
        """Let the backend ask the service again, although it did just now."""
        self._own._polled_s = None
        await self._own.changes(self.heap, 0)

    async def _item(self, block: BlockId) -> str:
        row = await self._db.read(lambda tx: remote_items.get(tx, block))
        assert row is not None
        return row.item_id

    async def write(self, block: BlockId, text: str) -> None:
        item = await self._item(block)
        self.service.edit(item, body=text + self.service.store.get(item)["body"])
        await self._seen()

    async def delete(self, block: BlockId, at_ms: int | None) -> None:
        if at_ms is None:
            self.needs("trash")
        self.service.remove(await self._item(block))
        await self._seen()

    async def compact(self, block: BlockId) -> int:
        self.needs("history")
        return 0

    async def text(self, block: BlockId) -> str:
        body: str = self.service.store.get(await self._item(block))["body"]
        return body.removesuffix("\n")

    async def drop(self) -> None:
        self.needs("live")


@asynccontextmanager
async def oneheap_world(folder: Path) -> AsyncIterator[OneheapWorld]:
    """An empty service, and the backend of its account."""
    async with (
        Oneheap() as service,
        await Database.open(folder / "c.sqlite3", SCHEMA) as db,
        OneheapBackend(service.url, EMAIL, Password.parse(PASSWORD), db) as backend,
    ):
        yield OneheapWorld(service, backend, db)


WORLDS = {"heaper": heaper_world, "oneheap": oneheap_world}


async def pulled(
    backend: Backend,
    heap_id: HeapId,
    block: BlockId,
    doc: Document | None = None,
    version: int = 1,
) -> Pulled:
    """Pull one block, with what ``doc`` has seen."""
    ask = PullAsk(block, version, None if doc is None else doc.get_state())
    (answer,) = (await backend.pull(heap_id, [ask])).blocks
    return answer
