"""Turn hints about the folder into settled observations, and these into changes.

Hints only say where to look; what is on disk decides. A file is read when it did not change for a
moment: a save in place writes piece by piece, while a file that was replaced is complete at once.
A file that lost most of its text is read only after a grace period, and a path counts as deleted
only when it stays missing.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from msgspec import Struct

from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import BlockError, FolderTrouble
from heapsyncd.folder.disk import PathChanged
from heapsyncd.folder.ignore import IGNORE_FILE
from heapsyncd.folder.snapshot import Entry, Snapshot, compare
from heapsyncd.sync.deletions import holds
from heapsyncd.sync.edits import moves
from heapsyncd.sync.edits.contents import content_changed
from heapsyncd.sync.edits.new_texts import NewTexts, batches
from heapsyncd.sync.edits.note_saved import judged, notes_saved
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.heap.limits import NOTE_BYTES, spread
from heapsyncd.sync.heap.observed import Created, Found, Moved
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_of, assets_owner, is_occupied
from heapsyncd.sync.layout.ignore_rules import IgnoreRules
from heapsyncd.sync.scan.adoption import Unplaced, bind_or_create, renamed_unread
from heapsyncd.sync.scan.debounce import Debounce
from heapsyncd.sync.scan.former_name_saves import move_to_renamed_note
from heapsyncd.sync.scan.move_detection import recognise
from heapsyncd.sync.scan.swaps import may_be_edit_of, park_displaced, with_likely_ids
from heapsyncd.sync.scan.truncated_files import restore_truncated

log = structlog.get_logger()


class _Remaining(Struct, frozen=True):
    """What is left of a scan when everything new or moved has its entry.

    ``texts``: notes to read. ``gone``: entries that seem deleted. ``waiting``: there are new files
    that are not settled.
    """

    texts: NewTexts
    read: Sequence[str] = ()
    gone: Sequence[EntryRow] = ()
    waiting: bool = False


@dataclass
class Scanner(Debounce):
    """Scans the folder and stores the changes. Used only by the heap's folder task."""

    rules: IgnoreRules
    began_ns: int = field(default_factory=time.time_ns)
    """When this process began, by the clock that stamps files."""

    async def scan_first(self) -> None:
        """Do the first scan of this process, and wait for new files to settle.

        One of them may be the file of a block that has none (after a lost cache, or a move while
        no daemon ran); that block would otherwise get another file.
        """
        deadline = time.monotonic() + self.heap.timing.arrived_s
        await self.scan()
        while self.arriving and time.monotonic() < deadline:
            left_s = deadline - time.monotonic()
            await asyncio.sleep(max(0.01, min(left_s, self.next_due_s() or 0.0)))
            await self.scan()

    async def scan(self) -> None:
        """Scan the hinted and due paths, and store what changed.

        Raises:
            FolderTrouble: the folder cannot be scanned; the paths stay hinted.
        """
        now = time.monotonic()
        due = {p for p, at in self._due.items() if at <= now}
        paths, everything = self.paths | due, self.everything
        self.paths, self.everything = set(), False
        for path in due:
            del self._due[path]
        if not paths and not everything:
            return
        # A change of the note may resolve problems of its attachments: scan these too.
        owners = {p if p.endswith(".md") else assets_owner(p) for p in paths}
        paths |= {p for o in owners if o for p in self.heap.problems.below(assets_of(o))}
        try:
            if everything or IGNORE_FILE in paths:
                wait_s = await self.rules.reread(now)
                if wait_s:
                    # Judge no file before the ignore rules are settled.
                    self._not_before = now + wait_s
                    self.hint(paths, everything=everything)
                    return
                everything = everything or wait_s == 0.0
            scope = None if everything else paths
            snapshot = await self.heap.disk.scan(self.heap.layout.ignore, scope)
            if everything:
                self._due.clear()
        except FolderTrouble:
            self.hint(paths, everything=everything)
            raise
        self._sees_all, self._found = everything, snapshot.entries
        self.heap.problems.scanned(snapshot, scope)
        await self._compare(snapshot, scope, now)
        self._found = ()  # a whole heap's paths
        self._waiting = {p: since for p, since in self._waiting.items() if p in self._due}
        self.heap.problems.vanished(snapshot, scope, self.heap.index.entries.keys())

    async def _compare(self, snapshot: Snapshot, scope: set[str] | None, now: float) -> None:
        index = self.heap.index
        found = compare(
            index.stats, snapshot, scope, folders=index.folders, below=index.tree.below
        )
        await holds.release_obsolete(self.heap, snapshot.entries)
        # A file that is to be restored already exists: written before a kill, or by the user.
        known = [e for e in found.created if self._is_restored(e)]
        others = await park_displaced(self.heap, found, NOTE_BYTES, self._due.keys())
        placed = {e.path for e in others}
        changed = [e for e in found.modified if e.path not in placed]
        created = [*(e for e in found.created if e not in known), *others]
        missing = [index.entries[p] for p in found.missing]
        # Names before texts, deletions last: texts link to notes that were renamed, created or
        # deleted at the same time.
        remaining = await self._name_changes(missing, created, now)
        coming = self._coming()
        for some in batches(remaining.read, lambda path: remaining.texts.heads[path].stat.size):
            texts = await remaining.texts.of(some)
            held = await self._waiting_for_names(texts, coming, now)
            await notes_saved(self.heap, [s for s in texts if s.path not in held])
        await self._changed([*changed, *known], now)
        await self._confirm_gone(remaining.gone, now, waiting=remaining.waiting)
        for path in scope or ():
            stat, _ = self._seen.get(path, (None, 0.0))
            if stat is None and path in snapshot.entries:
                self._seen.pop(path, None)  # it is back

    def _is_restored(self, entry: Entry) -> bool:
        row = self.heap.index.entries.get(entry.path)
        return row is not None and row.role == "note" and row.stat is None and entry.kind == "file"

    async def _changed(self, found: list[Entry], now: float) -> None:
        """Read the changed files that are settled, limited by the rate of rewrites."""
        index = self.heap.index
        rows = [(index.entries.get(e.path), e) for e in found]
        settled = [(r, e) for r, e in rows if r is not None and self._is_settled(e, r, now)]
        waiting: list[str] = []
        for some in batches(settled, lambda one: one[1].stat.size):
            at, most = time.monotonic(), self.heap.rewrites.left(time.monotonic())
            waiting += [e.path for _, e in some[most:]]
            await self._modified(some[:most])
            for row, entry in some[:most]:
                after = index.entries.get(entry.path)
                # A file that was never read here before (a lost cache) is no rewrite.
                if after is not None and row.digest is not None and after.digest != row.digest:
                    self.heap.rewrites.rewritten(entry.path, at)
        for path, wait in zip(waiting, spread(len(waiting)), strict=True):
            self._due[path] = now + wait

    async def _modified(self, found: Sequence[tuple[EntryRow, Entry]]) -> None:
        """Store the changes of known files."""
        notes = {e.path: row for row, e in found if row.role == "note"}
        known: list[SavedFile] = []
        read = await self._read(notes)
        held = await self._waiting_for_names(read, self._coming(), time.monotonic())
        for saved in read:
            row = notes[saved.path]
            if saved.path in held:
                continue
            if await restore_truncated(self.heap, row, saved, self.began_ns):
                continue
            try:
                moved_save = await move_to_renamed_note(self.heap, row, saved)
            except PathChanged as moved:
                self.rescan_soon({moved.path, saved.path})
                continue
            except FolderTrouble as error:
                self.heap.problems.found("read", saved.path, error)
                self.rescan_soon([saved.path])
                continue
            if moved_save is None:
                known.append(saved)
                continue
            self.heap.problems.clear(saved.path, "content")
            if moved_save.path in self.heap.index.entries:
                await notes_saved(self.heap, [moved_save])
            else:
                self.hint([moved_save.path])  # a new file, for a note that had none
        await notes_saved(self.heap, known)
        for row, entry in found:
            if row.role != "note":
                await self._attachment_changed(row, entry)

    async def _attachment_changed(self, row: EntryRow, entry: Entry) -> None:
        try:
            await content_changed(self.heap, row, entry.stat)
        except BlockError as error:
            reason = f"it could not be sent: {error}"
            self.heap.problems.found("content", entry.path, reason)

    async def _name_changes(
        self, missing: list[EntryRow], created: list[Entry], now: float
    ) -> _Remaining:
        """Tell moves from deletions and creations, and carry out moves and creations.

        Known notes are not read yet; they are returned for that.
        """
        index = self.heap.index
        parked = [p for p in index.parked if await self.heap.disk.stat(p) is None]
        gone_before = [p for p, (stat, _) in self._seen.items() if stat is None]
        gone_now = [*self.heap.holds.up, *parked, *gone_before]
        known = [index.entries[p] for p in gone_now if p in index.entries]
        candidates = {e.path: e for e in [*missing, *known]}
        texts = NewTexts(self._read)
        if not candidates and not created:
            return _Remaining(texts)
        found, waiting = await self._examine_new(created, candidates.values(), texts, now)
        found = await with_likely_ids(self.heap, found, candidates.values(), texts)
        candidates |= {e.path: e for e in await renamed_unread(self.heap, found)}
        plan = await offload(recognise, candidates.values(), found, index.path_of, waiting)
        for path in plan.undecided:
            self._due[path] = now + self.heap.timing.quiet_s
        taken = {c.path: c.found.kind for c in plan.created}
        swapped = [v.entry for v in plan.vanished if is_occupied(v.entry.path, taken)]
        if swapped:
            # A file replaced a directory or the other way round: the old one cannot come back.
            await holds.vanished(self.heap, swapped)
            for entry in swapped:
                self._seen.pop(entry.path, None)  # what is there now is not missing
        unplaced = Unplaced(self.heap, [c.found for c in plan.created])
        read: list[str] = []
        for step in plan.in_order():
            if isinstance(step, Created):
                await unplaced.bind_directory(step.found)
                continue
            self._seen.pop(step.entry.path, None)
            self._due.pop(step.entry.path, None)
            if await self._move(step):
                read.append(step.path)
        files = [c.found for c in plan.created if c.found.kind == "file"]
        read += await bind_or_create(
            self.heap,
            unplaced,
            [f for f in files if not f.is_note or f.path in texts.heads],
            {c.path: c.copy_of for c in plan.created},
            texts,
        )
        self._rescan_changed_on_move(created, now)
        gone = [
            v.entry
            for v in plan.vanished
            if v.entry.path not in self.heap.holds.up and v.entry not in swapped
        ]
        return _Remaining(texts, [p for p in read if p in texts.heads], gone, bool(waiting))

    async def _examine_new(
        self,
        created: Sequence[Entry],
        gone: Collection[EntryRow],
        texts: NewTexts,
        now: float,
    ) -> tuple[list[Found], list[Found]]:
        """Return what is known of new paths: of the settled ones, and of the others.

        Args:
            created: the new paths.
            gone: the entries that are missing.
            texts: receives the settled notes' files.
            now: monotonic.
        """
        by_inode = {e.stat.inode: e for e in gone if e.stat is not None}
        found: list[Found] = []
        waiting: list[Found] = []
        whole: list[tuple[Entry, Found]] = []
        early = self._written_elsewhere(created)
        # Notes before their attachments, which wait for them.
        for k, entry in enumerate(sorted(created, key=lambda e: bool(assets_owner(e.path)))):
            if not k % 500:
                await asyncio.sleep(0)  # a whole heap may be new
            stat = entry.stat
            if entry.kind == "dir":
                found.append(Found(entry.path, "dir", stat.inode, stat.device))
                continue
            fact = Found(entry.path, "file", stat.inode, stat.device, stat.size)
            if self._is_whole(entry, by_inode, early, now):
                whole.append((entry, fact))
            else:
                waiting.append(fact)
        found += [base for _, base in whole if not base.is_note]
        notes, coming = [one for one in whole if one[1].is_note], self._coming()
        for some in batches(notes, lambda one: one[0].stat.size):
            read = {s.path: s for s in await self._read([e.path for e, _ in some])}
            examined: list[tuple[Found, SavedFile | None, bool]] = []
            for entry, base in some:
                saved = read.get(entry.path)
                known = await self._examine(entry, base, saved, texts, by_inode)
                is_new = entry.path in texts.heads and self._is_new(known or base, by_inode)
                if entry.path in early and not is_new:
                    waiting.append(known or base)  # a copy, or one that was renamed: it rests
                elif known is not None:
                    examined.append((known, saved, is_new))
            ready, held = await self._ready(examined, coming, now)
            found += ready
            waiting += held
        return found, waiting

    def _is_new(self, found: Found, by_inode: Mapping[int, EntryRow]) -> bool:
        """Return whether a note is unknown, so that it is read right away."""
        return found.inode not in by_inode and found.front_id not in self.heap.index.blocks

    async def _move(self, step: Moved) -> bool:
        """Store the move of an entry; returns whether it was stored."""
        try:
            return await moves.moved(self.heap, step)
        except BlockError as error:
            reason = f"the move could not be sent: {error}"
            self.heap.problems.found("content", step.path, reason)
            return False

    def _rescan_changed_on_move(self, created: list[Entry], now: float) -> None:
        """Scan files next that moved with their directory and changed as well."""
        for entry in created:
            known = self.heap.index.stats.get(entry.path)
            if entry.kind == "file" and known is not None and not known.agrees(entry.stat):
                self._due.setdefault(entry.path, now)

    async def _confirm_gone(self, gone: Sequence[EntryRow], now: float, *, waiting: bool) -> None:
        """Accept paths as deleted once they stayed missing and no others follow."""
        for entry in gone:
            stat, since = self._seen.get(entry.path, (None, now))
            self._seen[entry.path] = (None, since if stat is None else now)
        last = max((self._seen[e.path][1] for e in gone), default=now)
        confirmed, timing = [], self.heap.timing
        for entry in gone:
            at = min(last + timing.gone_s, self._seen[entry.path][1] + timing.gone_most_s)
            if waiting or now < at:
                self._due[entry.path] = max(at, now + 0.05)
            else:
                confirmed.append(entry)
        for entry in confirmed:
            del self._seen[entry.path]
        if confirmed:
            await holds.vanished(self.heap, confirmed)

    async def _examine(
        self,
        entry: Entry,
        base: Found,
        saved: SavedFile | None,
        texts: NewTexts,
        by_inode: Mapping[int, EntryRow],
    ) -> Found | None:
        note = None if saved is None else judged(self.heap, saved)
        if saved is None or note is None:
            # An unreadable file can still be a move, if its stat is that of a missing file.
            before = by_inode.get(entry.stat.inode)
            known = None if before is None else before.stat
            return base if known is not None and entry.stat.same_content(known) else None
        head = texts.add(saved, note)
        front_id = self.heap.block_in(self.heap.index.ids_in(note.front))
        stat, inode, before = saved.stat, saved.stat.inode, by_inode.get(saved.stat.inode)
        if (
            front_id is None
            and before is not None
            and not await may_be_edit_of(self.heap, before, saved.data)
        ):
            inode = 0  # reused by another file
        return Found(entry.path, "file", inode, stat.device, stat.size, front_id, head.digest)
