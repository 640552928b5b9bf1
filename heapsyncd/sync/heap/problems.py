"""Troubles with the files of one heap, each known by its path and by who found it.

A finder replaces what it found itself and nothing else, so that whatever is cured is gone at its
next look: a scan judges every path it passes, reading a file judges that file, a pass of writing
judges all that is to be written (what failed is tried in each pass), a transfer its own path.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from heapsyncd.cache.problems import Finder, Grade, ProblemRow
from heapsyncd.folder.snapshot import Snapshot
from heapsyncd.model import Problem

Key = tuple[str, Finder]
_DISK: Final[frozenset[Finder]] = frozenset({"scan", "read", "rules", "write"})


class Problems:
    """The troubles as they are now; ``rows`` as the cache has them."""

    def __init__(self, rows: Iterable[ProblemRow] = ()) -> None:
        self._rows: dict[Key, ProblemRow] = {(r.path, r.finder): r for r in rows}
        self.kept = self.rows()
        """As the cache has them."""
        self._fresh: set[Key] = set()
        """Found since a pass began."""

    def found(
        self, finder: Finder, path: str, reason: str | Exception, grade: Grade = "left"
    ) -> None:
        """There is trouble with a path; an exception that has a ``reason`` tells that."""
        text = str(getattr(reason, "reason", reason)).removesuffix(".")
        self._rows[path, finder] = ProblemRow(path, finder, text, grade)
        self._fresh.add((path, finder))

    def clear(self, path: str, *finders: Finder) -> None:
        """These finders find nothing there; all, when none is named."""
        for key in [k for k in self._rows if k[0] == path and (not finders or k[1] in finders)]:
            del self._rows[key]

    @contextmanager
    def anew(self, finder: Finder) -> Iterator[None]:
        """A pass: what the finder finds within it is all there is. One that breaks off ends no
        trouble.
        """
        self._fresh.clear()
        yield
        self._keep(lambda row: row.finder != finder or (row.path, finder) in self._fresh)

    def scanned(self, snapshot: Snapshot, scope: Collection[str] | None) -> None:
        """Take over what a look tells: at the whole folder (None), or at some paths and what is
        below them.
        """
        passed = _looked_at(scope)
        self._keep(lambda row: row.finder != "scan" or not passed(row.path))
        for problem in snapshot.problems:
            self.found("scan", problem.path, problem.reason, "odd" if problem.minor else "left")

    def vanished(
        self, snapshot: Snapshot, scope: Collection[str] | None, known: Collection[str]
    ) -> None:
        """What a look found no file at, or one that is ignored, has nothing to be read.

        Args:
            snapshot: what the look found.
            scope: the paths it was limited to (with what is below); None: none.
            known: the paths whose files are missed: their deletion may be what the trouble is.
        """

        def is_there(path: str) -> bool:
            entry = snapshot.entries.get(path)
            if entry is not None:
                return entry.kind == "file"
            unread = any(above in snapshot.unread for above in (path, *_above(path)))
            return unread or (path in known and not snapshot.ignore.match(path, False))

        passed = _looked_at(scope)
        self._keep(
            lambda row: (
                row.finder not in {"read", "content"} or not passed(row.path) or is_there(row.path)
            )
        )

    def moved(self, old: str, new: str) -> None:
        """What stood at a path, and below it, stands elsewhere, with what is in it."""
        for key in [k for k in self._rows if k[0] == old or k[0].startswith(f"{old}/")]:
            row = self._rows.pop(key)
            if row.finder in {"read", "content"}:
                self.found(row.finder, new + row.path[len(old) :], row.reason, row.grade)

    def only(self, finder: Finder, paths: Collection[str]) -> None:
        """Elsewhere than at these paths the finder has nothing to judge."""
        self._keep(lambda row: row.finder != finder or row.path in paths)

    def at(self, path: str) -> str | None:
        """What is wrong with a path; None when nothing is."""
        return told(r.reason for r in self._rows.values() if r.path == path)

    def stop(self, path: str) -> bool:
        """Whether file and document are left as they are because of a trouble with the path."""
        return any(r.path == path and r.grade != "told" for r in self._rows.values())

    def rows(self) -> tuple[ProblemRow, ...]:
        """All of them, by path."""
        return tuple(self._rows[k] for k in sorted(self._rows))

    def below(self, directory: str) -> set[str]:
        """The paths in a directory that there is trouble with."""
        return {p for p, _ in self._rows if p.startswith(f"{directory}/")}

    def unread(self, *finders: Finder) -> set[str]:
        """The paths that the disk did not let these finders read: that may end without a sign."""
        return {p for (p, f), r in self._rows.items() if f in finders and r.grade == "left"}

    def wait(self) -> bool:
        """Whether there is trouble with the disk: it may end without a sign in the folder."""
        return any(f in _DISK and r.grade == "left" for (_, f), r in self._rows.items())

    def _keep(self, keep: Callable[[ProblemRow], bool]) -> None:
        if self._rows:
            self._rows = {k: r for k, r in self._rows.items() if keep(r)}


def told(reasons: Iterable[str]) -> str | None:
    """Several reasons as one, none twice; None when there is none."""
    return "; ".join(dict.fromkeys(reasons)) or None


def shown(
    blocks: Iterable[Problem], rows: Iterable[ProblemRow], is_ours: Callable[[str], bool]
) -> list[Problem]:
    """What ``status`` lists.

    Args:
        blocks: the troubles of blocks.
        rows: those of files.
        is_ours: whether anything mirrored should stand at a path or below it: then something odd
            that took its place is no minor matter.
    """
    files = [
        Problem(r.path, r.reason, r.grade == "told" or (r.grade == "odd" and not is_ours(r.path)))
        for r in rows
    ]
    return list(dict.fromkeys([*blocks, *files]))


def _above(path: str) -> Iterator[str]:
    """The directories a path lies in, the heap's folder ('') last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _looked_at(scope: Collection[str] | None) -> Callable[[str], bool]:
    """Which paths a look passed: those of its scope, what is below them and what is above."""
    if scope is None:
        return lambda _: True
    above = {a for path in scope for a in _above(path)}
    return lambda path: path in above or any(p in scope for p in (path, *_above(path)))
