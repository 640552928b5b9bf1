"""Resumable uploads and downloads."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.ids import BlockId, HeapId, new_block_id
from heapsyncd.server import Limits, Server
from heapsyncd.server.downloads import parse_range
from tests.server.rig import Client, Clock, Keys, Sender, random_bytes, serving, with_map

LIMITS = Limits(auth_calls=1_000)


@pytest.fixture
async def block(client: Client, heap_id: HeapId) -> BlockId:
    return await client.insert(heap_id, "file", "a.bin")


@pytest.fixture
def sender(client: Client, heap_id: HeapId, block: BlockId) -> Sender:
    return Sender(client, heap_id, block, random_bytes(35))


async def test_upload(sender: Sender, client: Client, block: BlockId) -> None:
    """Chunks in any order, also twice, give the content; the document then has the entry."""
    status, begun = await sender.init()
    assert (status, begun["total_chunks"], begun["received"]) == (200, 4, [])
    assert (begun["chunk_size"], begun["complete"]) == (10, False)
    for count, index in enumerate((3, 0, 2, 1), start=1):
        assert await sender.put(index) == (200, {"received": count})
    assert await sender.put(2) == (200, {"received": 4})
    status, answer = await sender.complete()
    assert status == 200
    assert answer["file"]["is_uploaded"] is True
    assert (await sender.get())[:2] == (200, sender.data)
    entry = (await client.post(f"/api/block/{block}"))["files"][0]
    assert entry["key"] == f"{sender.hash}:35"
    assert (entry["name"], entry["mime_type"]) == ("a.bin", "image/png")
    assert (entry["file_size"], entry["is_uploaded"]) == (35, True)


async def test_completing_twice(sender: Sender) -> None:
    """A repeated complete, whose first answer was lost, succeeds."""
    await sender.all()
    assert (await sender.complete())[0] == 200
    status, begun = await sender.init()
    assert (status, begun["complete"], begun["received"]) == (200, True, [0, 1, 2, 3])


async def test_entry_of_the_client_is_kept(sender: Sender, server: Server, block: BlockId) -> None:
    """The client's own entry, under its bare key, is marked uploaded and else left alone."""
    values = {"name": "mine.png", "hash": sender.hash, "file_size": 35, "width": 3}
    await server.apply(block, with_map("files_v0", {sender.hash: values}))
    await sender.all()
    files = (await server.document(block)).fields().files
    assert [(f.key, f.name, f.is_uploaded) for f in files] == [(sender.hash, "mine.png", True)]


async def test_resume_after_restart(tmp_path: Path) -> None:
    """What arrived before a restart need not be sent again."""
    keys = Keys()
    data = random_bytes(35)
    async with serving(tmp_path, keys=keys) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        before = Sender(client, heap, block, data)
        await before.init()
        await before.put(1)
        await before.put(3)
    async with serving(tmp_path, keys=keys) as (server, client):
        await client.sign_in()
        after = Sender(client, heap, block, data)
        assert (await after.init())[1]["received"] == [1, 3]
        assert (await after.complete())[1]["missing"] == [0, 2]
        await after.put(0)
        await after.put(2)
        assert (await after.complete())[0] == 200
        assert (await after.get())[1] == data


async def test_missing_chunks(sender: Sender) -> None:
    """Completing too early is a conflict that names what is missing."""
    await sender.init()
    await sender.put(1)
    status, answer = await sender.complete()
    assert (status, answer["missing"]) == (409, [0, 2, 3])


async def test_wrong_content(sender: Sender) -> None:
    """A content with another hash is refused, and is to be sent again from the start."""
    await sender.init()
    for index in range(4):
        await sender.put(index, b"x" * (5 if index == 3 else 10))
    assert (await sender.complete())[0] == 422
    assert (await sender.init())[1]["received"] == []
    assert (await sender.get())[0] == 404
    await sender.all()


async def test_received_chunk_is_not_touched(sender: Sender) -> None:
    """A chunk sent again with other bytes does not replace the one that arrived."""
    await sender.init()
    for index in range(4):
        await sender.put(index)
    assert (await sender.put(0, b"x" * 10))[0] == 200
    assert (await sender.complete())[0] == 200
    assert (await sender.get())[1] == sender.data


