"""Build the application: routes, who may call them, how errors are answered (PROTOCOL §3)."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from heapsyncd.errors import FolderTrouble
from heapsyncd.server import downloads, routes, uploads
from heapsyncd.server.addresses import is_loopback
from heapsyncd.server.connections import connection_of
from heapsyncd.server.input import LIMITS
from heapsyncd.server.page import page
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.services import SERVICES, Services
from heapsyncd.server.sockets import GOING_AWAY, INTERNAL, Socket

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SOCKETS: web.AppKey[set[Socket]] = web.AppKey("sockets")
_RETRY_S = "10"
_AUTH = "/api/auth/"
_ALLOWED = "Authorization, Content-Type, Range, If-Range, If-None-Match"
_EXPOSED = "ETag, Content-Range, Content-Length, Accept-Ranges, Retry-After"


def make_app(services: Services) -> web.Application:
    """Make the application: HTTP and ``/ws`` on one origin (PROTOCOL §1)."""
    app = web.Application(middlewares=[_mark_busy, _answer_errors])
    app[SERVICES] = services
    app[LIMITS] = services.limits
    sockets: set[Socket] = set()
    app[_SOCKETS] = sockets
    app.on_response_prepare.append(_protect)
    app.on_response_prepare.append(_allow_origin)
    add = app.router.add_route
    for path in ("/api", "/api/"):
        add("GET", path, _maybe_signed_in(routes.instance))
    app.router.add_get("/", page)
    add("GET", "/api/health", _open(routes.health))
    add("POST", "/api/auth/create_session", _throttled(routes.create_session))
    add("POST", "/api/auth/verify_session", _throttled(routes.verify_session))
    add("POST", "/api/auth/refresh_token", _throttled(routes.refresh_token))
    add("POST", "/api/auth/sign_out", _throttled(routes.sign_out))
    for path, handler in (
        ("/api/me", routes.me),
        ("/api/heaps", routes.heaps),
        ("/api/block/{block}", routes.block),
        ("/api/query_blocks", routes.query_blocks),
        ("/api/search_blocks", routes.search_blocks),
        ("/api/insert_block", routes.insert_block),
        ("/api/sync/pull", routes.pull),
        ("/api/sync/push", routes.push),
        ("/api/upload/init/{heap}/{block}", uploads.init),
        ("/api/upload/complete/{heap}/{block}/{hash}", uploads.complete),
    ):
        add("POST", path, _signed_in(handler))
    add("GET", "/api/sync/delta", _signed_in(routes.delta))
    add("PUT", "/api/upload/chunk/{heap}/{block}/{hash}/{index}", _signed_in(uploads.chunk))
    app.router.add_get("/api/file/{heap}/{block}/{hash}", _download)
    add("GET", "/ws", _live)
    add("GET", "/ws/{rest:.*}", _live)
    app.on_shutdown.append(_close_sockets)
    return app


class Protocol(web.RequestHandler):
    """aiohttp's side of a connection; answers what is not HTTP like every other error.

    Such a request reaches no application: neither middleware nor signals would see its answer.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it repeats what was sent
    ) -> web.StreamResponse:
        """Answer what can't be read as a request; the connection ends after it."""
        if isinstance(exc, HttpProcessingError):
            # Anybody can send this as often as they like: no warning each, and no traceback.
            log.debug("not HTTP", address=request.remote, status=status)
            answer = _json({"error": "the request can't be understood"}, status)
        else:
            log.error("a request failed", address=request.remote, exc_info=exc)
            answer = _json({"error": "internal error"}, status)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun: no other can be sent")
        answer.force_close()
        _harden(answer)
        return answer


def sockets_of(app: web.Application) -> set[Socket]:
    """Return the application's open sockets."""
    sockets: set[Socket] = app[_SOCKETS]
    return sockets


