"""Announce to other devices, over a document that all of them follow, that there is news.

Pure (PROTOCOL §6).

A server tells the changes of documents that are open, and nobody can open a document that he does
not know of. So a device that created one says that there is something new. It uses what any
Hocuspocus server passes on to all followers of a document, an awareness state. The state is sent
once and never renewed, so that it costs nothing while nothing happens: the server drops it after
30 s. Nothing depends on it, since whoever does not hear it polls the delta feed anyway.
"""

import random

from heapsyncd.errors import ProtocolError
from heapsyncd.wire.awareness import State, decode, encode

_KEY = '{"heapsyncd":'
_MOST = 1000
"""The devices whose announcements are told apart; of more, those heard first are forgotten."""
_LARGEST_BYTES = 64 << 10
"""A larger awareness update is not looked through: that would keep the event loop busy."""


class Announcements:
    """Our announcements on one socket, and those of others."""

    def __init__(self) -> None:
        # As Yjs chooses its client ids. A server ignores a client whose clock does not grow.
        self._client = random.getrandbits(32)
        self._made = 0
        self._heard: dict[int, int] = {}

    def announce(self) -> bytes:
        """Return an awareness update that announces news to the others, once."""
        self._made += 1
        return encode([State(self._client, self._made, f"{_KEY}{self._made}}}")])

    def is_news(self, update: bytes) -> bool:
        """Tell whether an awareness update is an announcement of another device that is new.

        Servers repeat states, and send our own back. Those of editors are ignored.
        """
        if len(update) > _LARGEST_BYTES or _KEY.encode() not in update:
            return False
        try:
            states = [s for s in decode(update) if s.json.startswith(_KEY)]
        except ProtocolError:
            return False
        new = [s for s in states if s.clock > self._heard.get(s.client, 0)]
        for state in new:
            self._heard.pop(state.client, None)
            self._heard[state.client] = state.clock
        while len(self._heard) > _MOST:
            del self._heard[next(iter(self._heard))]
        return any(s.client != self._client for s in new)
