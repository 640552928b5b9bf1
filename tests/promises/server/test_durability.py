"""What was acknowledged survives; what fails is not acknowledged."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pycrdt import Doc, XmlFragment

from heapsyncd.database import Database, Tx
from heapsyncd.document.encoding.examine import examine
from heapsyncd.errors import FolderTrouble, UnreadableDocument
from heapsyncd.server import service
from heapsyncd.wire import hocuspocus as hp
from tests.document.encodings import CRASHERS, item, update
from tests.server.rig import Client, Keys, loaded, name_of, paragraph, said, serving

PROGRAM = """
import asyncio, contextlib, sys
from pathlib import Path
from heapsyncd.server import Accept, serve

@contextlib.asynccontextmanager
async def told(server):
    print(server.url, flush=True)
    yield

asyncio.run(serve(Path(sys.argv[1]), "127.0.0.1", 0, accept=Accept(open=True), beside=told))
"""


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = ""
    while not url.startswith("http"):
        line = await process.stdout.readline()
        assert line, "it ended before it served"
        url = line.decode().strip()
    yield process, url
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def test_kill_loses_nothing_acknowledged(
    program: tuple[asyncio.subprocess.Process, str], tmp_path: Path
) -> None:
    """After SIGKILL in the middle of pushes and live edits, everything acknowledged is there."""
    process, url = program
    keys, acknowledged = Keys(), set[str]()
    async with aiohttp.ClientSession() as http:
        client = await Client(http, url, keys).sign_in()
        heap = (await client.post("/api/heaps"))["heaps"][0]["id"]
        blocks = [await client.insert(heap) for _ in range(5)]

        async def push(who: int) -> None:
            for k in range(10_000):
                word = f"p{who}w{k}"
                if await client.statuses(heap, (blocks[who], paragraph(word))) == ["ok"]:
                    acknowledged.add(word)
                if len(acknowledged) > 150:
                    os.kill(process.pid, signal.SIGKILL)

        async def type_live() -> None:
            async with client.live() as live:
                name = name_of(heap, blocks[4])
                doc: Doc[Any] = await live.open(name)
                for k in range(10_000):
                    await live.send(name, hp.Update(paragraph(f"l{k}", doc)))
                    if (await live.next(name, hp.SyncStatus)).saved:
                        acknowledged.add(f"l{k}")

        await asyncio.gather(*(push(k) for k in range(4)), type_live(), return_exceptions=True)
    assert await process.wait() == -signal.SIGKILL
    assert len(acknowledged) > 150
    async with serving(tmp_path, keys=keys) as (_, client):
        await client.sign_in()
        words = {w for b in blocks for w in said(await client.pulled(heap, b)).split("|")}
    assert acknowledged <= words


async def test_terminated_server_ends_in_order(
    program: tuple[asyncio.subprocess.Process, str],
) -> None:
    """SIGINT ends ``serve`` with an open socket on it."""
    process, url = program
    async with aiohttp.ClientSession() as http:
        client = await Client(http, url, Keys()).sign_in()
        heap = (await client.post("/api/heaps"))["heaps"][0]["id"]
        block = await client.insert(heap)
        async with client.live() as live:
            await live.open(name_of(heap, block))
            process.send_signal(signal.SIGINT)
            assert await live.closed() == 1001
        await asyncio.wait_for(process.wait(), 10)


class Failing(sqlite3.Connection):
    """A connection whose commits can be made to fail."""

    full = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if Failing.full and sql.startswith("INSERT INTO updates"):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL  # as the C code sets it
            raise error
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        rows = list(rows)
        if rows:
            return self.execute(sql, rows[0])
        return super().executemany(sql, rows)


async def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be stored is not acknowledged, not told and not kept in memory; once there is
    room again everything goes on.
    """

    async def opened(path: Path, schema: Any) -> Database:
        return await Database.open(
            path, schema, connect=lambda *a, **k: sqlite3.connect(*a, **k, factory=Failing)
        )

    monkeypatch.setattr(service, "open_database", opened)
    async with serving(tmp_path) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        name = name_of(heap, block)
        async with client.live() as live, client.live() as other:
            doc = await live.open(name)
            await other.open(name)
            await other.quiet(name)
            monkeypatch.setattr(Failing, "full", True)
            await live.send(name, hp.Update(paragraph("lost?", doc)))
            assert (await live.next(name, hp.SyncStatus)).saved is False
            body = {
                "workspace_id": heap,
                "updates": [{"block_id": block, "sync_version": 1, "update": "AAA="}],
            }
            with pytest.raises(FolderTrouble):
                await server.apply(block, paragraph("lost too"))
            assert await other.quiet(name) == []
            monkeypatch.setattr(Failing, "full", False)
            assert (await client.post("/api/sync/push", body))["results"][0]["status"] == "ok"
            assert said(await client.pulled(heap, block)) == ""
            await live.send(name, hp.SyncStep2(doc.get_update()))
            assert (await live.next(name, hp.SyncStatus)).saved is True
            assert said(await client.pulled(heap, block)) == "lost?"


