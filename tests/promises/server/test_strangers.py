"""What anybody may do to the server before, and without, signing in; through real sockets."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pycrdt import Doc

from heapsyncd.ids import Token
from heapsyncd.server import Limits, Server
from heapsyncd.server.addresses import client as whose
from heapsyncd.server.addresses import group, is_loopback, networks
from heapsyncd.server.challenges import Challenges
from heapsyncd.wire import hocuspocus as hp
from tests.server.rig import Client, Keys, name_of, paragraph, said, serving

HALF_HEAD = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
HALF_BODY = (
    b"POST /api/auth/create_session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
)
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MIB = 1 << 20


class Raw:
    """A connection as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@contextlib.asynccontextmanager
async def raw(client: Client, *begun: bytes) -> AsyncIterator[list[Raw]]:
    """As many connections as beginnings."""
    host, port = client.url.removeprefix("http://").split(":")
    opened = []
    try:
        for first in begun:
            reader, writer = await asyncio.open_connection(host, port)
            opened.append(Raw(reader, writer))
            writer.write(first)
        yield opened
    finally:
        for one in opened:
            one.writer.transport.abort()
        for one in opened:
            with contextlib.suppress(ConnectionError):
                await one.writer.wait_closed()


async def pour(one: Raw, size: int) -> None:
    """Send so much, as fast as it is taken."""
    async with asyncio.timeout(10):
        for _ in range(size // MIB):
            one.writer.write(bytes(MIB))
            await one.writer.drain()


async def test_half_requests_keep_nobody_out(tmp_path: Path) -> None:
    """More half-sent requests than there may be connections: the next request is answered."""
    limits = Limits(auth_calls=99, connections=20)
    begun = [HALF_HEAD, HALF_BODY[:40]] * 20
    async with serving(tmp_path, limits=limits) as (_, client), raw(client, *begun):
        async with asyncio.timeout(10):
            assert (await client.get("/api/health"))["server"]["status"] == "ok"
        await client.sign_in()


async def test_one_address_has_its_share(tmp_path: Path) -> None:
    """An address over its share loses its own oldest unused connection."""
    limits, begun = Limits(connections_per_address=3), [HALF_HEAD] * 4
    async with serving(tmp_path, limits=limits) as (_, client), raw(client, *begun) as opened:
        assert await opened[0].rest() == b""


async def test_a_live_connection_makes_no_room(tmp_path: Path) -> None:
    """Who is being served keeps the connection, however many others come."""
    async with serving(tmp_path, limits=Limits(auth_calls=99, connections=5)) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        name = name_of(heap, await server.add_block(heap))
        async with client.live() as live:
            doc = await live.open(name)
            async with raw(client, *[HALF_HEAD] * 15):
                await live.send(name, hp.Update(paragraph("here", doc)))
                assert (await live.next(name, hp.SyncStatus)).saved


@pytest.mark.parametrize("begun", [b"", HALF_HEAD])
async def test_an_unfinished_head_is_cut_off(tmp_path: Path, begun: bytes) -> None:
    """A connection that brings no whole request in time is closed."""
    limits = Limits(request_s=0.2)
    async with serving(tmp_path, limits=limits) as (_, client), raw(client, begun) as (one,):
        assert await one.rest() == b""


async def test_an_unfinished_body_is_cut_off(tmp_path: Path) -> None:
    """A body that does not come in time is refused, and its connection closed."""
    limits = Limits(request_s=0.2)
    async with serving(tmp_path, limits=limits) as (_, client), raw(client, HALF_BODY) as (one,):
        assert b" 408 " in await one.rest()


async def test_a_slow_body_is_taken(tmp_path: Path) -> None:
    """A larger body has the time that its bytes need."""
    limits = Limits(request_s=0.3, body_rate=1_000)
    async with serving(tmp_path, limits=limits) as (_, client):
        await client.sign_in()

        async def slowly() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield b" " * 500
                await asyncio.sleep(0.1)  # the pace is what is tried here
            yield b"{}"

        head = {"Content-Type": "application/json"}
        assert (await client.ask("POST", "/api/heaps", data=slowly(), headers=head))[0] == 200


async def test_a_body_before_signing_in_is_small(client: Client) -> None:
    """Sign-in routes take some kilobytes, no more."""
    body = {"public_key": client.keys.public, "more": "x" * 70_000}
    assert (await client.ask("POST", "/api/auth/create_session", json=body))[0] == 413


async def test_an_unfinished_message_of_a_stranger(client: Client) -> None:
    """Before a token is shown, a socket that sends a large message is cut off; after it, not."""
    announced = b"\x82\xff" + (60 * MIB).to_bytes(8, "big") + bytes(4)
    async with raw(client, HANDSHAKE + announced) as (one,):
        with pytest.raises(ConnectionError):
            await pour(one, 60 * MIB)


async def test_long_names_are_refused(client: Client) -> None:
    """A document's name has at most 128 characters, whoever asks."""
    async with client.live() as live:
        assert isinstance(await live.sign_in("x" * 128), hp.PermissionDenied)
        await live.send("x" * 129, hp.Auth(Token("wrong")))
        assert await live.closed() == 4205


async def test_refused_sign_ins_are_counted(tmp_path: Path) -> None:
    """A socket that shows one wrong token after the other is closed."""
    limits = Limits(unsigned_names=5)
    async with serving(tmp_path, limits=limits) as (_, client), client.live() as live:
        for k in range(6):
            await live.sign_in_silently(f"doc{k}", "wrong")
        assert await live.closed() == 4401


async def test_what_waits_for_a_sign_in_is_little(tmp_path: Path) -> None:
    """Of somebody unknown less may wait than of somebody who signed in to another document."""
    limits = Limits(auth_calls=99, unsigned_bytes=50_000)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        name = name_of(heap, await server.add_block(heap))
        update = paragraph("x" * 60_000)
        async with client.live() as live:
            await live.send(name, hp.Update(update[:40_000]))
            await live.send(name, hp.Update(update[:40_000]))
            assert await live.closed() in {4205, 1006}
        async with client.live() as live:
            assert isinstance(await live.sign_in(f"{name}9"), hp.PermissionDenied)
            await live.send(name, hp.Update(update))
            await live.sign_in(name)
            assert (await live.next(name, hp.SyncStatus)).saved


async def test_sockets_of_strangers_are_bounded(tmp_path: Path) -> None:
    """An address has few sockets without a sign-in; one that signs in counts no longer."""
    limits = Limits(auth_calls=99, unsigned_sockets=3)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        name = name_of(heap, await server.add_block(heap))
        async with contextlib.AsyncExitStack() as stack:
            first, *_ = [await stack.enter_async_context(client.live()) for _ in range(3)]
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await stack.enter_async_context(client.live())
            assert refused.value.status == 429
            await first.open(name)
            second = await stack.enter_async_context(client.live())
            assert said(await second.open(name)) == ""


# ---- who becomes the owner --------------------------------------------------------------------


async def newcomer(client: Client, code: str | None, **head: str) -> tuple[int, Any]:
    """Somebody with a fresh key signs in."""
    other = Client(client.http, client.url, Keys(), code=code)
    body = await other.signed_challenge()
    return await other.ask("POST", "/api/auth/verify_session", json=body, headers=head)


async def test_one_owner_at_once(tmp_path: Path) -> None:
    """Of several who bring the code at the same time one becomes the owner, and no other."""
    for k in range(3):
        async with serving(tmp_path / f"{k}", accounts=[]) as (server, client):
            assert server.code is not None
            answers = await asyncio.gather(*[newcomer(client, server.code) for _ in range(8)])
            assert sorted(status for status, _ in answers) == [200] + [401] * 7
            assert [a["user"]["is_admin"] for s, a in answers if s == 200] == [True]
            assert server.code is None


async def test_the_owner_brings_the_code(tmp_path: Path) -> None:
    """Without it nobody signs in to a new server; it is good once, and new at each start."""
    async with serving(tmp_path, accounts=[]) as (server, client):
        first = server.code
        assert first is not None
        for wrong in (None, "", "AAAA-AAAA-AAAA", first[:-1]):
            assert (await newcomer(client, wrong))[0] == 401
    async with serving(tmp_path, accounts=[]) as (server, client):
        code = server.code
        assert code not in {None, first}
        assert (await newcomer(client, first))[0] == 401
        assert (await newcomer(client, code.lower().replace("-", " ")))[0] == 200
        assert (await newcomer(client, code))[0] == 401
    async with serving(tmp_path, accounts=[]) as (server, _):
        assert server.code is None


async def test_named_keys_need_no_code(tmp_path: Path) -> None:
    """With a key named, or any accepted, there is no code, and nobody becomes owner by one."""
    async with serving(tmp_path / "a") as (server, client):
        assert server.code is None
        assert (await newcomer(client, ""))[0] == 401
    async with serving(tmp_path / "b", open_registration=True) as (server, client):
        assert server.code is None
        answers = await asyncio.gather(*[newcomer(client, None) for _ in range(4)])
        assert [a["user"]["is_admin"] for _, a in answers] == [False] * 4
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "accounts").write_text(Keys().public)
    async with serving(tmp_path / "c", accounts=[]) as (server, client):
        assert server.code is None
        assert (await newcomer(client, None))[0] == 401


