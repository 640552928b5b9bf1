"""The control socket: requests from the commands, answered by the daemon."""

import asyncio
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from heapsyncd import control
from heapsyncd.errors import FolderTrouble, HeapsyncdError, StateLocked, TryLater


async def echo(arguments: Mapping[str, Any]) -> Any:
    return {"heard": dict(arguments)}


async def refuse(_arguments: Mapping[str, Any]) -> Any:
    raise StateLocked("not now")


async def fail(_arguments: Mapping[str, Any]) -> Any:
    raise RuntimeError("a bug")


HANDLERS = {"echo": echo, "refuse": refuse, "fail": fail}


async def test_a_request_is_answered_with_its_result(tmp_path: Path) -> None:
    """A named request gets its handler's answer, arguments included, any number at once."""
    async with control.serve(tmp_path, HANDLERS):
        asked = (control.ask(tmp_path, "echo", n=n, text="ä\n") for n in range(20))
        answers = await asyncio.gather(*asked)
    assert answers == [{"heard": {"n": n, "text": "ä\n"}} for n in range(20)]


async def test_errors_keep_message_and_exit_code(tmp_path: Path) -> None:
    """What the handler raises on purpose arrives as an error with the same exit code."""
    async with control.serve(tmp_path, HANDLERS):
        with pytest.raises(HeapsyncdError, match="not now") as caught:
            await control.ask(tmp_path, "refuse")
        assert caught.value.exit_code == 5
        with pytest.raises(HeapsyncdError, match="does not know this request"):
            await control.ask(tmp_path, "nonsense")
        with pytest.raises(HeapsyncdError, match="its log has the details"):
            await control.ask(tmp_path, "fail")
        assert await control.ask(tmp_path, "echo") == {"heard": {}}, "it goes on"


async def test_news_comes_before_the_answer_to_a_long_request(tmp_path: Path) -> None:
    """As often as there is any; errors come as with other requests."""

    async def count(arguments: Mapping[str, Any], tell: control.Tell) -> int:
        for n in range(arguments["n"]):
            await tell(n)
        if not arguments["n"]:
            raise StateLocked("nothing to count")
        return -1

    heard: list[int] = []
    async with control.serve(tmp_path, HANDLERS, {"count": count}):
        assert await control.ask(tmp_path, "count", heard.append, n=3) == -1
        with pytest.raises(HeapsyncdError, match="nothing to count"):
            await control.ask(tmp_path, "count", heard.append, n=0)
    assert heard == [0, 1, 2]
    assert await control.ask(tmp_path, "count", heard.append, n=3) is None


async def test_a_long_request_ends_when_nobody_listens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its handler does not go on for ever, and that is no trouble."""
    ended = asyncio.Event()

    async def chatter(_arguments: Mapping[str, Any], tell: control.Tell) -> None:
        try:
            while True:
                await tell("still here")
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with control.serve(tmp_path, HANDLERS, {"chatter": chatter}):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.NAME))
        writer.write(b'{"request": "chatter"}\n')
        assert await reader.readline() == b'{"news": "still here"}\n'
        writer.close()
        async with asyncio.timeout(10):
            await ended.wait()
        assert await control.ask(tmp_path, "echo") == {"heard": {}}
    assert [r for r in caplog.records if r.exc_info] == []


async def test_without_a_daemon_the_answer_is_none(tmp_path: Path) -> None:
    """No socket, a closed one or one left over by a killed daemon: nobody answers."""
    assert await control.ask(tmp_path, "echo") is None
    assert await control.ask(tmp_path / "absent", "echo") is None
    async with control.serve(tmp_path, HANDLERS):
        pass
    assert not (tmp_path / control.NAME).exists()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / control.NAME))
    assert await control.ask(tmp_path, "echo") is None
    async with control.serve(tmp_path, HANDLERS):
        assert await control.ask(tmp_path, "echo") == {"heard": {}}


async def test_the_socket_is_the_users_alone(tmp_path: Path) -> None:
    """Nobody else may connect."""
    async with control.serve(tmp_path, HANDLERS):
        mode = (tmp_path / control.NAME).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


async def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """A state directory deeper than a socket's address can say works as well."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with control.serve(deep, HANDLERS):
        assert await control.ask(deep, "echo", a=1) == {"heard": {"a": 1}}


async def test_a_silent_daemon_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who holds the socket and never answers is told from nobody."""
    monkeypatch.setattr(control, "ANSWER_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / control.NAME))
        silent.listen()
        with pytest.raises(TryLater, match="does not answer"):
            await control.ask(tmp_path, "echo")


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"null\n", b'{"request": []}\n', b'"\xff"\n', b"{\n", b"7\n"]
)
async def test_nonsense_is_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    """A line that is no request gets an error line, not a closed daemon."""
    async with control.serve(tmp_path, HANDLERS):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.NAME))
        writer.write(line)
        assert b"does not know this request" in await reader.readline()
        writer.close()
        assert await control.ask(tmp_path, "echo") == {"heard": {}}


async def test_who_hangs_up_early_or_says_too_much_is_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a line, none, one nested without end: no traceback, and the next is answered."""
    async with control.serve(tmp_path, HANDLERS):
        for line in (b"", b'{"request"', b'{"request": "echo"}\n', b"x" * 70000):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / control.NAME))
            writer.write(line)
            writer.close()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.NAME))
        writer.write(b"[" * 200_000 + b"\n")
        assert b"does not know this request" in await reader.readline()
        writer.close()
        assert await control.ask(tmp_path, "echo") == {"heard": {}}
    assert [r for r in caplog.records if r.exc_info] == []


async def test_a_socket_that_cannot_be_made(tmp_path: Path) -> None:
    """The message names it."""
    (tmp_path / "control.sock").mkdir()
    with pytest.raises(FolderTrouble, match=r"control\.sock can't be made: .*state_dir"):
        async with control.serve(tmp_path, {}):
            pass
