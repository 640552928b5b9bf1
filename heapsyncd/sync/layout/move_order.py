"""Plan the moves that take every block to its path. A pure function of paths."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from msgspec import Struct

from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.paths import parking_path


class Step(Struct, frozen=True):
    """Move a block's file or directory; the target is free once the earlier steps are done."""

    block: BlockId
    old: str
    new: str


def arrange(current: Mapping[BlockId, str], desired: Mapping[BlockId, str]) -> list[Step]:
    """Return, in order, the moves from current to desired paths; none overwrites another block.

    Directories come before what is in them, and a directory moves with everything in it. A block
    on another's target is moved to its own target first. In a cycle it is parked under a hidden
    name in the heap's root.

    Args:
        current: where blocks are; only blocks that are also in ``desired`` are moved.
        desired: where they should be; the directory of each path is the root or another desired
            path.
    """
    where = {b: p for b, p in current.items() if b in desired}
    if all(desired[b] == path for b, path in where.items()):
        return []
    mover = _Mover(where, desired)
    for block in sorted(mover.where, key=lambda b: (desired[b].count("/"), desired[b])):
        mover.place(block, frozenset())
    return mover.steps


class _Mover:
    """A model of the folder on which the moves are tried."""

    def __init__(self, where: dict[BlockId, str], desired: Mapping[BlockId, str]) -> None:
        self.where = where
        self.steps: list[Step] = []
        self._desired = desired
        self._at = {p: b for b, p in where.items()}
        self._final: set[BlockId] = set()

    def place(self, block: BlockId, above: frozenset[BlockId]) -> None:
        """Move a block to its target, where its parent already is.

        Args:
            block: the block.
            above: blocks that wait for this one to move away.
        """
        target = self._desired[block]
        if block in self._final:
            return
        if self.where[block] != target:
            if target in self._at:
                self._free(target, above | {block})
            if target.startswith(self.where[block] + "/"):
                self._park(block)
            self._move(block, target)
        self._final.add(block)

    def _free(self, target: str, waiting: frozenset[BlockId]) -> None:
        holder = self._at[target]
        parent = str(PurePosixPath(self._desired[holder]).parent)
        if holder not in waiting and (parent == "." or self._at.get(parent) in self._final):
            self.place(holder, waiting)
        if target in self._at:
            self._park(self._at[target])

    def _park(self, block: BlockId) -> None:
        self._move(block, parking_path(block, self.where[block]))

    def _move(self, block: BlockId, new: str) -> None:
        old = self.where[block]
        self.steps.append(Step(block, old, new))
        for path in [old, *(p for p in self._at if p.startswith(old + "/"))]:
            moved = self._at.pop(path)
            self.where[moved] = new + path[len(old) :]
            self._at[self.where[moved]] = moved
