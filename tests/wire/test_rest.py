"""HTTP against a real local server that misbehaves in each way."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from heapsyncd.errors import (
    ConfigError,
    HeapsyncdError,
    NotHeaper,
    ProtocolError,
    RequestRefused,
    ServerTrouble,
    TooFast,
    Unreachable,
)
from heapsyncd.ids import Token
from heapsyncd.wire import rest as rest_module
from heapsyncd.wire.address import server_url
from heapsyncd.wire.answers import Most
from heapsyncd.wire.rest import Rest
from heapsyncd.wire.values import FileChanged, Unauthorised
from heapsyncd.wire.websocket import connect

TOKEN = Token("top-secret-token")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Rest]:
    """A client of an aiohttp server whose every route is ``handler``."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with Rest(runner_url(runner)) as rest:
            yield rest
    finally:
        await runner.cleanup()


def runner_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


@asynccontextmanager
async def saying(*answers: bytes) -> AsyncIterator[tuple[Rest, list[bytes]]]:
    """A server of bare bytes: each connection gets the next answer and is closed."""
    requests: list[bytes] = []
    left = list(answers)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(left.pop(0) if left else b"")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Rest(f"http://127.0.0.1:{port}") as rest:
        yield rest, requests


async def prove(rest: Rest) -> None:
    assert await rest.call(dict[str, Any], "GET", "/api/ok") == {"ok": True}


def answering(response: Callable[[], web.StreamResponse]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/api/ok":
            return web.json_response({"ok": True})
        return response()

    return handle


def page(status: int = 200) -> web.Response:
    return web.Response(status=status, text="<html><h1>Login</h1>", content_type="text/html")


def head(field: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n".encode()


def moved(to: str) -> web.Response:
    return web.Response(status=302, headers={"Location": to})


@pytest.mark.parametrize(
    ("response", "first", "later"),
    [
        (lambda: web.json_response({}, status=401), Unauthorised, Unauthorised),
        (lambda: web.json_response({}, status=403), RequestRefused, RequestRefused),
        (lambda: web.json_response({}, status=404), NotHeaper, RequestRefused),
        (lambda: web.json_response({}, status=409), RequestRefused, RequestRefused),
        (lambda: web.json_response({}, status=413), RequestRefused, RequestRefused),
        (lambda: web.json_response({}, status=422), RequestRefused, RequestRefused),
        (lambda: web.json_response({}, status=429), TooFast, TooFast),
        (lambda: web.json_response({}, status=503), ServerTrouble, ServerTrouble),
        (lambda: page(502), ServerTrouble, ServerTrouble),
        (lambda: page(403), NotHeaper, RequestRefused),
        (lambda: page(404), NotHeaper, RequestRefused),
        (page, NotHeaper, ServerTrouble),
        (lambda: moved("http://portal/"), NotHeaper, ServerTrouble),
        (lambda: web.Response(text='{"a": '), NotHeaper, ServerTrouble),
        (lambda: web.json_response([1]), ProtocolError, ProtocolError),
    ],
)  # fmt: skip
async def test_what_a_server_answers_is_one_of_our_errors(
    response: Callable[[], web.StreamResponse],
    first: type[HeapsyncdError],
    later: type[HeapsyncdError],
) -> None:
    """At the first contact, and once the server is known to be one."""
    async with serving(answering(response)) as rest:
        for expected in (first, later):
            with pytest.raises(HeapsyncdError) as error:
                await rest.call(dict[str, Any], "POST", "/api/x", token=TOKEN, body=b"{}")
            assert type(error.value) is expected
            shown = "".join(traceback.format_exception(error.value)) + repr(error.value)
            assert TOKEN.reveal() not in shown
            await prove(rest)


async def test_the_token_travels_in_the_header_alone() -> None:
    """Never in the address."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.json_response({})

    async with serving(handle) as rest:
        await rest.call(dict[str, Any], "GET", "/api/x", token=TOKEN, query={"since": "0"})
        await rest.call(dict[str, Any], "POST", "/api/y")
    assert seen[0].headers["Authorization"] == f"Bearer {TOKEN.reveal()}"
    assert seen[0].query_string == "since=0"
    assert "Authorization" not in seen[1].headers


async def test_a_prefix_in_the_address_is_kept() -> None:
    """A server may live below a path."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"path": request.path})

    async with serving(handle) as rest, Rest(f"{rest.url}/notes/") as below:
        assert await below.call(dict[str, str], "GET", "/api/x") == {"path": "/notes/api/x"}


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        pytest.param(head("Content-Length: 99") + b"{}", ServerTrouble, id="short"),
        pytest.param(head("Transfer-Encoding: chunked") + b"5\r\n{", ServerTrouble, id="chunk"),
        pytest.param(head("X: y")[:20], Unreachable, id="cut in the head"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", ServerTrouble, id="no HTTP"),
        pytest.param(head("Content-Length: 999999999"), ProtocolError, id="huge"),
        pytest.param(head("Content-Encoding: gzip") + b"abcd", ProtocolError, id="compression"),
    ],
)
async def test_a_broken_answer_is_the_servers_trouble(
    answer: bytes, raised: type[HeapsyncdError]
) -> None:
    """Cut off, no HTTP, too large."""
    async with saying(answer, answer) as (rest, _):
        with pytest.raises(raised) as error:
            await rest.call(dict[str, Any], "POST", "/api/x", body=b"{}")
    assert isinstance(error.value, raised)


async def test_an_answer_is_bounded_while_it_is_read() -> None:
    """A length that was not announced is counted."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" " * 100)
        return response

    async with serving(handle) as rest:
        with pytest.raises(ProtocolError, match="larger than 1000"):
            await rest.call(dict[str, Any], "GET", "/api/x", most=Most(1000, 1000))


async def test_values_are_counted_before_they_are_made() -> None:
    """Three bytes may be a value of a hundred: an answer of too many is not read at all."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(text="[" + "1," * 2000 + "1]", content_type="application/json")

    async with serving(handle) as rest:
        with pytest.raises(ProtocolError, match="too many values"):
            await rest.call(list[int], "GET", "/api/x", most=Most(1 << 20, 1000))


async def test_a_refusal_is_bounded_too() -> None:
    """Whatever the answer may have been."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=409, body=bytes(2 << 20))

    async with serving(handle) as rest:
        with pytest.raises(ProtocolError, match="too large"):
            await rest.call(dict[str, Any], "GET", "/api/x", most=Most(64 << 20, 1000))


@pytest.mark.parametrize("where", ["head", "body", "file"])
async def test_a_byte_now_and_then_is_not_waited_for(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that never stands still, and never ends, is given up."""
    monkeypatch.setattr(rest_module, "CALL_S", 0.3)
    start = b"HTTP/1.1 200 OK\r\n"
    if where != "head":
        start += b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(start)
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b" " if where != "head" else b"X-A: b\r\n")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.02)
        writer.close()
        gone.set()

    async def ask(rest: Rest) -> None:
        if where != "file":
            await rest.call(dict[str, Any], "GET", "/api/x")
        async with rest.get("/api/file/x", TOKEN, {}) as stream:
            async for _ in stream.pieces():
                pass

    gone = asyncio.Event()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(20):
        async with Rest(f"http://127.0.0.1:{port}") as rest:
            with pytest.raises(Unreachable, match="no answer in time"):
                await ask(rest)
        await gone.wait()


