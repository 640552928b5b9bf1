"""Versions and the trash, from the cache; restoring and undoing while no daemon runs."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from heapsyncd.backends.factory import open_backend
from heapsyncd.cache import blocks, entries, heaps, history
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.cache.history import Version
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.diff.shown import shown
from heapsyncd.errors import UnreadableFile
from heapsyncd.ids import BlockId
from heapsyncd.model import Heap
from heapsyncd.sync.cache_file import cache_path, marks_path, open_cache
from heapsyncd.sync.edits.restore import no_versions, restore, text_of
from heapsyncd.sync.edits.undo import undo
from heapsyncd.sync.heap.paths import assets_owner, inside
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.ignore_rules import IgnoreRules
from heapsyncd.sync.merge.note_file import without_id
from heapsyncd.sync.offline.search import is_named
from heapsyncd.sync.publish import publish
from heapsyncd.sync.report import Report, RestoreRequest, UndoRequest
from heapsyncd.sync.runtime.open_heap import open_heap

_LINK: Final = re.compile(r"\[\[[^\[\]\n]*\]\]|\]\([^()\n]*\)")
"""What may change in a text when another note or an attachment is renamed."""
_Names = tuple[str | None, str | None]
_WHO: Final = {"here": "this device", "server": "server", "daemon": "heapsyncd"}
"""Who made a version, for scripts; null: not known."""


async def versions(
    account: Account, state_dir: Path, paths: Sequence[str], *, seen: bool = False
) -> dict[str, Any] | None:
    """Return the document of ``history --json`` for a path; None if no note is or was there.

    Args:
        account: the account.
        state_dir: the directory of its cache.
        paths: absolute; the spellings of one path.
        seen: mark the note's notices as seen.

    Raises:
        UserError: it is a file that is no note.
        FolderTrouble: the cache cannot be used.
    """
    found = await _found(account, state_dir, paths, seen=seen)
    if found is None:
        return None
    path = str(account.folder / found.heap.folder / found.path)
    return {
        "account": account.name,
        "heap": {"id": found.heap.id, "title": found.heap.title},
        "path": path,
        "file": path,
        "block": found.kept[0].block_id,
        "title": found.title,
        "versions": [
            _described(version, older, found.shown_id, found.names[version.number])
            for version, older in found.pairs()
            if not history.is_repeated(version, older)
        ],
    }


async def difference(
    account: Account, state_dir: Path, paths: Sequence[str], number: int | None
) -> dict[str, Any] | None:
    """Return a version as in ``history --json``, with the ``path`` and the ``diff`` to the one
    before it.

    Args:
        account: the account.
        state_dir: the directory of its cache.
        paths: absolute; the spellings of one path.
        number: the version's; None for the latest.

    Returns:
        None if there is no such version.

    Raises:
        UserError, FolderTrouble: as ``versions``.
    """
    found = await _found(account, state_dir, paths)
    if found is None:
        return None
    path = str(account.folder / found.heap.folder / found.path)
    for version, older in found.pairs():
        if number in {None, version.number}:
            names = found.names[version.number]
            facts = _described(version, older, found.shown_id, names)
            texts = [b"" if older is None else older.data, version.data]
            if facts["only"] != "id":
                texts = [_own(one, found.shown_id) for one in texts]
            return {
                "path": path,
                "file": path,
                **facts,
                "before": None if older is None else older.number,
                "diff": shown(*map(text_of, texts)),
            }
    return None


async def text(
    account: Account, state_dir: Path, paths: Sequence[str], number: int | None
) -> bytes | None:
    """Return a version's text (None: the latest one's); None if there is no such version.

    Raises:
        UserError, FolderTrouble: as ``versions``.
    """
    found = await _found(account, state_dir, paths)
    if found is None:
        return None
    return next((v.data for v in found.kept if number in {None, v.number}), None)


async def recent(
    account: Account, state_dir: Path, at_ms: int, limit: int, heap: str | None = None
) -> list[dict[str, Any]]:
    """Return the latest versions of all notes, oldest first, as in ``log --json``.

    Args:
        account: whose notes.
        state_dir: the directory of its cache.
        at_ms: only versions from this time on.
        limit: at most so many.
        heap: only of the heap that is named so.

    Raises:
        FolderTrouble: the cache cannot be used.
    """

    def read(tx: Tx) -> list[dict[str, Any]]:
        rows = [r for r in heaps.load_all(tx) if heap is None or is_named(heap, r.id, r.title)]
        found = [(r, v) for r in rows for v in history.since(tx, r.id, at_ms, limit)]
        found = sorted(found, key=lambda one: (one[1].made_at_ms, one[1].number))[-limit:]
        pairs = [(row, version, history.before(tx, version)) for row, version in found]
        return [
            _logged(tx, account, row, version, older)
            for row, version, older in pairs
            if not history.is_repeated(version, older)
        ]

    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        return await db.read(read)


async def heap_folders(account: Account, state_dir: Path, heap: str) -> list[str]:
    """Return the absolute folders of the heaps that are named so."""
    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        rows = await db.read(heaps.load_all)
    return [str(account.folder / r.folder) for r in rows if is_named(heap, r.id, r.title)]


async def trash(account: Account, state_dir: Path) -> list[dict[str, Any]]:
    """Return the trash of each heap, the latest first, as in ``trash --json``."""
    if not cache_path(account, state_dir).exists():
        return []

    def read(tx: Tx) -> list[dict[str, Any]]:
        return [
            {
                "id": row.id,
                "title": row.title,
                "folder": str(account.folder / row.folder),
                "trash": [
                    {
                        "id": t.block_id,
                        "kind": t.kind,
                        "title": t.title,
                        "path": t.path,
                        "file": str(account.folder / row.folder / (t.path or f"{t.title}.md")),
                        "deleted_at_ms": t.deleted_at_ms,
                    }
                    for t in history.trashed(tx, row.id)
                ],
            }
            for row in heaps.load_all(tx)
        ]

    async with await open_cache(account, state_dir) as db:
        return await db.read(read)


async def restore_alone(
    account: Account, state_dir: Path, wanted: RestoreRequest
) -> list[dict[str, Any]]:
    """Restore as ``edits.restore`` while no mirror runs; hold the lock of the state directory.

    Files are written now; the next mirror tells the server.

    Raises:
        UserError, FolderTrouble: it cannot be done.
    """

    async def work(heap: HeapContext) -> list[dict[str, Any]]:
        return await restore(heap, wanted)

    return await _alone(account, state_dir, wanted.paths, work, preview=wanted.preview)


async def undo_alone(
    account: Account, state_dir: Path, wanted: UndoRequest
) -> list[dict[str, Any]]:
    """Undo as ``edits.undo``, otherwise as ``restore_alone``."""
    paths = wanted.paths or (str(account.folder),)

    async def work(heap: HeapContext) -> list[dict[str, Any]]:
        return await undo(heap, wanted)

    return await _alone(account, state_dir, paths, work, preview=wanted.preview)


async def _alone(
    account: Account,
    state_dir: Path,
    paths: Sequence[str],
    work: Callable[[HeapContext], Awaitable[list[dict[str, Any]]]],
    *,
    preview: bool,
) -> list[dict[str, Any]]:
    """Do some work in each mirrored heap that these paths concern, and write its files.

    ``preview``: the work changes nothing, so nothing is written.
    """
    if not cache_path(account, state_dir).exists():
        return []
    done: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(await open_cache(account, state_dir))
        at_work = stack.enter_context(AtWork.open(marks_path(account, state_dir)))
        backend = await open_backend(account, db)  # never connected
        for row in await db.read(heaps.load_all):
            root = account.folder / row.folder
            if not row.mirrored or not (inside(root, paths) or str(account.folder) in paths):
                continue
            heap = Heap(row.id, row.title)
            state = await open_heap(account, db, backend, Report(account.name), heap, at_work)
            stack.push_async_callback(state.close)
            await IgnoreRules.load(state)
            done += await work(state)
            if not preview:
                await publish(state, set())
    return done


class _Note(Struct, frozen=True):
    """A note with its versions, newest first."""

    heap: HeapRow
    path: str
    title: str
    shown_id: str
    kept: Sequence[Version]
    names: Mapping[int, _Names]
    """For each version, the paths before and after a rename."""

    def pairs(self) -> Iterator[tuple[Version, Version | None]]:
        """Yield each version with the one before it."""
        yield from zip(self.kept, [*self.kept[1:], None], strict=True)


async def _found(
    account: Account, state_dir: Path, paths: Sequence[str], *, seen: bool = False
) -> _Note | None:
    """Return the note that is or was at a path; None if none is known.

    Raises UserError if it is a file that is no note.
    """
    if not cache_path(account, state_dir).exists():
        return None

    def read(tx: Tx) -> _Note | None:
        for row in heaps.load_all(tx):
            root = account.folder / row.folder
            for path in inside(root, paths):
                block = _block_at(tx, row, root, path)
                kept = [] if block is None else history.versions(tx, block)
                if block is None or not kept:
                    continue
                if seen:
                    history.seen(tx, block)
                state = blocks.get(tx, block)
                title = "" if state is None else state.title
                names = {v.number: _rename(tx, v) for v in kept}
                now = entries.note_path(tx, block) or path
                return _Note(row, now, title, _shown_id(tx, block), kept, names)
        return None

    async with await open_cache(account, state_dir) as db:
        return await (db.write(read) if seen else db.read(read))


def _block_at(tx: Tx, row: HeapRow, root: Path, path: str) -> BlockId | None:
    """Return the block whose note is at a path, or was there last."""
    found = next((e for e in entries.of_heap(tx, row.id) if e.path == path), None)
    if found is not None:
        if found.role not in {"note", "folder"}:
            raise no_versions(root / path)
        return found.block_id if found.role == "note" else None
    last = history.last_at(tx, row.id, path)
    state = None if last is None else blocks.get(tx, last)
    if (last is None and assets_owner(path)) or (state is not None and state.kind == "file"):
        raise no_versions(root / path)
    return last


def _shown_id(tx: Tx, block: BlockId) -> str:
    """Return the id that a note's file shows."""
    state = blocks.get(tx, block)
    return block if state is None else state.public_id or block


