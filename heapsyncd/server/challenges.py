"""Keep challenges that wait for a signature. Pure.

Each serves once, and no address can displace another's.
"""

from collections import OrderedDict


class Challenges:
    """The challenges that were issued and neither answered nor expired.

    Args:
        most: the most that are kept. The oldest of the address that has most of them is dropped
            first, so that a flood from some addresses does not affect others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, OrderedDict[str, tuple[str, int]]] = {}
        self._where: OrderedDict[str, str] = OrderedDict()
        """Text to address, oldest first; all have the same life time."""

    def put(self, text: str, address: str, public_key: str, expires_ms: int, now_ms: int) -> None:
        """Store an issued challenge."""
        while self._where and self._oldest_expires_ms() < now_ms:
            self._forget(next(iter(self._where)))
        if len(self._where) >= self._most:
            fullest = max(self._of.values(), key=len)
            self._forget(next(iter(fullest)))
        self._of.setdefault(address, OrderedDict())[text] = (public_key, expires_ms)
        self._where[text] = address

    def take(self, text: str, public_key: str, now_ms: int) -> bool:
        """Use up a challenge; returns whether it was this key's, and in time."""
        if text not in self._where:
            return False
        asked_by, expires_ms = self._forget(text)
        return asked_by == public_key and expires_ms >= now_ms

    def _oldest_expires_ms(self) -> int:
        text, address = next(iter(self._where.items()))
        return self._of[address][text][1]

    def _forget(self, text: str) -> tuple[str, int]:
        address = self._where.pop(text)
        held = self._of[address]
        found = held.pop(text)
        if not held:
            del self._of[address]
        return found
