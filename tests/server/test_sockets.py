"""Live sync: many documents on one WebSocket."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pycrdt import Doc

from heapsyncd.ids import BlockId, HeapId, Token, new_block_id
from heapsyncd.server import Limits, Server
from heapsyncd.wire import hocuspocus as hp
from heapsyncd.wire.awareness import State, decode, encode
from tests.server.rig import (
    Client,
    Keys,
    Live,
    loaded,
    name_of,
    paragraph,
    said,
    serving,
    until,
)


async def test_open(client: Client, name: str) -> None:
    """A signed-in document is sent in full, and asked for what the client has."""
    async with client.live() as live:
        assert await live.sign_in(name) == hp.Authenticated("read-write")
        await live.send(name, hp.SyncStep1(Doc[Any]().get_state()))
        assert (await live.next(name, hp.SyncStep1)).reply is False
        assert said(loaded((await live.next(name, hp.SyncStep2)).update)) == "here"


async def test_open_without_waiting(client: Client, name: str) -> None:
    """Messages sent before the answer to Auth, or even before Auth, are handled after it."""
    async with client.live() as live:
        await live.send(name, hp.SyncStep1(Doc[Any]().get_state()))
        await live.sign_in(name)
        assert said(loaded((await live.next(name, hp.SyncStep2)).update)) == "here"


async def test_reply_is_not_asked_back(client: Client, name: str) -> None:
    """A SyncStep1 that is itself a reply gets no SyncStep1."""
    async with client.live() as live:
        await live.sign_in(name)
        await live.send(name, hp.SyncStep1(Doc[Any]().get_state(), reply=True))
        assert [type(m) for m in await live.quiet(name)] == [hp.SyncStep2]


async def test_change_is_saved_and_told(client: Client, server: Server, heap_id: HeapId) -> None:
    """A change is acknowledged to its sender once it is stored, and told to the others only."""
    block = await server.add_block(heap_id)
    name = name_of(heap_id, block)
    async with client.live() as one, client.live() as two:
        mine, yours = await one.open(name), await two.open(name)
        await one.quiet(name)
        await one.send(name, hp.Update(paragraph("live", mine)))
        assert await one.next(name, hp.SyncStatus) == hp.SyncStatus(saved=True)
        assert said(await client.pulled(heap_id, block)) == "live"
        yours.apply_update((await two.next(name, hp.Update)).update)
        assert said(yours) == "live"
        assert await one.quiet(name) == []


async def test_step2_is_acknowledged(client: Client, name: str) -> None:
    """The answer to our SyncStep1 gets its SyncStatus, also when there is nothing new in it."""
    async with client.live() as live:
        doc = await live.open(name)
        for update in (b"\0\0", doc.get_update()):
            await live.send(name, hp.SyncStep2(update))
            assert await live.next(name, hp.SyncStatus) == hp.SyncStatus(saved=True)


async def test_push_is_told(client: Client, heap_id: HeapId, name: str, block: BlockId) -> None:
    """What is pushed over HTTP reaches whoever follows live."""
    async with client.live() as live:
        doc = await live.open(name)
        await client.push(heap_id, (block, paragraph("pushed", loaded(doc.get_update()))))
        doc.apply_update((await live.next(name, hp.Update)).update)
        assert said(doc) == "pushed|here"


async def test_no_change_is_not_told(
    client: Client, heap_id: HeapId, name: str, block: BlockId
) -> None:
    """An update that changes nothing goes to nobody."""
    async with client.live() as live:
        doc = await live.open(name)
        await live.quiet(name)
        await client.push(heap_id, (block, doc.get_update()))
        assert await live.quiet(name) == []


async def test_what_waited_is_told_whole(client: Client, server: Server, heap_id: HeapId) -> None:
    """Who opened the document while an update waited for another gets both when it arrives."""
    block = await server.add_block(heap_id)
    author: Doc[Any] = Doc()
    first, second = paragraph("first", author), paragraph("second", author)
    await server.apply(block, second)
    async with client.live() as live:
        doc = await live.open(name_of(heap_id, block))
        assert said(doc) == ""
        await server.apply(block, first)
        doc.apply_update((await live.next(name_of(heap_id, block), hp.Update)).update)
        assert said(doc) == "second|first"


async def test_refusals(client: Client, server: Server, heap_id: HeapId, block: BlockId) -> None:
    """Unknown names, old versions, other heaps and bad tokens are refused one by one; the socket
    and its other documents stay, and what was sent along is dropped.
    """
    other = await server.add_heap("Other")
    async with client.live() as live:
        doc = await live.open(name_of(heap_id, block))
        for name in (
            name_of(heap_id, block, 2),
            name_of(heap_id, block, 0),
            name_of(other, block),
            name_of(heap_id, new_block_id()),
            f"{heap_id}:{block}",
            f"{heap_id}:{block}:v01",
            f"{heap_id}:{block}:v1:v1",
            "",
        ):
            await live.send(name, hp.SyncStep1(b"\0"))
            assert isinstance(await live.sign_in(name), hp.PermissionDenied)
            await live.send(name, hp.SyncStep1(b"\0"))
        bad = await live.sign_in(name_of(heap_id, block) + "\0two", token="nonsense")
        assert isinstance(bad, hp.PermissionDenied)
        await live.send(name_of(heap_id, block), hp.Update(paragraph("alive", doc)))
        assert (await live.next(name_of(heap_id, block), hp.SyncStatus)).saved


async def test_signing_in_again_after_refusal(client: Client, name: str) -> None:
    """A refused document may be signed in to again on the same socket."""
    async with client.live() as live:
        assert isinstance(await live.sign_in(name, token="x"), hp.PermissionDenied)
        assert said(await live.open(name)) == "here"


async def test_token_renewal(client: Client, name: str) -> None:
    """A good token for an open document is taken silently; a bad one closes the document."""
    async with client.live() as live:
        await live.open(name)
        await live.quiet(name)
        await live.sign_in_silently(name)
        assert await live.quiet(name) == []
        await live.sign_in_silently(name, "bad")
        assert "unauthorized" in (await live.next(name, hp.Close)).reason


async def test_sessions(client: Client, name: str) -> None:
    """Newer clients may carry a document twice on one socket, told apart by a session."""
    async with client.live() as live:
        one, two = f"{name}\0one", f"{name}\0two"
        doc = await live.open(one)
        other = await live.open(two)
        await live.send(one, hp.Update(paragraph("session", doc)))
        other.apply_update((await live.next(two, hp.Update)).update)
        assert said(other) == "session|here"


async def test_invalid_update(client: Client, name: str) -> None:
    """An update that is none is refused by SyncStatus; the document goes on."""
    async with client.live() as live:
        doc = await live.open(name)
        await live.send(name, hp.Update(b"\x05garbage"))
        assert await live.next(name, hp.SyncStatus) == hp.SyncStatus(saved=False)
        await live.send(name, hp.Update(paragraph("ok", doc)))
        assert await live.next(name, hp.SyncStatus) == hp.SyncStatus(saved=True)


async def test_read_only(client: Client, server: Server, heap_id: HeapId, name: str) -> None:
    """In a heap granted for reading a document opens readonly: changes are refused, and nothing
    new in a SyncStep2 is none.
    """
    await server.grant(heap_id, "ro")
    async with client.live() as live:
        assert await live.sign_in(name) == hp.Authenticated("readonly")
        await live.send(name, hp.SyncStep1(Doc[Any]().get_state()))
        doc = loaded((await live.next(name, hp.SyncStep2)).update)
        await live.send(name, hp.SyncStep2(doc.get_update()))
        assert (await live.next(name, hp.SyncStatus)).saved is True
        await live.send(name, hp.Update(paragraph("no", doc)))
        assert (await live.next(name, hp.SyncStatus)).saved is False
        await live.send(name, hp.SyncStep2(doc.get_update()))
        assert (await live.next(name, hp.SyncStatus)).saved is False
        assert said(await live.open(name + "\0again")) == "here"


async def test_compaction_closes_the_old_name(
    client: Client, server: Server, heap_id: HeapId, name: str, block: BlockId
) -> None:
    """A compaction closes the old name for everybody; the new name opens on the same socket."""
    async with client.live() as live:
        doc = await live.open(name)
        assert await server.compact(block) == 2
        assert "stale" in (await live.next(name, hp.Close)).reason
        await live.send(name, hp.Update(paragraph("late", doc)))
        assert said(await live.open(name_of(heap_id, block, 2))) == "here"
        assert isinstance(await live.sign_in(name), hp.PermissionDenied)
    assert said(await client.pulled(heap_id, block, 2)) == "here"


async def test_client_closes_a_document(
    client: Client, server: Server, name: str, block: BlockId
) -> None:
    """A client's Close ends that document: it is told nothing more of it."""
    async with client.live() as live, client.live() as other:
        await live.open(name)
        doc = await other.open(name)
        await live.send(name, hp.Close("bye"))
        await live.next(name, hp.Close)
        await other.send(name, hp.Update(paragraph("x", doc)))
        await other.next(name, hp.SyncStatus)
        assert server.followers(block) == 1
        assert said(await live.open(name)) == "x|here"


