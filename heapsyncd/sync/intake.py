"""What happened in the folder: hints become settled observations, observations become changes.

Hints only say where to look; what the disk shows decides. A file is read once it has been quiet
for a moment (a save in place writes piece by piece; one that replaced the file is whole at once),
a file that lost most of its text only after a grace period, and a path counts as gone only when it
stays away.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from heapsyncd.cache import renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.ignore import IGNORE_FILE
from heapsyncd.folder.snapshot import Entry, Snapshot, compare
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.text import decode
from heapsyncd.sync import changes, holding
from heapsyncd.sync.adopt import Homeless, take_in
from heapsyncd.sync.contents import content_changed
from heapsyncd.sync.damage import mended
from heapsyncd.sync.displaced import displaced, named
from heapsyncd.sync.guard import spread
from heapsyncd.sync.ingest import Saved, note_saved
from heapsyncd.sync.merge import digest
from heapsyncd.sync.misplaced import taken_home
from heapsyncd.sync.offloop import off_loop
from heapsyncd.sync.plan import Created, Found, recognise, stands_in_for
from heapsyncd.sync.rules import Rules
from heapsyncd.sync.stale import is_alike
from heapsyncd.sync.unsteady import QUIET_S, Unsteady

log = structlog.get_logger()

GONE_S = 1.0
"""A path counts as gone when it stays away for this long: editors replace files by moving them
about.
"""
GONE_MOST_S = 10.0
"""While more paths go, those before them are not believed either, so that a mass deletion is seen
as one; for no longer than this.
"""
ARRIVED_S = 10.0
"""The first look waits no longer than this for new files to become quiet."""
NOTE_BYTES = 64 << 20
"""A larger file is no note."""


@dataclass
class Intake(Unsteady):
    """Carries what was hinted at into the cache. One owner: the folder's task."""

    rules: Rules

    @property
    def arriving(self) -> bool:
        """Whether there are new files that are not settled enough to be read."""
        return any(
            path not in self.heap.index.entries
            and self._seen.get(path, (None, 0.0))[0] is not None
            for path in self._due
        )

    async def look_first(self) -> None:
        """The first look of a life: new files are waited for, because one may be the file of a
        block that has none (a lost cache, a move while nobody looked), which else would get
        another.
        """
        patient_until = time.monotonic() + ARRIVED_S
        await self.look()
        while self.arriving and time.monotonic() < patient_until:
            await asyncio.sleep(max(0.01, self.next_due_s() or 0.0))
            await self.look()

    async def look(self) -> None:
        """Look at what was hinted at and what is due, and carry the changes into the cache."""
        now = time.monotonic()
        due = {p for p, at in self._due.items() if at <= now}
        paths, everything = self.paths | due, self.everything
        self.paths, self.everything = set(), False
        for path in due:
            del self._due[path]
        if not paths and not everything:
            return
        try:
            if everything or IGNORE_FILE in paths:
                wait_s = await self.rules.reread(now)
                if wait_s:
                    # Until the rules are settled nothing can be said of any file.
                    self._not_before = now + wait_s
                    self.hint(paths, everything=everything)
                    return
                everything = everything or wait_s == 0.0
            if everything:
                snapshot = await self.heap.disk.scan(self.heap.ignore)
                scope = None
                self._due.clear()
            else:
                snapshot = await self.heap.disk.scan(self.heap.ignore, paths)
                scope = paths
        except FolderTrouble:
            self.hint(paths, everything=everything)
            raise
        self._report_problems(snapshot, everything=everything)
        await self._compare(snapshot, scope, now)

    def _report_problems(self, snapshot: Snapshot, *, everything: bool) -> None:
        if everything:
            self.heap.file_problems = {
                p: r for p, r in self.heap.file_problems.items() if p in snapshot.entries
            }
        for problem in snapshot.problems:
            self.heap.file_problems[problem.path] = problem.reason

    async def _compare(self, snapshot: Snapshot, scope: set[str] | None, now: float) -> None:
        index = self.heap.index
        found = compare(
            index.stats, snapshot, scope, folders=index.folders, below=index.tree.below
        )
        await holding.settle(self.heap, snapshot.entries)
        # A file that was to be brought back and is there: written before a kill, or by the user.
        known = [e for e in found.created if self._comes_back(e)]
        others = await displaced(self.heap, found, NOTE_BYTES, self._due.keys())
        placed = {e.path for e in others}
        changed = [e for e in found.modified if e.path not in placed]
        await self._changed([*changed, *known], now)
        created = [*(e for e in found.created if e not in known), *others]
        missing = [index.entries[p] for p in found.missing]
        await self._moved_or_created(missing, created, now)
        for path in scope or ():
            stat, _ = self._seen.get(path, (None, 0.0))
            if stat is None and path in snapshot.entries:
                self._seen.pop(path, None)  # it is back

    def _comes_back(self, entry: Entry) -> bool:
        row = self.heap.index.entries.get(entry.path)
        return (
            row is not None and row.role == "note" and row.inode is None and entry.kind == "file"
        )

    async def _changed(self, found: list[Entry], now: float) -> None:
        """Read the changed files that are settled, not too many at once."""
        rewrites, index = self.heap.rewrites, self.heap.index
        waiting = []
        for entry in found:
            row = index.entries.get(entry.path)
            if row is None or not self._settled(entry, row, now):
                continue
            if not rewrites.may(time.monotonic()):
                waiting.append(entry.path)
                continue
            await self._modified(row, entry)
            after = index.entries.get(entry.path)
            if after is not None and after.digest != row.digest:
                rewrites.rewritten(entry.path, time.monotonic())
        for path, wait in zip(waiting, spread(len(waiting)), strict=True):
            self._due[path] = now + wait

    async def _modified(self, row: EntryRow, entry: Entry) -> None:
        if row.role == "note":
            saved = await self._read(entry.path)
            if saved is None or await mended(self.heap, row, saved):
                return
            try:
                home = await taken_home(self.heap, row, saved)
            except Moved as moved:
                self.look_again({moved.path, entry.path})
            except FolderTrouble as error:
                self.heap.file_problems[entry.path] = str(error)
                self.look_again([entry.path])
            else:
                if home is not None and home.path not in self.heap.index.entries:
                    self.hint([home.path])  # the file of a note that had none
                else:
                    await note_saved(self.heap, home or saved, is_blind=home is not None)
        else:
            await content_changed(self.heap, row, entry.stat)

    async def _read(self, path: str) -> Saved | None:
        try:
            data, stat = await self.heap.disk.read(path, NOTE_BYTES)
        except Unsettled:
            self._due[path] = time.monotonic() + QUIET_S
        except (FolderTrouble, UnreadableFile) as error:
            self.heap.file_problems[path] = str(error)
        except Moved:
            self.paths.add(path)
        else:
            return Saved(path, data, stat)
        return None

    async def _moved_or_created(
        self, missing: list[EntryRow], created: list[Entry], now: float
    ) -> None:
        """Tell moves from deletions and new things, and let each be carried out."""
        index = self.heap.index
        aside = [p for p in index.aside if await self.heap.disk.stat(p) is None]
        gone_before = [p for p, (stat, _) in self._seen.items() if stat is None]
        gone_now = [*self.heap.held_up, *aside, *gone_before]
        known = [index.entries[p] for p in gone_now if p in index.entries]
        candidates = {e.path: e for e in [*missing, *known]}
        if not candidates and not created:
            return
        was = {e.inode: e for e in candidates.values() if e.role == "note"}
        found: list[Found] = []
        texts: dict[str, Saved] = {}
        waiting: list[Found] = []
        for entry in created:
            if entry.kind == "dir":
                found.append(Found(entry.path, "dir", entry.stat.inode, entry.stat.device))
                continue
            if not self._settled(entry, None, now):
                stat = entry.stat
                waiting.append(Found(entry.path, "file", stat.inode, stat.device, stat.size))
                continue
            fact = await self._fact(entry, texts, was)
            if fact is not None:
                found.append(fact)
        found = await named(self.heap, found, candidates.values(), texts)
        plan = recognise(candidates.values(), found, index.path_of, waiting)
        for path in plan.undecided:
            self._due[path] = now + QUIET_S
        taken = {c.path: c.found.kind for c in plan.created}
        swapped = [v.entry for v in plan.vanished if stands_in_for(v.entry.path, taken)]
        if swapped:
            # A file where a directory was, or the other way: nothing of it comes back there.
            await holding.vanished(self.heap, swapped)
        homeless = Homeless(self.heap, [c.found for c in plan.created])
        for step in plan.in_order():
            if isinstance(step, Created):
                await homeless.directory(step.found)
                continue
            self._seen.pop(step.entry.path, None)
            self._due.pop(step.entry.path, None)
            await changes.moved(self.heap, step, texts.get(step.path))
        await take_in(
            self.heap,
            homeless,
            [c.found for c in plan.created if c.found.kind == "file"],
            {c.path: c.copy_of for c in plan.created},
            texts,
        )
        self._changed_on_the_way(created, now)
        gone = [
            v.entry
            for v in plan.vanished
            if v.entry.path not in self.heap.held_up and v.entry not in swapped
        ]
        await self._believe(gone, now, waiting=bool(waiting))

    def _changed_on_the_way(self, created: list[Entry], now: float) -> None:
        """What moved along with its directory, and is another than it was, is read next."""
        for entry in created:
            known = self.heap.index.stats.get(entry.path)
            if entry.kind == "file" and known is not None and not known.agrees(entry.stat):
                self._due.setdefault(entry.path, now)

    async def _believe(self, gone: list[EntryRow], now: float, *, waiting: bool) -> None:
        """Take paths as deleted once they stayed away and no others follow them."""
        for entry in gone:
            stat, since = self._seen.get(entry.path, (None, now))
            self._seen[entry.path] = (None, since if stat is None else now)
        last = max((self._seen[e.path][1] for e in gone), default=now)
        believed = []
        for entry in gone:
            at = min(last + GONE_S, self._seen[entry.path][1] + GONE_MOST_S)
            if waiting or now < at:
                self._due[entry.path] = max(at, now + 0.05)
            else:
                believed.append(entry)
        for entry in believed:
            del self._seen[entry.path]
        if believed:
            await holding.vanished(self.heap, believed)

    async def _fact(
        self, entry: Entry, texts: dict[str, Saved], was: Mapping[int | None, EntryRow]
    ) -> Found | None:
        base = Found(entry.path, "file", entry.stat.inode, entry.stat.device, entry.stat.size)
        if not base.is_note:
            return base
        saved = await self._read(entry.path)
        if saved is None:
            return None
        texts[entry.path] = saved
        try:
            front_id = frontmatter.split(decode(saved.data).text)[0].id
        except UnreadableFile as error:
            self.heap.file_problems[entry.path] = str(error)
            return None
        inode, before = saved.stat.inode, was.get(saved.stat.inode)
        if front_id is None and before is not None and not await self._is_edited(before, saved):
            inode = 0  # another file's, used again
        return Found(
            entry.path, "file", inode, saved.stat.device, saved.stat.size,
            front_id, digest(saved.data),
        )  # fmt: skip

    async def _is_edited(self, before: EntryRow, saved: Saved) -> bool:
        """Whether a text may be what a note's file, which is gone, was edited into."""
        base = await self.heap.db.read(lambda tx: renditions.newest(tx, before.block_id))
        return base is None or await off_loop(is_alike, base.data, saved.data)
