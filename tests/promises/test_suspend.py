"""A suspend that is announced waits until edits are sent; over a real bus, with a small logind."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dbus_fast import PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal
from msgspec.structs import replace

from heapsyncd.cli.doctor_facts import gather
from heapsyncd.config import Config
from heapsyncd.daemon import Daemon
from heapsyncd.dbus import Bus
from heapsyncd.logind import SuspendLock
from heapsyncd.notify import Notifier
from tests.sync.rig import World, until

DEADLINE_S = 10


class Logind(ServiceInterface):
    """Gives locks, and knows which are open."""

    def __init__(self, limit_s: float) -> None:
        super().__init__("org.freedesktop.login1.Manager")
        self._limit_us = int(limit_s * 1e6)
        self._given: list[int] = []
        self.locks: list[int] = []
        """The reading ends of the pipes that the locks are."""

    @dbus_method()
    def Inhibit(  # noqa: N802 - the interface's
        self,
        what: "s",  # type: ignore[name-defined]  # noqa: F821
        who: "s",  # type: ignore[name-defined]  # noqa: F821
        why: "s",  # type: ignore[name-defined]  # noqa: F821
        mode: "s",  # type: ignore[name-defined]  # noqa: F821
    ) -> "h":  # type: ignore[name-defined]  # noqa: F821
        assert (what, who, mode) == ("sleep", "heapsyncd", "delay")
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.locks.append(reading)
        self._given.append(writing)
        return writing

    @dbus_property(access=PropertyAccess.READ)
    def InhibitDelayMaxUSec(self) -> "t":  # type: ignore[name-defined] # noqa: F821, N802
        return self._limit_us

    @dbus_signal()
    def PrepareForSleep(self, begins: bool) -> "b":  # type: ignore[name-defined] # noqa: F821, N802
        return begins

    def held(self) -> int:
        """How many locks are open."""
        return sum(map(self._is_open, self.locks))

    def _is_open(self, lock: int) -> bool:
        try:
            return os.read(lock, 1) != b""
        except BlockingIOError:
            return True

    def announce(self, *, begins: bool) -> None:
        """Announce that a suspend begins, or that it is over."""
        self.forget()
        self.PrepareForSleep(begins)

    def forget(self) -> None:
        """Close the own copies of what has arrived by now."""
        while self._given:
            os.close(self._given.pop())


@asynccontextmanager
async def logind(bus: str, limit_s: float) -> AsyncIterator[Logind]:
    """logind on a bus."""
    connected = await MessageBus(bus_address=bus, negotiate_unix_fd=True).connect()
    found = Logind(limit_s)
    connected.export("/org/freedesktop/login1", found)
    await connected.request_name("org.freedesktop.login1")
    try:
        yield found
    finally:
        connected.disconnect()
        found.forget()
        for lock in found.locks:
            os.close(lock)


async def test_a_suspend_waits_until_edits_are_sent(world: World, bus: str) -> None:
    """What was saved just before is on the server when the lock is released; afterwards the lock
    is held again, and news is polled at once.
    """
    device = world.device(live="off")
    device.poll_interval_s = 3600.0
    block = await world.add("Note", "text\n")
    await device.synced()
    account = replace(device.account, poll_interval_s=3600.0)
    config = Config(None, device.base / "state", (account,))
    async with logind(bus, 25.0) as machine:
        daemon = Daemon(
            config,
            lambda: config,
            notifier=Notifier(lambda _: None),
            suspends=SuspendLock(Bus(bus)),
        )
        running = asyncio.create_task(daemon.run())
        await until(machine.held, "the lock")
        (report,) = daemon._reports()
        await until(lambda: report.state == "in sync", "in sync")
        with (device.root / "Note.md").open("a") as note:
            note.write("\nlast words\n")
        await until(lambda: report.state == "syncing", "the edit is seen")
        machine.announce(begins=True)
        await until(lambda: not machine.held(), "the lock is released")
        assert await world.text(block) == "text\nlast words"

        await world.change(block, body="text\nlast words\n\nand theirs\n")
        machine.announce(begins=False)
        await until(lambda: "theirs" in device.notes()["Note.md"], "their edit")
        assert machine.held() == 1
        daemon.stop()
        await asyncio.wait_for(running, DEADLINE_S)
        machine.forget()
        assert machine.held() == 0


async def test_what_cannot_be_sent_delays_nothing_for_long(bus: str) -> None:
    """The lock is released before logind's limit; a bus that ends takes nothing with it."""
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    woken: list[int] = []
    async with logind(bus, 0.5) as machine:
        lock = SuspendLock(Bus(bus))
        assert await lock.granted_s() == pytest.approx(0.4)
        holding = asyncio.create_task(lock.hold(forever, lambda: woken.append(machine.held())))
        await until(machine.held, "the lock")
        machine.announce(begins=True)
        await asyncio.wait_for(cancelled.wait(), DEADLINE_S)
        await until(lambda: not machine.held(), "the lock is released")
        machine.announce(begins=False)
        await until(lambda: woken == [1], "awake, with the lock held again")
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        machine.forget()
        assert machine.held() == 0


async def test_without_a_bus_or_logind_nothing_is_delayed(
    tmp_path: Path, bus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bus: there is nothing to follow. A bus without logind: it is tried again. `doctor` tells
    each apart.
    """

    async def told() -> str:
        found = (await gather(tmp_path / "none.toml")).suspends
        assert found.delay_s is None
        return found.reason

    async def never() -> None:
        raise AssertionError

    monkeypatch.setattr("heapsyncd.dbus._SYSTEM_SOCKET", tmp_path / "none")
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    await asyncio.wait_for(SuspendLock(Bus.of_system()).hold(never, lambda: None), DEADLINE_S)
    assert await told() == "there is no bus"
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)
    assert "org.freedesktop.login1" in await told()
    monkeypatch.setattr("heapsyncd.logind.AGAIN_S", 0.01)
    holding = asyncio.create_task(SuspendLock(Bus.of_system()).hold(never, lambda: None))
    async with logind(bus, 5.0) as machine:
        await until(machine.held, "the lock, later")
        assert (await gather(tmp_path / "none.toml")).suspends.delay_s == pytest.approx(4.0)
    assert not holding.done()
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    monkeypatch.setattr("heapsyncd.dbus.importlib.util.find_spec", lambda _: None)
    assert await told() == "the package dbus-fast is not installed"
