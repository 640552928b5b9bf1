"""Compare the cache with the server: which blocks, in which versions, with which updates.

Reads the whole delta feed and every document; the stored cursor stays as it is. What the cache was
not told yet is no damage. A service without versions is listed, to count what is new there; its
documents are compared with those that were made of its items.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from heapsyncd.backends.contract import Backend
from heapsyncd.cache import blocks, heaps
from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.database import Tx
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.updates import vector_of
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import Changed, Gone, PullAsk, Pulled
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.offline.check.findings import Finding, Step
from heapsyncd.sync.pull.server_rollback import is_behind
from heapsyncd.sync.report import Progress

ASKED: Final = 50
"""So many documents are pulled whole in one request."""


async def check_server(
    heap: HeapContext, backend: Backend, broken: set[BlockId], step: Step
) -> tuple[list[Finding], list[str]]:
    """Return in what the cache contradicts the server, and what it was not told yet.

    Args:
        heap: the heap.
        backend: the connected server.
        broken: blocks whose documents are damaged here.
        step: takes the progress.

    Raises:
        HeapsyncdError: the server could not be asked.
    """
    news = await backend.unread(heap.id)
    changed, gone, cursor_ms = await _feed(heap, backend, 0)
    rows = await heap.db.read(lambda tx: blocks.of_heap(tx, heap.id))
    stored = {s.id: s for s in rows}
    heap_rows = await heap.db.read(heaps.load_all)
    read_to_ms = next((r.cursor_ms for r in heap_rows if r.id == heap.id), 0)
    found: list[Finding] = []
    for item in changed.values():
        verdict = _compare(item, stored.get(item.id), read_to_ms)
        if verdict is None:
            news += item.id not in stored or _is_newer(item, stored[item.id])
        else:
            row = None if item.id in stored else await backend.row(heap.id, item.id)
            found.append(_at(heap, item.id, verdict, "" if row is None else row.title))
    lost = await _lost(heap, backend, rows, changed, gone)
    found += [_at(heap, block, _LOST) for block in lost]
    asked = [
        s
        for s in stored.values()
        if s.id in changed and s.id not in broken and not s.wanted and s.sync_version
        and s.sync_version == changed[s.id].sync_version
        and s.announced_ms == changed[s.id].updated_at_ms and s.problem is None
    ]  # fmt: skip
    behind = await _documents(heap, backend, asked, step)
    if behind:
        # What was changed on the server meanwhile is news.
        later, _, _ = await _feed(heap, backend, cursor_ms)
        fresh = {i for i, c in later.items() if c != changed.get(i)}
        found += [_at(heap, b, f) for b, f in behind.items() if b not in fresh]
    return found, [f"{news} changes on the server, not received yet"] if news else []


_LOST: Final = Finding("the server does not have it any more", repair="list")
_UNKNOWN: Final = Finding("the server has it and the cache does not", repair="fetch")
_OLDER: Final = Finding("the server has a later version, which the cache missed", repair="pull")
_LESS: Final = Finding("the server lacks edits that it had acknowledged", repair="pull")
_MORE: Final = Finding("the server has edits that the cache lacks", repair="pull")


def _at(heap: HeapContext, block: BlockId, finding: Finding, title: str = "") -> Finding:
    path, known = heap.index.path_of.get(block), heap.index.blocks.get(block)
    title = title if known is None else known.title
    return Finding(
        finding.what, path or title or block, heap.id, block, finding.repair, finding.advice,
        is_file=path is not None,
    )  # fmt: skip


async def _feed(
    heap: HeapContext, backend: Backend, cursor_ms: int
) -> tuple[dict[BlockId, Changed], dict[BlockId, Gone], int]:
    """Read the delta feed from a time to its end."""
    changed: dict[BlockId, Changed] = {}
    gone: dict[BlockId, Gone] = {}
    while True:
        page = await backend.changes(heap.id, cursor_ms)
        changed |= {c.id: c for c in page.changed}
        gone |= {g.id: g for g in page.gone}
        moved, cursor_ms = page.cursor_ms > cursor_ms, max(cursor_ms, page.cursor_ms)
        if not (page.more and moved):
            return changed, gone, cursor_ms


def _is_newer(item: Changed, state: BlockState) -> bool:
    return item.sync_version > state.sync_version or item.updated_at_ms != state.announced_ms


def _compare(item: Changed, state: BlockState | None, read_to_ms: int) -> Finding | None:
    """Return in what a block's row contradicts the feed; None: it does not, or was not told."""
    if item.updated_at_ms >= read_to_ms:
        return None  # the feed is read again from there
    if state is None:
        return _UNKNOWN
    if state.wanted or state.born_here or state.problem is not None:
        return None
    if item.sync_version > state.sync_version:
        return _OLDER
    return None


async def _lost(
    heap: HeapContext,
    backend: Backend,
    stored: Sequence[BlockState],
    changed: Mapping[BlockId, Changed],
    gone: Mapping[BlockId, Gone],
) -> list[BlockId]:
    """Return the live blocks that the server acknowledged once and does not know now."""
    absent = [
        s.id
        for s in stored
        if s.sync_version and s.deleted_at_ms is None and not s.wanted
        and s.id not in changed and s.id not in gone
    ]  # fmt: skip
    return [b for b in absent if await backend.row(heap.id, b) is None]


async def _documents(
    heap: HeapContext, backend: Backend, states: Sequence[BlockState], step: Step
) -> dict[BlockId, Finding]:
    """Compare documents with the server's, of which the cache should have all."""
    found: dict[BlockId, Finding] = {}
    left, done = list(states), 0
    label = f"{heap.report.title}: comparing with the server"
    while left:
        step(Progress(label, done, len(states)))
        asks = [PullAsk(s.id, s.sync_version) for s in left[:ASKED]]
        answer = await backend.pull(heap.id, asks)
        given = {p.id: p for p in answer.blocks}
        if not given and not answer.missing:
            break  # an answer without any block: nothing can be said
        logs = await heap.db.read(lambda tx, ids=list(given): _logs(tx, ids))  # type: ignore[misc]
        verdicts = await offload(lambda g=given, k=logs: {b: _differs(g[b], k[b]) for b in g})  # type: ignore[misc]
        found |= {b: v for b, v in verdicts.items() if v is not None}
        answered = given.keys() | set(answer.missing)
        left = [s for s in left if s.id not in answered]
        done = len(states) - len(left)
    step(Progress(label, len(states), len(states)))
    return found


def _logs(tx: Tx, ids: Sequence[BlockId]) -> dict[BlockId, list[LogRow]]:
    return {i: blocks.log(tx, i) for i in ids}


def _differs(pulled: Pulled, rows: Sequence[LogRow]) -> Finding | None:
    """Return in what a document differs from the server's; runs in a thread."""
    try:
        there = vector_of([pulled.update])
        if is_behind(there, [r.data for r in rows if not r.local]):
            return _LESS
        here = clocks(vector_of([r.data for r in rows]))
        return _MORE if any(n > here.get(c, 0) for c, n in clocks(there).items()) else None
    except BlockError as error:
        what = f"the server's document can't be read: {error}"
        return Finding(what, advice="its file is left as it is; the server's operator can mend it")
