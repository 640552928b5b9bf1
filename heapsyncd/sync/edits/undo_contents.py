"""Find which contents this device attached and detached since a time, and attach them again."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import LogRow
from heapsyncd.document.edit import Target
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.sync.edits.fields import edit_fields
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext

_UNSENT: Final = "its content was never sent to the server"


class OwnContents(Struct, frozen=True):
    """What this device changed of a block's contents, as far as it still is so."""

    added: tuple[FileEntry, ...] = ()
    dropped: tuple[FileEntry, ...] = ()
    """As they were just before."""


async def own_contents(heap: HeapContext, block: BlockId, since_ms: int) -> OwnContents:
    """Return what this device changed of a block's contents; nothing if it cannot be read."""
    log, ours = await _log(heap, block, since_ms)
    try:
        with heap.at_work.on(block):
            return await offload(changed_by, log, ours)
    except BlockError:
        return OwnContents()  # its problem is in the status


async def are_all_ours(heap: HeapContext, block: BlockId) -> bool:
    """Return whether this device attached all present contents of a block."""
    log, ours = await _log(heap, block, 0)

    def look() -> bool:
        made = _files(Replica.load([row.data for row in log if row.seq in ours]))
        return _files(Replica.load([row.data for row in log])).keys() <= made.keys()

    try:
        with heap.at_work.on(block):
            return await offload(look)
    except BlockError:
        return False


async def _log(
    heap: HeapContext, block: BlockId, since_ms: int
) -> tuple[list[LogRow], frozenset[int]]:
    """Return a block's log, and the numbers of what was made here since."""
    log, made = await heap.db.read(
        lambda tx: (blocks.log(tx, block), blocks.made_since(tx, heap.id, since_ms, block))
    )
    return log, frozenset(seq for _, seq, _ in made)


def changed_by(log: Sequence[LogRow], ours: Collection[int]) -> OwnContents:
    """Return what some updates of a log changed of the block's contents.

    What was changed elsewhere since does not count, and nothing is said of a log that does not
    reach back to before these updates.

    Args:
        log: the block's, in order.
        ours: the numbers of the updates.

    Raises:
        UnreadableDocument: as Replica.load.
    """
    known = [row for row in log if row.seq in ours]
    before = [row.data for row in log if known and row.seq < known[0].seq]
    if not before:
        return OwnContents()
    replica = Replica.load(before)
    first = files = _files(replica)
    added: dict[str, FileEntry] = {}
    dropped: dict[str, FileEntry] = {}
    for row in log[len(before) :]:
        replica.apply(row.data)
        earlier, files = files, _files(replica)
        if row.seq in ours:
            added |= {key: file for key, file in files.items() if key not in earlier}
            dropped |= {key: file for key, file in earlier.items() if key not in files}
    return OwnContents(
        tuple(f for key, f in added.items() if key in files and key not in first),
        tuple(f for key, f in dropped.items() if key not in files),
    )


def _files(replica: Replica) -> Mapping[str, FileEntry]:
    return {file.key: file for file in replica.fields().files}


async def attach_again(
    heap: HeapContext, block: BlockId, file: FileEntry, *, preview: bool
) -> dict[str, Any]:
    """Attach a content again, to be downloaded; return why it is left, nothing if it is not."""
    if not file.is_uploaded:
        return {"action": "left", "reason": _UNSENT}
    if not preview:
        async with heap.lock:
            await edit_fields(heap, block, Target(put_files=(replace(file, is_uploaded=True),)))
    return {}
