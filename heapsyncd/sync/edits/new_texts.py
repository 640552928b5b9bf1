"""Many saved files at once: taken in batch by batch, and not all of their texts held."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from heapsyncd.sync.edits.saved_file import Head, Saved
from heapsyncd.sync.merge.note_text import Note

BATCH: Final = 64
BATCH_BYTES: Final = 1 << 20
"""So many files, or bytes of them, are read and taken in together."""

T = TypeVar("T")


def batches(items: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """What is taken in together, in order; ``size``: bytes of one."""
    batch: list[T] = []
    left = BATCH_BYTES
    for item in items:
        if batch and (len(batch) == BATCH or size(item) > left):
            yield batch
            batch, left = [], BATCH_BYTES
        batch.append(item)
        left -= size(item)
    if batch:
        yield batch


class NewTexts:
    """The new notes of a look. Of each is known what it is named by; only the first texts are
    kept, for a whole heap may be new: the others are read again when it is their turn.

    Args:
        read: notes' files; those that can't be read are left out, and looked at again.
    """

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[list[Saved]]]) -> None:
        self.heads: dict[str, Head] = {}
        self._read = read
        self._kept: dict[str, Saved] = {}
        self._left_bytes = BATCH_BYTES

    def add(self, saved: Saved, note: Note) -> Head:
        """A note that was read, and what is in it."""
        head = self.heads[saved.path] = Head.of(saved, note)
        if len(self._kept) < BATCH and len(saved.data) <= self._left_bytes:
            self._left_bytes -= len(saved.data)
            self._kept[saved.path] = saved
        return head

    async def of(self, paths: Iterable[str]) -> list[Saved]:
        """Some of the texts, in order, as they are by now; without those that are no more."""
        paths = list(paths)
        left = [p for p in paths if p not in self._kept]
        read = {s.path: s for s in (await self._read(left) if left else [])} | self._kept
        return [read[p] for p in paths if p in read]
