"""Other processes: they work, and whatever becomes of them, nobody has to wait or to lose."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from heapsyncd import processes
from heapsyncd.processes import MANY, Processes, on_battery

DEADLINE_S = 30.0


def ids(values: Sequence[int]) -> list[tuple[int, int]]:
    """Each value, and the process that answers."""
    return [(value, os.getpid()) for value in values]


def spin(values: Sequence[int]) -> list[int]:
    """Never come to an end, unless there is nothing to do."""
    while values:
        pass
    return []


def fail(values: Sequence[int]) -> list[int]:
    """Refuse whatever there is."""
    raise ValueError(values)


def lives(pid: int) -> bool:
    """Whether there is such a process, and it has not ended yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def started(spare: int = 1) -> tuple[Processes, int]:
    """Some that are ready, and the id of one."""
    some = Processes(lambda: spare)
    await some.expect(ids, MANY)
    await until(lambda: some.ready == spare)
    answer = await some.results(ids, [1])
    assert answer is not None
    return some, answer[0][1]


@pytest.mark.parametrize(
    ("supplies", "found"),
    [
        ({}, False),
        ({"AC": {"type": "Mains", "online": "1"}}, False),
        ({"BAT0": {"type": "Battery", "status": "Discharging"}}, True),
        ({"BAT0": {"type": "Battery", "status": "Charging"}}, False),
        ({"mouse": {"type": "Battery", "status": "Discharging", "scope": "Device"}}, False),
    ],
)
def test_on_battery(tmp_path: Path, supplies: dict[str, dict[str, str]], found: bool) -> None:
    """Only a battery of the machine's own that is being emptied counts."""
    for supply, values in supplies.items():
        (tmp_path / supply).mkdir()
        for name, value in values.items():
            (tmp_path / supply / name).write_text(value + "\n", "utf-8")
    assert on_battery(tmp_path) is found
    assert not on_battery(tmp_path / "absent")


async def test_none_is_started_for_few_values_or_without_a_spare_core() -> None:
    """One that is not there answers None at once."""
    for some, values in ((Processes(lambda: 1), MANY - 1), (Processes(lambda: 0), MANY)):
        await some.expect(ids, values)
        assert (some.ready, await some.results(ids, [1])) == (0, None)
        await some.close()


async def test_another_process_answers_until_it_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """All heaps share the spare cores; what is idle ends, and is started again when needed."""
    some, pid = await started()
    assert pid != os.getpid()
    assert await some.results(ids, [3, 4]) == [(3, pid), (4, pid)]
    other = Processes(lambda: 1)
    await other.expect(ids, MANY)
    assert other.ready == 0
    monkeypatch.setattr(processes, "IDLE_S", 0.01)
    await some.results(ids, [1])
    await until(lambda: not some.ready and not lives(pid))
    monkeypatch.undo()
    await other.expect(ids, MANY)
    await until(lambda: other.ready == 1)
    await other.close()
    await some.close()


@pytest.mark.parametrize("how", ["killed", "hangs", "fails"])
async def test_one_that_fails_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A process is killed, hangs and ends itself, or can't do it: the asker does the work, now
    and later.
    """
    some, pid = await started()
    if how == "hangs":
        monkeypatch.setattr(processes, "WORK_S", 0.05)
    elif how == "killed":
        os.kill(pid, signal.SIGKILL)
    work = fail if how == "fails" else spin
    assert await asyncio.wait_for(some.results(work, [1]), DEADLINE_S) is None
    await some.expect(ids, MANY)
    assert (some.ready, await some.results(ids, [1])) == (0, None)
    await until(lambda: not lives(pid))
    await some.close()


async def test_what_waits_when_one_fails_is_done_here() -> None:
    """Nobody who waits for an answer is taken as cancelled."""
    some, _ = await started()
    try:
        waiting = [some.results(ids, [1]) for _ in range(6)]
        asked = [some.results(fail, [1]), *waiting]
        first, *rest = await asyncio.gather(*asked, return_exceptions=True)
        assert first is None
        assert all(answer is None or not isinstance(answer, BaseException) for answer in rest)
    finally:
        await some.close()


async def test_another_version_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon still runs the one that was installed when it began."""
    monkeypatch.setattr(processes, "__version__", "0.0.0")
    some = Processes(lambda: 1)
    await some.expect(ids, MANY)
    await until(lambda: some.ready == 1)
    assert await some.results(ids, [1]) is None
    await some.close()


async def test_closing_ends_it() -> None:
    """Nothing is left behind."""
    some, pid = await started()
    await some.close()
    assert not lives(pid)


_DAEMON = """
import asyncio, sys
from tests.test_processes import started
async def main():
    some, pid = await started()
    print(pid, 'is it', flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_it_ends_with_a_daemon_that_is_killed() -> None:
    """Nobody is left to end it."""
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _DAEMON, stdout=asyncio.subprocess.PIPE
    )
    assert daemon.stdout is not None
    pid = int((await daemon.stdout.readuntil(b" is it\n")).split()[-3])
    assert lives(pid)
    daemon.kill()
    await daemon.wait()
    await until(lambda: not lives(pid))
