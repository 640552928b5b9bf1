"""Process many saved files in batches, without keeping all their texts in memory."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from heapsyncd.sync.edits.saved_file import Head, SavedFile
from heapsyncd.sync.merge.note_text import Note

BATCH: Final = 80
BATCH_BYTES: Final = 1 << 20
"""At most ``BATCH`` files, or this many bytes of them, are read and processed together."""

T = TypeVar("T")


def batches(items: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Split items into batches in order. ``size``: the bytes of one item."""
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
    """The new notes of a scan, each with its head.

    Only the first texts are kept, since a whole heap may be new; the others are read again when
    needed.

    Args:
        read: reads notes' files; files that cannot be read are left out, and scanned again.
    """

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[list[SavedFile]]]) -> None:
        self.heads: dict[str, Head] = {}
        self._read = read
        self._kept: dict[str, SavedFile] = {}
        self._left_bytes = BATCH_BYTES

    def add(self, saved: SavedFile, note: Note) -> Head:
        """Add a note that was read; return its head."""
        head = self.heads[saved.path] = Head.of(saved, note)
        if len(self._kept) < BATCH and len(saved.data) <= self._left_bytes:
            self._left_bytes -= len(saved.data)
            self._kept[saved.path] = saved
        return head

    async def of(self, paths: Iterable[str]) -> list[SavedFile]:
        """Return texts in the given order, as they are now; missing files are left out."""
        paths = list(paths)
        left = [p for p in paths if p not in self._kept]
        read = {s.path: s for s in (await self._read(left) if left else [])} | self._kept
        return [read[p] for p in paths if p in read]
