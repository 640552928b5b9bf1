"""A proxy before a real server, which answers, cuts, loses or keeps what a fault says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

Forward = Callable[[], Awaitable[web.Response]]
Fault = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]
"""What becomes of a request; ``forward`` lets the server answer it."""


@dataclass
class Proxy:
    """A way to a server; ``fault`` holds for requests whose path begins with ``on``."""

    target: str
    url: str = ""
    fault: Fault | None = None
    on: str = "/api/sync/push"
    met: int = 0
    """How many requests met the fault."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the end, for what waits for ever."""

    def set(self, fault: Fault | None, on: str = "/api/sync/push") -> None:
        """From now on this fault; None: none."""
        self.fault, self.on, self.met = fault, on, 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.read()

        async def forward() -> web.Response:
            headers = {
                k: v for k, v in request.headers.items()
                if k.lower() not in {"host", "content-length", "transfer-encoding"}
            }  # fmt: skip
            async with (
                aiohttp.ClientSession() as client,
                client.request(
                    request.method, self.target + request.path_qs, data=body, headers=headers
                ) as answer,
            ):
                return web.Response(
                    status=answer.status, body=await answer.read(),
                    content_type=answer.content_type,
                )  # fmt: skip

        if self.fault is None or not request.path.startswith(self.on):
            return await forward()
        self.met += 1
        return await self.fault(request, forward)


@contextlib.asynccontextmanager
async def before(target: str) -> AsyncIterator[Proxy]:
    """A proxy before the server at this address."""
    proxy = Proxy(target)
    async with answering(proxy.handle) as proxy.url:
        try:
            yield proxy
        finally:
            proxy.over.set()


@contextlib.asynccontextmanager
async def answering(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Answer every request with this; the address."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def status(code: int, **headers: str) -> Fault:
    """Answers with this status."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        return web.json_response(
            {"error": f"as it is, {code}"},
            status=code,
            headers={k.replace("_", "-"): v for k, v in headers.items()},
        )

    return fault


async def login_page(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Answers with a page of a portal."""
    return web.Response(text="<html><h1>Sign in</h1></html>", content_type="text/html")


async def cut_off(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Lets the server answer, and cuts its answer in the middle."""
    answer = await forward()
    data = bytes(answer.body)  # type: ignore[arg-type]
    half = web.StreamResponse(headers={"Content-Type": "application/json"})
    half.content_length = len(data)
    await half.prepare(request)
    await half.write(data[: len(data) // 2])
    return drop(request)


async def dropped(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Breaks the connection before the server hears of the request."""
    return drop(request)


async def lost_answer(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Lets the server do it, and breaks the connection before its answer."""
    await forward()
    return drop(request)


def drop(request: web.Request) -> web.StreamResponse:
    """Break a request's connection."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
