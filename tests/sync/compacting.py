"""A server without CRDTs: it keeps a title and a file's text for each block, in memory.

Each change of a block makes a fresh document under the next ``sync_version``, as a compaction
does. A push is read by the file that the document shows with it.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self, cast

from heapsyncd.backoff import Contact
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.document.edit import Target, express, express_source
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, merge
from heapsyncd.ids import BlockId, HeapId, new_block_id
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.markdown.item_merge import merge_files
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.model import (
    BlockKind,
    BlockRow,
    Changed,
    ChangePage,
    Dialect,
    FileEntry,
    Gone,
    Heap,
    PullAnswer,
    PullAsk,
    Pulled,
    Push,
    PushResult,
    PushStatus,
)
from heapsyncd.sync.cache_file import marks_path, open_cache
from heapsyncd.sync.merge.note_file import shown_file
from heapsyncd.sync.merge.note_text import Note
from heapsyncd.sync.report import Report, Verdict
from heapsyncd.sync.runtime.account import AccountMirror
from tests.sync.rig import Device

NO_KEYS = OurKeys(None, None, None)


DIALECT = Dialect(
    public_ids=True, tag_blocks=False, mentions=False, content_hashes=False, at_root=True,
    live=False, merge_files=merge_files,
)  # fmt: skip


@dataclass
class Item:
    """A block on the server. ``text``: of its file, without keys of ours."""

    kind: BlockKind
    title: str
    text: str = ""
    folder: BlockId | None = None
    public_id: str = ""
    files: dict[str, FileEntry] = field(default_factory=dict)
    deleted_at_ms: int | None = None
    is_gone: bool = False
    has_source: bool = True
    version: int = 0
    changed: int = 0
    document: bytes = EMPTY


@dataclass
class Compacting:
    """The server and its backend in one; ``before_push`` may change something in between."""

    dialect: Dialect = DIALECT
    contact: Contact = field(default_factory=Contact)
    heap: HeapId = field(default_factory=lambda: HeapId(new_block_id()))
    items: dict[BlockId, Item] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    answer: Callable[[Item], tuple[PushStatus, tuple[str, ...]]] = lambda _: ("ok", ())
    clock: int = 1000

    # ---- what somebody does on the server ------------------------------------------------------

    def add(
        self, title: str, text: str = "", folder: BlockId | None = None, **more: Any
    ) -> BlockId:
        block = new_block_id()
        self.items[block] = Item(more.pop("kind", "document"), title, text, folder, **more)
        self.change(block)
        return block

    def change(self, block: BlockId, **values: Any) -> None:
        """Change an item, and make its document anew."""
        item = self.items[block]
        for name, value in values.items():
            setattr(item, name, value)
        item.public_id = item.public_id or f"n{len(self.items)}-{block[-4:].lower()}"
        self.clock += 1
        item.version, item.changed = item.version + 1, self.clock
        note = Note.of(item.text.encode())
        tags = frozenset() if item.folder is None else frozenset({item.folder})
        target = Target(
            note.view(NO_LINKS), item.title, tags, put_files=tuple(item.files.values()),
            deleted_at_ms=item.deleted_at_ms, public_id=item.public_id,
        )  # fmt: skip
        made = express([], target).update or EMPTY
        source = note.file(Owner(lambda _: False)).source
        live = Replica.load([made])
        sent = express_source([made], lambda _: source, live=live) if item.has_source else None
        item.document = made if sent is None else merge([made, sent])

    def attach(self, block: BlockId, name: str, data: bytes) -> str:
        """Add a content to an item; return its key."""
        token = hashlib.sha256(f"{self.clock} {name}".encode()).hexdigest()
        self.contents[token] = data
        file = FileEntry(f"{token}:{len(data)}", token, name, len(data), is_uploaded=True)
        self.change(block, files=self.items[block].files | {file.key: file})
        return file.key

    def texts(self) -> dict[str, str]:
        """The text of every live item, by title."""
        live = (i for i in self.items.values() if i.deleted_at_ms is None and not i.is_gone)
        return {i.title: i.text for i in live if i.kind == "document"}

    # ---- the backend ---------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def sign_in(self) -> None: ...

    async def renew(self) -> None: ...

    async def heaps(self) -> list[Heap]:
        self.contact.heard()
        return [Heap(self.heap, "All")]

    async def rows(self, heap_id: HeapId) -> AsyncIterator[list[BlockRow]]:
        yield [r for b in self.items if (r := await self.row(heap_id, b)) is not None]

    async def row(self, heap_id: HeapId, block: BlockId) -> BlockRow | None:
        item = self.items.get(block)
        if item is None or item.is_gone:
            return None
        return BlockRow(block, heap_id, item.kind, item.title, max(1, item.version))

    async def changes(self, _: HeapId, cursor_ms: int) -> ChangePage:
        self.calls["changes"] += 1
        late = {b: i for b, i in self.items.items() if i.changed >= cursor_ms}
        changed = [Changed(b, i.version, i.changed) for b, i in late.items() if not i.is_gone]
        gone = [Gone(b, i.changed, permanent=True) for b, i in late.items() if i.is_gone]
        return ChangePage(tuple(changed), tuple(gone), self.clock, more=False)

    async def pull(self, _: HeapId, asks: Sequence[PullAsk]) -> PullAnswer:
        self.calls["pull"] += 1
        found: list[Pulled] = []
        for ask in asks:
            item = self.items[ask.id]
            is_known = item.version == ask.sync_version and ask.state_vector is not None
            update = EMPTY if is_known else item.document
            found.append(Pulled(ask.id, max(1, item.version), update, full=not is_known))
        return PullAnswer(tuple(found), ())

    async def push(self, _: HeapId, pushes: Sequence[Push]) -> list[PushResult]:
        self.calls["push"] += 1
        return [self._push(push) for push in pushes]

    def _push(self, push: Push) -> PushResult:
        item = self.items[push.id]
        if item.is_gone:
            return PushResult(push.id, "not_found", item.version)
        if push.sync_version != max(1, item.version):
            return PushResult(push.id, "stale", item.version)
        status, remarks = self.answer(item)
        if status == "ok":
            replica = Replica.load([item.document, push.update])
            now, view = replica.fields(), replica.view()
            data = shown_file(replica.source(1 << 20).source, view, NO_KEYS, NO_LINKS)
            self.calls["edit"] += 1
            self.change(
                push.id, title=now.title, text=data.decode(), folder=min(now.tags, default=None),
                deleted_at_ms=now.deleted_at_ms, files={f.key: f for f in now.files},
            )  # fmt: skip
        return PushResult(push.id, status, item.version, remarks)

    async def insert(self, _: HeapId, block: BlockId, kind: BlockKind, title: str) -> BlockRow:
        self.items.setdefault(block, Item(kind, title, version=1))
        return BlockRow(block, self.heap, kind, title)

    def live(self, *_: object) -> NoReturn:
        raise AssertionError("there is no live link")

    async def upload(self, _: HeapId, block: BlockId, source: Any, **__: object) -> FileEntry:
        self.contents[source.hash] = await source.read(0, source.size_bytes)
        files = {k: f for k, f in self.items[block].files.items() if f.hash != source.hash}
        key = f"{source.hash}:{source.size_bytes}"
        file = FileEntry(key, source.hash, source.name, source.size_bytes, is_uploaded=True)
        self.change(block, files=files | {key: file})
        return file

    async def download(
        self,
        _: HeapId,
        __: BlockId,
        hash: str,  # noqa: A002
        size_bytes: int,
        offset: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        self.calls["download"] += 1
        yield self.contents[hash][offset:size_bytes]


@dataclass
class CompactingDevice(Device):
    """A device that mirrors a compacting server to its account's folder."""

    remote: Compacting = field(default_factory=Compacting)

    @property
    def root(self) -> Path:
        return self.base / "folder" / ("" if self.remote.dialect.at_root else "All")

    @contextlib.asynccontextmanager
    async def _mirror(self, stop: asyncio.Event, ready: Any, once: bool) -> AsyncIterator[Any]:
        state = self.base / "state"
        state.mkdir(parents=True, exist_ok=True)
        self.report = Report("home")
        async with contextlib.AsyncExitStack() as stack:
            db = await stack.enter_async_context(await open_cache(self.account, state))
            at_work = stack.enter_context(AtWork.open(marks_path(self.account, state)))
            mirror = AccountMirror(
                self.account, db, cast("Any", self.remote), self.report, stop, ready, at_work,
                self.timing, once=once,
            )  # fmt: skip
            stack.push_async_callback(mirror.close)
            yield mirror

    async def once(self, timeout_s: float = 20.0) -> Verdict:
        async with self._mirror(asyncio.Event(), lambda: None, True) as mirror:
            found: Verdict = await mirror.once(timeout_s)
            return found

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop, ready = asyncio.Event(), asyncio.Event()
        async with self._mirror(stop, ready.set, False) as mirror:
            task = asyncio.create_task(mirror.run())
            try:
                await asyncio.wait_for(ready.wait(), 20)
                yield
            finally:
                stop.set()
                await task
