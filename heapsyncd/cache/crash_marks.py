"""Edge: record which blocks are being worked on, in a file that outlives the process.

A document may end the process (a fault in yrs, a hang that the watchdog ends), and would do so
again at every start. So a block's id is kept in a small memory-mapped file while its document is
worked on. A mark costs no system call and survives any death of the process; a power cut may lose
it, which only means that a death is not counted. The blocks marked at a start were being worked on
when the last run died. A block that was marked in two deaths in a row is skipped from then on, so
that the others are synced.

A run that was asked to end counts as no death, even if it is killed before the work is done: a
large document on a slow machine may take longer than the system waits.
"""

import contextlib
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import structlog

from heapsyncd import __version__
from heapsyncd.errors import FolderTrouble, UnreadableDocument
from heapsyncd.ids import BlockId, is_ulid

DEATHS: Final = 2
"""A block is skipped once this many runs in a row died while working on it."""

_SLOT_BYTES: Final = 32
_ID_BYTES: Final = 26
_SLOTS: Final = 128
_SIZE: Final = _SLOT_BYTES * _SLOTS
_VERSION: Final = f"heapsyncd {__version__}".encode().ljust(_SLOT_BYTES, b"\0")
"""The first slot. Marks of another version do not count: it may handle what that one did not."""
_WORKING, _RESTING = b"w", b"r"

log = structlog.get_logger()


def skipped(path: Path, *, is_running: bool) -> frozenset[BlockId]:
    """Return the blocks that are skipped, by the file of marks, which is not changed.

    Args:
        path: the file.
        is_running: a run uses it now: what that works on are no deaths.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return frozenset()
    if data[:_SLOT_BYTES] != _VERSION:
        return frozenset()
    found = set()
    for at in range(_SLOT_BYTES, len(data), _SLOT_BYTES):
        id_, state, deaths = _parse(data[at : at + _SLOT_BYTES])
        if is_ulid(id_) and deaths + (state == _WORKING and not is_running) >= DEATHS:
            found.add(BlockId(id_))
    return frozenset(found)


def _parse(slot: bytes) -> tuple[str, bytes, int]:
    """Return the id, the state and the number of deaths in a slot."""
    id_ = slot[:_ID_BYTES].decode("ascii", "replace")
    return id_, slot[_ID_BYTES : _ID_BYTES + 1], slot[_ID_BYTES + 1]


class AtWork:
    """The marks of one account; made by ``open``. ``on`` may be used by several threads."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._lock = threading.Lock()
        self._slots: dict[BlockId, int] = {}
        self._depths: dict[BlockId, int] = {}
        self._deaths: dict[BlockId, int] = {}
        self._free = list(range(_SLOTS - 1, 0, -1))
        self._is_ending = False

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file, creating it if needed, and count the deaths that it records.

        Raises:
            FolderTrouble: the file can't be created or used.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(descriptor, _SIZE)
                data = mmap.mmap(descriptor, _SIZE)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FolderTrouble(f"{path} can't be used: {error.strerror}") from error
        with data, cls._counted(path, data) as marks:
            yield marks

    @classmethod
    @contextlib.contextmanager
    def open_copy(cls, path: Path) -> Iterator[Self]:
        """Use a copy of the file in memory: the same documents are skipped, nothing is marked."""
        try:
            found = path.read_bytes()[:_SIZE]
        except OSError:
            found = b""
        with mmap.mmap(-1, _SIZE) as data:
            data[: len(found)] = found
            with cls._counted(path, data) as marks:
                yield marks

    @classmethod
    @contextlib.contextmanager
    def _counted(cls, path: Path, data: mmap.mmap) -> Iterator[Self]:
        marks = cls(path, data)
        marks._count()
        try:
            yield marks
        finally:
            marks.end()  # threads may still be working, but this is an ordered end

    @classmethod
    def unrecorded(cls) -> Self:
        """Return marks that are kept in memory only: for who reads beside a running mirror."""
        return cls(Path(os.devnull), mmap.mmap(-1, _SIZE))

    def end(self) -> None:
        """Record an ordered end: the blocks being worked on do not count as deaths."""
        with self._lock:
            self._is_ending = True
            for block in self._depths:
                self._write(block, self._deaths.get(block, 0))

    @contextlib.contextmanager
    def on(self, block: BlockId) -> Iterator[None]:
        """Mark a block while the context is open.

        Raises:
            UnreadableDocument: the block is skipped, because the process died with it too often.
        """
        with self._lock:
            self._begin(block)
        try:
            yield
        finally:
            with self._lock:
                self._end(block)

    def _begin(self, block: BlockId) -> None:
        deaths = self._deaths.get(block, 0)
        if deaths >= DEATHS:
            raise UnreadableDocument(self._why_skipped(deaths))
        self._depths[block] = self._depths.get(block, 0) + 1
        if block not in self._slots and self._free:
            self._slots[block] = self._free.pop()
        self._write(block, deaths)

    def _end(self, block: BlockId) -> None:
        self._depths[block] -= 1
        if self._depths[block]:
            return
        del self._depths[block]
        self._deaths.pop(block, None)
        slot = self._slots.pop(block, None)
        if slot is not None:
            self._clear(slot)
            self._free.append(slot)

    def _count(self) -> None:
        """Read the file; each block marked as worked on has one more death."""
        data = self._data
        if data[:_SLOT_BYTES] != _VERSION:
            data[:] = _VERSION + bytes(_SIZE - _SLOT_BYTES)
        for slot in list(self._free):
            at = slot * _SLOT_BYTES
            id_, state, deaths = _parse(data[at : at + _SLOT_BYTES])
            if not is_ulid(id_) or state not in {_WORKING, _RESTING}:
                self._clear(slot)
                continue
            deaths = min(deaths + (state == _WORKING), 255)
            if not deaths:
                self._clear(slot)  # it was marked at an ordered end
                continue
            block = BlockId(id_)
            self._free.remove(slot)
            self._slots[block] = slot
            self._deaths[block] = deaths
            self._write(block, deaths)
            if deaths >= DEATHS:
                log.warning("document skipped", block=block, reason=self._why_skipped(deaths))
            elif state == _WORKING:
                log.warning("the last run died while working on a document", block=block)

    def _why_skipped(self, deaths: int) -> str:
        return (
            f"heapsyncd died {deaths} times while working on this document and now skips it; to"
            f" try it again, stop heapsyncd and remove {self._path}"
        )

    def _write(self, block: BlockId, deaths: int) -> None:
        slot = self._slots.get(block)
        if slot is not None and not self._data.closed:
            at = slot * _SLOT_BYTES
            is_working = block in self._depths and not self._is_ending
            state = _WORKING if is_working else _RESTING
            entry = block.encode().ljust(_ID_BYTES, b"\0")[:_ID_BYTES] + state + bytes([deaths])
            self._data[at : at + len(entry)] = entry

    def _clear(self, slot: int) -> None:
        if self._data.closed:
            return
        at = slot * _SLOT_BYTES
        self._data[at : at + _SLOT_BYTES] = bytes(_SLOT_BYTES)
