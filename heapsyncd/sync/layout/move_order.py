"""Decide first: which moves take every block to its place. A pure function of places.

``arrange`` compares where blocks stand with where they should stand and orders the moves so that
none overwrites another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.paths import aside


@dataclass(frozen=True, slots=True)
class Step:
    """Move a block's file or directory. Each step's target is free when the steps before it are
    done.
    """

    block: BlockId
    old: str
    new: str


def arrange(current: Mapping[BlockId, str], desired: Mapping[BlockId, str]) -> list[Step]:
    """Order the moves that take every block from its current to its desired path.

    Parents come before what is in them, and a directory moves with everything in it. Who stands on
    another's target is taken to its own place first, or, where that goes round in a circle, aside
    to a hidden name in the heap's root.

    Args:
        current: where blocks stand; only blocks that are in ``desired`` too are moved.
        desired: where they should stand; the directory of each path is the root or another desired
            path.
    """
    mover = _Mover({b: p for b, p in current.items() if b in desired}, desired)
    for block in sorted(mover.where, key=lambda b: (desired[b].count("/"), desired[b])):
        mover.settle(block, frozenset())
    return mover.steps


class _Mover:
    """A model of the folder in which the moves are tried out."""

    def __init__(self, where: dict[BlockId, str], desired: Mapping[BlockId, str]) -> None:
        self.where = where
        self.steps: list[Step] = []
        self._desired = desired
        self._at = {p: b for b, p in where.items()}
        self._final: set[BlockId] = set()

    def settle(self, block: BlockId, above: frozenset[BlockId]) -> None:
        """Take a block to its place; ``above`` wait for it, its parent is there."""
        target = self._desired[block]
        if block in self._final:
            return
        if self.where[block] != target:
            if target in self._at:
                self._clear(target, above | {block})
            if target.startswith(self.where[block] + "/"):
                self._aside(block)
            self._go(block, target)
        self._final.add(block)

    def _clear(self, target: str, waiting: frozenset[BlockId]) -> None:
        holder = self._at[target]
        parent = str(PurePosixPath(self._desired[holder]).parent)
        if holder not in waiting and (parent == "." or self._at.get(parent) in self._final):
            self.settle(holder, waiting)
        if target in self._at:
            self._aside(self._at[target])

    def _aside(self, block: BlockId) -> None:
        self._go(block, aside(block, self.where[block]))

    def _go(self, block: BlockId, new: str) -> None:
        old = self.where[block]
        self.steps.append(Step(block, old, new))
        for path in [old, *(p for p in self._at if p.startswith(old + "/"))]:
            moved = self._at.pop(path)
            self.where[moved] = new + path[len(old) :]
            self._at[self.where[moved]] = moved
