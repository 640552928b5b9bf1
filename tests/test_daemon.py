"""The daemon's lifetimes, with scripted mirrors in the place of real ones."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from heapsyncd import control
from heapsyncd.backoff import Backoff
from heapsyncd.config import Account, Config
from heapsyncd.daemon import Daemon, run_once
from heapsyncd.dbus import Bus
from heapsyncd.desktop import Desktop, Notice
from heapsyncd.errors import (
    CacheClosed,
    ConfigError,
    HeapsyncdError,
    SignInRefused,
    StateLocked,
    Unreachable,
)
from heapsyncd.notify import Notifier
from heapsyncd.supervisor import Mirror, Supervisor
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.report import Commands, Report, Verdict

DEADLINE_S = 10


def account(name: str) -> Account:
    return Account(name, "heaper", "http://x", Path("/f") / name, Path("/k") / name)


def config(state_dir: Path, *names: str) -> Config:
    return Config(None, state_dir, tuple(account(name) for name in names))


@dataclass
class Script:
    """Mirrors that do as service: raise what is listed for the account, then wait for stop."""

    raises: dict[str, list[Exception]] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    scanned: dict[str, asyncio.Event] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def say(self, event: str) -> None:
        async with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    async def until(self, found: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(found)

    async def heard(self, *events: str) -> None:
        await self.until(lambda: set(events) <= set(self.events))

    async def mirror(
        self,
        account: Account,
        state_dir: Path,
        report: Report,
        *,
        once: bool,
        stop: asyncio.Event,
        timeout_s: float | None = None,
        ready: Callable[[], None],
        timing: Timing,
    ) -> Verdict:
        await self.say(f"{account.name} begins")
        if planned := self.raises.get(account.name):
            raise planned.pop(0)
        if account.name in self.scanned:
            await self.scanned[account.name].wait()
        report.connected = report.ready = True
        report.alive()
        ready()
        await self.say(f"{account.name} ready")
        try:
            if not once:
                await stop.wait()
            if account.name in self.stubborn:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.say(f"{account.name} cancelled")
            raise
        await self.say(f"{account.name} ends")
        return Verdict("in sync", 0)


@dataclass
class Service:
    """A running daemon and what systemd heard of it."""

    daemon: Daemon
    told: list[str]
    ready: asyncio.Event


@asynccontextmanager
async def running(
    script: Script,
    state_dir: Path,
    *names: str,
    load: Callable[[], Config] | None = None,
    timing: Timing = DEFAULT,
) -> AsyncIterator[Service]:
    """A daemon, ended with SIGTERM."""
    told: list[str] = []
    ready = asyncio.Event()

    def hear(message: str) -> None:
        told.append(message)
        if message == "READY=1":
            ready.set()

    started = config(state_dir, *names)
    service = Daemon(
        started,
        load or (lambda: started),
        notifier=Notifier(hear),
        mirror=script.mirror,
        timing=timing,
    )
    task = asyncio.create_task(service.run())
    try:
        yield Service(service, told, ready)
    finally:
        if not task.done() and "STOPPING=1" not in told:
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            await task


async def states(state_dir: Path) -> dict[str, str]:
    answer = await control.ask(state_dir, "status")
    return {entry["name"]: entry["state"] for entry in answer["accounts"]}


async def test_ready_is_told_once_all_accounts_are(tmp_path: Path) -> None:
    """systemd hears READY after the last account, then STATUS, and STOPPING at SIGTERM."""
    script = Script(scanned={"b": asyncio.Event()})
    async with running(script, tmp_path, "a", "b") as service:
        await script.heard("a ready", "b begins")
        assert "READY=1" not in service.told
        script.scanned["b"].set()
        await script.heard("b ready")
        assert await states(tmp_path) == {"a": "in sync", "b": "in sync"}
        assert service.told.count("READY=1") == 1
    assert service.told[-1] == "STOPPING=1"
    assert script.events[-2:] == ["a ends", "b ends"]
    assert await control.ask(tmp_path, "status") is None


async def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    """While one holds the state, neither a daemon nor a pass begins; the first goes on."""
    script = Script()
    async with running(script, tmp_path, "a"):
        await script.heard("a ready")
        with pytest.raises(StateLocked):
            await run_once(config(tmp_path, "a"), mirror=script.mirror)
        assert await states(tmp_path) == {"a": "in sync"}


async def test_a_pass_alone_is_no_daemon(tmp_path: Path) -> None:
    """Who asks it for what takes long hears of no daemon, not of an unknown request."""
    script = Script(scanned={"a": asyncio.Event()})
    task = asyncio.create_task(run_once(config(tmp_path, "a"), mirror=script.mirror))
    await script.heard("a begins")
    for request in ("sync", "repair", "restore", "undo"):
        assert await control.ask(tmp_path, request, lambda _: None, since_ms=0) is None
    script.scanned["a"].set()
    await asyncio.wait_for(task, DEADLINE_S)


async def test_trouble_of_one_account_leaves_the_others_alone(tmp_path: Path) -> None:
    """It is said in the status, does not hold up READY, and is tried again after a pause."""
    timing = Timing(restart=Backoff(0.01, 0.1))
    refused, bug = SignInRefused("ask the operator"), RuntimeError("a bug")
    script = Script(raises={"a": [refused, bug, Unreachable("down")]})
    async with running(script, tmp_path, "a", "b", timing=timing) as service:
        await script.heard("a ready", "b ready")
        assert script.events.count("a begins") == 4
        assert script.events.count("b begins") == 1
        assert service.told.count("READY=1") == 1


async def test_a_refused_account_waits_for_sighup(tmp_path: Path) -> None:
    """The status asks for a sign-in; SIGHUP ends the pause at once."""
    timing = Timing(restart=Backoff(1000.0, 1000.0, min_share=1.0))
    script = Script(raises={"a": [SignInRefused("ask the operator")]})
    async with running(script, tmp_path, "a", timing=timing) as service:
        await script.heard("a begins")
        async with asyncio.timeout(DEADLINE_S):
            await service.ready.wait()
        (entry,) = (await control.ask(tmp_path, "status"))["accounts"]
        assert (entry["state"], entry["error"]) == ("sign-in needed", "ask the operator")
        os.kill(os.getpid(), signal.SIGHUP)
        await script.heard("a ready")
        assert await states(tmp_path) == {"a": "in sync"}


async def test_pauses_start_short_again_after_a_stable_time(tmp_path: Path) -> None:
    """Trouble after a long time without any is first trouble again."""
    timing = Timing(restart=Backoff(0.01, 3600.0, min_share=1.0), stable_s=0.0)
    script = Script(raises={"a": [Unreachable("down") for _ in range(12)]})
    async with running(script, tmp_path, "a", timing=timing):
        await script.heard("a ready")


async def test_sighup_touches_only_what_changed(tmp_path: Path) -> None:
    """Accounts that are the same go on, changed ones start anew, absent ones end."""
    before = config(tmp_path, "same", "changed", "absent")
    changed = replace(account("changed"), poll_interval_s=9.0)
    after = replace(before, accounts=(account("same"), changed, account("new")))
    script = Script()
    async with running(script, tmp_path, "same", "changed", "absent", load=lambda: after):
        await script.heard("same ready", "changed ready", "absent ready")
        os.kill(os.getpid(), signal.SIGHUP)
        await script.heard("new ready", "absent ends")
        await script.until(lambda: script.events.count("changed ready") == 2)
        assert script.events.count("same begins") == 1
        assert list(await states(tmp_path)) == ["same", "changed", "new"]


async def test_a_reload_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """systemd hears RELOADING before the configuration is read, and READY once it is applied."""
    after = config(tmp_path, "a", "b")
    told: list[str] = []

    def load() -> Config:
        assert told[-1].startswith("RELOADING=1\nMONOTONIC_USEC=")
        return after

    script = Script()
    async with running(script, tmp_path, "a", load=load) as service:
        told = service.told
        await script.heard("a ready")
        os.kill(os.getpid(), signal.SIGHUP)
        await script.heard("b ready")
        await script.until(lambda: told.count("READY=1") == 2)


async def test_ready_does_not_wait_for_an_account_that_is_gone(tmp_path: Path) -> None:
    """The one that keeps the start waiting is taken out of the configuration: READY comes."""
    script = Script(scanned={"b": asyncio.Event()})
    after = config(tmp_path, "a")
    timing = Timing(close_s=0.05)
    async with running(script, tmp_path, "a", "b", load=lambda: after, timing=timing) as service:
        await script.heard("a ready", "b begins")
        assert not service.ready.is_set()
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(DEADLINE_S):
            await service.ready.wait()
        assert not any(message.startswith("RELOADING") for message in service.told)


@pytest.mark.parametrize("state_dir", ["elsewhere", None])
async def test_a_wrong_configuration_is_not_taken_up(
    tmp_path: Path, state_dir: str | None
) -> None:
    """After SIGHUP with a mistake in the file, or another state_dir, everything goes on."""
    asked = asyncio.Event()

    def load() -> Config:
        asked.set()
        if state_dir is None:
            raise ConfigError("line 3")
        return config(tmp_path / state_dir, "b")

    script = Script()
    async with running(script, tmp_path, "a", load=load):
        await script.heard("a ready")
        os.kill(os.getpid(), signal.SIGHUP)
        await asked.wait()
        assert await states(tmp_path) == {"a": "in sync"}
    assert script.events == ["a begins", "a ready", "a ends"]


async def test_a_mirror_that_does_not_end_is_cancelled(tmp_path: Path) -> None:
    """After the written limit the close goes on without it."""
    script = Script(stubborn={"a"})
    async with running(script, tmp_path, "a", "b", timing=Timing(close_s=0.05)):
        await script.heard("a ready", "b ready")
    assert script.events[-2:] == ["b ends", "a cancelled"]


async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C twice is not kept waiting for the limit."""
    script = Script(stubborn={"a"})
    async with (
        asyncio.timeout(DEFAULT.close_s / 2),
        running(script, tmp_path, "a") as service,
    ):
        await script.heard("a ready")
        service.daemon.stop()
        service.daemon.stop()
        await script.heard("a cancelled")
    assert script.events[-1] == "a cancelled"


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_pass_that_does_not_end_is_cancelled(tmp_path: Path, signals: int) -> None:
    """After SIGTERM within the limit, after a second one at once; it was not in sync."""
    timing = Timing(close_s=0.05) if signals == 1 else DEFAULT
    script = Script(stubborn={"a"})
    running_pass = asyncio.create_task(
        run_once(config(tmp_path, "a", "b"), mirror=script.mirror, timing=timing)
    )
    await script.heard("a ready", "b ends")
    for _ in range(signals):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
    async with asyncio.timeout(DEFAULT.close_s + DEADLINE_S):
        verdicts = await running_pass
    assert (verdicts["a"].state, verdicts["a"].exit_code) == ("syncing", 1)
    assert "stopped before" in verdicts["a"].left[0]
    assert verdicts["b"].exit_code == 0


