"""Repair what a check found, while no mirror runs. Nothing is lost by it.

The cache is copied first. Each heap is repaired in one transaction; what is left to do, the next
mirror does: it reads, writes, pulls and merges as always.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from heapsyncd.backends.contract import Backend
from heapsyncd.backends.factory import dialect_of
from heapsyncd.cache import blocks, heaps, history, integrity, renditions, search
from heapsyncd.cache.blocks import BlockState
from heapsyncd.config import Account
from heapsyncd.database import Database, Tx, beside, copy_database, put_aside
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError, HeapsyncdError
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import BlockRow, PullAsk, Pulled
from heapsyncd.sync.cache_file import cache_path, open_cache
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import now_ms
from heapsyncd.sync.heap.traffic import Traffic
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.offline.check.account import check, connected
from heapsyncd.sync.offline.check.findings import Checked, Finding, Step
from heapsyncd.tasks import in_thread

_OF_FOLDER: Final = frozenset({"mark", "clear"})
_OF_CACHE: Final = frozenset({"reindex", "rebuild search", "remove rows"})


async def check_and_repair(
    account: Account, state_dir: Path, step: Step, *, offline: str | None
) -> Checked:
    """Check an account, repair it, and check it again if anything was repaired.

    No mirror of it runs meanwhile, in this process or another one. Otherwise as ``check``.
    """
    found = await check(account, state_dir, step, offline=offline, is_running=False)
    repaired, copy = await repair(account, state_dir, found, offline=offline)
    if not repaired:
        return found
    after = await check(account, state_dir, step, offline=offline, is_running=False)
    after.cache, after.heaps = found.cache, after.heaps or found.heaps
    after.repaired, after.put_aside = repaired, copy
    return after


async def repair(
    account: Account, state_dir: Path, checked: Checked, *, offline: str | None
) -> tuple[list[Finding], str]:
    """Repair what was found; return what was, and the path of the cache's copy.

    Hold the lock of the state directory.

    Args:
        account: with its key, if documents are to be fetched.
        state_dir: the directory of its cache.
        checked: what was found.
        offline: why the server is not to be asked; None: it is.

    Raises:
        FolderTrouble: the disk refused; what was repaired until then stays.
    """
    path = cache_path(account, state_dir)
    wanted = [f for f in checked.findings if f.repair is not None]
    if any(f.repair == "rebuild" for f in wanted):
        return [f for f in wanted if f.repair == "rebuild"], str(put_aside(path))
    if not wanted:
        return [], ""
    copy = ""
    if not all(f.repair in _OF_FOLDER for f in wanted):
        copy = str(beside(path, "bak"))
        await in_thread(lambda: copy_database(path, Path(copy)))
    done: list[Finding] = []
    async with await open_cache(account, state_dir) as db:
        of_cache = [f for f in wanted if f.repair in _OF_CACHE]
        await db.write(lambda tx: _repair_cache(tx, {str(f.repair) for f in of_cache}))
        done += of_cache
        rows = {row.id: row for row in await db.read(heaps.load_all)}
        by_heap = {h: [f for f in wanted if f.heap == h] for h in rows}
        needs = any(f.repair == "fetch" for f in wanted)
        async with connected(account, db, offline if needs else "not needed") as (backend, _):
            for heap_id, found in by_heap.items():
                done += await _repair_heap(account, db, backend, heap_id, found)
                done += await _repair_folder(
                    HeapFolder(account.folder / rows[heap_id].folder),
                    heap_id,
                    rows[heap_id].title,
                    found,
                )
    return done, copy


def _repair_cache(tx: Tx, wanted: set[str]) -> None:
    if "reindex" in wanted:
        integrity.reindex(tx)
    if "remove rows" in wanted:
        integrity.remove_orphans(tx)
    if "rebuild search" in wanted:
        search.rebuild(tx)


async def _repair_folder(
    disk: HeapFolder, heap_id: HeapId, title: str, found: Sequence[Finding]
) -> list[Finding]:
    wanted = [f for f in found if f.repair in _OF_FOLDER]
    if any(f.repair == "mark" for f in wanted):
        await disk.create(heap_id, title)
    if any(f.repair == "clear" for f in wanted):
        await disk.clear_temps()
    return wanted


async def _repair_heap(
    account: Account,
    db: Database,
    backend: Backend | None,
    heap_id: HeapId,
    found: Sequence[Finding],
) -> list[Finding]:
    wanted = [f for f in found if f.repair not in _OF_FOLDER]
    blocks_wanted = [f.block for f in wanted if f.repair == "fetch" and f.block is not None]
    fetched = await _fetch(backend, heap_id, blocks_wanted) if backend is not None else {}
    done: list[Finding] = []

    def work(tx: Tx) -> None:
        done.clear()
        index = Index.of_heap(tx, heap_id, dialect_of(account))
        change = Change(tx, heap_id, index, Traffic(), now_ms())
        for finding in wanted:
            if finding.repair != "fetch":
                _mend(change, index, heap_id, finding)
            elif finding.block in fetched:
                _take_over(change, index, heap_id, finding, fetched[finding.block])
            else:
                continue
            done.append(finding)
        change.stored()

    await db.write(work)
    return done


def _mend(change: Change, index: Index, heap_id: HeapId, finding: Finding) -> None:
    """Carry out a repair that needs no server."""
    tx, block = change.tx, finding.block
    match finding.repair:
        case "list":
            heaps.set_cursor(tx, heap_id, 0)
        case "read":
            _read_again(change, index, finding.path)
        case "forget path":
            change.remove([finding.path])
        case "forget versions":
            history.drop_damaged(tx, heap_id)
            if block is not None and (state := blocks.get(tx, block)) is not None:
                bad, _ = renditions.damaged(tx, block, state.seq)
                renditions.drop_numbers(tx, block, bad)
        case _:
            state = None if block is None else blocks.get(tx, block)
            if state is not None:
                _mend_block(change, index, heap_id, state, finding)


def _mend_block(
    change: Change, index: Index, heap_id: HeapId, state: BlockState, finding: Finding
) -> None:
    tx, block = change.tx, state.id
    match finding.repair:
        case "forget":
            _keep_texts(change, index, heap_id, state)
            change.forget(block, index.paths_of(block))
        case "renumber":
            newest = integrity.behind_their_logs(tx, heap_id).get(block, state.seq)
            change.update(block, seq=newest)
        case "describe":
            fields = Replica.load([r.data for r in blocks.log(tx, block)]).fields()
            change.update(block, **change.describe(state, fields), stale=1)
            if state.kind in {"tag", "folder"}:
                change.touch_related(block)
        case "forget texts":
            _keep_texts(change, index, heap_id, state)
            _read_again(change, index, finding.path)
        case "write":
            change.update(block, stale=1)
        case "pull":
            change.update(block, wanted=max(1, state.sync_version))


def _read_again(change: Change, index: Index, path: str) -> None:
    """Have a file read by the next scan: its stamps agree with nothing."""
    entry = index.entries.get(path)
    if entry is not None and entry.stat is not None:
        change.save([replace(entry, stat=replace(entry.stat, ctime_ns=-1))])


def _keep_texts(change: Change, index: Index, heap_id: HeapId, state: BlockState) -> None:
    """Keep a note's last texts in its history; no edit is measured against them any more."""
    tx, path = change.tx, index.path_of.get(state.id)
    renditions.drop_numbers(tx, state.id, renditions.unreadable(tx, state.id))
    history.set_aside(tx, heap_id, state.id, path or "")


