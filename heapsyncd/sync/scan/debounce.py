"""Which paths to scan and when, and whether a file is settled: no longer being written."""

import time
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath

from msgspec import Struct

from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.folder.ignore import IGNORE_FILE
from heapsyncd.folder.names import NOTE_SUFFIX, safe_name
from heapsyncd.folder.snapshot import Entry
from heapsyncd.model import Stat
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.heap.index import link_key
from heapsyncd.sync.heap.limits import NOTE_BYTES
from heapsyncd.sync.heap.observed import Found
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_owner
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge.link_meanings import names_in
from heapsyncd.sync.scan.adoption import may_be_copy


class _Coming(Struct, frozen=True):
    """New notes that are not settled: the keys of their names, and the first due time."""

    keys: frozenset[str]
    due: float


@dataclass
class Debounce:
    """Paths to scan: now (``paths``, ``everything``) or when they are due."""

    heap: HeapContext
    everything: bool = field(default=True, init=False)
    paths: set[str] = field(default_factory=set, init=False)
    _due: dict[str, float] = field(default_factory=dict, init=False)
    _seen: dict[str, tuple[Stat | None, float]] = field(default_factory=dict, init=False)
    """The last stat of an unsettled path (None: it was missing), and since when (monotonic)."""
    _not_before: float = field(default=0.0, init=False)
    _waiting: dict[str, float] = field(default_factory=dict, init=False)
    """Notes that wait for new files they link to, and since when."""
    _sees_all: bool = field(default=False, init=False)
    """Whether this scan is of the whole folder."""
    _found: Container[str] = field(default=(), init=False)
    """The paths that this scan found."""

    def hint(self, paths: Iterable[str], *, everything: bool = False) -> None:
        """Scan these paths with everything below them, or the whole folder, in the next scan."""
        self.paths.update(paths)
        self.everything = self.everything or everything

    def start_over(self) -> None:
        """Forget what was seen, and scan the whole folder: it is another one now."""
        for seen in (self._due, self._seen, self._waiting):
            seen.clear()
        self.everything = True

    def rescan_soon(self, paths: Iterable[str]) -> None:
        """Scan these paths soon: they changed while they were being processed.

        Paths with a known problem are left out; they are retried by other means.
        """
        for path in paths:
            if not self.heap.problems.stop(path):
                self._due.setdefault(path, time.monotonic() + self.heap.timing.again_s)

    @property
    def idle(self) -> bool:
        """Return whether nothing is left to scan."""
        return not (self.everything or self.paths or self._due)

    def next_due_s(self) -> float | None:
        """Return the seconds until a path is due; None when nothing is waiting."""
        if self.everything or self.paths:
            return max(0.0, self._not_before - time.monotonic())
        if not self._due:
            return None
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _is_settled(
        self, entry: Entry, row: EntryRow | None, now: float, owner: str | None = None
    ) -> bool:
        """Return whether to read a file now; otherwise schedule another scan of it.

        Args:
            entry: what the scan found.
            row: the path's entry, if it had one.
            now: monotonic.
            owner: the note an attachment belongs to: the attachment is read after it.
        """
        stat, since = self._seen.get(entry.path, (None, now))
        if stat != entry.stat:
            since = now
        self._seen[entry.path] = (entry.stat, since)
        wait = self.heap.timing.quiet_s
        replaced = row is not None and (row.stat is None or row.stat.inode != entry.stat.inode)
        if replaced or time.time_ns() - entry.stat.mtime_ns > 2_000_000_000:
            wait = 0.0
        if row is not None and row.role == "note" and _has_shrunk(row.size or 0, entry.stat.size):
            wait = self.heap.timing.shrunk_s
        owner_due = self._due.get(owner or "")
        if now - since >= wait and owner_due is None:
            del self._seen[entry.path]
            return True
        self._due[entry.path] = owner_due or since + wait
        return False

    def _is_whole(
        self, entry: Entry, by_inode: Mapping[int, EntryRow], early: set[str], now: float
    ) -> bool:
        """Return whether to read a new file now.

        Args:
            entry: what the scan found.
            by_inode: the missing files.
            early: what nobody writes any more; what is settled is taken out.
            now: monotonic.
        """
        owner = assets_owner(entry.path)
        if self._is_moved(entry, by_inode) or self._is_settled(entry, None, now, owner):
            early.discard(entry.path)
            return True
        return entry.path in early

    def _is_moved(self, entry: Entry, by_inode: Mapping[int, EntryRow]) -> bool:
        """Return whether a new path is a missing file with the same stat: nobody is writing it."""
        before = by_inode.get(entry.stat.inode)
        known = None if before is None else before.stat
        if known is None or not entry.stat.same_content(known):
            return False
        self._seen.pop(entry.path, None)
        return True

    def _written_elsewhere(self, created: Sequence[Entry]) -> set[str]:
        """Return the new notes' paths that were renamed to here after the last write.

        Nobody is writing them any more. Files of this folder that were renamed do not count: their
        former paths may not be known to be gone yet.
        """
        notes = [e for e in created if e.kind == "file" and e.path.endswith(NOTE_SUFFIX)]
        moved = [e for e in notes if e.stat.ctime_ns > e.stat.mtime_ns]
        known = {stat.inode for stat in self.heap.index.stats.values()} if moved else set()
        return {e.path for e in moved if e.stat.inode not in known}

    async def _read(self, paths: Iterable[str]) -> list[SavedFile]:
        """Read notes' files; files that cannot be read now are left out and scanned again."""
        heap, paths = self.heap, list(paths)
        read: list[tuple[str, bytes, Stat]] = []
        for path, result in zip(
            paths, await heap.disk.read_many(paths, NOTE_BYTES) if paths else [], strict=True
        ):
            match result:
                case FileBusy():
                    self._due[path] = time.monotonic() + heap.timing.quiet_s
                case PathChanged():
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
        return await offload(lambda: [SavedFile.of(*one) for one in read]) if read else []

    @property
    def arriving(self) -> bool:
        """Return whether there are new files that are not settled."""
        return bool(self._unsettled())

    def _unsettled(self) -> list[str]:
        index, seen = self.heap.index, self._seen
        waiting = (p for p in self._due if p not in index.entries)
        return [p for p in waiting if seen.get(p, (None, 0.0))[0] is not None]

    def _coming(self) -> _Coming:
        """Return the new notes that are not settled, without texts that wait themselves."""
        paths = [p for p in self._unsettled() if p.endswith(".md") and p not in self._waiting]
        keys = frozenset(link_key(k) for p in paths for k in (p, PurePosixPath(p).name))
        return _Coming(keys, min((self._due[p] for p in paths), default=0.0))

    async def _ready(
        self, examined: Sequence[tuple[Found, SavedFile | None, bool]], coming: _Coming, now: float
    ) -> tuple[list[Found], list[Found]]:
        """Return which new notes wait for no other file, and which do.

        Those that wait for the server's news are in neither.

        Args:
            examined: what is known of each, its file if it could be read, and whether it is new.
            coming: the new notes that are not settled.
            now: monotonic.
        """
        left = [
            (found, saved, is_new)
            for found, saved, is_new in examined
            if not (is_new and saved and self._waits_for_news(saved, now))
        ]
        new = [saved for _, saved, is_new in left if is_new and saved]
        held = await self._waiting_for_names(new, coming, now)
        for found, saved, _ in left:
            if not saved or found.path in held or not coming.keys:
                continue
            if may_be_copy(self.heap, found) and self._waits_for_new(saved, coming.due, now):
                held.add(found.path)
        return (
            [found for found, *_ in left if found.path not in held],
            [found for found, *_ in left if found.path in held],
        )

    async def _waiting_for_names(
        self, texts: Sequence[SavedFile], coming: _Coming, now: float
    ) -> set[str]:
        """Return the paths of texts that have to wait for a new file they link to.

        Until that file is read, the link's name means nothing.
        """
        is_certain = self._sees_all and not coming.keys
        if is_certain or not self.heap.dialect.mentions:
            return set()
        unknown = {
            text.path: [n for n in names_in(text.note.body) if self.heap.index.block_of(n) is None]
            for text in texts
            if not isinstance(text.note, UnreadableFile)
        }
        waits = {
            path
            for path, names in unknown.items()
            if any(link_key(n) in coming.keys for n in names)
        }
        once = unknown.keys() - waits - self._waiting.keys()
        unnoticed = await self._naming_unnoticed({path: unknown[path] for path in once})
        self.everything |= bool(unnoticed)  # it may be a known file under a new name
        due = dict.fromkeys(unnoticed, now) | dict.fromkeys(waits, coming.due)
        late = [t for t in texts if t.path in due]
        return {t.path for t in late if self._waits_for_new(t, due[t.path], now)}

    async def _naming_unnoticed(self, names: Mapping[str, Iterable[str]]) -> set[str]:
        """Return the texts that name a file of which no hint was given yet.

        A text that is read on an earlier hint may link to a file that was made or renamed since.

        Args:
            names: that no note has, by the path of the text: a name is looked for beside it, and
                from the root.
        """
        if self._sees_all:
            return set()  # the folder was just looked at
        safe = {name for name in set(chain.from_iterable(names.values())) if _is_safe(name)}
        naming: dict[str, set[str]] = defaultdict(set)
        for path, some in names.items():
            above = path.rpartition("/")[0]
            for at in {f"{above}/" if above else "", ""}:
                for name in safe.intersection(some):
                    naming[f"{at}{name}{NOTE_SUFFIX}"].add(path)
        left = [file for file in naming if self._may_be_new(file)]
        there = set(left).difference(await self.heap.disk.missing(left)) if left else set()
        return {path for file in there for path in naming[file]}

    def _may_be_new(self, path: str) -> bool:
        heap = self.heap
        is_noticed = path in self._found or path in self._due or path in heap.index.entries
        known = is_noticed or heap.problems.at(path)
        return not known and not heap.layout.ignore.match(path, is_dir=False)

    def _waits_for_new(self, saved: SavedFile, due_s: float, now: float) -> bool:
        """Return whether a file has to wait for new ones, for ``arrived_s`` at most."""
        if now - self._waiting.setdefault(saved.path, now) > self.heap.timing.arrived_s:
            return False
        self._due[saved.path] = due_s
        self._seen[saved.path] = (saved.stat, 0.0)
        return True

    def _waits_for_news(self, saved: SavedFile, now: float) -> bool:
        """Return whether a new file has to wait until the server is heard for the first time.

        It has an id that the cache does not know: it is another heap's, or the cache is older than
        the note.
        """
        note = saved.note
        if self.heap.link.was_current or isinstance(note, UnreadableFile):
            return False
        ids = self.heap.index.ids_in(note.front)
        if not any(ids) or self.heap.block_in(ids) is not None:
            return False
        # The news wakes the scan; until then the file is not read again and again.
        self.heap.link.files_wait = True
        self._due[saved.path] = now + self.heap.timing.audit_s
        self._seen[saved.path] = (saved.stat, 0.0)
        return True


def _is_safe(name: str) -> bool:
    """Return whether a name that a text gives can be a note's path."""
    return all(part == safe_name(part) for part in name.split("/"))


def _has_shrunk(before: int, now: int) -> bool:
    return now == 0 < before or (before > 400 and now < before // 5)
