"""Where to look, and what has been seen of files that are not settled yet."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.ignore import IGNORE_FILE
from heapsyncd.folder.snapshot import Entry, Stat
from heapsyncd.sync.edits.saved_file import Saved
from heapsyncd.sync.heap.index import link_key
from heapsyncd.sync.heap.limits import NOTE_BYTES
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge.note_text import names_in

QUIET_S = 0.3
"""A file written in place is read when it has been quiet for this long."""
ARRIVED_S = 10.0
"""New files that do not become quiet are waited for no longer than this: by the first look, and by
texts that link to them.
"""
SHRUNK_S = 3.0
"""A file that lost most of its text is believed after this long."""
AGAIN_S = 0.1
"""When a path is looked at that was not as expected."""


@dataclass(frozen=True, slots=True)
class _Coming:
    """New files that are not settled yet: the keys of the names they are linked to by, and when
    the first is due.
    """

    keys: frozenset[str]
    due: float


@dataclass
class Debounce:
    """Paths to look at: at once (``paths``, ``everything``), or when they are due."""

    heap: HeapContext
    everything: bool = field(default=True, init=False)
    paths: set[str] = field(default_factory=set, init=False)
    _due: dict[str, float] = field(default_factory=dict, init=False)
    _seen: dict[str, tuple[Stat | None, float]] = field(default_factory=dict, init=False)
    """The stat that a path had (None: it was gone), and since when."""
    _not_before: float = field(default=0.0, init=False)
    _put_off: dict[str, float] = field(default_factory=dict, init=False)
    """Texts that wait for names, and since when."""

    def hint(self, paths: Iterable[str], *, everything: bool = False) -> None:
        """Look at these paths (and all below them), or at the whole folder."""
        self.paths.update(paths)
        self.everything = self.everything or everything

    def look_again(self, paths: Iterable[str]) -> None:
        """Look at these paths soon: they changed while something was to be done to them. What is
        known to be in trouble waits for its cure.
        """
        for path in paths:
            if not self.heap.problems.stop(path):
                self._due.setdefault(path, time.monotonic() + AGAIN_S)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to look at."""
        return not (self.everything or self.paths or self._due)

    def next_due_s(self) -> float | None:
        """In how many seconds an unsettled path is due again; None when there is none."""
        if self.everything or self.paths:
            return max(0.0, self._not_before - time.monotonic())
        if not self._due:
            return None
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _settled(
        self, entry: Entry, row: EntryRow | None, now: float, owner: str | None = None
    ) -> bool:
        """Whether a file is to be read now; if not, it is looked at again when it may be.

        Args:
            entry: what was found.
            row: what was known of the path.
            now: monotonic.
            owner: the note whose attachment it would be: not read before that is.
        """
        stat, since = self._seen.get(entry.path, (None, now))
        if stat != entry.stat:
            since = now
        self._seen[entry.path] = (entry.stat, since)
        wait = QUIET_S
        replaced = row is not None and row.inode != entry.stat.inode
        if replaced or time.time_ns() - entry.stat.mtime_ns > 2_000_000_000:
            wait = 0.0
        if row is not None and row.role == "note" and _shrunk(row.size or 0, entry.stat.size):
            wait = SHRUNK_S
        owner_due = self._due.get(owner or "")
        if now - since >= wait and owner_due is None:
            del self._seen[entry.path]
            return True
        self._due[entry.path] = owner_due or since + wait
        return False

    async def _read(self, paths: Iterable[str]) -> list[Saved]:
        """Read notes' files; those that can't be read now are left out, and looked at again."""
        heap, paths = self.heap, list(paths)
        read: list[tuple[str, bytes, Stat]] = []
        for path, result in zip(
            paths, await heap.disk.read_many(paths, NOTE_BYTES) if paths else [], strict=True
        ):
            match result:
                case Unsettled():
                    self._due[path] = time.monotonic() + QUIET_S
                case Moved():
                    self.paths.add(path)
                case FolderTrouble():
                    heap.problems.found("read", path, result)
                case UnreadableFile():
                    heap.problems.clear(path, "read")
                    reason = (
                        f"{result}, too much for a note: split it, or name it in {IGNORE_FILE}"
                    )
                    heap.problems.found("content", path, reason)
                case (data, stat):
                    heap.problems.clear(path, "read")
                    read.append((path, data, stat))
        return await offload(lambda: [Saved.of(*one) for one in read]) if read else []

    @property
    def arriving(self) -> bool:
        """Whether there are new files that are not settled enough to be read."""
        return bool(self._unsettled())

    def _unsettled(self) -> list[str]:
        index, seen = self.heap.index, self._seen
        waiting = (p for p in self._due if p not in index.entries)
        return [p for p in waiting if seen.get(p, (None, 0.0))[0] is not None]

    def _coming(self) -> _Coming:
        """The new notes that are not settled yet, but for texts that wait for such."""
        paths = [p for p in self._unsettled() if p.endswith(".md") and p not in self._put_off]
        keys = frozenset(link_key(k) for p in paths for k in (p, PurePosixPath(p).name))
        return _Coming(keys, min((self._due[p] for p in paths), default=0.0))

    def _names_to_come(self, saved: Saved, coming: _Coming, now: float) -> bool:
        """Whether a text names a new file that is not settled yet: then it is read when that is,
        for until then the name means nothing; but it does not wait for ever.
        """
        keys = coming.keys
        named = names_in(saved.data) if keys else []
        if not any(link_key(n) in keys and self.heap.index.block_of(n) is None for n in named):
            return False
        if now - self._put_off.setdefault(saved.path, now) > ARRIVED_S:
            return False
        self._due[saved.path] = coming.due
        self._seen[saved.path] = (saved.stat, 0.0)
        return True


def _shrunk(before: int, now: int) -> bool:
    return now == 0 < before or (before > 400 and now < before // 5)