async def test_what_comes_slowly_but_comes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece buys the time that it takes at the slowest speed."""
    monkeypatch.setattr(rest_module, "CALL_S", 0.3)
    monkeypatch.setattr(rest_module, "SLOWEST_BYTES_S", 100)

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(20):
            await response.write(b" " * 30)
            await asyncio.sleep(0.05)
        await response.write(b"{}")
        return response

    async with serving(handle) as rest:
        assert await rest.call(dict[str, Any], "GET", "/api/x") == {}


async def test_a_compressed_answer_is_refused_unread() -> None:
    """It was asked for as it is: a few bytes could become any number."""
    seen = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Accept-Encoding"])
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=gzip.compress(b"{}"), headers=headers)

    async with serving(handle) as rest:
        with pytest.raises(ProtocolError, match="compressed"):
            await rest.call(dict[str, Any], "GET", "/api/x")
        with pytest.raises(ProtocolError, match="compressed"):
            async with rest.get("/api/file/x", TOKEN, {}):
                pass
    assert seen == ["identity", "identity"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirected_socket_is_not_followed(status: int) -> None:
    """Another address learns nothing, whatever kind of redirect names it."""
    asked = []

    async def other(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response({})

    async with serving(other) as there:

        async def handle(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": f"{there.url}ws\u202e\x9b2J"})

        async with serving(handle) as rest:
            with pytest.raises(ServerTrouble, match="unexpectedly redirected") as error:
                async with connect(rest):
                    pass
    assert asked == []
    assert str(error.value).isprintable()


async def test_what_a_refusal_says_holds_no_token() -> None:
    """A server that repeats the header it was sent is quoted without it."""
    token = Token("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMUoifQ.c2lnbmF0dXJl")

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": f"bad {request.headers['Authorization']}"}, status=403)

    async with serving(handle) as rest:
        with pytest.raises(HeapsyncdError, match="refused with 403: bad Bearer …") as error:
            await rest.call(dict[str, Any], "GET", "/api/x", token=token)
    assert token.reveal() not in str(error.value)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


async def test_given_up_connections_answer_over_new_ones() -> None:
    """After ``renew`` what waited on a dead connection is asked for again, over another."""
    asked = 0
    waiting, over = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked == 1:
            waiting.set()
            await over.wait()
        return web.json_response({"asked": asked})

    async with serving(handle) as rest:
        call = asyncio.create_task(rest.call(dict[str, int], "GET", "/api/x"))
        await waiting.wait()
        await rest.renew()
        assert await call == {"asked": 2}
        over.set()


async def test_a_dead_connection_is_replaced_once() -> None:
    """A server that closed an idle connection costs nothing; one that always does is
    unreachable.
    """
    async with saying(b"", OK) as (rest, requests):
        assert await rest.call(dict[str, Any], "POST", "/api/x", body=b"{}") == {}
        assert len(requests) == 2
        with pytest.raises(Unreachable):
            await rest.call(dict[str, Any], "POST", "/api/x", body=b"{}")


async def test_what_serves_once_is_not_repeated() -> None:
    """A spent challenge sent twice would look like a refusal."""
    async with saying(b"", OK) as (rest, requests):
        with pytest.raises(Unreachable):
            await rest.call(dict[str, Any], "POST", "/api/x", body=b"{}", repeatable=False)
        assert len(requests) == 1


async def test_a_closed_port_and_an_unknown_name_are_unreachable() -> None:
    """Connection refused, and DNS."""
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        async with Rest(url) as rest:
            with pytest.raises(Unreachable, match="no connection"):
                await rest.call(dict[str, Any], "GET", "/api/")


async def test_a_silent_server_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that moves nothing is given up."""
    monkeypatch.setattr(rest_module, "SILENCE_S", 0.05)

    stop = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        await stop.wait()
        return web.Response()

    async with serving(handle) as rest:
        with pytest.raises(Unreachable, match="in time"):
            await rest.call(dict[str, Any], "GET", "/api/x")
        stop.set()


