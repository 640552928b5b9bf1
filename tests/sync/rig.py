"""An embedded server, devices that mirror it, and hands for both sides."""

import asyncio
import contextlib
import inspect
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from pycrdt import Doc, Map

from heapsyncd.config import Account
from heapsyncd.document import rebuild
from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.folder import syscalls
from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.report import Report, Verdict
from heapsyncd.sync.runtime.account import mirror_account

DEADLINE_S = 20.0
TIMING = DEFAULT
"""Of the devices that are made from now on."""


async def until(true: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition, which may have to be awaited; AssertionError says which one was not
    met.
    """
    end = time.monotonic() + deadline_s
    while True:
        with contextlib.suppress(FileNotFoundError):
            found = true()
            if await found if inspect.isawaitable(found) else found:
                return
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(0.01)


@dataclass
class Device:
    """One installation: its key, state and folder."""

    server: Server
    base: Path
    live: str = "all"
    poll_interval_s: float = 0.5
    files: str = "all"
    files_limit_mb: float = 10.0
    source: str = "document"
    line_breaks: str = "space"
    timing: Timing = field(default_factory=lambda: TIMING)
    seed: Seed = field(default_factory=lambda: Seed(bytes(SigningKey.generate())))
    report: Report = field(default_factory=lambda: Report("home"))

    @property
    def root(self) -> Path:
        """The heap's folder."""
        return self.base / "folder" / "Home"

    @property
    def account(self) -> Account:
        """The account as configured."""
        return Account(
            name="home",
            kind="heaper",
            server=self.server.url,
            folder=self.base / "folder",
            secret_file=self.base / "key",
            live=self.live,  # type: ignore[arg-type]
            poll_interval_s=self.poll_interval_s,
            files=self.files,  # type: ignore[arg-type]
            files_limit_mb=self.files_limit_mb,
            seed=self.seed,
            source=self.source,  # type: ignore[arg-type]
            line_breaks=self.line_breaks,  # type: ignore[arg-type]
        )

    async def once(self, timeout_s: float = DEADLINE_S) -> Verdict:
        """One full pass."""
        state = self.base / "state"
        state.mkdir(parents=True, exist_ok=True)
        self.report = Report("home")
        return await mirror_account(
            self.account,
            state,
            self.report,
            once=True,
            stop=asyncio.Event(),
            timeout_s=timeout_s,
            ready=lambda: None,
            timing=self.timing,
        )

    async def synced(self) -> None:
        """One full pass that ends in sync."""
        verdict = await self.once()
        assert verdict.exit_code == 0, verdict

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The daemon's mirror, ready, for the length of a block."""
        state = self.base / "state"
        state.mkdir(parents=True, exist_ok=True)
        self.report = Report("home")
        stop, ready = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(
            mirror_account(
                self.account,
                state,
                self.report,
                once=False,
                stop=stop,
                ready=ready.set,
                timing=self.timing,
            )
        )
        try:
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            yield
        finally:
            stop.set()
            await task

    async def in_sync(self) -> None:
        """Wait until the running mirror says "in sync"."""
        await until(
            lambda: self.report.state == "in sync", f"in sync, but {self.report.snapshot()}"
        )

    def notes(self) -> dict[str, str]:
        """Body of every note, by path."""
        found = {}
        for path in sorted(self.root.rglob("*.md")):
            name = str(path.relative_to(self.root))
            if not any(part.startswith(".") for part in Path(name).parts):
                found[name] = split(path.read_text("utf-8"))[1]
        return found

    def id_of(self, path: str) -> BlockId:
        """The id in a note's front matter."""
        return BlockId(split((self.root / path).read_text("utf-8"))[0].ids[-1])


@dataclass
class World:
    """A server with one heap, and hands that act as the app would."""

    server: Server
    heap: HeapId
    base: Path

    def device(self, name: str = "a", live: str = "all") -> Device:
        """Another installation, accepted by the server."""
        return Device(self.server, self.base / name, live)

    async def add(self, title: str, body: str = "", **target: object) -> BlockId:
        """A note made in the app."""
        made = express([], Target(body=parse(body, NO_LINKS), title=title, **target))  # type: ignore[arg-type]
        assert made.update is not None
        return await self.server.add_block(self.heap, "document", title, made.update)

    async def add_named(self, kind: str, title: str, *tags: BlockId) -> BlockId:
        """A tag or folder made in the app."""
        made = express([], Target(title=title, add_tags=frozenset(tags)))
        assert made.update is not None
        return await self.server.add_block(self.heap, kind, title, made.update)  # type: ignore[arg-type]

    async def change(self, block: BlockId, **target: object) -> None:
        """An edit made in the app; ``body`` is markdown."""
        if isinstance(target.get("body"), str):
            target["body"] = parse(str(target["body"]), NO_LINKS)
        replica = await self.server.document(block)
        made = express([replica.state()], Target(**target))  # type: ignore[arg-type]
        assert made.update is not None
        await self.server.apply(block, made.update)

    async def delete_for_good(self, block: BlockId) -> None:
        """A permanent deletion, which the document says."""
        doc: Doc[Any] = Doc()
        doc.apply_update((await self.server.document(block)).state())
        before = doc.get_state()
        doc.get("meta_v0", type=Map)["permanently_deleted_at"] = 1_760_000_000_000
        await self.server.apply(block, doc.get_update(before))

    async def compact_to_known_roots(self, block: BlockId) -> None:
        """Give a document another history, as a server may that knows nothing of the source."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("heapsyncd.server.admin.rebuild", _without_source)
            await self.server.compact(block)

    async def text(self, block: BlockId) -> str:
        """A document's text."""
        return (await self.server.document(block)).view().words()

    async def titles(self, kind: str = "document") -> dict[str, BlockId]:
        """Live blocks of a kind, by title."""
        found = {}
        for block in await self.blocks():
            row = await self.server.row(block)
            if row.type == kind and row.deleted_at is None:
                found[row.title] = block
        return found

    async def blocks(self) -> list[BlockId]:
        """Every block of the heap."""

        def read(tx: object) -> list[BlockId]:
            rows = tx.execute("SELECT id FROM blocks WHERE heap_id = ?", (self.heap,))  # type: ignore[attr-defined]
            return [BlockId(r[0]) for r in rows]

        return await self.server._services.db.read(read)


def _without_source(updates: Iterable[bytes]) -> bytes:
    """Make a document anew with the roots that an app knows."""
    state = Replica.load(list(updates)).state()
    made: Doc[Any] = Doc()
    with made.transaction():
        for name, kind in rebuild._KINDS.items():
            old: Doc[Any] = Doc()
            old.apply_update(state)
            rebuild._fill(made.get(name, type=kind), old.get(name, type=kind))
    return made.get_update()


def files(device: Device) -> dict[str, bytes]:
    """Everything in the folder that is no note, by path."""
    paths = (p for p in sorted(device.root.rglob("*")) if p.is_file())
    found = {str(p.relative_to(device.root)): p for p in paths}
    return {
        n: p.read_bytes()
        for n, p in found.items()
        if not n.endswith(".md") and not any(part.startswith(".") for part in Path(n).parts)
    }


def ids(device: Device, root: Path | None = None) -> dict[str, str]:
    """The id of every note, by path."""
    root = root or device.root
    found = {}
    for path in sorted(root.rglob("*.md")):
        front = split(path.read_text("utf-8"))[0]
        found[str(path.relative_to(root))] = front.ids[-1]
    return found


def problems(device: Device, world: World) -> dict[str, str]:
    return {p.path: p.reason for p in device.report.heaps[world.heap].problems}


def refusing(name: str, part: str, number: int) -> Callable[..., Any]:
    """A system call that the disk refuses for names with this part."""
    real = getattr(syscalls, name)

    def call(*args: Any) -> Any:
        if any(isinstance(a, str) and part in a for a in args):
            raise OSError(number, os.strerror(number))
        return real(*args)

    return call