async def test_presence(client: Client, server: Server, name: str, block: BlockId) -> None:
    """Presence is told to the others, to newcomers and on request, and ends with its socket."""
    async with client.live() as one:
        await one.open(name)
        async with client.live() as two:
            await two.open(name)
            await one.quiet(name)
            await two.send(name, hp.Awareness(encode([State(7, 1, '{"name":"Jo"}')])))
            assert decode((await one.next(name, hp.Awareness)).update)[0].client == 7
            async with client.live() as three:
                await three.sign_in(name)
                assert decode((await three.next(name, hp.Awareness)).update)[0].clock == 1
        left = decode((await one.next(name, hp.Awareness)).update)
        assert left == [State(7, 2, "null")]
    await until(lambda: server.followers(block) == 0)


async def test_stateless_is_ignored(client: Client, name: str) -> None:
    """Stateless messages, pings and unknown types do no harm."""
    async with client.live() as live:
        await live.open(name)
        await live.quiet(name)
        await live.send(name, hp.Stateless("hello"))
        await live.send(name, hp.Stateless("hello", broadcast=True))
        await live.send(name, hp.Unknown(77, b"x"))
        await live.send(name, hp.Ping())
        await live.socket.send_bytes(b"\x0a")
        assert [type(m) for m in await live.quiet(name)] == [hp.Pong]