async def test_a_server_that_stops_reading_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not move is given up, however large it is."""
    monkeypatch.setattr(rest_module, "SILENCE_S", 0.1)
    stop = asyncio.Event()

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield bytes(256 << 10)

    async with server, Rest(f"http://127.0.0.1:{port}") as rest:
        with pytest.raises(Unreachable):
            await rest.put(dict[str, Any], "/api/x", TOKEN, 100 << 20, pieces)
        stop.set()


async def test_a_server_that_reads_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is that something is sent, and not how long a large piece takes: several uploads
    may share a slow link.
    """
    size = 10 << 20

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            left -= len(await reader.read(64 << 10))
            await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(size)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(serve, sock=listener, limit=64 << 10)
        port = listener.getsockname()[1]
        async with server, Rest(f"http://127.0.0.1:{port}") as rest:
            monkeypatch.setattr(rest_module, "SILENCE_S", 0.5)  # for sending only
            assert await rest.put(dict[str, Any], "/api/x", TOKEN, size, pieces) == {}


async def test_a_certificate_is_checked(tmp_path: Path) -> None:
    """A certificate nobody vouches for ends the connection, with a message that says so."""
    context = self_signed(tmp_path)
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server, Rest(f"https://localhost:{port}") as rest:
        with pytest.raises(Unreachable, match="certificate"):
            await rest.call(dict[str, Any], "GET", "/api/", token=TOKEN)


def self_signed(folder: Path) -> ssl.SSLContext:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415 - for this one test

    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - likewise

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "server.pem"
    path.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_large_body_is_streamed_with_its_length() -> None:
    """Content-Length is announced, the bytes arrive, and nothing warns about size."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"length": request.content_length, "read": len(await request.read())}
        )

    size = 3_000_001
    async with serving(handle) as rest:
        body = b'"' + b"x" * (size - 2) + b'"'
        answer = await rest.call(dict[str, int], "POST", "/api/x", body=body)
        assert answer == {"length": size, "read": size}


async def test_what_reading_a_body_raises_passes_through() -> None:
    """A file that changed is not the server's trouble."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 100
        raise FileChanged("changed")

    async def handle(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response({})

    async with serving(handle) as rest:
        with pytest.raises(FileChanged):
            await rest.put(dict[str, Any], "/api/x", TOKEN, 1000, pieces)


@pytest.mark.parametrize(
    "text", ["", "heaper.example", "ftp://x", "https://", "https://user:pw@x", "http://[::1"]
)
def test_an_address_that_is_none_is_a_configuration_error(text: str) -> None:
    """It names the setting; a password in it is not repeated."""
    with pytest.raises(ConfigError, match="server") as error:
        server_url(text)
    assert "pw" not in str(error.value)