@pytest.mark.parametrize(
    "head",
    [
        {"Origin": "https://evil.example"},
        {"Host": "evil.example:8790"},
        {"Origin": "http://evil.example:8790", "Host": "evil.example:8790"},
        {"Origin": "null"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
async def test_no_web_page_signs_in(tmp_path: Path, head: dict[str, str]) -> None:
    """On a server of this machine alone a page's sign-in is refused, its preflight too, whatever
    it brings; nothing is claimed by it.
    """
    async with serving(tmp_path / "a", open_registration=True) as (_, client):
        assert (await newcomer(client, None, **head))[0] == 403
        path = "/api/auth/verify_session"
        assert (await client.ask("OPTIONS", path, headers=head))[0] == 403
        assert (await newcomer(client, None, Origin="http://localhost:5173"))[0] == 200
        assert (await newcomer(client, None, Host="localhost"))[0] == 200


async def test_a_proxys_callers_are_no_pages(tmp_path: Path) -> None:
    """Through a trusted proxy the server's public name is used, and pages of other places."""
    options: dict[str, Any] = {"open_registration": True, "trusted_proxies": ["127.0.0.1"]}
    head = {"Host": "notes.example", "Origin": "https://app.example"}
    async with serving(tmp_path, **options) as (_, client):
        assert (await newcomer(client, None, **head))[0] == 403
        forwarded = {"X-Forwarded-For": "192.0.2.1"}
        assert (await newcomer(client, None, **head, **forwarded))[0] == 200


# ---- addresses --------------------------------------------------------------------------------


async def test_callers_behind_a_proxy_are_told_apart(tmp_path: Path) -> None:
    """One caller's flood throttles that caller; without the option, and of what others claim,
    nothing is believed.
    """
    limits = Limits(auth_calls=3)
    options: dict[str, Any] = {"limits": limits, "trusted_proxies": ["127.0.0.1"]}
    body = {"public_key": Keys().public}
    path = "/api/auth/create_session"

    async def statuses(client: Client, *forwarded: str) -> list[int]:
        return [
            (await client.ask("POST", path, json=body, headers={"X-Forwarded-For": said}))[0]
            for said in forwarded
        ]

    async with serving(tmp_path / "a", **options) as (_, client):
        assert await statuses(client, *["192.0.2.1"] * 4) == [200, 200, 200, 429]
        assert await statuses(client, *["192.0.2.2"] * 3) == [200] * 3
        lies = [f"192.0.2.{k}, 192.0.2.1" for k in range(3, 6)]
        assert await statuses(client, *lies) == [429] * 3
        v6 = [f"2001:db8::{k:x}" for k in range(1, 5)]
        assert await statuses(client, *v6) == [200, 200, 200, 429]
    async with serving(tmp_path / "b", limits=limits) as (_, client):
        assert await statuses(client, *[f"192.0.2.{k}" for k in range(4)]) == [200] * 3 + [429]


async def test_challenges_of_others_stay(tmp_path: Path) -> None:
    """A flood of challenges from many addresses takes nobody else's away."""
    options: dict[str, Any] = {
        "limits": Limits(auth_calls=1_000, challenges=50),
        "trusted_proxies": ["127.0.0.1"],
    }
    async with serving(tmp_path, **options) as (_, client):
        client.headers["X-Forwarded-For"] = "192.0.2.1"
        body = await client.signed_challenge()
        flood = {"public_key": Keys().public}
        for k in range(120):
            client.headers["X-Forwarded-For"] = f"198.51.100.{k % 40}"
            await client.post("/api/auth/create_session", flood)
        client.headers["X-Forwarded-For"] = "192.0.2.1"
        assert (await client.ask("POST", "/api/auth/verify_session", json=body))[0] == 200


def test_challenges_are_bounded_and_expire() -> None:
    """Never more than so many; each serves one key, once, in time."""
    challenges = Challenges(3)
    for k in range(5):
        challenges.put(f"t{k}", "a", "key", 100, 0)
    assert [challenges.take(f"t{k}", "key", 50) for k in range(5)] == [False] * 2 + [True] * 3
    assert not challenges.take("t4", "key", 50)
    challenges.put("other", "a", "key", 100, 0)
    assert not challenges.take("other", "another key", 50)
    challenges.put("late", "a", "key", 100, 0)
    assert not challenges.take("late", "key", 101)


def test_addresses() -> None:
    """An IPv6 network counts as one; only what trusted proxies wrote is believed."""
    assert group("2001:db8:1:2:3::4") == group("2001:db8:1:2::9") != group("2001:db8:1:3::9")
    assert group("::ffff:192.0.2.7") == group("192.0.2.7") == "192.0.2.7"
    assert group("no address") == "no address"
    trusted = networks(["10.0.0.0/8", "::1"])
    assert whose("192.0.2.1", ["1.2.3.4"], trusted) == "192.0.2.1"
    assert whose("10.0.0.1", ["1.2.3.4, 192.0.2.1"], trusted) == "192.0.2.1"
    assert whose("::1", ["1.2.3.4", "192.0.2.1, 10.9.9.9"], trusted) == "192.0.2.1"
    assert whose("10.0.0.1", [], trusted) == "10.0.0.1"
    for here in (
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "[::1]",
        "localhost",
        "a.localhost",
        "LocalHost.",
    ):
        assert is_loopback(here), here
    for elsewhere in ("0.0.0.0", "192.168.1.2", "::", "localhost.evil.example", "", "127.0.0.1.x"):
        assert not is_loopback(elsewhere), elsewhere


# ---- what answers say -------------------------------------------------------------------------


async def test_headers_that_protect(client: Client, server: Server) -> None:
    """Answers are stored nowhere, addresses with tokens are told to nobody, versions neither."""
    heap = await server.add_heap("H")
    block = await server.add_block(heap, "file", "a")
    entry = await server.add_file(block, "a.bin", b"content")
    file = f"/api/file/{heap}/{block}/{entry.hash}?token={client.token}"
    for path in ("/api/", file, "/api/nothing"):
        async with client.raw("GET", path) as answer:
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Server"] == "heapsyncd"
            stored = answer.headers["Cache-Control"]
            assert stored == "no-store" if path != file else stored.startswith("private")


NO_HTTP = [
    pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", id="TLS"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n", id="a header"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", id="long"),
    pytest.param(
        b"POST /api/me HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n", id="a length"
    ),
    pytest.param(b"GET /api/health HTTP/9.9\r\nHost: a\r\n\r\n", id="a version"),
]


@pytest.mark.parametrize("sent", NO_HTTP)
async def test_what_is_no_http_gets_an_answer_like_all_others(
    client: Client, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """JSON that repeats nothing and names no version; and no traceback in the log."""
    async with raw(client, sent) as (one,):
        status, _, rest = (await one.reader.readuntil(b"\r\n")).partition(b" ")[2].partition(b" ")
        head = (await one.reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert status.startswith(b"4"), (status, rest)
        assert "server: heapsyncd\r\n" in head
        assert "cache-control: no-store" in head
        assert "referrer-policy: no-referrer" in head
        assert "aiohttp" not in head
        assert "content-type: application/json" in head
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        assert set(json.loads(await one.reader.readexactly(length))) == {"error"}
    assert not [r for r in caplog.records if r.exc_info]


async def test_deep_json_is_refused(client: Client) -> None:
    """A body nested deeper than anything we read is a wrong body, also in a field nobody reads."""
    deep = b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    head = {"Content-Type": "application/json"}
    for path in ("/api/me", "/api/heaps"):
        assert (await client.ask("POST", path, data=deep, headers=head))[0] == 400


async def test_keys_have_one_spelling(tmp_path: Path) -> None:
    """A key with something around it is no key: as another account it would slip by ``!KEY``."""
    async with serving(tmp_path, open_registration=True) as (_, client):
        (tmp_path / "accounts").write_text(f"!{client.keys.public}\n")
        for spelt in ("{} ", " {}", "{}\n", "1{}"):
            body = {"public_key": spelt.format(client.keys.public)}
            assert (await client.ask("POST", "/api/auth/create_session", json=body))[0] == 400
        body = await client.signed_challenge()
        assert (await client.ask("POST", "/api/auth/verify_session", json=body))[0] == 401


async def test_bound_of_a_state_vector(client: Client, server: Server) -> None:
    """A state vector too long to be looked at counts as none: the whole document comes."""
    heap = await server.add_heap("H")
    block = await server.add_block(heap, "document", "", paragraph("whole"))
    name = name_of(heap, block)
    clients = 40_000
    vector = b"\xc0\xb8\x02" + b"\x01\x01" * clients
    assert len(vector) > Limits().vector_bytes
    ask = {"id": block, "sync_version": 1, "state_vector": base64.b64encode(vector).decode()}
    (answer,) = (await client.pull(heap, ask))["blocks"]
    assert answer["full"] is True
    async with client.live() as live:
        await live.sign_in(name)
        await live.send(name, hp.SyncStep1(vector))
        doc: Doc[Any] = Doc()
        doc.apply_update((await live.next(name, hp.SyncStep2)).update)
        assert said(doc) == "whole"