# ---- documents from the server -----------------------------------------------------------------


async def _fetch(
    backend: Backend, heap_id: HeapId, wanted: Sequence[BlockId]
) -> dict[BlockId, tuple[BlockRow, Pulled] | None]:
    """Return the server's rows and whole documents; None for a block that it does not know."""
    found: dict[BlockId, tuple[BlockRow, Pulled] | None] = {}
    for block in wanted:
        try:
            row = await backend.row(heap_id, block)
            if row is None:
                found[block] = None
                continue
            answer = await backend.pull(heap_id, [PullAsk(block, max(1, row.sync_version))])
            for pulled in answer.blocks:
                await offload(_load, [pulled.update])
                found[block] = row, pulled
        except HeapsyncdError:
            continue  # it stays damaged, which the check that follows tells
    return found


def _load(updates: Sequence[bytes]) -> Replica:
    """Return a document that can be read whole."""
    replica = Replica.load(updates)
    replica.fields(), replica.view()
    return replica


def _take_over(
    change: Change,
    index: Index,
    heap_id: HeapId,
    finding: Finding,
    fetched: tuple[BlockRow, Pulled] | None,
) -> None:
    """Replace a block's log by the server's document, with the unsent edits that can be read."""
    assert finding.block is not None
    tx, block = change.tx, finding.block
    state = blocks.get(tx, block)
    if state is not None:
        _keep_texts(change, index, heap_id, state)
    if fetched is None:
        if state is None:
            change.remove([finding.path])
        else:
            change.forget(block, index.paths_of(block))
        return
    row, pulled = fetched
    if state is None:
        state = BlockState(block, heap_id, row.kind, title=row.title, public_id=row.public_id)
        change.insert(state)
    unsent = _readable(pulled.update, [r.data for r in blocks.log(tx, block) if r.local])
    rows = [(pulled.update, False), *((data, True) for data in unsent)]
    change.restart_log(block, pulled.sync_version, rows)
    blocks.release(tx, block)
    replica = _load([data for data, _ in rows])
    change.update(
        block,
        **change.describe(state, replica.fields()),
        state_vector=replica.state_vector(),
        sync_version=pulled.sync_version,
        wanted=0,
        born_here=0,
        problem=None,
        stale=1,
    )
    if row.kind in {"tag", "folder"}:
        change.touch_related(block)
    path = index.path_of.get(block)
    if path is not None and row.kind == "document":
        _read_again(change, index, path)


def _readable(whole: bytes, unsent: Sequence[bytes]) -> list[bytes]:
    """Return the unsent updates that a document can take in."""
    kept: list[bytes] = []
    for data in unsent:
        try:
            _load([whole, *kept, data])
        except BlockError:
            continue
        kept.append(data)
    return kept
