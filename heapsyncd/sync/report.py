"""What is told of a mirror while it runs: states, problems, progress, the verdict of a pass."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from heapsyncd.cache.pending import Pending
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Problem

PENDING_SHOWN: Final = 100
"""So many pending notes are told by name, in each direction; the numbers count them all."""

State = Literal["in sync", "syncing", "offline", "sign-in needed", "error"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants back.

    Args:
        paths: absolute; each may be given in several spellings.
        number: the version; None: the newest that says something else than the file.
        trash: whether deleted notes are meant, not versions.
    """

    paths: tuple[str, ...]
    number: int | None = None
    trash: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of work that takes a while, for a progress bar.

    ``label`` names the heap and the work; ``done`` of ``total`` are notes or bytes, as ``unit``
    says.
    """

    label: str
    done: int
    total: int
    unit: Literal["notes", "bytes"] = "notes"


@dataclass(slots=True)
class HeapReport:
    """What ``status`` says of one heap; the mirror keeps it current."""

    id: HeapId
    title: str
    folder: str
    notes: int = 0
    pending_up: int = 0
    pending_down: int = 0
    held_deletions: int = 0
    pending: list[dict[str, str]] = field(default_factory=list)
    """The first of what is pending, with its path, direction (``up``, ``down``) and reason."""
    notices: list[str] = field(default_factory=list)
    transfers: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    watch_trouble: str | None = None
    """Why the folder is not watched but looked at now and then; None: it is watched."""
    reading: bool = False
    """Whether changes of the folder are being looked at."""
    ails: dict[str, str] = field(default_factory=dict)
    """Why the whole heap is held up (folder missing, 403 …), by the work that met it."""

    @property
    def error(self) -> str | None:
        """All that holds the whole heap up; None when nothing does."""
        return "; ".join(dict.fromkeys(self.ails.values())) or None

    def as_dict(self) -> dict[str, Any]:
        """The heap's object in ``status --json``."""
        ails = dict.fromkeys(self.ails.values())
        problems = [*(Problem(self.folder, reason) for reason in ails), *self.problems]
        return {
            "id": self.id,
            "title": self.title,
            "folder": self.folder,
            "notes": self.notes,
            "pending_up": self.pending_up,
            "pending_down": self.pending_down,
            "held_deletions": self.held_deletions,
            "pending": list(self.pending),
            "notices": list(self.notices),
            "transfers": list(self.transfers),
            "problems": [{"path": p.path, "reason": p.reason, "minor": p.minor} for p in problems],
        }

    def left(self) -> list[str]:
        """What keeps this heap from being in sync, one line each, empty when nothing does."""
        lines = [f"{self.title}: {reason}" for reason in dict.fromkeys(self.ails.values())]
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

    def told(self) -> list[str]:
        """What is worth telling although nothing is left undone for it, one line each."""
        return self._lines(minor=True)

    def _lines(self, *, minor: bool) -> list[str]:
        return [f"{self.title}/{p.path}: {p.reason}" for p in self.problems if p.minor is minor]


def shown(pending: Iterable[Pending], paths: Mapping[BlockId, str]) -> list[dict[str, str]]:
    """What is pending, by path, as in ``status --json``."""
    return [
        {
            "path": paths.get(p.id, p.title),
            "direction": "up" if p.up else "down",
            "reason": p.why,
        }
        for p in pending
    ]


@dataclass(slots=True)
class Report:
    """One account's status, kept current by its mirror, read by ``status``, the progress bar and
    systemd.

    Args:
        name: the account's name in the configuration.
        progress: called with each step of longer work; None when nobody looks.
        beat: called whenever the sync loop is alive and getting on (feeds the watchdog).
    """

    name: str
    progress: Callable[[Progress], None] | None = None
    beat: Callable[[], None] | None = None
    connected: bool = False
    ready: bool = False
    """Whether the first pass over folder and server is through."""
    refused: bool = False
    error: str | None = None
    unmatched: str | None = None
    """Which of the heaps that the configuration asks for are not there; None: all are."""
    heaps: dict[HeapId, HeapReport] = field(default_factory=dict)
    deletions: Callable[[str | None], Awaitable[list[dict[str, Any]]]] | None = None
    """What is held of each heap (``decisions.ask``), after an answer has been given, if any; None
    while no mirror runs."""

    fetch: Callable[[Sequence[str]], Awaitable[list[dict[str, Any]]]] | None = None
    """Have contents fetched that stay on the server otherwise; None while no mirror runs."""

    restore: Callable[[Wanted], Awaitable[list[dict[str, Any]]]] | None = None
    """Put earlier texts and deleted notes back; None while no mirror runs."""

    recount: Callable[[], Awaitable[None]] | None = None
    """Bring this report up to date with the cache; None while no mirror runs."""

    @property
    def state(self) -> State:
        """One word for the account; "in sync" only when every heap says so and the link stands."""
        if self.refused:
            return "sign-in needed"
        wrong = self.error or self.unmatched
        if any(h.error for h in self.heaps.values()) or (wrong and self.connected):
            return "error"
        if not self.connected:
            return "offline"
        if not self.ready or any(h.left() for h in self.heaps.values()):
            return "syncing"
        return "in sync"

    def snapshot(self) -> dict[str, Any]:
        """The account's object in ``status --json``."""
        return {
            "name": self.name,
            "state": self.state,
            "error": self.error or self.unmatched,
            "heaps": [h.as_dict() for h in self.heaps.values()],
        }

    def step(self, progress: Progress) -> None:
        """Pass progress on to whoever looks."""
        if self.progress:
            self.progress(progress)

    def alive(self) -> None:
        """The sync loop got on."""
        if self.beat:
            self.beat()


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a pass ended."""

    state: State
    exit_code: int
    left: tuple[str, ...] = ()
    """A line for everything that is not in sync."""
    told: tuple[str, ...] = ()
    """What else is worth telling: odd files that are never mirrored, for one."""
