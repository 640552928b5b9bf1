"""Edge: HTTP to one server; time-outs, bounded answers, every foreign error translated once.

A token travels in the Authorization header alone; redirects are not followed, cookies not kept,
proxies and ``.netrc`` not read, certificates always checked.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from heapsyncd.backoff import Contact
from heapsyncd.errors import HeapsyncdError, ProtocolError, ServerTrouble, Unreachable
from heapsyncd.ids import Token
from heapsyncd.wire.address import server_url
from heapsyncd.wire.answers import Answer, check, decode

_T = TypeVar("_T")
MiB = 1 << 20
PIECE_BYTES = 256 << 10
"""How much of a body is in memory at a time; measured five times as fast as one large write."""
READ_AHEAD_BYTES = 1 << 20
"""So much of an answer may wait to be read before the connection is held up."""
MAX_ANSWER_BYTES = 128 * MiB
"""A single document may be large; more than this is no document but a fault."""
CONNECT_S = 10.0
SILENCE_S = 30.0
"""A link that moves nothing for this long is dead."""
_AT_ONCE = 6

Pieces = Callable[[], AsyncIterator[bytes]]


class _Body(aiohttp.Payload):
    """A request body written piece by piece; it can be written again, and remembers why reading
    it failed.
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
        """Not for debugging output: it may be large, or secret."""
        raise TypeError("a streamed body has no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the pieces; each must move within ``SILENCE_S``."""
        try:
            async for piece in self._pieces():
                async with asyncio.timeout(SILENCE_S):
                    await writer.write(piece)
        except HeapsyncdError as error:
            self.failure = error
            raise

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - aiohttp's signature
    ) -> None:
        """As ``write``: the length is the one announced."""
        await self.write(writer)


def _body(content: bytes | None) -> _Body | None:
    if content is None:
        return None

    async def pieces() -> AsyncIterator[bytes]:
        view = memoryview(content)
        for at in range(0, len(view), PIECE_BYTES):
            yield view[at : at + PIECE_BYTES]  # type: ignore[misc]  # the writer takes any buffer

    return _Body(len(content), pieces, "application/json")


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # No limit: live sockets and transfers must not wait for each other's connections.
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_S, connect=CONNECT_S, sock_read=SILENCE_S
        ),
        headers={"User-Agent": "heapsyncd"},
    )


class Rest:
    """One server over HTTP; an async context manager that owns the connections.

    Args:
        server: the configured address; a path in it is kept as a prefix.

    ``contact`` is told of every answer that is as it should be.
    """

    def __init__(self, server: str) -> None:
        self.url = server_url(server)
        self.contact = Contact()
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
        """Give every connection up, with what waits on it: after a suspend they may be dead, and
        take ``SILENCE_S`` to tell.
        """
        old, self._client = self.client, _client()
        await old.close()

    @property
    def client(self) -> aiohttp.ClientSession:
        """The open client, for the WebSocket beside us."""
        if self._client is None:
            raise RuntimeError("the server's connection is not open")
        return self._client

    def address(self, path: str) -> URL:
        """The full address of a path such as ``/api/heaps``."""
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
    ) -> _T:
        """One JSON request; one that is ``repeatable`` is sent again when its connection turns
        out to be dead.

        Raises:
            Unauthorised: 401. Everything of ``answers.check`` and ``answers.decode``.
            Stale: the connection was dead.
            Unreachable, ServerTrouble: as ``translated``.
        """
        async with self._slots:
            try:
                answer = await self._on_live(method, path, token, query, body)
            except Stale:
                if not repeatable:
                    raise
                answer = await self._on_live(method, path, token, query, body)
        return self._read(answer, shape)

    async def _on_live(
        self,
        method: str,
        path: str,
        token: Token | None,
        query: Mapping[str, str] | None,
        body: bytes | None,
    ) -> Answer:
        """One request; Stale when its connection was dead, or given up (``renew``)."""
        client = self._client
        try:
            return await self._once(method, path, token, query, _body(body))
        except Unreachable as error:
            if client is self._client:
                raise
            raise Stale(str(error)) from error

    async def put(self, shape: type[_T], path: str, token: Token, size: int, pieces: Pieces) -> _T:
        """Stream a body of ``size`` bytes; what ``pieces`` raises passes through."""
        body = _Body(size, pieces, "application/octet-stream")
        return self._read(await self._once("PUT", path, token, None, body), shape)

    @asynccontextmanager
    async def get(
        self, path: str, token: Token, headers: Mapping[str, str]
    ) -> AsyncGenerator["Stream", None]:
        """An answer whose body the caller reads in pieces.

        Raises:
            As ``call`` does, for any status but 200, 206 and 416.
        """
        where = f"GET {path} at {self.url.host}"
        async with translated(where), self._send("GET", path, token, None, None, headers) as raw:
            if raw.status not in {200, 206, 416}:
                check(await self._answer(where, raw), proven=self._proven)
            self.contact.heard()
            yield Stream(raw)

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
    ) -> Answer:
        where = f"{method} {path} at {self.url.host}"
        try:
            async with translated(where), self._send(method, path, token, query, body) as raw:
                return await self._answer(where, raw)
        except HeapsyncdError:
            if body is not None and body.failure is not None:
                raise body.failure from None
            raise

    def _send(
        self,
        method: str,
        path: str,
        token: Token | None,
        query: Mapping[str, str] | None,
        body: _Body | None,
        headers: Mapping[str, str] | None = None,
    ) -> "aiohttp.client._RequestContextManager":
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token.reveal()}"
        return self.client.request(
            method,
            self.address(path),
            params=query,
            data=body,
            headers=sent,
            allow_redirects=False,
            read_bufsize=READ_AHEAD_BYTES,
        )

    async def _answer(self, where: str, raw: aiohttp.ClientResponse) -> Answer:
        if (raw.content_length or 0) > MAX_ANSWER_BYTES:
            raise ProtocolError(f"{where}: an answer of {raw.content_length} bytes is too large")
        body = bytearray()
        async for piece in raw.content.iter_any():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise ProtocolError(f"{where}: an answer of more than {MAX_ANSWER_BYTES} bytes")
        return Answer(
            where,
            raw.status,
            bytes(body),
            raw.headers.get("Content-Type", ""),
            raw.headers.get("Retry-After"),
            raw.headers.get("Location"),
        )


class Stream:
    """An answer that is being received."""

    def __init__(self, raw: aiohttp.ClientResponse) -> None:
        self._raw = raw
        self.status = raw.status
        self.content_range = raw.headers.get("Content-Range")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, as it comes."""
        async for piece in self._raw.content.iter_any():
            yield piece


class Stale(Unreachable):
    """The connection was closed before anything of an answer came: an idle one, most likely."""


@asynccontextmanager
async def translated(where: str) -> AsyncGenerator[None, None]:
    """Turn what aiohttp raises into our errors, once.

    Raises:
        Unreachable: no connection, no name, no valid certificate, a time-out, a link that broke.
        ServerTrouble: an answer that is cut off or is no HTTP.
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