async def test_the_handlers_of_before_are_put_back(tmp_path: Path) -> None:
    """The daemon's own handlers are gone with it, and no default is left in their place."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        async with running(Script(), tmp_path, "a") as service:
            await service.ready.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_configuration_error_ends_the_daemon(tmp_path: Path) -> None:
    """What no waiting mends is not tried again."""
    script = Script(raises={"a": [ConfigError("a newer version wrote this")]})
    with pytest.raises(ExceptionGroup) as caught:
        async with running(script, tmp_path, "a", "b"):
            await script.heard("b cancelled")
    assert caught.group_contains(ConfigError, match="newer version")


async def test_one_pass_gives_every_account_its_verdict(tmp_path: Path) -> None:
    """Side by side; an error is the verdict of its account, with its exit code."""
    failures: list[HeapsyncdError] = [Unreachable("down"), SignInRefused("no")]
    script = Script(raises={e.__class__.__name__: [e] for e in failures})
    verdicts = await run_once(
        config(tmp_path, "good", "Unreachable", "SignInRefused"), mirror=script.mirror
    )
    assert verdicts == {
        "good": Verdict("in sync", 0),
        "Unreachable": Verdict("offline", 4, ("the server does not answer (down)",)),
        "SignInRefused": Verdict("sign-in needed", 3, ("no",)),
    }


async def test_a_repair_lets_the_mirrors_rest(tmp_path: Path) -> None:
    """None runs meanwhile, and each goes on at once; one in trouble is not waited for."""
    script = Script(raises={"b": [SignInRefused("no")]})
    timing = Timing(restart=Backoff(600.0, 600.0))
    async with running(script, tmp_path, "a", "b", timing=timing) as service:
        await asyncio.wait_for(service.ready.wait(), DEADLINE_S)
        answer = await control.ask(tmp_path, "repair", lambda _: None)
        assert [found["name"] for found in answer["accounts"]] == ["a", "b"]
        await script.until(lambda: script.events.count("a ready") == 2)
        assert "a ends" in script.events
        assert script.events.count("b begins") == 1


@asynccontextmanager
async def supervised(
    script: Script, state_dir: Path, report: Report, mirror: Mirror | None = None
) -> AsyncIterator[Supervisor]:
    """One account's supervisor; its mirror is given little time to end."""
    timing = Timing(close_s=0.05)
    run = mirror or script.mirror
    supervisor = Supervisor(account("a"), state_dir, report, lambda: None, run, timing)
    task = asyncio.create_task(supervisor.run())
    try:
        await script.heard("a ready")
        yield supervisor
    finally:
        supervisor.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_watchdog_is_fed_while_an_account_rests(tmp_path: Path) -> None:
    """A long repair does not look like a daemon that hangs, whoever asked for the rest when."""
    beats: asyncio.Queue[None] = asyncio.Queue()
    report = Report("a", beat=lambda: beats.put_nowait(None))
    async with supervised(Script(), tmp_path, report) as supervisor, asyncio.timeout(DEADLINE_S):
        for _ in range(2):
            async with supervisor.at_rest():
                while not beats.empty():
                    beats.get_nowait()
                await beats.get()
                await beats.get()