async def test_connection_ping(client: Client) -> None:
    """A ping without a document is answered in kind."""
    async with client.live() as live:
        await live.socket.send_bytes(b"\x09")
        assert (await live.socket.receive()).data == b"\x0a"


@pytest.mark.parametrize(
    "frame", [b"", b"\xff", b"\x05ab", b"\x01a\x00\x07", b"\x01a\x00\x02\xff\xff\xff\xff\x0f"]
)
async def test_broken_frames_reset_the_socket(client: Client, frame: bytes) -> None:
    """What is no message resets the connection."""
    async with client.live() as live:
        await live.socket.send_bytes(frame)
        assert await live.closed() == 4205


async def test_text_frames_are_refused(client: Client) -> None:
    """A text frame closes the connection as unsupported."""
    async with client.live() as live:
        await live.socket.send_str("hello")
        assert await live.closed() == 1003


async def test_bad_payloads_reset_the_socket(client: Client, name: str) -> None:
    """A state vector or presence that is none resets the connection."""
    for message in (hp.SyncStep1(b"\x05"), hp.Awareness(b"\x01\x01\x01\x01{"), hp.Awareness(b"")):
        async with client.live() as live:
            await live.sign_in(name)
            await live.send(name, message)
            assert await live.closed() == 4205


async def test_waiting_messages_are_bounded(tmp_path: Path) -> None:
    """Who sends too much without signing in is reset: documents, messages, bytes."""
    limits = Limits(auth_calls=99, waiting_documents=5, waiting_messages=20, waiting_bytes=1_000)
    async with serving(tmp_path, limits=limits) as (_, client):
        await client.sign_in()
        floods: list[list[tuple[str, hp.Message]]] = [
            [(f"doc{k}", hp.SyncStep1(b"\0")) for k in range(6)],
            [("doc", hp.SyncStep1(b"\0"))] * 21,
            [("doc", hp.Update(b"x" * 1_001))],
        ]
        for flood in floods:
            async with client.live() as live:
                for name, message in flood:
                    await live.send(name, message)
                assert await live.closed() == 4205


async def test_refused_documents_do_not_wait(tmp_path: Path) -> None:
    """What is sent along with refused sign-ins counts for nothing, however many there are."""
    limits = Limits(waiting_documents=3)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        async with client.live() as live:
            for version in range(2, 12):
                await live.sign_in_silently(name_of(heap, block, version))
                await live.send(name_of(heap, block, version), hp.SyncStep1(b"\0"))
            assert said(await live.open(name_of(heap, block))) == ""


async def test_large_messages_are_refused(tmp_path: Path) -> None:
    """A message above the limit closes the socket as too big."""
    limits = Limits(frame_bytes=10_000)
    async with serving(tmp_path, limits=limits) as (_, client), client.live() as live:
        await live.socket.send_bytes(b"x" * 20_000)
        assert await live.closed() == 1009


