"""Compare what the cache has of each block: its row, its log, its texts, its last file."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from heapsyncd.cache import blocks, integrity, renditions
from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.database import Tx
from heapsyncd.document.encoding.state_vectors import is_same
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.folder.layout import place
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Fields
from heapsyncd.sync.heap.index import PLACED_ROLES
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.offline.check.findings import Finding, Repair, Step
from heapsyncd.sync.publish import not_shown
from heapsyncd.sync.report import Progress

BATCH: Final = 200
"""So many blocks are compared at a time; as many replicas are kept in memory."""


class Stored(Struct, frozen=True):
    """What the cache has of a block."""

    state: BlockState
    rows: Sequence[LogRow]
    tags: frozenset[BlockId]
    folder: BlockId | None
    """The folder among the tags."""
    bad_texts: tuple[int, ...]
    """The numbers of the renditions that can't be used."""
    is_base_bad: bool
    is_quarantined: bool


class Logs(Struct, frozen=True):
    """What is wrong with the numbers of a heap's logs."""

    lacking: frozenset[BlockId]
    """Blocks whose logs lack rows."""
    behind: frozenset[BlockId]
    """Blocks whose next row would take a number in use."""

    @classmethod
    def of(cls, tx: Tx, heap_id: HeapId) -> "Logs":
        """Look at all logs of a heap."""
        lacking = integrity.without_rows(tx, heap_id)
        return cls(frozenset(lacking), frozenset(integrity.behind_their_logs(tx, heap_id)))


async def check_documents(
    heap: HeapContext, skipped: Collection[BlockId], step: Step
) -> list[Finding]:
    """Return what is wrong with the blocks of a heap.

    Args:
        heap: the heap.
        skipped: blocks with which the process died too often: they are not loaded.
        step: takes the progress.
    """
    index, found = heap.index, list(_entries(heap))
    for block in index.blocks.keys() & skipped:
        path = index.path_of.get(block)
        title = index.blocks[block].title or block
        found.append(Finding(_SKIPPED, path or title, heap.id, block, is_file=path is not None))
    every = sorted(index.blocks.keys() - skipped)
    logs = await heap.db.read(lambda tx: Logs.of(tx, heap.id))
    places = await offload(lambda: place(index.placed(), index.path_of))
    index.plan(places)  # links name notes without a file by these
    for at in range(0, len(every), BATCH):
        step(Progress(f"{heap.report.title}: comparing documents", at, len(every)))
        found += await _batch(heap, every[at : at + BATCH], logs, places)
    step(Progress(f"{heap.report.title}: comparing documents", len(every), len(every)))
    return found


async def _batch(
    heap: HeapContext, ids: Sequence[BlockId], logs: Logs, places: Mapping[BlockId, str]
) -> list[Finding]:
    stored = await heap.db.read(lambda tx: [s for i in ids for s in _read(tx, i)])
    seen = await offload(lambda: [_examine(one, logs) for one in stored])
    found: list[Finding] = []
    settled: list[BlockState] = []
    for one, (replica, wrong) in zip(stored, seen, strict=True):
        state = one.state
        found += [_at(heap, state, f) for f in (*wrong, *_place(heap, one, replica, places))]
        if replica is not None:
            heap.replicas.put(state.id, state.seq, replica)
            if _is_settled(heap, state) and not one.is_base_bad:
                settled.append(state)
    other = set(await not_shown(heap, settled))
    return [*found, *(_at(heap, state, _NOT_SHOWN) for state in settled if state.id in other)]


_SKIPPED: Final = "heapsyncd died too often while working on it, and skips it (see its log)"
_NOT_SHOWN: Final = Finding("its text is another one than its document's", repair="write")


def _at(heap: HeapContext, state: BlockState, finding: Finding) -> Finding:
    """Return a finding with the block and its path."""
    path = heap.index.path_of.get(state.id)
    return Finding(
        finding.what, path or state.title or state.id, heap.id, state.id, finding.repair,
        finding.advice, finding.is_damage, is_file=path is not None,
    )  # fmt: skip


def _read(tx: Tx, block: BlockId) -> Iterator[Stored]:
    state = blocks.get(tx, block)
    if state is not None:
        bad, is_base_bad = renditions.damaged(tx, block, state.seq)
        yield Stored(
            state,
            blocks.log(tx, block),
            frozenset(blocks.tags(tx, block)),
            blocks.folder_among_tags(tx, block),
            tuple(bad),
            is_base_bad,
            blocks.is_quarantined(tx, block),
        )