async def test_chunk_without_a_length(sender: Sender) -> None:
    """A chunk whose size is not announced is measured as it comes: too long 413, too short 400."""

    async def pieces(*sizes: int) -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"x" * size

    await sender.init()
    assert (await sender.put(0, pieces(6, 6)))[0] == 413
    assert (await sender.put(0, pieces(3, 3)))[0] == 400
    assert (await sender.init())[1]["received"] == []
    await sender.all()


async def test_chunk_refusals(sender: Sender) -> None:
    """A chunk of the wrong size, number, type or of an unknown upload is refused."""
    assert (await sender.put(0))[0] == 404
    await sender.init()
    assert (await sender.put(0, b"x" * 9))[0] == 400
    assert (await sender.put(0, b"x" * 11))[0] == 413
    assert (await sender.put(4, b"x" * 10))[0] == 400
    assert (await sender.put("-1", b"x" * 10))[0] == 400
    assert (await sender.put("x", b"x" * 10))[0] == 400
    json = {"Content-Type": "application/json"}
    assert (await sender.put(0, headers=json))[0] == 415
    assert (await sender.init())[1]["received"] == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"hash": "x"}, 400),
        ({"hash": "AB" * 32}, 400),
        ({"size": -1}, 400),
        ({"size": "5"}, 400),
        ({"name": ""}, 400),
        ({"chunk_size": 0}, 400),
        ({"size": 2**50}, 413),
    ],
)
async def test_init_refusals(sender: Sender, changes: Any, status: int) -> None:
    """An upload that does not fit the contract or the limits is refused at the start."""
    assert (await sender.init(**changes))[0] == status


async def test_upload_places(client: Client, server: Server, heap_id: HeapId) -> None:
    """Uploads go to blocks that exist, in heaps that may be written."""
    other = await server.add_heap("Other")
    block = await server.add_block(other)
    assert (await Sender(client, heap_id, block, b"x").init())[0] == 404
    assert (await Sender(client, heap_id, new_block_id(), b"x").init())[0] == 404
    assert (await Sender(client, "nonsense", block, b"x").init())[0] == 404
    await server.grant(other, "ro")
    assert (await Sender(client, other, block, b"x").init())[0] == 403


async def test_empty_file(client: Client, heap_id: HeapId, block: BlockId) -> None:
    """A file of no bytes has no chunks, and is complete at once."""
    empty = Sender(client, heap_id, block, b"")
    assert (await empty.init())[1]["total_chunks"] == 0
    assert (await empty.complete())[0] == 200
    assert (await empty.get())[:2] == (200, b"")
    assert (await empty.get(Range="bytes=0-"))[0] == 416


async def test_content_is_sent_once(sender: Sender, client: Client, server: Server) -> None:
    """A content the account's heaps hold already is complete at init, also in another heap; with
    another size it is refused.
    """
    await sender.all()
    heap = await server.add_heap("Second")
    again = Sender(client, heap, await server.add_block(heap), sender.data)
    assert (await again.init(size=36))[0] == 422
    assert (await again.init())[1]["complete"] is True
    assert (await again.get())[1] == sender.data


async def test_knowing_a_hash_is_not_enough(tmp_path: Path) -> None:
    """Who can't read a heap gets none of its contents by naming their hashes."""
    keys, guest = Keys(), Keys()
    options: dict[str, Any] = {"accounts": [keys.public, guest.public]}
    async with serving(tmp_path, keys=keys, **options) as (server, client):
        await client.sign_in()
        secret, shared = await server.add_heap("Secret"), await server.add_heap("Shared")
        await server.grant(secret, "none", guest.public)
        data = random_bytes(20)
        await Sender(client, secret, await server.add_block(secret), data).all()
        other = await Client(client.http, client.url, guest).sign_in()
        block = await server.add_block(shared)
        thief = Sender(other, shared, block, data)
        await server.apply(block, with_map("files_v0", {f"{thief.hash}:20": {"name": "x"}}))
        assert (await thief.init())[1]["complete"] is False
        assert (await thief.get())[0] == 404
        await thief.all()
        assert (await thief.get())[1] == data


