"""What happened in the folder: hints become settled observations, observations become changes.

Hints only say where to look; what the disk shows decides. A file is read once it has been quiet
for a moment (a save in place writes piece by piece; one that replaced the file is whole at once),
a file that lost most of its text only after a grace period, and a path counts as gone only when it
stays away.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from heapsyncd.cache import renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import BlockError, FolderTrouble
from heapsyncd.folder.disk import Moved
from heapsyncd.folder.ignore import IGNORE_FILE
from heapsyncd.folder.snapshot import Entry, Snapshot, compare
from heapsyncd.sync.deletions import holds
from heapsyncd.sync.edits import moves
from heapsyncd.sync.edits.contents import content_changed
from heapsyncd.sync.edits.new_texts import NewTexts, batches
from heapsyncd.sync.edits.note_saved import judged, notes_saved
from heapsyncd.sync.edits.saved_file import Saved
from heapsyncd.sync.heap.index import stat_of
from heapsyncd.sync.heap.limits import NOTE_BYTES, spread
from heapsyncd.sync.heap.observed import Created, Found
from heapsyncd.sync.heap.observed import Moved as MovedEntry
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_of, assets_owner, stands_in_for
from heapsyncd.sync.layout.ignore_rules import Rules
from heapsyncd.sync.merge.base_selection import is_alike
from heapsyncd.sync.scan.adoption import Unplaced, take_in
from heapsyncd.sync.scan.debounce import ARRIVED_S, QUIET_S, Debounce
from heapsyncd.sync.scan.former_name_saves import taken_home
from heapsyncd.sync.scan.move_detection import recognise
from heapsyncd.sync.scan.swaps import displaced, named
from heapsyncd.sync.scan.truncated_files import mended

log = structlog.get_logger()

GONE_S = 1.0
"""A path counts as gone when it stays away for this long: editors replace files by moving them
about.
"""
GONE_MOST_S = 10.0
"""While more paths go, those before them are not believed either, so that a mass deletion is seen
as one; for no longer than this.
"""


@dataclass(frozen=True, slots=True)
class _Named:
    """What is left of a look when all that is new in it, or stands elsewhere, has its name.

    ``read``: the notes among ``texts`` that are to be taken in. ``gone``: what seems to be
    deleted. ``waiting``: whether there are new files that are not settled yet.
    """

    texts: NewTexts
    read: Sequence[str] = ()
    gone: Sequence[EntryRow] = ()
    waiting: bool = False


@dataclass
class Scanner(Debounce):
    """Carries what was hinted at into the cache. One owner: the folder's task."""

    rules: Rules
    began_ns: int = field(default_factory=time.time_ns)
    """When this life began, by the clock that stamps files."""

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
        # What could not be attached, or was attached already, may be another case now.
        owners = {p if p.endswith(".md") else assets_owner(p) for p in paths}
        paths |= {p for o in owners if o for p in self.heap.problems.below(assets_of(o))}
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
                snapshot = await self.heap.disk.scan(self.heap.layout.ignore)
                scope = None
                self._due.clear()
            else:
                snapshot = await self.heap.disk.scan(self.heap.layout.ignore, paths)
                scope = paths
        except FolderTrouble:
            self.hint(paths, everything=everything)
            raise
        self.heap.problems.scanned(snapshot, scope)
        await self._compare(snapshot, scope, now)
        self._put_off = {p: since for p, since in self._put_off.items() if p in self._due}
        self.heap.problems.vanished(snapshot, scope, self.heap.index.entries.keys())

    async def _compare(self, snapshot: Snapshot, scope: set[str] | None, now: float) -> None:
        index = self.heap.index
        found = compare(
            index.stats, snapshot, scope, folders=index.folders, below=index.tree.below
        )
        await holds.settle(self.heap, snapshot.entries)
        # A file that was to be brought back and is there: written before a kill, or by the user.
        known = [e for e in found.created if self._comes_back(e)]
        others = await displaced(self.heap, found, NOTE_BYTES, self._due.keys())
        placed = {e.path for e in others}
        changed = [e for e in found.modified if e.path not in placed]
        created = [*(e for e in found.created if e not in known), *others]
        missing = [index.entries[p] for p in found.missing]
        # Names before texts, and deletions last: texts link to what was renamed, made, found or
        # deleted at the same time.
        named = await self._moved_or_created(missing, created, now)
        coming = self._coming()
        for some in batches(named.read, lambda path: named.texts.heads[path].stat.size):
            texts = await named.texts.of(some)
            ready = [s for s in texts if not self._names_to_come(s, coming, now)]
            await notes_saved(self.heap, ready)
        await self._changed([*changed, *known], now)
        await self._believe(named.gone, now, waiting=named.waiting)
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
        index = self.heap.index
        rows = [(index.entries.get(e.path), e) for e in found]
        settled = [(r, e) for r, e in rows if r is not None and self._settled(e, r, now)]
        waiting: list[str] = []
        for some in batches(settled, lambda one: one[1].stat.size):
            at, most = time.monotonic(), self.heap.rewrites.left(time.monotonic())
            waiting += [e.path for _, e in some[most:]]
            await self._modified(some[:most])
            for row, entry in some[:most]:
                after = index.entries.get(entry.path)
                # What was never read here before (a lost cache) was not rewritten.
                if after is not None and row.digest is not None and after.digest != row.digest:
                    self.heap.rewrites.rewritten(entry.path, at)
        for path, wait in zip(waiting, spread(len(waiting)), strict=True):
            self._due[path] = now + wait

    async def _modified(self, found: Sequence[tuple[EntryRow, Entry]]) -> None:
        """Take in known files that were changed."""
        notes = {e.path: row for row, e in found if row.role == "note"}
        known: list[Saved] = []
        read, coming = await self._read(notes), self._coming()
        for saved in read:
            row = notes[saved.path]
            if self._names_to_come(saved, coming, time.monotonic()):
                continue
            if await mended(self.heap, row, saved, self.began_ns):
                continue
            try:
                home = await taken_home(self.heap, row, saved)
            except Moved as moved:
                self.look_again({moved.path, saved.path})
                continue
            except FolderTrouble as error:
                self.heap.problems.found("read", saved.path, error)
                self.look_again([saved.path])
                continue
            if home is None:
                known.append(saved)
                continue
            self.heap.problems.clear(saved.path, "content")
            if home.path in self.heap.index.entries:
                await notes_saved(self.heap, [home])
            else:
                self.hint([home.path])  # the file of a note that had none
        await notes_saved(self.heap, known)
        for row, entry in found:
            if row.role != "note":
                await self._content(row, entry)

    async def _content(self, row: EntryRow, entry: Entry) -> None:
        try:
            await content_changed(self.heap, row, entry.stat)
        except BlockError as error:
            reason = f"it could not be sent: {error}"
            self.heap.problems.found("content", entry.path, reason)

    async def _moved_or_created(
        self, missing: list[EntryRow], created: list[Entry], now: float
    ) -> _Named:
        """Tell moves from deletions and new things, and let moves and new things be carried out,
        but for the texts of notes that were known.
        """
        index = self.heap.index
        aside = [p for p in index.aside if await self.heap.disk.stat(p) is None]
        gone_before = [p for p, (stat, _) in self._seen.items() if stat is None]
        gone_now = [*self.heap.holds.up, *aside, *gone_before]
        known = [index.entries[p] for p in gone_now if p in index.entries]
        candidates = {e.path: e for e in [*missing, *known]}
        texts = NewTexts(self._read)
        if not candidates and not created:
            return _Named(texts)
        found, waiting = await self._facts(created, candidates.values(), texts, now)
        found = await named(self.heap, found, candidates.values(), texts)
        plan = recognise(candidates.values(), found, index.path_of, waiting)
        for path in plan.undecided:
            self._due[path] = now + QUIET_S
        taken = {c.path: c.found.kind for c in plan.created}
        swapped = [v.entry for v in plan.vanished if stands_in_for(v.entry.path, taken)]
        if swapped:
            # A file where a directory was, or the other way: nothing of it comes back there.
            await holds.vanished(self.heap, swapped)
        homeless = Unplaced(self.heap, [c.found for c in plan.created])
        read: list[str] = []
        for step in plan.in_order():
            if isinstance(step, Created):
                await homeless.directory(step.found)
                continue
            self._seen.pop(step.entry.path, None)
            self._due.pop(step.entry.path, None)
            if await self._move(step):
                read.append(step.path)
        read += await take_in(
            self.heap,
            homeless,
            [
                c.found
                for c in plan.created
                if c.found.kind == "file" and (not c.found.is_note or c.path in texts.heads)
            ],
            {c.path: c.copy_of for c in plan.created},
            texts,
        )
        self._changed_on_the_way(created, now)
        gone = [
            v.entry
            for v in plan.vanished
            if v.entry.path not in self.heap.holds.up and v.entry not in swapped
        ]
        return _Named(texts, [p for p in read if p in texts.heads], gone, bool(waiting))

    async def _facts(
        self,
        created: Sequence[Entry],
        gone: Collection[EntryRow],
        texts: NewTexts,
        now: float,
    ) -> tuple[list[Found], list[Found]]:
        """What is known of new paths: of those that are settled, and of those that are not yet;
        ``texts`` gets the notes'.
        """
        was = {e.inode: e for e in gone}
        found: list[Found] = []
        waiting: list[Found] = []
        whole: list[tuple[Entry, Found]] = []
        # Notes before their attachments, which wait for them.
        for entry in sorted(created, key=lambda e: assets_owner(e.path) is not None):
            stat = entry.stat
            if entry.kind == "dir":
                found.append(Found(entry.path, "dir", stat.inode, stat.device))
                continue
            is_whole = self._merely_moved(entry, was) or self._settled(
                entry, None, now, assets_owner(entry.path)
            )
            fact = Found(entry.path, "file", stat.inode, stat.device, stat.size)
            if is_whole:
                whole.append((entry, fact))
            else:
                waiting.append(fact)
        found += [base for _, base in whole if not base.is_note]
        notes, coming = [one for one in whole if one[1].is_note], self._coming()
        for some in batches(notes, lambda one: one[0].stat.size):
            read = {s.path: s for s in await self._read([e.path for e, _ in some])}
            for entry, base in some:
                saved = read.get(entry.path)
                known = await self._fact(entry, base, saved, texts, was)
                if known is None:
                    continue
                is_new = entry.path in texts.heads and self._is_new(known, was)
                waits = is_new and saved and self._names_to_come(saved, coming, now)
                (waiting if waits else found).append(known)
        return found, waiting

    def _merely_moved(self, entry: Entry, was: Mapping[int | None, EntryRow]) -> bool:
        """Whether what was found is what stood elsewhere, under another name: nobody writes it."""
        before = was.get(entry.stat.inode)
        known = None if before is None else stat_of(before)
        if known is None or not entry.stat.same_content(known):
            return False
        self._seen.pop(entry.path, None)
        return True

    def _is_new(self, found: Found, was: Mapping[int | None, EntryRow]) -> bool:
        """Whether a note is read as soon as it is named: it is none that we know."""
        return found.inode not in was and found.front_id not in self.heap.index.blocks

    async def _move(self, step: MovedEntry) -> bool:
        """Let an entry stand elsewhere; whether it does."""
        try:
            return await moves.moved(self.heap, step)
        except BlockError as error:
            reason = f"the move could not be sent: {error}"
            self.heap.problems.found("content", step.path, reason)
            return False

    def _changed_on_the_way(self, created: list[Entry], now: float) -> None:
        """What moved along with its directory, and is another than it was, is read next."""
        for entry in created:
            known = self.heap.index.stats.get(entry.path)
            if entry.kind == "file" and known is not None and not known.agrees(entry.stat):
                self._due.setdefault(entry.path, now)

    async def _believe(self, gone: Sequence[EntryRow], now: float, *, waiting: bool) -> None:
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
            await holds.vanished(self.heap, believed)

    async def _fact(
        self,
        entry: Entry,
        base: Found,
        saved: Saved | None,
        texts: NewTexts,
        was: Mapping[int | None, EntryRow],
    ) -> Found | None:
        note = None if saved is None else judged(self.heap, saved)
        if saved is None or note is None:
            # It may still be known by its number, if nothing but its name is new.
            before = was.get(entry.stat.inode)
            known = None if before is None else stat_of(before)
            return base if known is not None and entry.stat.same_content(known) else None
        head = texts.add(saved, note)
        front_id = note.front.id
        inode, before = saved.stat.inode, was.get(saved.stat.inode)
        if front_id is None and before is not None and not await self._is_edited(before, saved):
            inode = 0  # another file's, used again
        return Found(
            entry.path, "file", inode, saved.stat.device, saved.stat.size,
            front_id, head.digest,
        )  # fmt: skip

    async def _is_edited(self, before: EntryRow, saved: Saved) -> bool:
        """Whether a text may be what a note's file, which is gone, was edited into."""
        base = await self.heap.db.read(lambda tx: renditions.newest(tx, before.block_id))
        return base is None or await offload(is_alike, base.data, saved.data)
