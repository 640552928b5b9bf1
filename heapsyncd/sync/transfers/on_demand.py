"""Contents that stay on the server until requested: which a path means, and their progress."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from heapsyncd.cache.entries import EntryRow
from heapsyncd.sync.heap.paths import assets_of
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.placeholders import placeholder_of


def contents_at(rows: Iterable[EntryRow], path: str) -> list[EntryRow]:
    """Return the contents a path means.

    That is the file, its placeholder, a note's attachments, or everything in a directory (``.``:
    in the heap).
    """
    inside = ("" if path == "." else f"{path}/", f"{assets_of(path)}/")
    return [
        e
        for e in rows
        if e.key is not None
        and (path in {e.path, placeholder_of(e.path)} or e.path.startswith(inside))
    ]


async def fetch(heap: HeapContext, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Mark the contents at these paths for download, and return the progress of each.

    Repeat the call to follow the progress. Paths are relative to the heap's folder.
    """
    async with heap.lock:
        found = {e.path: e for p in paths for e in contents_at(heap.index.entries.values(), p)}
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


def progress_of(root: Path, entry: EntryRow, problem: str | None) -> dict[str, Any]:
    """Return a content's progress as in ``fetch --json``."""
    waits = entry.todo in {"download", "remote"} or entry.stat is None
    if entry.todo is None and waits:
        problem = problem or "the server does not have its content yet"
    return {
        "path": str(root / entry.path),
        "here": not waits,
        "size": entry.size,
        "problem": problem if waits else None,
    }
