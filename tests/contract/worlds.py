"""Servers the contract suite runs against: each a backend, and hands that reach around it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pycrdt import Doc, Map, XmlElement, XmlFragment, XmlText

from heapsyncd.backends.contract import Backend
from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.model import BlockKind, PullAsk, Pulled
from heapsyncd.server import Server
from heapsyncd.wire.signin import public_key

Document = Doc[Any]
SEED = Seed(bytes(range(32)))


class World(ABC):
    """One running server with one account, and what another client or an administrator does."""

    backend: Backend

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


WORLDS = {"heaper": heaper_world}


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
