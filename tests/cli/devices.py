"""A device: the commands as processes, each with a home of its own."""

import asyncio
import contextlib
import io
import json
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from heapsyncd import daemon
from heapsyncd.cli.main import STOPS, main
from heapsyncd.ids import Seed
from heapsyncd.wire.signin import public_key

DEADLINE_S = 50
"""A process takes a second to start on an idle machine, and ten times as long on a crowded one."""


NOT_PASSED_ON = ("XDG_", "HEAPSYNCD", "COLUMNS", "LINES")
"""Variables of the tests' own surroundings; a terminal says its size itself."""
NOTHING: Mapping[str, str] = MappingProxyType({})


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
            **{k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)},
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
        return self._checked(Done(process.returncode, out.decode(), err.decode()))

    def here(self, *arguments: str, at: Path | None = None, stdin: str = "") -> Done:
        """Run a command to its end in this process, as if its output were piped.

        ``at``: the working directory.
        """
        stops = {number: signal.getsignal(number) for number in STOPS}
        try:
            return self._run(arguments, at, stdin)
        finally:
            for number, handler in stops.items():
                signal.signal(number, handler)

    async def inside(self, *arguments: str, stdin: str = "", at: Path | None = None) -> Done:
        """Run a command as ``here``, in a thread: a server may answer beside it. No other one at
        the same time, and none that is to be stopped by a signal.
        """
        with pytest.MonkeyPatch.context() as patch:
            # Only the main thread can handle signals, and that one is pytest's.
            patch.setattr(daemon, "_signals", lambda _handlers: contextlib.nullcontext())
            return await asyncio.to_thread(self._run, arguments, at, stdin)

    def _run(self, arguments: Sequence[str], at: Path | None, stdin: str) -> Done:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "replace") for _ in range(2))
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(at or self.base),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            for name, value in self.env.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            with pytest.raises(SystemExit) as ended:
                main(["--config", str(self.config), *arguments])
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())
        return self._checked(Done(int(ended.value.code or 0), *texts))

    async def on_terminal(
        self,
        *arguments: str,
        answers: Mapping[str, str | Sequence[str]] = NOTHING,
        columns: int = 80,
        at: Path | None = None,
        **env: str,
    ) -> Done:
        """Run a command to its end on a terminal of its own, where somebody answers each prompt
        when it is there. ``out`` is the screen.
        """
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, columns))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "heapsyncd.cli", "--config", str(self.config), *arguments),
            cwd=at or self.base,
            env={**self.env, "NO_COLOR": "", "TERM": "xterm", **env},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        screen, answered = b"", 0
        left = {p: [a] if isinstance(a, str) else list(a) for p, a in answers.items()}
        async with ending(process), asyncio.timeout(DEADLINE_S):
            # At the end of the process Linux answers with an error.
            with contextlib.suppress(OSError):
                while part := await asyncio.to_thread(os.read, ours, 65536):
                    screen += part
                    for prompt, texts in left.items():
                        since = screen[answered:].decode("utf-8", "replace")
                        if texts and since.rstrip(": ").endswith(prompt):
                            answered = len(screen)
                            os.write(ours, f"{texts.pop(0)}\n".encode())
            os.close(ours)
            assert not any(left.values()), screen
            shown = screen.decode().replace("\r\n", "\n")
            return Done(await process.wait(), shown, "")

    def _checked(self, done: Done) -> Done:
        assert "Traceback" not in done.out + done.err
        assert self.seed.reveal_text() not in done.out + done.err
        return done

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
        done = await self.inside("status", "--json")
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
