"""``serve``: who may sign in, and from where; what it bears."""

import asyncio
import contextlib
import re
import shlex
import socket
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.cli.devices import DEADLINE_S, Device, ending


@contextlib.asynccontextmanager
async def serving(
    device: Device, *options: str, files: int = 1024
) -> AsyncIterator[tuple[list[str], asyncio.subprocess.Process]]:
    """``serve`` as a process that may open so many files, and the lines it begins with."""
    command = [sys.executable, "-m", "heapsyncd.cli", "serve", "--port", "0", "--data", "d"]
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        f"ulimit -n {files}; exec {shlex.join([*command, *options])}",
        cwd=device.base,
        env=device.env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with ending(process):
        lines = []
        async with asyncio.timeout(DEADLINE_S):
            lines.append((await process.stdout.readline()).decode())
            while not lines[-1].startswith("Listening") or "--accept" not in options:
                lines.append((await process.stdout.readline()).decode())
                if "--code" in lines[-1]:
                    break
        yield lines, process


def url_of(lines: list[str]) -> str:
    found = re.search(r"http://\S+:\d+", lines[0])
    assert found
    return found[0]


async def test_the_code_makes_the_owner(device: Device) -> None:
    """The command that ``serve`` prints signs the first device in; a second finds no code."""
    async with serving(device) as (lines, _):
        printed = lines[-1].split()
        assert printed[:2] == ["heapsyncd", "setup"]
        without = await device.inside("setup", "--server", url_of(lines), "--folder", "Heaps")
        assert without.code == 3
        assert "--code" in without.err
        done = await device(*printed[1:])
        assert done.code == 0, done.err
        assert "Home" in done.out
        second = Device(device.base / "second", seed=bytes([1]) * 32)
        assert (await second(*printed[1:])).code == 3
        assert (await device.inside("sync")).code == 0


async def test_a_public_address_needs_the_code(device: Device) -> None:
    """On any address a new server is claimed by the code alone; that it is plain HTTP is said."""
    async with serving(device, "--host", "0.0.0.0") as (lines, process):
        assert "--code" in lines[-1]
        here = url_of(lines).replace("0.0.0.0", "127.0.0.1")
        without = await device.inside("setup", "--server", here, "--folder", "Heaps")
        assert without.code == 3
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert "plain HTTP" in err.decode()


@pytest.mark.parametrize("further", [["--host", "0.0.0.0"], ["--trusted-proxy", "127.0.0.1"]])
async def test_open_is_for_this_machine(device: Device, further: list[str]) -> None:
    """A server that takes any key does not listen for other machines; what to do is said."""
    done = await device("serve", "--port", "0", "--open", *further)
    assert done.code == 2
    assert "--accept" in done.err


async def test_a_proxy_that_is_none(device: Device) -> None:
    """What is neither an address nor a network is refused by name."""
    done = await device("serve", "--port", "0", "--trusted-proxy", "proxy.example")
    assert done.code == 2
    assert "proxy.example" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("files", [256, 48])
async def test_more_connections_than_descriptors(device: Device, files: int) -> None:
    """Half-sent requests, more than the process may have connections: others are answered, and
    the log stays short, also where descriptors run out.
    """
    async with serving(device, "--accept", device.public, files=files) as (lines, process):
        url = url_of(lines)
        host, port = url.removeprefix("http://").split(":")
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                one = stack.enter_context(socket.socket())
                one.settimeout(0.5)
                with contextlib.suppress(OSError):  # the server may be too busy to take it
                    one.connect((host, int(port)))
                    one.send(b"GET /api/health HTTP/1.1\r\nHost: x\r\n")
            async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession() as http:
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with http.get(f"{url}/api/health") as answer:
                            assert answer.status == 200
                            break
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert len(err.splitlines()) < 10, err.decode()[:2_000]