async def test_who_wants_rest_at_the_same_time_takes_turns(tmp_path: Path) -> None:
    """The mirror goes on after the last, and keeps nobody waiting."""
    script, asked = Script(), asyncio.Event()
    async with supervised(script, tmp_path, Report("a")) as supervisor:

        async def another() -> None:
            asked.set()
            async with supervisor.at_rest():
                assert script.events == ["a begins", "a ready", "a ends"]

        async with supervisor.at_rest():
            second = asyncio.create_task(another())
            await asked.wait()
        await asyncio.wait_for(second, DEADLINE_S)
        await script.until(lambda: script.events.count("a ready") == 2)


async def test_a_mirror_that_does_not_come_to_rest_is_cancelled(tmp_path: Path) -> None:
    """Then it begins again: no large upload keeps a repair waiting for long."""
    script = Script(stubborn={"a"})
    async with supervised(script, tmp_path, Report("a")) as supervisor:
        async with asyncio.timeout(DEADLINE_S), supervisor.at_rest():
            assert script.events == ["a begins", "a ready", "a cancelled"]
        await script.until(lambda: script.events.count("a ready") == 2)


@dataclass
class Passes:
    """Commands of a mirror whose pass ends with it."""

    stop: asyncio.Event
    begun: asyncio.Event
    ends_with: Exception | None

    async def full_pass(self, _timeout_s: float | None) -> Verdict:
        self.begun.set()
        if self.ends_with is None:
            return Verdict("in sync", 0)
        await self.stop.wait()
        raise self.ends_with


