"""A service on several machines: nodes of ``cluster.mjs`` over one Redis, and what stands before
them.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web

from heapsyncd.ids import HeapId
from tests.peers.programs import Program, running
from tests.sync.proxy import answering, drop
from tests.sync.rig import until

HEAP = HeapId("01HZX0000000000000000000HP")
TITLE = "Home"
TOKEN = "T"
_HOP_BY_HOP = {"host", "content-length", "transfer-encoding", "connection", "keep-alive"}


class Node:
    """One machine of the service."""

    def __init__(self, program: Program, port: int) -> None:
        self._program = program
        self.url = f"http://127.0.0.1:{port}"

    async def kill(self) -> None:
        """It is gone, with all that it held in memory."""
        await self._program.kill()

    async def stats(self) -> dict[str, Any]:
        """What it did so far."""
        return await self._program.ask("stats")


class Balancer:
    """Spreads what comes over the living nodes.

    As long as ``apart`` is set, sockets go to the first node and calls to the last one; else
    each connection and each call goes to the next node in turn. A node that does not take a
    connection is left out from then on; an answer that breaks off is none.
    """

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.nodes: list[Node] = []
        self.apart = True
        self.url = ""
        self._client = client
        self._turn = 0
        self._held: tuple[str, asyncio.Event] | None = None

    @contextmanager
    def held(self, path: str) -> Iterator[None]:
        """Calls of this path wait while the block runs."""
        over = asyncio.Event()
        self._held = path, over
        try:
            yield
        finally:
            over.set()
            self._held = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or carry one socket."""
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        body = await request.read()
        if self._held is not None and request.path == self._held[0]:
            await self._held[1].wait()
        while self.nodes:
            node = self._next(is_socket=is_socket)
            try:
                if is_socket:
                    return await self._carry(request, node)
                return await self._forward(request, node, body)
            except aiohttp.ClientConnectorError:
                self.nodes = [other for other in self.nodes if other is not node]
            except aiohttp.ClientError:
                return drop(request) if is_socket else web.Response(status=502)
        return web.Response(status=503)

    def _next(self, *, is_socket: bool) -> Node:
        if self.apart:
            return self.nodes[0 if is_socket else -1]
        self._turn += 1
        return self.nodes[self._turn % len(self.nodes)]

    async def _forward(self, request: web.Request, node: Node, body: bytes) -> web.Response:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        async with self._client.request(
            request.method, node.url + request.path_qs, data=body, headers=headers
        ) as answer:
            data = await answer.read()
            return web.Response(status=answer.status, body=data, content_type=answer.content_type)

    async def _carry(self, request: web.Request, node: Node) -> web.StreamResponse:
        async with self._client.ws_connect(node.url + request.path_qs, max_msg_size=0) as far:
            near = web.WebSocketResponse(max_msg_size=0)
            await near.prepare(request)
            # The end of either one is the end of both.
            ways = [asyncio.create_task(_pump(far, near)), asyncio.create_task(_pump(near, far))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            return drop(request)


Side = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


async def _pump(one: Side, other: Side) -> None:
    async for message in one:
        if message.type is aiohttp.WSMsgType.BINARY:
            await other.send_bytes(message.data)


class Cluster:
    """The service: its address is ``url``, as for a server."""

    def __init__(self, stack: AsyncExitStack, redis: Path, balancer: Balancer) -> None:
        self._stack = stack
        self._redis = redis
        self.balancer = balancer

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.balancer.url

    @property
    def ws(self) -> str:
        """Where the provider connects."""
        return self.url.replace("http", "ws", 1) + "/ws"

    async def start(self) -> Node:
        """Another node comes up, and takes its share."""
        program = await self._stack.enter_async_context(running("cluster.mjs"))
        heap = {"id": HEAP, "title": TITLE}
        answer = await program.ask("start", redis=str(self._redis), heap=heap, key="cluster")
        node = Node(program, answer["port"])
        self.balancer.nodes.append(node)
        return node

    @classmethod
    @asynccontextmanager
    async def running(cls, base: Path) -> AsyncIterator[Self]:
        """A service without nodes, in an empty directory; skips where Redis is missing."""
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(_redis(base))
            client = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
            balancer = Balancer(client)
            balancer.url = await stack.enter_async_context(answering(balancer.handle))
            yield cls(stack, redis, balancer)


@asynccontextmanager
async def _redis(base: Path) -> AsyncIterator[Path]:
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip(
            "a service on several machines is not tested: redis-server is not installed"
            " (Debian: apt-get install redis-server)"
        )
    socket = base / "redis.sock"
    options = {"port": "0", "unixsocket": str(socket), "dir": str(base), "save": ""}
    arguments = [word for key, value in options.items() for word in (f"--{key}", value)]
    process = await asyncio.create_subprocess_exec(
        command, *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(socket.exists, "redis listens")
        yield socket
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
