"""Small files that stand for contents kept on the server until somebody asks for them.

They are named ``plan.pdf.heapsyncd-remote``. No rule of ``.heaperignore`` can include such names,
so they are never read or sent. They follow from the entries; a lost one is written again at the
next start.
"""

import hashlib
from pathlib import PurePosixPath
from typing import Final

from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.folder.ignore import ONLY_PLACEHOLDERS, PLACEHOLDER
from heapsyncd.sync.heap.paths import ASSETS
from heapsyncd.sync.heap.state import HeapContext

_FIRST: Final = b"heapsyncd: "
_NAME_BYTES: Final = 255
_MOST_BYTES: Final = 8192


def placeholder_of(path: str) -> str:
    """Return the placeholder's path for a content's path; different for different paths."""
    at = PurePosixPath(path)
    room = _NAME_BYTES - len(PLACEHOLDER)
    name = at.name.encode()
    if len(name) > room:
        mark = f"-{hashlib.sha256(name).hexdigest()[:12]}".encode()
        name = name[: room - len(mark)].decode(errors="ignore").encode() + mark
    return str(at.with_name(name.decode() + PLACEHOLDER))


def text_of(path: str, size_bytes: int | None) -> bytes:
    """Return the text of a placeholder."""
    size = "" if size_bytes is None else f" ({size_bytes / 1e6:.1f} MB)"
    name = PurePosixPath(path).name
    return (
        f"heapsyncd: {name}{size} is on the server only.\n"
        f"`heapsyncd fetch` with this file's path brings it here.\n"
    ).encode()


async def update_placeholders(heap: HeapContext) -> None:
    """Write the missing placeholders, remove those no longer needed. Hold the heap's lock."""
    wanted = {placeholder_of(p): p for p in heap.index.remote}
    if heap.layout.placeholders is None:
        found = (await heap.disk.scan(ONLY_PLACEHOLDERS)).entries.values()
        heap.layout.placeholders = {e.path for e in found if e.kind == "file"}
    if wanted.keys() == heap.layout.placeholders:
        return
    for path in sorted(heap.layout.placeholders - wanted.keys()):
        await drop_placeholder(heap, path)
    for path in sorted(wanted.keys() - heap.layout.placeholders):
        entry = heap.index.entries[wanted[path]]
        try:
            await heap.disk.make_dir(str(PurePosixPath(path).parent)) if "/" in path else None
            if await heap.disk.stat(path) is None:
                await heap.disk.write(path, text_of(entry.path, entry.size), None)
        except (PathChanged, FolderTrouble) as error:
            heap.problems.found("write", path, error)
            continue
        heap.layout.placeholders.add(path)


async def drop_placeholder(heap: HeapContext, path: str) -> None:
    """Remove a placeholder, if it is one, and the note's attachment directory if that is empty."""
    if heap.layout.placeholders is not None:
        heap.layout.placeholders.discard(path)
    try:
        data, stat = await heap.disk.read(path, _MOST_BYTES)
        if data.startswith(_FIRST):
            await heap.disk.remove(path, stat)
            parent = PurePosixPath(path).parent
            if parent.name.endswith(ASSETS):
                await heap.disk.remove_dir(str(parent))
    except (PathChanged, FileBusy, FolderTrouble, UnreadableFile):
        return  # gone, or not a placeholder
