"""Edge: HTTP to one server, with time-outs, bounded answers, and foreign errors translated once.

A token is sent in the Authorization header only; redirects are not followed (not of ``/ws``
either), cookies not kept, proxies and ``.netrc`` not read, certificates always checked. An answer
must be uncompressed, and is bounded in bytes and in its slowest speed.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from aiohttp import TraceRequestRedirectParams
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from heapsyncd.backoff import Contact
from heapsyncd.errors import HeapsyncdError, ProtocolError, ServerTrouble, Unreachable
from heapsyncd.ids import Token
from heapsyncd.wire.address import server_url
from heapsyncd.wire.answers import USUAL, Answer, Most, check, decode

_T = TypeVar("_T")
MiB = 1 << 20
PIECE_BYTES = 256 << 10
"""How much of a body is in memory at a time; measured five times as fast as one large write."""
READ_AHEAD_BYTES = 1 << 20
"""How much of an answer may wait to be read before the connection is paused."""
CONNECT_S = 10.0
SILENCE_S = 30.0
"""A link that transfers nothing for this long is dead."""
CALL_S = 60.0
"""The longest time of a call, besides the time its bytes take at ``SLOWEST_BYTES_S``."""
SLOWEST_BYTES_S = 4096
"""The slowest acceptable speed: an answer that trickles in is given up."""
_STEP_BYTES = 64 << 10
"""So much is sent within ``SILENCE_S`` at ``SLOWEST_BYTES_S``: a slow link is not a dead one, also
when several uploads share it."""
_AT_ONCE = 6
"""The most calls at a time."""

Pieces = Callable[[], AsyncIterator[bytes]]
"""Makes an iterator over the pieces of a body; called again when the body is sent again."""


class _Body(aiohttp.Payload):
    """A request body that is written piece by piece.

    It can be written again, and keeps the error when reading it failed.
    """

    _autoclose = True

    def __init__(self, size_bytes: int, pieces: Pieces, content_type: str) -> None:
        super().__init__(None, content_type=content_type)
        self._size = size_bytes
        self._pieces = pieces
        self.failure: HeapsyncdError | None = None

    def decode(
        self,
        encoding: str = "utf-8",  # noqa: ARG002 - aiohttp's signature
        errors: str = "strict",  # noqa: ARG002 - aiohttp's signature
    ) -> str:
        """Refuse to become debugging output: the body may be large, or secret."""
        raise TypeError("a streamed body has no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the pieces; each step of one must be sent within ``SILENCE_S``."""
        try:
            async for piece in self._pieces():
                view = memoryview(piece)
                for at in range(0, len(view), _STEP_BYTES):
                    async with asyncio.timeout(SILENCE_S):
                        await writer.write(view[at : at + _STEP_BYTES])
        except HeapsyncdError as error:
            self.failure = error
            raise

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - aiohttp's signature
    ) -> None:
        """Write the pieces, whose length is the announced one."""
        await self.write(writer)


def _body(content: bytes | None) -> _Body | None:
    if content is None:
        return None

    async def pieces() -> AsyncIterator[bytes]:
        view = memoryview(content)
        for at in range(0, len(view), PIECE_BYTES):
            yield view[at : at + PIECE_BYTES]  # type: ignore[misc]  # the writer takes any buffer

    return _Body(len(content), pieces, "application/json")


async def _redirected(
    _client: object, _context: object, found: TraceRequestRedirectParams
) -> None:
    found.response.close()
    where = f"{found.method} {found.url.path} at {found.url.host}"
    to = found.response.headers.get("Location")
    check(Answer(where, found.response.status, b"", location=to), proven=True)


refuse_redirects = aiohttp.TraceConfig()
"""Refuses redirects; for the handshake of a WebSocket there is no option for it."""
refuse_redirects.on_request_redirect.append(_redirected)


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # No limit, so that live sockets and transfers do not wait for each other's connections.
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_S, connect=CONNECT_S, sock_read=SILENCE_S
        ),
        headers={"User-Agent": "heapsyncd", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trace_configs=[refuse_redirects],
    )


