"""Hints come for every change, from before the first scan to the end, and never too late."""

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from watchfiles._rust_notify import RustNotify

from heapsyncd.folder import watch as watching
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.ignore import NO_RULES
from heapsyncd.folder.watch import EVERYTHING, Hint, watch

DEADLINE_S = 10


class Watcher:
    """A running watch, whose hints are waited for with a deadline."""

    def __init__(self, hints: AsyncIterator[Hint]) -> None:
        self._hints = hints

    async def next(self) -> Hint:
        async with asyncio.timeout(DEADLINE_S):
            return await anext(self._hints)

    async def until(self, done: Callable[[set[str]], bool]) -> set[str]:
        """Gather hinted paths until they are what is waited for; '' stands for everything."""
        seen: set[str] = set()
        while not done(seen):
            hint = await self.next()
            seen |= {""} if hint.everything else hint.paths
        return seen


@asynccontextmanager
async def watched(root: Path) -> AsyncIterator[Watcher]:
    stop = asyncio.Event()
    async with aclosing(watch(root, stop)) as hints:  # type: ignore[type-var]
        watcher = Watcher(hints)
        assert await watcher.next() == EVERYTHING
        yield watcher


async def test_each_way_to_change_a_file_is_hinted_at(root: Path) -> None:
    """Making, editing, touching, renaming and deleting a file all name its path."""
    (root / "d").mkdir(parents=True)
    async with watched(root) as watcher:
        (root / "a.md").write_text("a")
        await watcher.until({"a.md"}.issubset)
        with (root / "a.md").open("a") as file:
            file.write("b")
        await watcher.until({"a.md"}.issubset)
        os.utime(root / "a.md", (1, 1))
        await watcher.until({"a.md"}.issubset)
        (root / "a.md").rename(root / "d" / "b.md")
        await watcher.until({"a.md", "d/b.md"}.issubset)
        (root / "d" / "b.md").unlink()
        await watcher.until({"d/b.md"}.issubset)


async def test_every_save_of_a_stream_is_hinted_at(root: Path) -> None:
    """While one file is written on and on, other files' saves are not held back or lost."""
    root.mkdir()
    async with watched(root) as watcher:
        stopped = asyncio.Event()

        async def stream() -> None:
            while not stopped.is_set():
                (root / "log.txt").write_text("x")
                await asyncio.sleep(0.001)

        streaming = asyncio.create_task(stream())
        for k in range(20):
            (root / f"{k}.md").write_text("x")
            await watcher.until({f"{k}.md"}.issubset)
        stopped.set()
        await streaming


async def test_what_is_in_a_new_directory_is_found(folder: HeapFolder, root: Path) -> None:
    """Directories made and filled at once, or moved in: scanning the hints finds all."""
    outside = root.with_name("outside")
    (outside / "x" / "y").mkdir(parents=True)
    (outside / "x" / "y" / "z.md").touch()
    wanted = {"outside/x/y/z.md", *(f"a/b/{k}/{n}.md" for k in range(10) for n in range(5))}
    async with watched(root) as watcher:
        for k in range(10):
            (root / f"a/b/{k}").mkdir(parents=True)
            for n in range(5):
                (root / f"a/b/{k}/{n}.md").touch()
        outside.rename(root / "outside")
        found: set[str] = set()
        while not wanted <= found:
            hint = await watcher.next()
            snapshot = await folder.scan(NO_RULES, None if hint.everything else hint.paths)
            found |= set(snapshot.entries)
        (root / "outside/x/y/later.md").touch()
        await watcher.until({"outside/x/y/later.md"}.issubset)


