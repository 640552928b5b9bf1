"""New files that turn out to be blocks we know: a lost cache, a restored file, a folder that was
full when it was first mirrored.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.errors import BlockError
from heapsyncd.folder.layout import place
from heapsyncd.ids import BlockId
from heapsyncd.sync.changes import folder_created
from heapsyncd.sync.contents import file_created
from heapsyncd.sync.created import notes_created
from heapsyncd.sync.index import NoteLinks
from heapsyncd.sync.ingest import Saved, note_adopted
from heapsyncd.sync.merge import shows
from heapsyncd.sync.offloop import off_loop
from heapsyncd.sync.plan import Found
from heapsyncd.sync.state import HeapState

log = structlog.get_logger()


async def adoptable(
    heap: HeapState,
    found: Sequence[Found],
    copies: Mapping[str, BlockId | None],
    texts: Mapping[str, Saved],
) -> dict[str, BlockId]:
    """Which new files are blocks we know that have no file: by the id in them, else by place and
    content.
    """
    taken = set(heap.index.path_of)
    result: dict[str, BlockId] = {}
    for item in found:
        if not item.is_note or not item.front_id or copies.get(item.path) is not None:
            continue
        block = BlockId(item.front_id)
        if heap.index.kind(block) == "document" and block not in taken:
            result[item.path] = block
            taken.add(block)
    homeless = [p for p in heap.index.placed() if p.id not in taken]
    if not homeless:
        return result
    desired = await asyncio.to_thread(place, heap.index.placed(), {})
    at = {p: b for b, p in desired.items() if b not in taken}
    for item in found:
        candidate = at.get(item.path)
        if candidate is None or item.path in result or item.front_id or not item.is_note:
            continue
        if await _says(heap, texts[item.path], candidate):
            result[item.path] = candidate
    return result


async def _says(heap: HeapState, saved: Saved, block: BlockId) -> bool:
    """Whether a file says what a block's document says."""

    def read(tx: Tx) -> tuple[BlockState | None, list[bytes]]:
        return blocks.get(tx, block), [r.data for r in blocks.log(tx, block)]

    state, updates = await heap.db.read(read)
    if state is None or state.deleted_at_ms is not None:
        return False
    try:
        replica = await off_loop(heap.replicas.load, block, state.seq, updates)
        links = NoteLinks(heap.index, block, aliases=True)
        return await off_loop(lambda: shows(saved.data, replica.view(), links))
    except BlockError:
        return False


async def adopt(heap: HeapState, saved: Saved, block: BlockId) -> None:
    """A file is the file of a block we know."""
    await note_adopted(heap, saved, block)
    log.info("recognised", path=saved.path, block=block)


async def take_in(
    heap: HeapState,
    found: Sequence[Found],
    copies: Mapping[str, BlockId | None],
    texts: Mapping[str, Saved],
) -> None:
    """New things: all names first, so that links between new notes find each other.

    Args:
        heap: the heap.
        found: directories before what is in them.
        copies: for a path, the block that its front matter names and that still stands elsewhere.
        texts: the notes' texts, by path.
    """
    known = await adoptable(heap, found, copies, texts)
    for item in found:
        if item.kind == "dir":
            await folder_created(heap, item)
    notes = [f for f in found if f.is_note]
    for item in notes:
        if item.path in known:
            await adopt(heap, texts[item.path], known[item.path])
    await notes_created(heap, [texts[n.path] for n in notes if n.path not in known])
    # Attachments after the notes they belong to.
    for item in found:
        if item.kind == "file" and not item.is_note:
            await file_created(heap, item)