async def test_trouble_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that the disk does not take is answered 503 with a time to come back."""

    async def opened(path: Path, schema: Any) -> Database:
        return await Database.open(
            path, schema, connect=lambda *a, **k: sqlite3.connect(*a, **k, factory=Failing)
        )

    monkeypatch.setattr(service, "open_database", opened)
    async with serving(tmp_path) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        blocks = [await server.add_block(heap) for _ in range(3)]
        monkeypatch.setattr(Failing, "full", True)
        with pytest.raises(AssertionError, match="disk"):
            await client.push(heap, *((b, paragraph("x")) for b in blocks))
        monkeypatch.setattr(Failing, "full", False)


async def test_compaction_carries_everything(tmp_path: Path) -> None:
    """The fresh document says the same, hidden things included, and shares no history: merged
    with the old one it would double the text.
    """
    async with serving(tmp_path) as (server, client):
        keys = client.keys
        await client.sign_in()
        heap = await server.add_heap("H")
        doc: Doc[Any] = Doc()
        block = await server.add_block(heap, "document", "", paragraph("text", doc))
        body = doc.get("content_v0", type=XmlFragment)
        before = doc.get_state()
        with doc.transaction():
            body.children[0].attributes["uid"] = 5
            body.children[0].children[0].format(0, 2, {"comment": {"thread": 1}})
        await server.apply(block, doc.get_update(before))
        old = (await server.document(block)).state()
        cursor = (await client.delta(heap))["timestamp"]
        assert await server.compact(block) == 2
        page = await client.delta(heap, cursor)
        assert [(b["id"], b["sync_version"]) for b in page["blocks"]] == [(block, 2)]
    async with serving(tmp_path, keys=keys) as (server, client):
        await client.sign_in()
        fresh = await client.pulled(heap, block, 2)
        shown = fresh.get("content_v0", type=XmlFragment).children[0]
        assert dict(shown.attributes) == {"uid": 5}
        assert shown.children[0].diff() == [("te", {"comment": {"thread": 1}}), ("xt", None)]
        assert said(loaded(old, fresh.get_update())).count("xt") == 2
        assert await client.statuses(heap, (block, paragraph("old"), 1)) == ["stale"]
        assert await client.statuses(heap, (block, paragraph("new", fresh), 2)) == ["ok"]


NESTED = update(
    [(7, 0, [(item(8, b"\1" + b"\x75\1" * 14_000 + b"\x7e", b"\1\7meta_v0\1k", 0x20), 1)])]
)


async def test_what_ends_yrs_ends_no_server(
    program: tuple[asyncio.subprocess.Process, str],
) -> None:
    """Updates that crash yrs, pushed and sent live: none ends the process, those that are no sound
    encoding are told to be invalid, and another document goes on.
    """
    process, url = program
    async with aiohttp.ClientSession() as http:
        client = await Client(http, url, Keys()).sign_in()
        heap = (await client.post("/api/heaps"))["heaps"][0]["id"]
        other = await client.insert(heap)
        for updates in [*CRASHERS, [NESTED]]:
            pushed, sent = await client.insert(heap), await client.insert(heap)
            statuses = [(await client.statuses(heap, (pushed, u)))[0] for u in updates]
            assert statuses == ["ok" if is_sound(u) else "invalid" for u in updates]
            async with client.live() as live:
                name = name_of(heap, sent)
                await live.open(name)
                for data in updates:
                    await live.send(name, hp.Update(data))
                    assert (await live.next(name, hp.SyncStatus)).saved == is_sound(data)
            await client.pull(heap, {"id": pushed, "sync_version": 1})
            assert await client.statuses(heap, (other, paragraph("more"))) == ["ok"]
        assert "more" in said(await client.pulled(heap, other))
    assert process.returncode is None


def is_sound(data: bytes) -> bool:
    try:
        examine(data)
    except UnreadableDocument:
        return False
    return True


async def test_a_document_of_an_older_version_that_can_not_be_read(tmp_path: Path) -> None:
    """What was stored before it was examined holds nobody up: its document alone is not served."""
    async with serving(tmp_path, keys=Keys()) as (server, client):
        heap = await server.add_heap("H")
        bad = await server.add_block(heap, "document", "", paragraph("bad"))
        good = await server.add_block(heap, "document", "", paragraph("good"))
        zero = update([(7, 0, [(b"\0\0", 0)])])

        def store(tx: Tx) -> None:
            tx.execute("UPDATE states SET state = ? WHERE block_id = ?", (zero, bad))
            tx.execute("INSERT INTO updates (block_id, data) VALUES (?, ?)", (bad, zero))

        await server._services.db.write(store)
        server._services.documents._held.clear()
        await client.sign_in()
        asks = [{"id": b, "sync_version": 1} for b in (bad, good)]
        assert [b["id"] for b in (await client.pull(heap, *asks))["blocks"]] == [good]
        more = [(bad, paragraph("x")), (good, paragraph("y"))]
        assert await client.statuses(heap, *more) == ["invalid", "ok"]
        async with client.live() as live:
            name = name_of(heap, bad)
            assert isinstance(await live.sign_in(name), hp.Authenticated)
            await live.send(name, hp.SyncStep1(b"\0"))
            assert isinstance(await live.next(name, hp.Close), hp.Close)
            assert "good" in said(await live.open(name_of(heap, good)))
