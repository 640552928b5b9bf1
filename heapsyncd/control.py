"""Edge: commands talk to a running daemon over a Unix socket in ``state_dir``.

One request, one answer, each a line of JSON::

    -> {"request": "status", ...arguments}
    <- {"result": ...}   or   {"error": "<message for people>", "exit_code": 1}

The answer to a *long* request may take any time. Lines of news come before it, and show that the
daemon is alive. If the caller hangs up, its request ends with the next one::

    <- {"news": ...}

The socket has mode 0600 and exists only while its daemon holds the state's lock. So a socket left
by a killed daemon may be replaced. To add a request, add its name to ``handlers``.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog

from heapsyncd.errors import FolderTrouble, HeapsyncdError, TryLater

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Answers one request from its arguments with a JSON value. May raise HeapsyncdError."""

Tell = Callable[[Any], Awaitable[None]]
"""Sends a line of news to the caller."""
LongHandler = Callable[[Mapping[str, Any], Tell], Awaitable[Any]]
"""Answers a long request, as a Handler does. Must tell something at least every few seconds."""

NAME: Final = "control.sock"
LINE_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Generous, because the status of an account with very many problems is long."""
ANSWER_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 5.0
NEWS_TIMEOUT_S: Final = 30.0
_ADDRESS_LIMIT_BYTES: Final = 100
"""A Unix socket's address holds 108 bytes including its NUL."""

_log = structlog.get_logger("heapsyncd.control")


@contextlib.asynccontextmanager
async def serve(
    state_dir: Path,
    handlers: Mapping[str, Handler],
    long_handlers: Mapping[str, LongHandler] = MappingProxyType({}),
) -> AsyncIterator[None]:
    """Answer requests while the context is open. The caller must hold the state's lock.

    Raises:
        FolderTrouble: the socket cannot be made.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The caller hung up, sent nothing or too much. There is nobody to answer.
        disconnected = (ConnectionError, EOFError, TimeoutError, asyncio.LimitOverrunError)
        with contextlib.suppress(*disconnected, _HungUp):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                line = await reader.readuntil(b"\n")

            async def send(message: Mapping[str, Any]) -> None:
                writer.write(json.dumps(message).encode() + b"\n")
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await writer.drain()

            await send(await _handle(line, {**handlers, **_bound(long_handlers, send)}))
        writer.close()

    path = state_dir / NAME
    with socket.socket(socket.AF_UNIX) as listener:
        # On Linux the file gets the socket's mode at once, so it is never more widely open.
        os.fchmod(listener.fileno(), 0o600)
        try:
            path.unlink(missing_ok=True)
            with _address(path) as address:
                listener.bind(address)
        except OSError as error:
            raise FolderTrouble(
                f"The socket {path} can't be made: {error.strerror}; correct the owner and mode"
                f" of {state_dir}, or set another state_dir."
            ) from error
        listener.setblocking(False)
        server = await asyncio.start_unix_server(answer, sock=listener, limit=LINE_LIMIT_BYTES)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            server.close()


class _HungUp(Exception):
    """The caller of a long request does not listen any more."""


def _bound(
    handlers: Mapping[str, LongHandler], send: Callable[[Mapping[str, Any]], Awaitable[None]]
) -> dict[str, Handler]:
    """Return long handlers as ordinary ones, which tell their news to this caller."""

    async def tell(news: Any) -> None:
        try:
            await send({"news": news})
        except (ConnectionError, TimeoutError) as error:
            raise _HungUp from error

    def bound(handler: LongHandler) -> Handler:
        return lambda arguments: handler(arguments, tell)

    return {name: bound(handler) for name, handler in handlers.items()}


async def ask(
    state_dir: Path, request: str, hear: Callable[[Any], None] | None = None, **arguments: Any
) -> Any:
    """Return the running daemon's answer, None if no daemon listens.

    Args:
        state_dir: where its socket is.
        request: the name of the request.
        hear: takes each line of news; give it for a long request only.
        arguments: of the request; values as in JSON.

    Raises:
        TryLater: a daemon listens, but did not answer in time or not in a readable form.
        HeapsyncdError: the daemon's own error, with its message and exit code.
    """
    line = json.dumps({"request": request, **arguments}).encode() + b"\n"
    limit_s = ANSWER_TIMEOUT_S if hear is None else NEWS_TIMEOUT_S
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            with _address(state_dir / NAME) as address:
                reader, writer = await asyncio.open_unix_connection(
                    address, limit=LINE_LIMIT_BYTES
                )
        with contextlib.closing(writer):
            writer.write(line)
            while True:
                async with asyncio.timeout(limit_s):
                    answer = json.loads(await reader.readuntil(b"\n"))
                if hear is None or "news" not in answer:
                    break
                hear(answer["news"])
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except (
        TimeoutError, OSError, EOFError, ValueError, RecursionError, asyncio.LimitOverrunError
    ) as error:  # fmt: skip
        if hear is not None and isinstance(error, (ConnectionError, EOFError)):
            raise HeapsyncdError("The daemon ended before it had answered.") from error
        raise TryLater(
            "A daemon is running but does not answer; check its log or restart it."
        ) from error
    if "result" in answer:
        return answer["result"]
    problem = HeapsyncdError(str(answer.get("error")))
    problem.exit_code = int(answer.get("exit_code", 1))
    raise problem


async def _handle(line: bytes, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    try:
        message = json.loads(line)
        handler = handlers[message.pop("request")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {
            "error": "The daemon does not know this request; restart it if it is an older version."
        }
    try:
        return {"result": await handler(message)}
    except HeapsyncdError as error:
        return {"error": str(error), "exit_code": error.exit_code}
    except _HungUp:
        raise
    except Exception:  # noqa: BLE001 - see below
        # A bug in one request must not end the daemon. The log has the traceback.
        _log.exception("request failed", request=line[:200].decode(errors="replace"))
        return {"error": "The daemon failed on this request; its log has the details."}


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield the socket's path, or a short path to the same file if the address is too long."""
    if len(os.fsencode(path)) <= _ADDRESS_LIMIT_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
