"""Small files that stand for contents which stay on the server until somebody asks for them.

Named ``plan.pdf.heapsyncd-remote``: no rule of ``.heaperignore`` makes such a name a file to sync,
so that none is ever read or sent. They follow from the entries; one that is lost comes back with
the next start.
"""

import hashlib
from pathlib import PurePosixPath
from typing import Final

from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.ignore import ONLY_PLACEHOLDERS, PLACEHOLDER
from heapsyncd.sync.heap.paths import ASSETS
from heapsyncd.sync.heap.state import HeapContext

_FIRST: Final = b"heapsyncd: "
_NAME_BYTES: Final = 255
_MOST_BYTES: Final = 8192


def placeholder_of(path: str) -> str:
    """The placeholder's path for a content's; distinct for distinct ones."""
    at = PurePosixPath(path)
    room = _NAME_BYTES - len(PLACEHOLDER)
    name = at.name.encode()
    if len(name) > room:
        mark = f"-{hashlib.sha256(name).hexdigest()[:12]}".encode()
        name = name[: room - len(mark)].decode(errors="ignore").encode() + mark
    return str(at.with_name(name.decode() + PLACEHOLDER))


def text_of(path: str, size_bytes: int | None) -> bytes:
    """What a placeholder says."""
    size = "" if size_bytes is None else f" ({size_bytes / 1e6:.1f} MB)"
    name = PurePosixPath(path).name
    return (
        f"heapsyncd: {name}{size} is on the server only.\n"
        f"`heapsyncd fetch` with this file's path brings it here.\n"
    ).encode()


async def settle_placeholders(heap: HeapContext) -> None:
    """Make the placeholders that are missing, take away those that stand for nothing (more)."""
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
        except (Moved, FolderTrouble) as error:
            heap.problems.found("write", path, error)
            continue
        heap.layout.placeholders.add(path)


async def drop_placeholder(heap: HeapContext, path: str) -> None:
    """Take a placeholder away, if it is one; a note's empty directory of attachments with it."""
    if heap.layout.placeholders is not None:
        heap.layout.placeholders.discard(path)
    try:
        data, stat = await heap.disk.read(path, _MOST_BYTES)
        if data.startswith(_FIRST):
            await heap.disk.remove(path, stat)
            parent = PurePosixPath(path).parent
            if parent.name.endswith(ASSETS):
                await heap.disk.remove_dir(str(parent))
    except (Moved, Unsettled, FolderTrouble, UnreadableFile):
        return  # gone, or not ours
