"""What people feel while a device works: how long its loop stands still, how soon it answers."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

from heapsyncd import control
from heapsyncd.errors import TryLater
from tests.bench.mirror_process import Process

_EVERY_S: Final = 0.1


@contextlib.contextmanager
def probed(device: Process, waits_ms: dict[str, float]) -> Iterator[dict[str, float]]:
    """Watch a device, best from before its daemon runs; what was the longest is added here."""
    over, asking = threading.Event(), _Asking()
    device.ask("probe")
    thread = threading.Thread(target=lambda: asyncio.run(asking.ask(device, over)))
    thread.start()
    try:
        yield waits_ms
    finally:
        over.set()
        thread.join()
    waits_ms["the loop stood still for at most"] = device.ask("probed")["longest_s"] * 1000
    waits_ms["`status` answered within"] = asking.longest_s * 1000


class _Asking:
    """Somebody who runs `heapsyncd status` again and again."""

    longest_s = 0.0

    async def ask(self, device: Process, over: threading.Event) -> None:
        while not over.is_set():
            started = time.monotonic()
            answer = None
            with contextlib.suppress(TryLater):
                answer = await control.ask(device.state, "status")
            # As long as nobody listens there is nothing to time.
            if answer is not None or time.monotonic() - started > control.ANSWER_TIMEOUT_S / 2:
                self.longest_s = max(self.longest_s, time.monotonic() - started)
            await asyncio.sleep(_EVERY_S)
