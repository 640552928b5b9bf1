"""A device: the commands as processes, each with a home of its own."""

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.cli.main import STOPS, main
from heapsyncd.ids import Seed
from heapsyncd.wire.signin import public_key

DEADLINE_S = 50
"""A process takes a second to start on an idle machine, and ten times as long on a crowded one."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int | None
    out: str
    err: str


class Device:
    """One installation: home, configuration, state and folder of its own."""

    def __init__(self, base: Path, seed: bytes = bytes(32)) -> None:
        self.base = base
        self.folder = base / "folder"
        self.state = base / "state"
        self.config = base / "config.toml"
        self.key = base / "home.key"
        self.seed = Seed(seed)
        self.public = public_key(self.seed)
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "HEAPSYNCD"))},
            "HOME": str(base),
            "NO_COLOR": "1",
        }
        base.mkdir(parents=True, exist_ok=True)

    def configure(self, url: str, extra: str = "") -> None:
        """Write key and configuration."""
        self.key.touch(0o600)
        self.key.write_text(self.seed.reveal_text() + "\n")
        self.folder.mkdir(exist_ok=True)
        self.config.write_text(
            f"state_dir = {json.dumps(str(self.state))}\n"
            f'[accounts.home]\nkind = "heaper"\nserver = "{url}"\n'
            f"folder = {json.dumps(str(self.folder))}\n"
            f"key_file = {json.dumps(str(self.key))}\npoll_interval = 0.5\n{extra}"
        )

    async def start(self, *arguments: str, **env: str) -> asyncio.subprocess.Process:
        """Start a command; its configuration is this device's."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "heapsyncd.cli",
            "--config",
            str(self.config),
            *arguments,
            cwd=self.base,
            env={**self.env, **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *arguments: str, **env: str) -> Done:
        """Run a command to its end."""
        process = await self.start(*arguments, **env)
        async with ending(process):
            out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        done = Done(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in done.out + done.err
        assert self.seed.reveal_text() not in done.out + done.err
        return done

    def here(self, *arguments: str, at: Path | None = None) -> Done:
        """Run a command to its end in this process, as if its output were piped.

        ``at``: the working directory.
        """
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "replace") for _ in range(2))
        words = ["--config", str(self.config), *arguments]
        stops = {number: signal.getsignal(number) for number in STOPS}
        with (
            contextlib.chdir(at or self.base),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main(words)
        for number, handler in stops.items():
            signal.signal(number, handler)
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())
        return Done(ended.value.code, *texts)  # type: ignore[arg-type]

    async def on_terminal(self, *arguments: str, columns: int = 80, **env: str) -> str:
        """Run a command to its end; return all that it wrote to a terminal."""
        ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (24, columns))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "heapsyncd.cli", "--config", str(self.config), *arguments),
            cwd=self.base,
            env={**self.env, "NO_COLOR": "", "TERM": "xterm", **env},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        try:
            async with ending(process), asyncio.timeout(DEADLINE_S):
                return (await asyncio.to_thread(read_all, ours)).decode().replace("\r\n", "\n")
        finally:
            os.close(ours)

    @contextlib.asynccontextmanager
    async def daemon(self, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """``run`` in the background, in sync once the context is open; killed if still there."""
        process = await self.start("run", **env)
        assert process.stderr
        reading = asyncio.create_task(process.stderr.read())  # so that the pipe never fills
        try:
            async with ending(process):
                await eventually(lambda: self.is_("in sync"))
                yield process
        finally:
            await reading

    async def status(self) -> dict[str, Any]:
        """The account's entry of ``status --json``."""
        done = await self("status", "--json")
        assert done.code == 0, done.err
        (account,) = json.loads(done.out)["accounts"]
        found: dict[str, Any] = account
        return found

    async def is_(self, state: str) -> bool:
        """Whether the account is in this state."""
        return bool((await self.status())["state"] == state)


def read_all(terminal: int) -> bytes:
    """Read until nobody writes to a terminal any more."""
    found = b""
    while True:
        try:
            found += os.read(terminal, 65536)
        except OSError:
            return found


@contextlib.asynccontextmanager
async def ending(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Kill a process that is still there at the end."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not await check():  # noqa: ASYNC110 - another process' state has no event
            await asyncio.sleep(0.05)


async def terminate(process: asyncio.subprocess.Process) -> int:
    """SIGTERM, and the exit code."""
    process.send_signal(signal.SIGTERM)
    return await asyncio.wait_for(process.wait(), DEADLINE_S)
