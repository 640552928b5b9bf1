"""An event loop whose clock stands still while anything runs, and jumps to what is due next."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Jump(selectors.SelectSelector):
    """Waits for nothing: the time that the loop would wait has passed."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is due")
        self.passed_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at zero seconds. Nothing but timers and what is ready runs on it."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Seconds since its beginning."""
        return self._jump.passed_s


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run in virtual time; what is left over at the end is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