def _open(handler: Callable[[web.Request, Services], Awaitable[Mapping[str, object]]]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return _json(await handler(request, request.app[SERVICES]))

    return handle


def _throttled(
    handler: Callable[[web.Request, Services], Awaitable[Mapping[str, object]]],
) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        services.throttle.admit(services.address(request))
        return _json(await handler(request, services))

    return handle


def _signed_in(handler: Callable[..., Awaitable[Mapping[str, object]]]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        account = services.accounts.signed_in(routes.bearer(request)).account
        return _json(await handler(request, services, account))

    return handle


def _maybe_signed_in(handler: Callable[..., Awaitable[Mapping[str, object]]]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        account = None
        if hdrs.AUTHORIZATION in request.headers:
            account = services.accounts.signed_in(routes.bearer(request)).account
        return _json(await handler(request, services, account))

    return handle


async def _download(request: web.Request) -> web.StreamResponse:
    """Serve a file; only files also accept ``?token=``.

    Browsers can't add a header to the request of an image (PROTOCOL §3).
    """
    services = request.app[SERVICES]
    token = request.query.get("token")
    if hdrs.AUTHORIZATION in request.headers or token is None:
        token = routes.bearer(request)
    return await downloads.download(request, services, services.accounts.signed_in(token).account)


async def _live(request: web.Request) -> web.StreamResponse:
    """Serve ``GET /ws``; each document is signed in to by messages (PROTOCOL §6)."""
    services = request.app[SERVICES]
    address, connection = services.address(request), connection_of(request)
    strangers = [s for s in sockets_of(request.app) if s.address == address and not s.is_known]
    if len(strangers) >= services.limits.unsigned_sockets or connection is None:
        raise Refusal(429, "too many sockets without a sign-in", headers={"Retry-After": _RETRY_S})
    connection.bound(services.limits.unsigned_bytes)
    # No compression: updates are small and binary, and the size limit applies before unpacking.
    websocket = web.WebSocketResponse(
        max_msg_size=services.limits.frame_bytes,
        heartbeat=services.limits.ping_s,
        compress=False,
        timeout=2.0,
    )
    socket = Socket(websocket, services, address, connection)
    sockets_of(request.app).add(socket)
    try:
        await websocket.prepare(request)
        await socket.run()
    except web.HTTPException:
        raise
    except Exception:
        log.exception("live connection failed", address=address)
        await websocket.close(code=INTERNAL)
    finally:
        sockets_of(request.app).discard(socket)
        if socket.outbox.overrun.is_set() and request.transport is not None:
            log.warning("live client cut off: it does not read", address=address)
            request.transport.abort()
    return websocket


async def _close_sockets(app: web.Application) -> None:
    for socket in list(sockets_of(app)):
        socket.close(GOING_AWAY, "the server is going away")


@web.middleware
async def _mark_busy(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Mark a connection as busy while its request is answered; busy ones are not dropped for
    others.
    """
    connection = connection_of(request)
    if connection is None:
        return await handler(request)
    connection.serve(busy=True)
    try:
        return await handler(request)
    finally:
        connection.serve(busy=False)


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal and error into a JSON answer (PROTOCOL §3)."""
    try:
        if request.path.startswith(_AUTH):
            _refuse_web_pages(request)
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204)
        return await handler(request)
    except Refusal as refusal:
        body = {"error": refusal.message, **refusal.body}
        return _json(body, refusal.status, refusal.headers)
    except web.HTTPException as error:
        kept = {k: v for k, v in error.headers.items() if k == hdrs.ALLOW}
        return _json({"error": error.reason.lower()}, error.status, kept)
    except FolderTrouble as trouble:
        log.warning("database error", path=request.path, reason=str(trouble))
        return _json({"error": "the server's disk has trouble"}, 503, {"Retry-After": _RETRY_S})
    except (asyncio.CancelledError, ConnectionError):
        raise
    except OSError as trouble:
        log.warning("file error", path=request.path, reason=str(trouble))
        full = trouble.errno in {errno.ENOSPC, errno.EDQUOT}
        text = "the server's disk is full" if full else "the server's disk has trouble"
        return _json({"error": text}, 507 if full else 503, {"Retry-After": _RETRY_S})
    except Exception:
        log.exception("a request failed", method=request.method, path=request.path)
        return _json({"error": "internal error"}, 500)


def _json(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers=headers,
    )


def _refuse_web_pages(request: web.Request) -> None:
    """Refuse to sign in a web page, on a server that only this machine reaches.

    Such a page runs in a browser on this machine. It has its own ``Origin`` or, if its name was
    made to resolve to this machine, its own ``Host``. Requests through a proxy come from elsewhere
    and are not checked.
    """
    services = request.app[SERVICES]
    if not services.is_local or services.is_proxied(request):
        return
    origin = request.headers.get(hdrs.ORIGIN)
    places = [f"http://{request.host}", *([origin] if origin is not None else [])]
    if not all(map(_is_loopback_url, places)):
        raise Refusal(403, "this server accepts sign-ins only from this machine, not by web pages")


def _is_loopback_url(url: str) -> bool:
    try:
        return is_loopback(URL(url).host or "")
    except ValueError:
        return False


async def _protect(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    _harden(response)


def _harden(response: web.StreamResponse) -> None:
    """Forbid caching, because answers contain tokens or notes, and Referer, because of
    ``?token=``.
    """
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers[hdrs.SERVER] = "heapsyncd"


async def _allow_origin(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Allow the request's own origin (PROTOCOL §3)."""
    response.headers.add("Vary", "Origin")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.method == hdrs.METH_OPTIONS:
        response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PUT, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = _ALLOWED
        response.headers["Access-Control-Max-Age"] = "86400"
