"""A heap's folder of which changes are only noted, for a preview. Nothing is written."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder import marker
from heapsyncd.folder.disk import HeapFolder, PathChanged, Result, Write
from heapsyncd.folder.ignore import Ignore
from heapsyncd.folder.snapshot import Entry, EntryKind, Snapshot
from heapsyncd.ids import HeapId
from heapsyncd.model import Stat

T = TypeVar("T")


class Noted(Struct, frozen=True):
    """A change that was not made. ``path``: where a move begins; ``to``: where it ends."""

    what: Literal["write", "make_dir", "move", "remove", "remove_dir"]
    path: str
    to: str = ""


class OverlayFolder(HeapFolder):
    """What is read is the folder as it would be after the noted changes.

    A file that was noted as written has a stat, and cannot be read.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.noted: list[Noted] = []
        self._now: dict[str, tuple[EntryKind, Stat] | None] = {}
        """The paths that were noted as written or made; None: as removed."""
        self._moves: list[tuple[str, str]] = []

    async def create(self, heap_id: HeapId, title: str) -> None:  # noqa: ARG002 - the base's
        """Check that the folder is free, or this heap's."""
        if await self.marker() is not None:
            await asyncio.to_thread(marker.check, self.root, heap_id)
        self._heap = heap_id

    async def check(self, heap_id: HeapId) -> None:
        """Check that the folder has the heap's marker, or would have it."""
        if self._heap != heap_id:
            await super().check(heap_id)

    async def claim(self, heap_id: HeapId) -> None:
        """Check that it is this heap's folder; nobody is locked out."""
        await self.check(heap_id)

    # ---- looking ------------------------------------------------------------------------------

    async def scan(self, ignore: Ignore, under: Iterable[str] | None = None) -> Snapshot:
        """Return what exists in the folder, with what was noted as made, but before moves."""
        found = Snapshot({}, (), ignore)
        if await asyncio.to_thread(self.root.exists):
            found = await super().scan(ignore, under)
        made = {p: Entry(p, *one) for p, one in self._now.items() if one is not None}
        kept = {p: e for p, e in found.entries.items() if self._now.get(p, e) is not None}
        return replace(found, entries={**kept, **made})

    async def stat(self, path: str) -> Stat | None:
        """Return the stat of whatever would exist at a path, None if nothing would."""
        if path in self._now:
            noted = self._now[path]
            return None if noted is None else noted[1]
        real = self._real(path)
        if real is None or not await asyncio.to_thread(self.root.exists):
            return None
        return await super().stat(real)

    def _with_open_file(self, path: str, work: Callable[[int], tuple[T, Stat]]) -> tuple[T, Stat]:
        real = None if path in self._now else self._real(path)
        if real is None or not self.root.exists():
            raise PathChanged(path, "it no longer exists")
        return super()._with_open_file(real, work)

    def _real(self, path: str) -> str | None:
        """Return where a path's file is before the noted moves; None if it was moved away."""
        for old, new in reversed(self._moves):
            if path == new or path.startswith(f"{new}/"):
                path = old + path[len(new) :]
            elif path == old or path.startswith(f"{old}/"):
                return None
        return path

    # ---- noting -------------------------------------------------------------------------------

    async def write_many(self, writes: Sequence[Write]) -> list[Result]:
        """Note files as written."""
        return [await self._write(one) for one in writes]

    async def _write(self, one: Write) -> Result:
        found = await self.stat(one.path)
        agrees = found == one.expect or (
            found is not None and one.expect is not None and found.agrees(one.expect)
        )
        if not agrees:
            return PathChanged(one.path, "it was changed meanwhile")
        self.noted.append(Noted("write", one.path))
        return self._made(one.path, "file", len(one.data))

    async def move(self, old: str, new: str) -> None:
        """Note a move."""
        if await self.stat(old) is None:
            raise PathChanged(old, "it no longer exists")
        if await self.stat(new) is not None and old.casefold() != new.casefold():
            raise PathChanged(new, "something else exists there")
        self.noted.append(Noted("move", old, new))
        inside = [p for p in self._now if p == old or p.startswith(f"{old}/")]
        for path in inside:
            self._now[new + path[len(old) :]] = self._now.pop(path)
        if old not in inside:
            self._now.pop(new, None)
            self._moves.append((old, new))

    async def make_dir(self, path: str) -> Stat:
        """Note a directory as made unless it exists."""
        found = await self.stat(path)
        if found is not None:
            return found
        self.noted.append(Noted("make_dir", path))
        return self._made(path, "dir", 0)

    async def remove(self, path: str, expect: Stat) -> None:
        """Note a file as removed."""
        found = await self.stat(path)
        if found is None or not found.agrees(expect):
            raise PathChanged(path, "it was changed meanwhile")
        self.noted.append(Noted("remove", path))
        self._now[path] = None

    async def remove_dir(self, path: str) -> bool:
        """Note a directory as removed."""
        self.noted.append(Noted("remove_dir", path))
        self._now[path] = None
        return True

    async def clear_temps(self, parts_older_than_s: float = 0) -> int:  # noqa: ARG002 - the base's
        """Leave temporary files as they are."""
        return 0

    async def _change(self, work: Callable[[], T]) -> T:  # noqa: ARG002 - the base's
        raise FolderTrouble(f"{self.root} is only looked at.")

    def part(self, path: str, sha256: str) -> Any:  # noqa: ARG002 - the base's
        """Refuse: nothing is downloaded."""
        raise FolderTrouble(f"{self.root} is only looked at.")

    def _made(self, path: str, kind: EntryKind, size: int) -> Stat:
        # No file has a negative inode.
        stat = Stat(size, time.time_ns(), time.time_ns(), -1 - len(self.noted), 0)
        self._now[path] = kind, stat
        return stat
