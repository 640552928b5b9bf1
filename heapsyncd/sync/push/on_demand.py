"""Contents that stay on the server until somebody asks for them: what a path means, and how far
each is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from heapsyncd.cache.entries import EntryRow
from heapsyncd.sync.heap.paths import assets_of
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.placeholders import placeholder_of


def asked(rows: Iterable[EntryRow], path: str) -> list[EntryRow]:
    """The contents a path means: the file, its placeholder, a note's attachments, or everything in
    a directory (``.``: in the heap).
    """
    inside = ("" if path == "." else f"{path}/", f"{assets_of(path)}/")
    return [
        e
        for e in rows
        if e.key is not None
        and (path in {e.path, placeholder_of(e.path)} or e.path.startswith(inside))
    ]


async def fetch(heap: HeapContext, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Have the contents at these paths fetched, if they are not here; how far each is. Asking
    again is how to look on.
    """
    async with heap.lock:
        found = {e.path: e for p in paths for e in asked(heap.index.entries.values(), p)}
        wanted = [replace(e, todo="download") for e in found.values() if e.todo == "remote"]
        if wanted:
            await heap.store(lambda change: change.save(wanted))
            found |= {e.path: e for e in wanted}
            heap.wake.transfer.set()
            heap.wake.publish.set()
    if wanted:
        await heap.count()
    return [
        {
            **progress_of(heap.disk.root, e, heap.problems.at(e.path)),
            "done": heap.transfers.moved_bytes.get(e.path, 0),
        }
        for e in found.values()
    ]


def inside(root: Path, paths: Sequence[Path]) -> list[str]:
    """Those of the paths that lie in a heap's folder, relative to it."""
    return [p.relative_to(root).as_posix() for p in paths if p.is_relative_to(root)]


def progress_of(root: Path, entry: EntryRow, problem: str | None) -> dict[str, Any]:
    """How far a content is, as ``fetch --json`` says it."""
    waits = entry.todo in {"download", "remote"} or entry.inode is None
    if entry.todo is None and waits:
        problem = problem or "the server does not have its content yet"
    return {
        "path": str(root / entry.path),
        "here": not waits,
        "size": entry.size,
        "problem": problem if waits else None,
    }