async def test_nothing_falls_between_the_watch_and_the_scan(
    folder: HeapFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes while the watch is armed, or between that and the scan, is found by one or the
    other.
    """
    arm = watching._arm

    def busy(place: Path) -> object:
        (place / "before.md").touch()
        armed = arm(place)
        (place / "after.md").touch()
        return armed

    monkeypatch.setattr(watching, "_arm", busy)
    async with watched(root) as watcher:
        snapshot = await folder.scan(NO_RULES)
        assert {"before.md", "after.md"} <= set(snapshot.entries)
        (root / "last.md").touch()
        await watcher.until({"last.md"}.issubset)


async def test_our_own_temporaries_are_no_hints(folder: HeapFolder, root: Path) -> None:
    """A file we write is hinted at by its name alone."""
    async with watched(root) as watcher:
        stat = await folder.write("a.md", b"one", None)
        await folder.write("a.md", b"two", stat)
        await folder.part("b.md", "00").append(0, b"x")
        (root / "end").touch()
        seen = await watcher.until({"end"}.issubset)
        assert seen - {"end"} == {"a.md"}


async def test_a_huge_batch_means_everything(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch so large that the kernel may have dropped events asks for a full scan."""
    monkeypatch.setattr(watching, "MANY", 20)
    root.mkdir()
    async with watched(root) as watcher:
        for k in range(200):
            (root / f"{k}.md").touch()
        await watcher.until({""}.issubset)


async def test_a_burst_that_overflows_the_kernels_queue(root: Path) -> None:
    """More changes at once than the kernel keeps, its reader stopped: everything is looked at."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queue > 50_000:
        pytest.skip("this system's queue is very long")
    root.mkdir()
    async with watched(root) as watcher:
        for k in range(queue // 2 + 100):  # each is made and closed: two events at least
            os.close(os.open(root / str(k), os.O_CREAT | os.O_WRONLY))
        (root / "last.md").touch()
        await watcher.until({""}.issubset)


async def test_a_watch_that_broke_starts_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its thread fails, the log says so, everything is looked at, and the watch goes on."""
    monkeypatch.setattr(watching, "GONE_S", 0.01)
    root.mkdir()
    broken = []

    def breaking(self: object, ending: object) -> Hint | None:
        broken.append(self)
        raise RuntimeError("the thread is dead")

    with capture_logs() as logs:
        async with watched(root) as watcher:
            with monkeypatch.context() as patch:
                patch.setattr(watching._Watching, "next", breaking)
                assert await watcher.next() == EVERYTHING
            (root / "a.md").touch()
            await watcher.until({"a.md"}.issubset)
    assert broken
    assert any("watching the folder failed" in entry["event"] for entry in logs)


async def test_a_watch_is_armed_anew_on_demand(root: Path) -> None:
    """Whoever finds a change that was not told of has the watch begin again, with a full scan."""
    root.mkdir()
    stop, rearm = asyncio.Event(), asyncio.Event()
    async with aclosing(watch(root, stop, rearm)) as hints:  # type: ignore[type-var]
        watcher = Watcher(hints)
        assert await watcher.next() == EVERYTHING
        rearm.set()
        assert await watcher.next() == EVERYTHING
        (root / "a.md").touch()
        await watcher.until({"a.md"}.issubset)


async def test_a_stop_ends_the_watch(root: Path) -> None:
    """Setting the stop ends the iteration and the thread, though nothing happens."""
    root.mkdir()
    stop = asyncio.Event()

    async def all_hints() -> list[Hint]:
        return [hint async for hint in watch(root, stop)]

    task = asyncio.create_task(all_hints())
    asyncio.get_running_loop().call_later(0.05, stop.set)
    async with asyncio.timeout(DEADLINE_S):
        assert await task == [EVERYTHING]


async def test_a_cancelled_watch_gives_everything_back(root: Path) -> None:
    """Cancelling the task that watches frees its descriptors and its thread."""
    root.mkdir()
    before = open_inotify()

    async def run(armed: asyncio.Event) -> None:
        async with aclosing(watch(root, asyncio.Event())) as hints:  # type: ignore[type-var]
            async for _ in hints:
                armed.set()

    for _ in range(3):
        armed = asyncio.Event()
        task = asyncio.create_task(run(armed))
        await armed.wait()
        assert open_inotify()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for _ in range(100 * DEADLINE_S):
        # What a test before this one still held may have gone meanwhile.
        if open_inotify() <= before:
            return
        await asyncio.sleep(0.01)
    pytest.fail("a watch's descriptors are still open")


def open_inotify() -> int:
    """How many inotify instances this process has."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return sum("inotify" in link for link in links)


@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
async def test_a_folder_that_is_gone_is_watched_again_when_back(
    root: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Deleting, renaming or replacing the folder asks for a full scan, and so does its return."""
    monkeypatch.setattr(watching, "GONE_S", 0.01)
    root.mkdir()
    async with watched(root) as watcher:
        if how == "deleted":
            shutil.rmtree(root)
        else:
            root.rename(root.with_name("away"))
        if how == "replaced":
            root.mkdir()
        await watcher.until({""}.issubset)
        if how != "replaced":
            root.mkdir()
            await watcher.until({""}.issubset)
        (root / "a.md").touch()
        await watcher.until({"a.md"}.issubset)


async def test_an_unreadable_directory_does_not_end_the_watch(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may not be read is left out; the rest is watched."""
    root.mkdir()
    real: Any = RustNotify
    tries: list[bool] = []

    # As root, modes keep nobody out: the refusal has to be made.
    def refusing(paths: list[str], *, ignore_permission_denied: bool, **options: object) -> object:
        tries.append(ignore_permission_denied)
        if options["recursive"] and not ignore_permission_denied:
            raise PermissionError("Permission denied (os error 13)")
        return real(paths, ignore_permission_denied=ignore_permission_denied, **options)

    monkeypatch.setattr("heapsyncd.folder.watch.RustNotify", refusing)
    async with watched(root) as watcher:
        (root / "a.md").touch()
        await watcher.until({"a.md"}.issubset)
    assert tries == [False, True, False]


async def test_a_folder_that_is_not_there_yet(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch may start before its folder exists; it neither fails nor spins."""
    monkeypatch.setattr(watching, "GONE_S", 0.01)
    stop = asyncio.Event()
    async with aclosing(watch(root, stop)) as hints:  # type: ignore[type-var]
        watcher = Watcher(hints)
        assert await watcher.next() == EVERYTHING
        root.mkdir()
        assert await watcher.next() == EVERYTHING
        (root / "a.md").touch()
        assert "a.md" in (await watcher.next()).paths


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (OSError("OS file watch limit reached. about [x]"), "max_user_watches"),
        (OSError("Error creating recommended watcher: Too many open files"), "max_user_instances"),
    ],
)
async def test_without_inotify_the_folder_is_polled(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, name: str
) -> None:
    """When inotify is used up, full scans are asked for, until it has room; the log helps."""
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    monkeypatch.setattr(watching, "POLLS_BEFORE_RETRY", 3)
    (root / "d").mkdir(parents=True)
    real = watching._notify
    tries = 0

    def exhausted(path: str, *, recursive: bool) -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise error
        return real(path, recursive=recursive)

    monkeypatch.setattr(watching, "_notify", exhausted)
    stop = asyncio.Event()
    with capture_logs() as logs:
        async with aclosing(watch(root, stop)) as hints:  # type: ignore[type-var]
            watcher = Watcher(hints)
            # Three polls, and the start of the watch that works again.
            found = [await watcher.next() for _ in range(4)]
            assert all(hint.everything for hint in found)
            (root / "a.md").touch()
            assert "a.md" in (await watcher.next()).paths
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert f"sudo sysctl fs.inotify.{name}=" in warning["event"]
    assert "/etc/sysctl.d/" in warning["event"]
    assert [hint.trouble for hint in found] == [warning["event"]] * 3 + [None]