class Rest:
    """One server over HTTP; an async context manager that owns the connections.

    ``contact`` is notified of every valid answer.

    Args:
        server: the configured address; a path in it is kept as a prefix.
    """

    def __init__(self, server: str) -> None:
        self.url = server_url(server)
        self.contact = Contact()
        self.clock_ahead_s: float | None = None
        """How far this machine's clock was ahead of the server's at the last answer, if it said
        its time, which is in whole seconds.
        """
        self._proven = False
        self._client: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> Self:
        self._client = _client()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def renew(self) -> None:
        """Close all connections, and fail what waits on them.

        After a suspend they may be dead, which would take ``SILENCE_S`` to notice.
        """
        old, self._client = self.client, _client()
        await old.close()

    @property
    def client(self) -> aiohttp.ClientSession:
        """The open client, for the WebSocket."""
        if self._client is None:
            raise RuntimeError("the client is not open")
        return self._client

    def address(self, path: str) -> URL:
        """Return the full address of a path such as ``/api/heaps``."""
        return self.url.with_path(self.url.path.rstrip("/") + path)

    async def call(
        self,
        shape: type[_T],
        method: str,
        path: str,
        *,
        token: Token | None = None,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool = True,
        most: Most = USUAL,
    ) -> _T:
        """Make one JSON request.

        A ``repeatable`` one is sent again when its connection turns out to be dead.

        Raises:
            ProtocolError: the answer exceeds ``most``.
            Unauthorised: 401. Everything of ``answers.check`` and ``answers.decode``.
            Stale: the connection was dead.
            Unreachable, ServerTrouble: as ``translated``.
        """
        async with self._slots:
            try:
                answer = await self._on_live(method, path, token, query, body, most)
            except Stale:
                if not repeatable:
                    raise
                answer = await self._on_live(method, path, token, query, body, most)
        return self._read(answer, shape)

    async def _on_live(
        self,
        method: str,
        path: str,
        token: Token | None,
        query: Mapping[str, str] | None,
        body: bytes | None,
        most: Most,
    ) -> Answer:
        """Make one request; raises Stale when its connection was dead or closed by ``renew``."""
        client = self._client
        try:
            return await self._once(method, path, token, query, _body(body), most)
        except Unreachable as error:
            if client is self._client:
                raise
            raise Stale(str(error)) from error

    async def put(self, shape: type[_T], path: str, token: Token, size: int, pieces: Pieces) -> _T:
        """Stream a body of ``size`` bytes; what ``pieces`` raises passes through."""
        body = _Body(size, pieces, "application/octet-stream")
        return self._read(await self._once("PUT", path, token, None, body, USUAL), shape)

    @asynccontextmanager
    async def get(
        self, path: str, token: Token, headers: Mapping[str, str]
    ) -> AsyncGenerator["Stream", None]:
        """Open an answer whose body the caller reads in pieces.

        Raises:
            As ``call`` does, for any status but 200, 206 and 416.
        """
        async with self._opened("GET", path, token, None, None, headers) as stream:
            if stream.status not in {200, 206, 416}:
                check(await stream.answer(USUAL), proven=self._proven)
            self.contact.heard()
            yield stream

    def _read(self, answer: Answer, shape: type[_T]) -> _T:
        check(answer, proven=self._proven)
        value = decode(answer, shape, proven=self._proven)
        self._proven = True
        self.contact.heard()
        return value

    async def _once(
        self,
        method: str,
        path: str,
        token: Token | None,
        query: Mapping[str, str] | None,
        body: _Body | None,
        most: Most,
    ) -> Answer:
        try:
            async with self._opened(method, path, token, query, body) as stream:
                return await stream.answer(most)
        except HeapsyncdError:
            if body is not None and body.failure is not None:
                raise body.failure from None
            raise

    @asynccontextmanager
    async def _opened(
        self,
        method: str,
        path: str,
        token: Token | None,
        query: Mapping[str, str] | None,
        body: _Body | None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator["Stream", None]:
        where = f"{method} {path} at {self.url.host}"
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token.reveal()}"
        size = body.size if body is not None and body.size is not None else 0
        async with translated(where):
            async with asyncio.timeout(CALL_S + size / SLOWEST_BYTES_S):
                raw = await self.client.request(
                    method,
                    self.address(path),
                    params=query,
                    data=body,
                    headers=sent,
                    allow_redirects=False,
                    read_bufsize=READ_AHEAD_BYTES,
                )
            self.clock_ahead_s = _ahead_s(raw.headers.get("Date"))
            async with raw:
                yield Stream(where, raw)


def _ahead_s(date: str | None) -> float | None:
    """Return how far this machine's clock is ahead of the date in an answer."""
    try:
        return None if date is None else time.time() - parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None  # the server may send anything


class Stream:
    """An answer that is being received.

    Raises:
        ProtocolError: it is compressed.
    """

    def __init__(self, where: str, raw: aiohttp.ClientResponse) -> None:
        self._where = where
        self._raw = raw
        self.status = raw.status
        self.content_range = raw.headers.get("Content-Range")
        coding = raw.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in {"", "identity"}:
            # Few bytes could expand to many, and offsets into a file count its plain bytes.
            raise ProtocolError(f"{where}: the answer is compressed, which was not requested")

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; raises Unreachable when that is too slow."""
        left_s = CALL_S
        while True:
            before_s = time.monotonic()
            async with asyncio.timeout(left_s):
                piece = await self._raw.content.readany()
            if not piece:
                return
            # The time that the reader takes between pieces does not count against the server.
            left_s += len(piece) / SLOWEST_BYTES_S - (time.monotonic() - before_s)
            yield piece

    async def answer(self, most: Most) -> Answer:
        """Read the whole answer; raises ProtocolError when it exceeds ``most``."""
        raw, body = self._raw, bytearray()
        allowed = most.size_bytes if 200 <= self.status < 300 else USUAL.size_bytes
        if (raw.content_length or 0) > allowed:
            raise ProtocolError(
                f"{self._where}: the answer of {raw.content_length} bytes is too large"
            )
        async for piece in self.pieces():
            body += piece
            if len(body) > allowed:
                raise ProtocolError(f"{self._where}: the answer is larger than {allowed} bytes")
        # A decoded value takes far more memory than the few bytes it may have here.
        if body.count(b",") > most.commas:
            raise ProtocolError(f"{self._where}: the answer contains too many values")
        return Answer(
            self._where,
            self.status,
            body,
            raw.headers.get("Content-Type", ""),
            raw.headers.get("Retry-After"),
            raw.headers.get("Location"),
        )


class Stale(Unreachable):
    """The connection was closed before an answer arrived; most likely it had been idle."""


@asynccontextmanager
async def translated(where: str) -> AsyncGenerator[None, None]:
    """Translate what aiohttp raises to our errors.

    Raises:
        Unreachable: no connection, no name, no valid certificate, a time-out, a broken link.
        ServerTrouble: the answer is cut off or is not HTTP.
    """
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
        raise Unreachable(f"{where}: the server's certificate is not valid ({error})") from error
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(f"{where}: no connection ({error.strerror or error})") from error
    except aiohttp.ServerDisconnectedError as error:
        raise Stale(f"{where}: the server closed the connection") from error
    except TimeoutError as error:
        raise Unreachable(f"{where}: no answer in time") from error
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise ServerTrouble(f"{where}: the answer is cut off or broken") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"{where}: the connection broke ({error})") from error