def _entries(heap: HeapContext) -> Iterator[Finding]:
    """Yield paths whose block is unknown, and paths that share a block."""
    entries = heap.index.entries.values()
    counted = Counter(e.block_id for e in entries if e.role in PLACED_ROLES)
    for entry in entries:
        if entry.block_id not in heap.index.blocks:
            what = "the cache has the file and not its block"
            yield Finding(what, entry.path, heap.id, entry.block_id, "fetch")
        elif (
            entry.role in PLACED_ROLES
            and counted[entry.block_id] > 1
            and (first := heap.index.path_of[entry.block_id]) != entry.path
        ):
            what = f"the cache has the note at {first} too"
            yield Finding(what, entry.path, heap.id, None, "forget path")


def _examine(stored: Stored, logs: Logs) -> tuple[Replica | None, list[Finding]]:
    """Return a block's replica and what is wrong with its row, log and texts; runs in a thread."""
    state = stored.state
    found = list(_texts(stored))
    if stored.is_quarantined:
        found.append(
            Finding(
                f"an update from the server is kept aside: {state.problem or 'not usable'}",
                advice="it is asked for again with each sync; until then the file is left alone",
            )
        )
    again: Repair = "forget" if state.born_here and not state.sync_version else "fetch"
    if state.id in logs.lacking:
        return None, [*found, Finding("updates of its document are missing", repair=again)]
    try:
        replica = Replica.load([r.data for r in stored.rows])
        fields, _ = replica.fields(), replica.view()
    except BlockError as error:
        return None, [*found, Finding(f"its document can't be read: {error}", repair=again)]
    if state.seq and not is_same(state.state_vector, replica.state_vector()):
        what = "its updates are not those that it should have"
        return None, [*found, Finding(what, repair=again)]
    if state.id in logs.behind:
        what = f"its next update would get a number in use ({state.seq + 1})"
        found.append(Finding(what, repair="renumber"))
    if wrong := _described(stored, fields):
        what = f"the cache has another {' and '.join(wrong)} than its document"
        found.append(Finding(what, repair="describe"))
    return replica, found


def _texts(stored: Stored) -> Iterator[Finding]:
    numbers = ", ".join(map(str, stored.bad_texts))
    if stored.is_base_bad:
        yield Finding(f"its last text in the cache is damaged ({numbers})", repair="forget texts")
    elif stored.bad_texts:
        what = f"earlier texts of it in the cache are damaged ({numbers})"
        yield Finding(what, repair="forget versions")


def _described(stored: Stored, fields: Fields) -> list[str]:
    """Return which columns of a block's row contradict its document."""
    state = stored.state
    if not state.seq:
        return []
    is_deleted = fields.deleted_at_ms is not None or fields.permanently_deleted_at_ms is not None
    wrong = {
        "title": bool(fields.title) and fields.title != state.title,
        "state (deleted or not)": is_deleted and state.deleted_at_ms is None,
        "tags": frozenset(fields.tags) != stored.tags,
        "folder": state.folder_id != stored.folder,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def _is_settled(heap: HeapContext, state: BlockState) -> bool:
    """Return whether a note's last text should show its document now."""
    entry = heap.index.entries.get(heap.index.path_of.get(state.id, ""))
    is_note = state.kind == "document" and state.deleted_at_ms is None
    has_file = entry is not None and entry.stat is not None
    return is_note and has_file and not state.stale and state.problem is None


def _place(
    heap: HeapContext, stored: Stored, replica: Replica | None, places: Mapping[BlockId, str]
) -> Iterator[Finding]:
    """Yield what is wrong with a block's place: it has no file, or has one and is deleted."""
    state, index = stored.state, heap.index
    if (
        replica is None
        or state.stale
        or state.wanted
        or state.problem is not None
        or not state.seq
    ):
        return
    path = index.path_of.get(state.id)
    if state.id in index.doomed and path is not None:
        if state.id not in heap.holds.down and not heap.hides(path, state.id):
            yield Finding("it was deleted, and its file is still there", repair="write")
    elif state.id in index.unplaced and (at := places.get(state.id)) is not None:
        is_shown = state.kind != "file" or bool(replica.fields().files)
        if is_shown and not heap.hides(at, state.id):
            yield Finding("it has no file", repair="write")