async def test_cut_off_chunk(sender: Sender) -> None:
    """A chunk whose connection breaks half way is not counted, and can be sent again."""
    await sender.init()

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises((ConnectionError, aiohttp.ClientError)):
        await sender.put(0, broken())
    assert (await sender.init())[1]["received"] == []
    await sender.all()
    assert (await sender.get())[1] == sender.data


async def test_same_chunk_at_once(sender: Sender) -> None:
    """A chunk sent several times at the same time arrives once and whole."""
    await sender.init()
    jobs = [sender.put(index) for index in range(4) for _ in range(5)]
    assert {status for status, _ in await asyncio.gather(*jobs)} == {200}
    assert (await sender.complete())[0] == 200
    assert (await sender.get())[1] == sender.data


async def test_another_size_begins_anew(sender: Sender) -> None:
    """An upload of the same hash announced with another size starts over."""
    await sender.init(size=15)
    await sender.put(0)
    assert (await sender.init())[1]["received"] == []
    await sender.all()


async def test_chunk_size_binds(client: Client, heap_id: HeapId, block: BlockId) -> None:
    """The server's chunk size is the default, bounded above, and never makes too many chunks."""
    big = Sender(client, heap_id, block, b"x")
    assert (await big.init(chunk_size=None))[1]["chunk_size"] == LIMITS.chunk_bytes
    other = Sender(client, heap_id, block, b"y")
    assert (await other.init(size=10**6, chunk_size=1))[1]["total_chunks"] <= LIMITS.chunks
    third = Sender(client, heap_id, block, b"z")
    assert (await third.init(size=2**32, chunk_size=2**40))[1]["chunk_size"] == (
        LIMITS.chunk_max_bytes
    )


async def test_arrived_another_way(client: Client, server: Server, heap_id: HeapId) -> None:
    """An upload whose content came into the heap another way meanwhile is complete as it is."""
    one, two = await server.add_block(heap_id), await server.add_block(heap_id)
    data = random_bytes(35)
    slow, quick = Sender(client, heap_id, one, data), Sender(client, heap_id, two, data)
    await slow.init()
    await slow.put(0)
    await quick.all()
    assert (await slow.complete())[0] == 200
    assert (await slow.get())[1] == data


async def test_quota(tmp_path: Path) -> None:
    """What does not fit into the server's room is refused for now; what is held counts once."""
    limits = replace(LIMITS, quota_bytes=100)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        first = Sender(client, heap, block, random_bytes(60))
        await first.all()
        assert (await Sender(client, heap, block, random_bytes(60)).init())[0] == 507
        assert (await first.init())[0] == 200
        await Sender(client, heap, block, random_bytes(40)).all()


async def test_full_disk(tmp_path: Path) -> None:
    """A content larger than what the disk has left is refused for now."""
    limits = replace(LIMITS, disk_reserve_bytes=2**60)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        sender = Sender(client, heap, await server.add_block(heap), b"x")
        assert (await sender.init())[0] == 507


async def test_forgotten_uploads_are_cleared(tmp_path: Path) -> None:
    """At the start, uploads nobody continued for a week and stray files are thrown away."""
    clock, keys = Clock(), Keys()
    async with serving(tmp_path, now_ms=clock, keys=keys) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        old = Sender(client, heap, block, random_bytes(20))
        await old.init()
        await old.put(0)
        clock.now_ms += 4 * 24 * 3600 * 1000
        await client.sign_in()
        young = Sender(client, heap, block, random_bytes(20))
        await young.init()
        await young.put(0)
        clock.now_ms += 4 * 24 * 3600 * 1000
    (tmp_path / "uploads" / "stray").write_bytes(b"x")
    async with serving(tmp_path, now_ms=clock, keys=keys) as (_, client):
        await client.sign_in()
        assert len(list((tmp_path / "uploads").iterdir())) == 1
        assert (await Sender(client, heap, block, young.data).init())[1]["received"] == [0]
        assert (await Sender(client, heap, block, old.data).put(1))[0] == 404