EXHAUSTED = """
    import asyncio, sys
    from pathlib import Path
    from heapsyncd.folder import watch as watching
    limits, root = Path("/proc/sys/user"), Path(sys.argv[1])
    watching.POLL_S = 0.05
    async def main():
        when, what, value = sys.argv[2:]
        if when == "before":
            (limits / what).write_text(value)
        stop = asyncio.Event()
        count = 0
        async for hint in watching.watch(root, stop):
            count += 1
            print(hint.everything, flush=True)
            if count == 1 and when == "later":
                (limits / what).write_text(value)
                for k in range(20):
                    (root / f"new{k}").mkdir()
            if count == 4:
                stop.set()
    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("when", "what", "value"),
    [
        ("before", "max_inotify_watches", "3"),
        ("before", "max_inotify_instances", "0"),
        ("later", "max_inotify_watches", "12"),
    ],
)
async def test_real_limits_lead_to_polling(root: Path, when: str, what: str, value: str) -> None:
    """With the kernel's own limits, reached at the start or by a new directory, scans go on."""
    for k in range(10):
        (root / f"d{k}").mkdir(parents=True)
    script = textwrap.dedent(EXHAUSTED)
    command = ["unshare", "-Ur", sys.executable, "-c", script, str(root), when, what, value]
    probe = ["unshare", "-Ur", "test", "-w", f"/proc/sys/user/{what}"]
    try:
        allowed = await asyncio.to_thread(subprocess.run, probe, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if allowed.returncode != 0:
        pytest.skip("this system does not let us have limits of our own")
    done = await asyncio.to_thread(
        subprocess.run, command, check=True, timeout=30, capture_output=True, text=True
    )
    hints = [line for line in done.stdout.splitlines() if line in {"True", "False"}]
    assert hints == ["True"] * 4
    assert "sudo sysctl fs.inotify.max_user_" in done.stdout + done.stderr
