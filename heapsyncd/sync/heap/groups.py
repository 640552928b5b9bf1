"""Values by key, where most keys have one: that one stands alone, without a set around it."""

from collections.abc import Collection
from typing import Generic, TypeVar

T = TypeVar("T", bound=str | tuple[object, ...])


class Groups(Generic[T]):
    """For each key, the different values that were added."""

    def __init__(self) -> None:
        self._of: dict[str, T | set[T]] = {}

    def add(self, key: str, value: T) -> None:
        """Add a value to a key."""
        known = self._of.setdefault(key, value)
        if isinstance(known, set):
            known.add(value)
        elif known != value:
            self._of[key] = {known, value}

    def discard(self, key: str, value: T) -> None:
        """Remove a value from a key if it is there."""
        known = self._of.get(key)
        if isinstance(known, set):
            known.discard(value)
            if len(known) == 1:
                (self._of[key],) = known
        elif known == value:
            del self._of[key]

    def of(self, key: str) -> Collection[T]:
        """Return the values of a key."""
        known = self._of.get(key)
        if known is None:
            return ()
        return known if isinstance(known, set) else (known,)
