"""Edge: delay a suspend until what waits is sent, through logind.

A *delay lock* is a file descriptor: while it is open, the machine waits with a suspend, for a few
seconds at most. The lock is taken when the daemon starts, released when a suspend was announced
and everything is sent, and taken again afterwards. Without a bus or logind nothing is delayed; the
end of a suspend is then told by the clocks alone (``sync.runtime.suspend``).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import structlog

from heapsyncd.dbus import Bus, call

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

AGAIN_S: Final = 60.0
"""A bus that is away, or that ended, is tried again after this."""
_SHARE: Final = 0.8
"""Of the time that logind grants: a lock that is held for longer was of no use."""
_ANSWER_S: Final = 5.0
_SERVICE: Final = "org.freedesktop.login1"
_PATH: Final = "/org/freedesktop/login1"
_MANAGER: Final = "org.freedesktop.login1.Manager"
_ANNOUNCED: Final = "PrepareForSleep"

_log = structlog.get_logger("heapsyncd.logind")


class SuspendLock:
    """Delays suspends while it runs.

    Args:
        bus: the system's.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lock: int | None = None

    async def granted_s(self) -> float:
        """Return for how long a suspend would be delayed at most.

        Raises:
            Exception: whatever the bus does; nothing is delayed.
        """
        async with asyncio.timeout(_ANSWER_S), self._bus.connect() as bus:
            return await _granted_s(bus)

    async def hold(self, before: Callable[[], Awaitable[None]], after: Callable[[], None]) -> None:
        """Hold the lock until cancelled; return at once if there is no bus.

        Args:
            before: is given the time before a suspend, and is cancelled when it is over.
            after: is called when the machine is awake again.
        """
        while self._bus.trouble is None:
            try:
                await self._follow(before, after)
            except Exception as error:  # noqa: BLE001 - whatever a bus does, the mirror goes on
                _log.debug("suspends are not delayed", reason=repr(error))
            finally:
                self._release()
            await asyncio.sleep(AGAIN_S)

    async def _follow(
        self, before: Callable[[], Awaitable[None]], after: Callable[[], None]
    ) -> None:
        """Hold the lock as long as the connection lives."""
        async with self._bus.connect() as bus:
            announced: asyncio.Queue[bool | None] = asyncio.Queue()

            def hear(message: "Message") -> None:
                if message.member == _ANNOUNCED and message.signature == "b":
                    announced.put_nowait(bool(message.body[0]))

            bus.add_message_handler(hear)
            ended = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
            ended.add_done_callback(lambda _: announced.put_nowait(None))
            try:
                await self._begin(bus)
                while (begins := await announced.get()) is not None:
                    if begins:
                        await self._before(bus, before)
                    else:
                        # Taken first: the next suspend may follow at once.
                        await self._take(bus)
                        _log.info("awake again after a suspend was announced")
                        after()
            finally:
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)

    async def _begin(self, bus: "MessageBus") -> None:
        """Ask for the announcements, and only then take the lock: none is missed."""
        rule = f"type='signal',sender='{_SERVICE}',interface='{_MANAGER}',member='{_ANNOUNCED}'"
        dbus = "org.freedesktop.DBus"
        async with asyncio.timeout(_ANSWER_S):
            await call(bus, dbus, "/org/freedesktop/DBus", f"{dbus}.AddMatch", "s", [rule])
        await self._take(bus)

    async def _before(self, bus: "MessageBus", before: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                limit_s = await _granted_s(bus)
            async with asyncio.timeout(limit_s):
                await before()
            _log.info("a suspend begins; everything is sent that could be")
        except TimeoutError:
            _log.info("a suspend begins; not everything is sent")
        finally:
            self._release()

    async def _take(self, bus: "MessageBus") -> None:
        if self._lock is not None:
            return
        words = ["sleep", "heapsyncd", "Sends what was written", "delay"]
        async with asyncio.timeout(_ANSWER_S):
            answer = await call(bus, _SERVICE, _PATH, f"{_MANAGER}.Inhibit", "ssss", words)
        self._lock = answer.unix_fds[answer.body[0]]

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


async def _granted_s(bus: "MessageBus") -> float:
    get, wanted = "org.freedesktop.DBus.Properties.Get", [_MANAGER, "InhibitDelayMaxUSec"]
    answer = await call(bus, _SERVICE, _PATH, get, "ss", wanted)
    return float(answer.body[0].value) / 1e6 * _SHARE
