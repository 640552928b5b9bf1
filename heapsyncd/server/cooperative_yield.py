"""Split long work on the event loop, so that others are served in between."""

import asyncio

SLICE_S = 0.01
"""The longest stretch of work before the loop gets to run others."""


class TimeSlice:
    """Measures a long piece of work; call ``yield_if_over`` between its parts."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def yield_if_over(self) -> None:
        """Let others run if this stretch has taken long."""
        if self._loop.time() - self._since > SLICE_S:
            await asyncio.sleep(0)
            self._since = self._loop.time()
