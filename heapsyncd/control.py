"""Edge: how the commands talk to a running daemon, over a Unix socket in ``state_dir``.

One request, one answer, each a line of JSON::

    -> {"request": "status", ...arguments}
    <- {"result": ...}   or   {"error": "<message for people>", "exit_code": 1}

The socket has mode 0600 and exists only while its daemon holds the state's lock, so one that is
left over from a killed daemon may be replaced. A new request is a new name in ``handlers``.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from heapsyncd.errors import HeapsyncdError, TryLater

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Answers one named request from its arguments with JSON values; may raise HeapsyncdError."""

NAME: Final = "control.sock"
LINE_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""The status of an account with very many problems is long."""
ANSWER_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 5.0
_ADDRESS_LIMIT_BYTES: Final = 100
"""A socket's address holds 108 bytes, with its NUL."""

_log = structlog.get_logger("heapsyncd.control")


@contextlib.asynccontextmanager
async def serve(state_dir: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer requests while the context is open; the caller holds the state's lock."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever asked has gone, says nothing or too much: nobody is left to answer.
        gone = (ConnectionError, EOFError, TimeoutError, asyncio.LimitOverrunError)
        with contextlib.suppress(*gone):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                line = await reader.readuntil(b"\n")
            writer.write(json.dumps(await _handle(line, handlers)).encode() + b"\n")
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await writer.drain()
        writer.close()

    path = state_dir / NAME
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        # On Linux the file takes the socket's mode: there is no moment with a wider one.
        os.fchmod(listener.fileno(), 0o600)
        with _address(path) as address:
            listener.bind(address)
        listener.setblocking(False)
        server = await asyncio.start_unix_server(answer, sock=listener, limit=LINE_LIMIT_BYTES)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            server.close()


async def ask(state_dir: Path, request: str, **arguments: Any) -> Any:
    """The running daemon's answer; None when no daemon listens.

    Raises:
        TryLater: it listens, but did not answer in time, or not in a form we can read.
        HeapsyncdError: it answered with an error; message and exit code are the daemon's.
    """
    line = json.dumps({"request": request, **arguments}).encode() + b"\n"
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            with _address(state_dir / NAME) as address:
                reader, writer = await asyncio.open_unix_connection(
                    address, limit=LINE_LIMIT_BYTES
                )
            with contextlib.closing(writer):
                writer.write(line)
                answer = json.loads(await reader.readuntil(b"\n"))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except (
        TimeoutError, OSError, EOFError, ValueError, RecursionError, asyncio.LimitOverrunError
    ) as error:  # fmt: skip
        raise TryLater(
            "A daemon holds this state but does not answer; see its log, or restart it."
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
        return {"error": "The daemon does not know this request; is it an older one?"}
    try:
        return {"result": await handler(message)}
    except HeapsyncdError as error:
        return {"error": str(error), "exit_code": error.exit_code}
    except Exception:  # noqa: BLE001 - see below
        # One request's bug must not end the daemon; the whole story goes to its log.
        _log.exception("a request failed", request=line[:200].decode(errors="replace"))
        return {"error": "The daemon failed on this request; its log says more."}


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """The socket's path, or a short way to the same file when it is too long for an address."""
    if len(os.fsencode(path)) <= _ADDRESS_LIMIT_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