async def test_idle_socket_is_closed(tmp_path: Path) -> None:
    """A socket on which nobody signed in is closed after a while."""
    limits = Limits(idle_s=0.05)
    async with serving(tmp_path, limits=limits) as (_, client), client.live() as live:
        assert await live.closed() == 4408


async def test_slow_client_is_cut_off(tmp_path: Path) -> None:
    """A client that takes nothing while others write is cut off, and nobody else is held up."""
    limits = Limits(
        unsent_bytes=100_000,
        unsent_max_bytes=1_000_000,
        ping_s=3_600,
        awareness_state_bytes=250_000,
        awareness_room_bytes=250_000,
    )
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        name = name_of(heap, block)
        reader, writer = await asyncio.open_connection(*client.url[7:].split(":"))
        async with client.live() as typist:
            doc = await typist.open(name)
            await shake_hands(reader, writer)
            writer.write(masked(hp.encode(name, hp.Auth(Token(client.token or "")))))
            await until(lambda: server.followers(block) == 2)
            for clock in range(60):
                here = State(1, clock, f'"{"x" * 200_000}"')
                await typist.send(name, hp.Awareness(encode([here])))
            await until(lambda: server.followers(block) == 1)
            await typist.send(name, hp.Update(paragraph("still here", doc)))
            assert (await typist.next(name, hp.SyncStatus)).saved
        writer.close()


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Open a WebSocket by hand, to be able to stop reading it."""
    head = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    writer.write((head + key).encode())
    async with asyncio.timeout(5):
        while (await reader.readline()).strip():
            pass


def masked(payload: bytes) -> bytes:
    """A binary client frame with a zero mask."""
    size = len(payload)
    assert 126 <= size < 65_536
    return b"\x82\xfe" + size.to_bytes(2, "big") + bytes(4) + payload


async def test_update_larger_than_a_push(client: Client, server: Server, heap_id: HeapId) -> None:
    """What is too large for a push goes over the socket, and comes back by pull and socket."""
    block = await server.add_block(heap_id)
    name = name_of(heap_id, block)
    async with client.live() as live:
        doc = await live.open(name)
        await live.send(name, hp.Update(paragraph("x" * (9 << 20), doc)))
        assert (await live.next(name, hp.SyncStatus)).saved
    assert len(said(await client.pulled(heap_id, block))) == 9 << 20
    async with client.live() as live:
        assert len(said(await live.open(name))) == 9 << 20


async def test_changes_under_way_when_the_client_goes(
    client: Client, server: Server, heap_id: HeapId
) -> None:
    """What was sent before a client closed its socket is stored, though it hears no answer."""
    block = await server.add_block(heap_id)
    async with client.live() as live:
        doc = await live.open(name_of(heap_id, block))
        for k in range(20):
            await live.send(name_of(heap_id, block), hp.Update(paragraph(f"{k}", doc)))

    async def arrived() -> bool:
        return said(await client.pulled(heap_id, block)) == said(doc)

    await until(arrived)


async def test_many_documents(client: Client, server: Server, heap_id: HeapId) -> None:
    """One socket carries many documents; a change reaches each name once."""
    blocks = [
        await server.add_block(heap_id, "document", "", paragraph(f"{k}")) for k in range(300)
    ]
    async with client.live() as live:
        docs = {}
        for k, block in enumerate(blocks):
            docs[block] = await live.open(name_of(heap_id, block))
            assert said(docs[block]) == f"{k}"
        await client.push(heap_id, *((b, paragraph("new", docs[b])) for b in blocks[:200]))
        for block in blocks[:200]:
            doc = loaded((await live.next(name_of(heap_id, block), hp.Update)).update)
            assert isinstance(doc, Doc)


async def test_server_going_away(tmp_path: Path) -> None:
    """A server that closes tells its sockets so."""
    keys = Keys()
    async with aiohttp.ClientSession() as http:
        async with Server(tmp_path, accounts=[keys.public]) as server:
            client = await Client(http, server.url, keys).sign_in()
            heap = await server.add_heap("H")
            block = await server.add_block(heap)
            url = server.url.replace("http", "ws", 1) + "/ws"
            socket = await http.ws_connect(url)
            live = Live(socket, client.token or "")
            await live.open(name_of(heap, block))
            closing = asyncio.create_task(live.closed())
        assert await closing == 1001


async def test_plain_request(client: Client) -> None:
    """A request to /ws that is no WebSocket is refused in JSON."""
    status, answer = await client.ask("GET", "/ws")
    assert (status, bool(answer["error"])) == (400, True)
