"""The status of a running mirror: states, problems, progress, and the verdict of a pass."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from msgspec import Struct, field

from heapsyncd.backoff import asked_s
from heapsyncd.cache.pending import Pending
from heapsyncd.errors import HeapsyncdError, SignInRefused, TryLater, for_people
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Problem

PENDING_SHOWN: Final = 100
"""At most this many pending notes are listed in each direction; the counts include all."""

SPEED_S: Final = 0.5
"""A transfer's speed is measured again after this."""

State = Literal["in sync", "syncing", "offline", "sign-in needed", "error"]


class RestoreRequest(Struct, frozen=True):
    """What a person wants restored.

    Args:
        paths: absolute; each may be given in several spellings.
        number: the version; None: the newest that differs from the file.
        trash: restore deleted notes instead of versions.
        preview: only say what would change.
    """

    paths: tuple[str, ...]
    number: int | None = None
    trash: bool = False
    preview: bool = False


class UndoRequest(Struct, frozen=True):
    """Which edits of this device a person wants undone.

    Args:
        since_ms: those made from this time on.
        paths: absolute; only what is at or below one of them; () for everything.
        preview: only say what would change.
    """

    since_ms: int
    paths: tuple[str, ...] = ()
    preview: bool = False


class Progress(Struct, frozen=True):
    """A step of longer work, for a progress bar.

    ``label`` names the heap and the work; ``done`` and ``total`` count notes or bytes (``unit``).
    """

    label: str
    done: int
    total: int
    unit: Literal["notes", "bytes"] = "notes"


class Speed(Struct):
    """The speed of a transfer, smoothed over some seconds."""

    at_s: float
    done: int
    bytes_per_s: float | None = None
    """None until it was measured."""

    def moved(self, done: int, now_s: float) -> None:
        """Take over that ``done`` bytes are through."""
        passed_s = now_s - self.at_s
        if passed_s < SPEED_S:
            return
        latest = max(0, done - self.done) / passed_s
        before = latest if self.bytes_per_s is None else self.bytes_per_s
        self.bytes_per_s = 0.6 * before + 0.4 * latest
        self.at_s, self.done = now_s, done


class HeapReport(Struct):
    """The status of one heap, kept up to date by its mirror."""

    id: HeapId
    title: str
    folder: str
    notes: int = 0
    files: int = 0
    """Files that are no notes: those attached to notes, and those of blocks that are only a file.
    """
    followed: int = 0
    """How many blocks are to be followed live: the newest, if not all."""
    pending_up: int = 0
    pending_down: int = 0
    held_deletions: int = 0
    pending: list[dict[str, str | None]] = field(default_factory=list)
    """The first pending notes: path, file, direction (``up``, ``down``) and reason."""
    notices: list[str] = field(default_factory=list)
    reviews: int = 0
    """How many of the notices are reviews: a person ends them with `history --seen`."""
    transfers: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    watch_problem: str | None = None
    """Why the folder is polled instead of watched; None: it is watched."""
    reading: bool = False
    """Whether changes of the folder are still being read."""
    blockers: dict[str, str] = field(default_factory=dict)
    """Why the whole heap is not synced (folder missing, 403 ...), by the kind of work that failed.
    """

    waits: dict[str, int] = field(default_factory=dict)
    """Until when the server asked to wait, by the kind of work; milliseconds."""

    @property
    def error(self) -> str | None:
        """Return why the whole heap is not synced; None if it is."""
        return "; ".join(dict.fromkeys(self.blockers.values())) or None

    def as_dict(self) -> dict[str, Any]:
        """Return the heap's object in ``status --json``."""
        blockers = dict.fromkeys(self.blockers.values())
        problems = [*(Problem(self.folder, reason) for reason in blockers), *self.problems]
        return {
            "id": self.id,
            "title": self.title,
            "folder": self.folder,
            "notes": self.notes,
            "files": self.files,
            "followed": self.followed,
            "pending_up": self.pending_up,
            "pending_down": self.pending_down,
            "held_deletions": self.held_deletions,
            "waits_until_ms": max(self.waits.values(), default=None),
            "pending": list(self.pending),
            "notices": list(self.notices),
            "reviews": self.reviews,
            "transfers": list(self.transfers),
            "problems": [_problem(p, self.folder) for p in problems],
        }

    def left(self) -> list[str]:
        """Return what keeps this heap from being in sync, one line each."""
        lines = [f"{self.title}: {reason}" for reason in dict.fromkeys(self.blockers.values())]
        if self.reading:
            lines.append(f"{self.title}: changes in the folder are being read")
        if self.pending_up:
            lines.append(f"{self.title}: {self.pending_up} not yet sent")
        if self.pending_down:
            lines.append(f"{self.title}: {self.pending_down} not yet received")
        if self.held_deletions:
            lines.append(
                f"{self.title}: {self.held_deletions} deletions held;"
                " `heapsyncd deletions` lists them"
            )
        if self.transfers:
            lines.append(f"{self.title}: {len(self.transfers)} file transfers unfinished")
        return [*lines, *self._lines(minor=False)]

    def minor(self) -> list[str]:
        """Return the minor problems, one line each: nothing is left undone for them."""
        return self._lines(minor=True)

    def _lines(self, *, minor: bool) -> list[str]:
        return [f"{self.title}/{p.path}: {p.reason}" for p in self.problems if p.minor is minor]


