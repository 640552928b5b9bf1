"""Compute a heap's ``status`` from its index, with or without a running mirror."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.holds import Hold
from heapsyncd.cache.problems import ProblemRow
from heapsyncd.model import Problem
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.problems import shown
from heapsyncd.sync.report import HeapReport, Speed, file_at


def count(
    report: HeapReport,
    index: Index,
    held: Collection[Hold],
    troubles: Iterable[ProblemRow],
    moving: Iterable[EntryRow],
    moved_bytes: Mapping[str, int],
    speeds: Mapping[str, Speed] = MappingProxyType({}),
) -> None:
    """Update a report's numbers, transfers and problems.

    Args:
        report: the heap's.
        index: its blocks and entries.
        held: the deletions that wait for a person's decision.
        troubles: the problems with files.
        moving: the contents to send or fetch.
        moved_bytes: their progress, by path.
        speeds: their speeds, by path.
    """
    # Blocks that are not published because their deletion is held.
    waiting = {
        h.block_id
        for h in held
        if h.role != "attachment" and (h.direction == "up") == index.is_live(h.block_id)
    }
    report.notes, report.files = index.notes, index.contents
    report.pending_up = len(index.unsent | index.born)
    report.pending_down = len(index.wanted | (index.stale - waiting))
    report.held_deletions = len(held)
    report.transfers = [
        {
            "path": e.path,
            "file": file_at(report.folder, e.path),
            "direction": e.todo,
            "size": e.size,
            "done": moved_bytes.get(e.path, 0),
            "speed": speeds[e.path].bytes_per_s if e.path in speeds else None,
        }
        for e in moving
    ]
    report.problems = shown(
        (
            Problem(
                index.path_of.get(b, index.blocks[b].title),
                index.troubled[b],
                has_file=b in index.path_of,
            )
            for b in sorted(index.troubled)
        ),
        troubles,
        lambda path: path in index.entries or bool(index.below(path)),
    )
