"""Edge: open the live link's WebSocket beside the HTTP client; foreign errors become ours."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import WSMsgType

from heapsyncd.backoff import Contact
from heapsyncd.wire.answers import Answer, check
from heapsyncd.wire.feed import LinkClosed, Socket
from heapsyncd.wire.rest import SILENCE_S, Rest, translated

MAX_MESSAGE_BYTES = 64 << 20
"""The largest message accepted, larger than any document. Without a bound one frame could take all
memory.
"""
_SIGNS = {WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG}
_OPEN_S = 20.0
_CLOSE_S = 1.0


class _WebSocket:
    """One open WebSocket of aiohttp; it answers pings itself."""

    def __init__(self, raw: aiohttp.ClientWebSocketResponse, where: str, contact: Contact) -> None:
        self._raw = raw
        self._where = where
        self._contact = contact

    async def send(self, data: bytes) -> None:
        """Send one binary message; raises Unreachable when it is stuck for ``SILENCE_S``."""
        async with translated(self._where), asyncio.timeout(SILENCE_S):
            await self._raw.send_bytes(data)

    async def ping(self) -> None:
        """Send a ping."""
        async with translated(self._where), asyncio.timeout(SILENCE_S):
            await self._raw.ping()

    async def receive(self) -> bytes | None:
        """Return the next binary message; None for any other sign of life."""
        async with translated(self._where):
            message = await self._raw.receive()
            if message.type not in _SIGNS:
                code, said = self._raw.close_code, message.extra or message.data or ""
                raise LinkClosed(f"{self._where}: closed with {code} {said}".strip(), code)
            self._contact.heard()
            if message.type is WSMsgType.PING:
                await self._raw.pong(message.data)
            return bytes(message.data) if message.type is WSMsgType.BINARY else None


@asynccontextmanager
async def connect(rest: Rest) -> AsyncGenerator[Socket, None]:
    """Open ``/ws`` (PROTOCOL §6).

    Raises:
        What ``answers.check`` raises for a status other than an upgrade; Unreachable.
    """
    where = f"GET /ws at {rest.url.host}"
    async with translated(where):
        try:
            async with asyncio.timeout(_OPEN_S):
                raw = await rest.client.ws_connect(
                    rest.address("/ws"),
                    autoping=False,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            wait = error.headers.get("Retry-After") if error.headers else None
            check(Answer(where, error.status, b"", retry_after=wait), proven=True)
            raise
    rest.contact.heard()
    try:
        yield _WebSocket(raw, where, rest.contact)
    finally:
        await raw.close()