def pending_as_dicts(
    pending: Iterable[Pending], paths: Mapping[BlockId, str], folder: str
) -> list[dict[str, str | None]]:
    """Return pending notes as in ``status --json``; ``folder`` is the heap's."""
    return [
        {
            "path": paths.get(p.id, p.title),
            "file": file_at(folder, paths.get(p.id)),
            "direction": "up" if p.up else "down",
            "reason": p.why,
        }
        for p in pending
    ]


def file_at(folder: str, path: str | None) -> str | None:
    """Return the absolute path of something in a folder; None if it has no path yet."""
    return None if path is None else f"{folder.rstrip('/')}/{path}"


def until_ms(error: Exception) -> int | None:
    """Return until when the server asks to wait; None if it does not."""
    wait_s = asked_s(error)
    return None if wait_s is None else int((time.time() + wait_s) * 1000)


def _problem(problem: Problem, folder: str) -> dict[str, Any]:
    return {
        "path": problem.path,
        "file": file_at(folder, problem.path if problem.has_file else None),
        "reason": problem.reason,
        "minor": problem.minor,
    }


class Commands(Protocol):
    """What a running mirror does for a person's commands; the control socket passes them on."""

    async def deletions(
        self, decision: str | None, paths: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """List each heap's held deletions, after storing a decision if one is given.

        See ``decisions.held_deletions``.
        """

    async def restore_folder(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
        """Have a heap's lost folder made again; see ``lost_folder.ask_for_folder``."""

    async def fetch(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """Mark contents for download, and return their progress; ``paths`` are absolute."""

    async def restore(self, wanted: RestoreRequest) -> list[dict[str, Any]]:
        """Restore earlier versions and deleted notes."""

    async def undo(self, wanted: UndoRequest) -> list[dict[str, Any]]:
        """Undo this device's recent edits."""

    async def recount(self) -> None:
        """Update the report from the cache and the account's folder."""

    async def finish_sending(self) -> None:
        """Wait until nothing is being written, and everything is sent that can be sent now."""

    def renew(self) -> None:
        """Close all connections, poll and send at once: the machine was suspended."""

    async def full_pass(self, timeout_s: float | None) -> "Verdict":
        """Do a full pass both ways, as a process that starts would.

        Raises:
            HeapsyncdError: the server did not list the heaps.
        """


class Report(Struct):
    """One account's status, kept up to date by its mirror.

    Read by ``status``, the progress bar and systemd.

    Args:
        name: the account's name in the configuration.
        progress: called with each step of longer work; None when nobody shows it.
        beat: called while the sync loops make progress; feeds the watchdog.
    """

    name: str
    progress: Callable[[Progress], None] | None = None
    beat: Callable[[], None] | None = None
    folder: str = ""
    """The account's, absolute."""
    connected: bool = False
    ready: bool = False
    """Whether the first pass over folder and server is complete."""
    refused: bool = False
    error: str | None = None
    """Why the account is not synced, with the technical reason behind it; None if it is."""
    summary: str | None = None
    """The same without the technical reason."""
    waits_until_ms: int | None = None
    """Until when the server asked to wait with what failed last; None: it did not."""
    in_sync_ms: int | None = None
    """When everything was last known to be in sync, by this machine's clock; None: never."""
    problems: list[Problem] = field(default_factory=list)
    """Things in the account's folder that belong to no heap; paths relative to it."""
    unmatched: str | None = None
    """Which heaps of the configuration do not exist; None: all do."""
    heaps: dict[HeapId, HeapReport] = field(default_factory=dict)
    commands: Commands | None = None
    """What a person's commands ask of the running mirror; None while no mirror runs."""
    rests: bool = False
    """Whether it is kept from running, because the account is being repaired."""
    waited_for: int = 0
    """How many commands wait for a full pass: it is not to wait for a poll."""

    steps: dict[str, Progress] = field(default_factory=dict)
    """The unfinished steps of longer work with notes, by label."""

    def has_one_of(self, paths: Iterable[str]) -> bool:
        """Return whether one of these absolute paths is in the account's folder."""
        roots = (Path(self.folder), Path(self.folder).resolve())
        return any(Path(path).is_relative_to(root) for path in paths for root in roots)

    @property
    def state(self) -> State:
        """Return the account's state; "in sync" only if connected and every heap is in sync."""
        if self.refused:
            return "sign-in needed"
        wrong = self.error or self.unmatched
        if any(h.error for h in self.heaps.values()) or (wrong and self.connected):
            return "error"
        if not self.connected:
            return "offline"
        if not self.ready or self.rests or any(h.left() for h in self.heaps.values()):
            return "syncing"
        return "in sync"

    def snapshot(self) -> dict[str, Any]:
        """Return the account's object in ``status --json``."""
        return {
            "name": self.name,
            "state": self.state,
            "error": self.error or self.unmatched,
            "summary": (self.summary if self.error else None) or self.error or self.unmatched,
            "connected": self.connected,
            "waits_until_ms": self.waits_until_ms if self.error else None,
            "in_sync_ms": self.in_sync_ms,
            "problems": [_problem(p, self.folder) for p in self.problems],
            "heaps": [h.as_dict() for h in self.heaps.values()],
        }

    def failed(self, error: HeapsyncdError) -> bool:
        """Take over why the account is not synced; return whether it was until now."""
        is_new = self.error is None
        self.error = for_people(error)
        self.summary = error.plain if isinstance(error, TryLater) else self.error
        self.refused = isinstance(error, SignInRefused)
        self.waits_until_ms = until_ms(error)
        if isinstance(error, TryLater):
            self.connected = False
        return is_new

    def minor(self) -> list[str]:
        """Return the minor problems of the account and its heaps, one line each."""
        own = [f"{p.path}: {p.reason}" for p in self.problems]
        return [*own, *(line for heap in self.heaps.values() for line in heap.minor())]

    def step(self, progress: Progress) -> None:
        """Pass a step of progress on, and keep it until its work is complete."""
        if progress.unit == "notes":  # transfers are kept with their heaps
            self.steps[progress.label] = progress
            if progress.done >= progress.total:
                del self.steps[progress.label]
        if self.progress:
            self.progress(progress)

    def unfinished(self) -> list[Progress]:
        """Return how far the longer work is, for those who did not follow each step."""
        moving = [
            Progress(f"{heap.title}: {row['path']}", row["done"], row["size"] or 0, "bytes")
            for heap in self.heaps.values()
            for row in heap.transfers
            if row["done"]
        ]
        return [*self.steps.values(), *moving]

    def alive(self) -> None:
        """Report that the sync loops make progress."""
        if self.beat:
            self.beat()


class Verdict(Struct, frozen=True):
    """The result of a pass."""

    state: State
    exit_code: int
    left: tuple[str, ...] = ()
    """A line for everything that is not in sync."""
    minor: tuple[str, ...] = ()
    """A line for every minor problem, such as files that are never mirrored."""
    sent: int = 0
    """How many changes were sent meanwhile."""
    arrived: int = 0
    """How many changes of the server were received and shown meanwhile."""
