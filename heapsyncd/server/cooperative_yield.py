"""Long stretches of work on the loop, cut up so that others are served in between."""

import asyncio

TURN_S = 0.01
"""How long a stretch of work may take before the loop gets its turn."""


class Turn:
    """Call ``over`` between the pieces of a long piece of work."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def over(self) -> None:
        """Let others run when this stretch has taken long."""
        if self._loop.time() - self._since > TURN_S:
            await asyncio.sleep(0)
            self._since = self._loop.time()
