"""Edge: calls over D-Bus. The library is optional: without it no bus is there."""

import importlib.util
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

PACKAGE: Final = "dbus-fast"
_SYSTEM_SOCKET: Final = Path("/run/dbus/system_bus_socket")


class DBusTrouble(Exception):
    """A call was answered with an error."""


class Bus(Struct, frozen=True):
    """A message bus, and whether it can be used.

    Args:
        address: None: there is none.
    """

    address: str | None

    @classmethod
    def of_session(cls) -> "Bus":
        """Return this session's bus, by DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR."""
        place = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "bus")
        return cls._at("DBUS_SESSION_BUS_ADDRESS", place)

    @classmethod
    def of_system(cls) -> "Bus":
        """Return the machine's bus, by DBUS_SYSTEM_BUS_ADDRESS or the usual place."""
        return cls._at("DBUS_SYSTEM_BUS_ADDRESS", _SYSTEM_SOCKET)

    @classmethod
    def _at(cls, variable: str, place: Path) -> "Bus":
        given = os.environ.get(variable)
        return cls(given or (f"unix:path={place}" if place.is_socket() else None))

    @property
    def trouble(self) -> str | None:
        """Return why the bus cannot be used; None: nothing is known against it."""
        if importlib.util.find_spec("dbus_fast") is None:
            return f"the package {PACKAGE} is not installed"
        return "there is no bus" if self.address is None else None

    @asynccontextmanager
    async def connect(self) -> "AsyncIterator[MessageBus]":
        """Be connected; file descriptors can be received."""
        from dbus_fast.aio import MessageBus  # noqa: PLC0415 - optional

        bus = await MessageBus(bus_address=self.address, negotiate_unix_fd=True).connect()
        try:
            yield bus
        finally:
            bus.disconnect()


async def call(
    bus: "MessageBus",
    destination: str,
    path: str,
    method: str,
    signature: str = "",
    body: Sequence[Any] = (),
) -> "Message":
    """Return the answer to a call.

    Args:
        bus: connected.
        destination: the service's name.
        path: the object's.
        method: with its interface, ``org.example.Interface.Method``.
        signature: the types of the arguments.
        body: the arguments.

    Raises:
        DBusTrouble: the answer is an error.
    """
    from dbus_fast import Message, MessageType  # noqa: PLC0415 - optional

    interface, _, member = method.rpartition(".")
    answer = await bus.call(
        Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
    )
    if answer.message_type is MessageType.ERROR:
        raise DBusTrouble(f"{answer.error_name}: {' '.join(map(str, answer.body))}")
    return answer