async def test_a_pass_goes_on_after_a_repair(tmp_path: Path) -> None:
    """It is done by the mirror that follows, and the account is in no trouble."""
    script, report, begun = Script(), Report("a"), asyncio.Event()
    ends: list[Exception | None] = [CacheClosed("stopped or reloaded"), None]

    async def mirror(*args: object, stop: asyncio.Event, **others: object) -> Verdict:
        report.commands = cast("Commands", Passes(stop, begun, ends.pop(0)))
        try:
            return await script.mirror(*args, stop=stop, **others)  # type: ignore[arg-type]
        finally:
            report.commands = None

    async with supervised(script, tmp_path, report, mirror) as supervisor:
        asked = asyncio.create_task(supervisor.full_pass(None))
        await begun.wait()
        async with supervisor.at_rest():
            states = [report.state]
        assert await asyncio.wait_for(asked, DEADLINE_S) == Verdict("in sync", 0)
        await script.until(lambda: script.events.count("a ready") == 2)
        assert report.error is None
        assert [*states, report.state] == ["syncing", "in sync"]


async def test_a_stopped_account_is_not_repaired(tmp_path: Path) -> None:
    """After a reload another supervisor mirrors it, and two must not write."""
    async with supervised(Script(), tmp_path, Report("a")) as supervisor:
        supervisor.stop()
        with pytest.raises(HeapsyncdError, match="run it again"):
            async with asyncio.timeout(DEADLINE_S), supervisor.at_rest():
                pytest.fail("it was at rest")


class Screen(Desktop):
    """A desktop that is there, and keeps what it shows."""

    def __init__(self) -> None:
        super().__init__(Bus(None))
        self.shown: asyncio.Queue[Notice] = asyncio.Queue()

    @property
    def is_there(self) -> bool:
        return True

    async def show(self, notice: Notice) -> None:
        self.shown.put_nowait(notice)


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_what_waits_for_a_person_is_told_on_the_desktop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_wanted: bool
) -> None:
    """Once, however often it is tried again; never if the configuration says so."""
    monkeypatch.setattr("heapsyncd.daemon.LOOK_EVERY_S", 0.01)
    screen, timing = Screen(), Timing(restart=Backoff(0.05, 0.1))

    script = Script(raises={"a": [SignInRefused("ask the operator") for _ in range(4)]})
    wanted = replace(config(tmp_path, "a"), desktop_notices=is_wanted)
    service = Daemon(
        wanted, lambda: wanted, notifier=Notifier(lambda _: None), mirror=script.mirror,
        timing=timing, desktop=screen,
    )  # fmt: skip
    task = asyncio.create_task(service.run())
    await script.heard("a ready")
    service.stop()
    await asyncio.wait_for(task, DEADLINE_S)
    shown = [screen.shown.get_nowait().text for _ in range(screen.shown.qsize())]
    text = "The server refuses the account a. `heapsyncd status` says why."
    assert shown == ([text] if is_wanted else [])
