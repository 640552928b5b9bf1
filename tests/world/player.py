"""A device in the game: its mirror's lives, and editors that save in its folder."""

import asyncio
import contextlib
import io
import os
import secrets
from pathlib import Path

from heapsyncd.errors import leaf_errors
from heapsyncd.sync.report import Report, Verdict
from heapsyncd.sync.runtime.account import mirror_account
from tests.sync.rig import Device
from tests.world.life import Killed, Life


def _stacks() -> str:
    """Where every task waits."""
    text = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(file=text)
    return text.getvalue()


class Player:
    """One device."""

    def __init__(self, name: str, device: Device) -> None:
        self.name = name
        self.device = device
        self.life = Life()
        self.buffers: dict[str, str] = {}
        """Texts that editors have loaded, by path."""
        self.forgot = False
        """Whether it lost its cache."""
        self._stop = asyncio.Event()
        self._task: asyncio.Task[Verdict] | None = None

    @property
    def root(self) -> Path:
        """The heap's folder."""
        return self.device.root

    @property
    def runs(self) -> bool:
        """Whether its mirror is alive."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Begin another life."""
        await self.stop()
        self._task = self._live(Life(), once=False)

    async def stop(self) -> None:
        """End in order, as at SIGTERM; or bury the dead."""
        if self._task is None:
            return
        self._stop.set()
        await self._ended(self._task)
        self._task = None

    async def kill(self, after: int) -> None:
        """Let the life end so many steps from now; with 0 at once."""
        if not self.runs:
            await self.start()
        self.life.ends_at = len(self.life.steps) + after
        if not after:
            await self.end()

    async def end(self) -> None:
        """The process is gone, now."""
        if self._task is not None:
            self.life.end()
            self._task.cancel()
            task, self._task = self._task, None
            await self._ended(task)

    async def once(self, life: Life | None = None) -> Verdict | None:
        """One full pass, in this life if it is given one; None when it was killed in it."""
        await self.stop()
        return await self._ended(self._live(life or Life(), once=True))

    def _live(self, life: Life, *, once: bool) -> "asyncio.Task[Verdict]":
        state = self.device.base / "state"
        state.mkdir(parents=True, exist_ok=True)
        self.life, self._stop = life, asyncio.Event()
        self.device.report = Report("home")
        work = mirror_account(
            self.device.account, state, self.device.report, once=once, stop=self._stop,
            timeout_s=20.0 if once else None, ready=lambda: None, timing=self.device.timing,
        )  # fmt: skip
        return self.life.live(work)

    async def _ended(self, task: "asyncio.Task[Verdict]") -> Verdict | None:
        try:
            await asyncio.wait([task], timeout=20)
            assert task.done(), f"{self.name} does not end:\n{_stacks()}"
            return task.result()
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
        except BaseException as error:
            if not all(isinstance(e, Killed | asyncio.CancelledError) for e in leaf_errors(error)):
                raise
        finally:
            if self.life.dead:
                self.life.bury()
        return None

    # ---- editors --------------------------------------------------------------------------

    def notes(self) -> list[str]:
        """Paths of the notes in its folder."""
        return sorted(str(p.relative_to(self.root)) for p in self._walk() if p.suffix == ".md")

    def folders(self) -> list[str]:
        """Paths of the directories in its folder."""
        return sorted(
            str(p.relative_to(self.root))
            for p in self.root.rglob("*")
            if p.is_dir() and not p.name.endswith(".assets")
        )

    def _walk(self) -> list[Path]:
        return [p for p in self.root.rglob("*") if p.is_file() and not p.name.startswith(".")]

    def read(self, path: str) -> str:
        """What stands in a file."""
        return (self.root / path).read_text("utf-8")

    def save(self, path: str, text: str, style: int) -> None:
        """Save as one of the usual editors does."""
        place = self.root / path
        match style % 4:
            case 0:  # in place
                place.write_text(text, "utf-8")
            case 1:  # a new file renamed over
                beside = place.with_name(f".{place.name}.{secrets.token_hex(3)}")
                beside.write_text(text, "utf-8")
                beside.replace(place)
            case 2:  # the old one moved away first, as vim does
                backup = place.with_name(f"{place.name}~")
                if place.exists():
                    place.rename(backup)
                place.write_text(text, "utf-8")
                backup.unlink(missing_ok=True)
            case 3:  # in two pieces
                half = len(text) // 2
                with place.open("w", encoding="utf-8") as file:
                    file.write(text[:half])
                    file.flush()
                    os.fsync(file.fileno())
                    file.write(text[half:])

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Inode and mtime of every file, to see what was written."""
        found = {}
        for path in self._walk():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found[str(path.relative_to(self.root))] = (stat.st_ino, stat.st_mtime_ns)
        return found