def _logged(
    tx: Tx, account: Account, heap: HeapRow, version: Version, older: Version | None
) -> dict[str, Any]:
    path = entries.note_path(tx, version.block_id) or version.path or ""
    return {
        "account": account.name,
        "heap": heap.title,
        "path": path,
        "file": str(account.folder / heap.folder / path),
        "block": version.block_id,
        **_described(version, older, _shown_id(tx, version.block_id), _rename(tx, version)),
    }


def _rename(tx: Tx, version: Version) -> _Names:
    """Return the names before and after, if this version is a rename."""
    if version.why != "renamed":
        return None, None
    return version.path, history.renamed_to(tx, version)


def _described(
    version: Version, older: Version | None, shown_id: str, names: _Names
) -> dict[str, Any]:
    """Return what is known of a version, as in ``history --json``; its words without our id."""
    now, before = (
        _own(version.data, shown_id),
        b"" if older is None else _own(older.data, shown_id),
    )
    words, were = Counter(now.split()), Counter(before.split())
    changed = None
    if older is not None and version.why == "written" and older.data != version.data:
        is_links = _LINK.sub("", text_of(now)) == _LINK.sub("", text_of(before))
        changed = "id" if now == before else "links" if is_links else None
    return {
        "number": version.number,
        "made_at_ms": version.made_at_ms,
        "why": version.why,
        "who": "heapsyncd" if changed == "id" else _WHO.get(version.author),
        "only": changed,
        "size": len(version.data),
        "words_added": (words - were).total(),
        "words_removed": (were - words).total(),
        "notice": version.notice,
        "from": names[0],
        "to": names[1],
    }


def _own(data: bytes, shown_id: str) -> bytes:
    try:
        return without_id(data, shown_id)
    except UnreadableFile:
        return data