@pytest.mark.parametrize(
    ("asked", "status", "start", "end", "shown"),
    [
        ("bytes=0-9", 206, 0, 10, "bytes 0-9/35"),
        ("bytes=30-", 206, 30, 35, "bytes 30-34/35"),
        ("bytes=30-99", 206, 30, 35, "bytes 30-34/35"),
        ("bytes=-5", 206, 30, 35, "bytes 30-34/35"),
        ("bytes=-99", 206, 0, 35, "bytes 0-34/35"),
        ("bytes=35-", 416, 0, 0, "bytes */35"),
        ("bytes=-0", 416, 0, 0, "bytes */35"),
        ("bytes=9-0", 200, 0, 35, None),
        ("bytes=0-1,3-4", 200, 0, 35, None),
        ("lines=0-1", 200, 0, 35, None),
        ("bytes=-", 200, 0, 35, None),
    ],
)
async def test_ranges(
    sender: Sender, asked: str, status: int, start: int, end: int, shown: str | None
) -> None:
    """A range gives its bytes, one outside 416; what is no single range is ignored."""
    await sender.all()
    found, data, head = await sender.get(Range=asked)
    assert (found, head.get("Content-Range")) == (status, shown)
    if status != 416:
        assert data == sender.data[start:end]
        assert head["ETag"] == f'"{sender.hash}"'


async def test_conditions(sender: Sender) -> None:
    """If-Range with another tag gives all; If-None-Match with the tag gives nothing."""
    await sender.all()
    tag = f'"{sender.hash}"'
    assert (await sender.get(Range="bytes=0-0", **{"If-Range": tag}))[0] == 206
    assert (await sender.get(Range="bytes=0-0", **{"If-Range": '"other"'}))[0] == 200
    assert (await sender.get(**{"If-None-Match": tag}))[:2] == (304, b"")
    head = (await sender.get())[2]
    assert head["Content-Type"] == "image/png"
    assert head["Content-Security-Policy"] == "sandbox"


async def test_token_in_the_query(sender: Sender, client: Client) -> None:
    """Files, and files alone, take the token in the query."""
    await sender.all()
    token, client.token = client.token, None
    path = f"/api/file/{sender.place}/{sender.hash}"
    assert (await client.ask("GET", path))[0] == 401
    assert (await client.ask("GET", f"{path}?token=x"))[0] == 401
    assert (await client.ask("GET", f"{path}?token={token}")) == (200, sender.data)
    assert (await client.ask("POST", f"/api/me?token={token}"))[0] == 401


async def test_head(sender: Sender, client: Client) -> None:
    """HEAD gives the size without the bytes."""
    await sender.all()
    async with client.raw("HEAD", f"/api/file/{sender.place}/{sender.hash}") as answer:
        assert (answer.status, answer.content_length) == (200, 35)


async def test_files_go_with_their_block(sender: Sender, client: Client, server: Server) -> None:
    """A content is served to the blocks that name it, and to no other."""
    await sender.all()
    heap = sender.place.split("/")[0]
    other = await server.add_block(HeapId(heap))
    assert (await client.ask("GET", f"/api/file/{heap}/{other}/{sender.hash}"))[0] == 404
    assert (await client.ask("GET", f"/api/file/{heap}/{other}/nonsense"))[0] == 400


async def test_helper_adds_a_file(server: Server, client: Client, heap_id: HeapId) -> None:
    """A file attached by hand is there as one that was uploaded."""
    block = await server.add_block(heap_id)
    entry = await server.add_file(block, "a.txt", b"hello", "text/plain")
    path = f"/api/file/{heap_id}/{block}/{entry.hash}"
    assert await client.ask("GET", path) == (200, b"hello")


@given(st.text(alphabet="bytes=0123456789-, ", max_size=20), st.integers(0, 100))
def test_parse_range_law(text: str, size: int) -> None:
    """Whatever is asked, a range that can be satisfied lies inside the content."""
    found = parse_range(text, size)
    if found is not None and found[0] < found[1]:
        assert 0 <= found[0] < found[1] <= size
