"""Problems with the files of one heap, each identified by its path and by the check that found it.

A check replaces its own results and no others, so that a solved problem disappears with its next
run. A scan judges every path it passes, reading judges the file it reads, writing judges
everything it tries (failures are retried in each pass), a push the files of the blocks that it
sends, a transfer its own path, a poll what the server says.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from heapsyncd.cache.problems import Finder, Grade, ProblemRow
from heapsyncd.folder.snapshot import Snapshot
from heapsyncd.model import Problem

Key = tuple[str, Finder]
_FILE: Final[frozenset[Finder]] = frozenset({"read", "content", "source"})
_ABOUT_CONTENT: Final[frozenset[Finder]] = _FILE | {"push"}
_DISK: Final[frozenset[Finder]] = frozenset({"scan", "read", "rules", "write"})


class Problems:
    """The present problems; ``rows`` returns them as the cache stores them."""

    def __init__(self, rows: Iterable[ProblemRow] = ()) -> None:
        self._rows: dict[Key, ProblemRow] = {(r.path, r.finder): r for r in rows}
        self.kept = self.rows()
        """The rows that are in the cache."""
        self._fresh: set[Key] = set()
        """Problems found since a pass began."""

    def found(
        self, finder: Finder, path: str, reason: str | Exception, grade: Grade = "left"
    ) -> None:
        """Record a problem with a path; an exception's ``reason`` is used if it has one."""
        text = str(getattr(reason, "reason", reason)).removesuffix(".")
        self._rows[path, finder] = ProblemRow(path, finder, text, grade)
        self._fresh.add((path, finder))

    def clear(self, path: str, *finders: Finder) -> None:
        """Remove the problems with a path that these checks found; without checks, all."""
        for key in [k for k in self._rows if k[0] == path and (not finders or k[1] in finders)]:
            del self._rows[key]

    @contextmanager
    def new_pass(self, finder: Finder) -> Iterator[None]:
        """Replace a check's problems by those it finds inside the block.

        If the block raises, the earlier ones stay.
        """
        self._fresh.clear()
        yield
        self._keep(lambda row: row.finder != finder or (row.path, finder) in self._fresh)

    def scanned(self, snapshot: Snapshot, scope: Collection[str] | None) -> None:
        """Take over the problems of a scan.

        Args:
            snapshot: the result of the scan.
            scope: the scanned paths, including everything below them; None: the whole folder.
        """
        passed = _looked_at(scope)
        self._keep(lambda row: row.finder != "scan" or not passed(row.path))
        for problem in snapshot.problems:
            self.found("scan", problem.path, problem.reason, "odd" if problem.minor else "left")

    def vanished(
        self, snapshot: Snapshot, scope: Collection[str] | None, known: Collection[str]
    ) -> None:
        """Remove problems with contents that a scan did not find, or that are ignored.

        Args:
            snapshot: the result of the scan.
            scope: the scanned paths, including everything below them; None: the whole folder.
            known: paths that have entries: a missing file's problem may be its deletion.
        """

        def is_there(path: str, finder: Finder) -> bool:
            entry = snapshot.entries.get(path)
            if entry is not None:
                return entry.kind == "file" or (entry.kind == "dir" and finder == "push")
            unread = any(above in snapshot.unread for above in (path, *_above(path)))
            return unread or (path in known and not snapshot.ignore.match(path, False))

        passed = _looked_at(scope)
        self._keep(
            lambda row: (
                row.finder not in _ABOUT_CONTENT
                or not passed(row.path)
                or is_there(row.path, row.finder)
            )
        )

    def moved(self, old: str, new: str) -> None:
        """Move problems along with the path they are about, and drop those not about contents."""
        for key in [k for k in self._rows if k[0] == old or k[0].startswith(f"{old}/")]:
            row = self._rows.pop(key)
            if row.finder in _ABOUT_CONTENT:
                self.found(row.finder, new + row.path[len(old) :], row.reason, row.grade)

    def only(self, finder: Finder, paths: Collection[str]) -> None:
        """Keep a check's problems only for these paths."""
        self._keep(lambda row: row.finder != finder or row.path in paths)

    def at(self, path: str) -> str | None:
        """Return what is wrong with a path; None if nothing is."""
        return joined(r.reason for r in self._rows.values() if r.path == path)

    def stop(self, path: str) -> bool:
        """Return whether a problem keeps a path's file and document from being synced."""
        return any(r.path == path and r.grade != "told" for r in self._rows.values())

    def rows(self) -> tuple[ProblemRow, ...]:
        """Return all problems, by path."""
        return tuple(self._rows[k] for k in sorted(self._rows))

    def below(self, directory: str) -> set[str]:
        """Return the paths in a directory that have problems."""
        return {p for p, _ in self._rows if p.startswith(f"{directory}/")}

    def unread(self, *finders: Finder) -> set[str]:
        """Return the paths these checks could not read; that may end without a change there."""
        return {p for (p, f), r in self._rows.items() if f in finders and r.grade == "left"}

    def wait(self) -> bool:
        """Return whether the disk causes problems; they may end without a change in the folder."""
        return any(f in _DISK and r.grade == "left" for (_, f), r in self._rows.items())

    def _keep(self, keep: Callable[[ProblemRow], bool]) -> None:
        if self._rows:
            self._rows = {k: r for k, r in self._rows.items() if keep(r)}


def joined(reasons: Iterable[str]) -> str | None:
    """Join reasons without repeating any; None if there are none."""
    return "; ".join(dict.fromkeys(reasons)) or None


def shown(
    blocks: Iterable[Problem], rows: Iterable[ProblemRow], is_ours: Callable[[str], bool]
) -> list[Problem]:
    """Return the problems that ``status`` lists.

    Args:
        blocks: the problems of blocks.
        rows: those of files.
        is_ours: whether something mirrored should be at a path or below it: then an odd file there
            is no minor problem.
    """
    files = [
        Problem(r.path, r.reason, r.grade == "told" or (r.grade == "odd" and not is_ours(r.path)))
        for r in rows
    ]
    return list(dict.fromkeys([*blocks, *files]))


def _above(path: str) -> Iterator[str]:
    """Yield the directories above a path, ending with the heap's folder ('')."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _looked_at(scope: Collection[str] | None) -> Callable[[str], bool]:
    """Return a function that tells whether a scan covered a path.

    It covers its scope, with what is below and above.
    """
    if scope is None:
        return lambda _: True
    above = {a for path in scope for a in _above(path)}
    return lambda path: path in above or any(p in scope for p in (path, *_above(path)))
