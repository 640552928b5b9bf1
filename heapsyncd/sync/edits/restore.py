"""Restore earlier versions and deleted notes.

A version is restored as if somebody had saved it. The present file is read first (and stays in the
history), then the earlier text is written and read as an intended edit. A deleted note is restored
from the server's trash under its id, in the style of its last text.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import structlog

from heapsyncd.cache import history, renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.history import Trashed, Version
from heapsyncd.document.edit import Target
from heapsyncd.errors import TryLater, UserError
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.ids import BlockId
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.model import Stat
from heapsyncd.sync.edits.fields import edit_fields
from heapsyncd.sync.edits.note_saved import notes_saved
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.heap.limits import NOTE_BYTES
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import inside
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge.note_file import file_of, owner_of_title
from heapsyncd.sync.merge.note_text import Note, owner, shown_title
from heapsyncd.sync.report import RestoreRequest

log = structlog.get_logger()

TRIES = 5


async def restore(heap: HeapContext, wanted: RestoreRequest) -> list[dict[str, Any]]:
    """Restore what was requested in this heap; return what was done for each path.

    Raises:
        UserError: there is no such version.
        TryLater: another program keeps changing the file.
    """
    restored: list[dict[str, Any]] = []
    for path in inside(heap.disk.root, wanted.paths):
        entry = heap.index.entries.get(path)
        if entry is not None and entry.role == "note" and not wanted.trash:
            restored.append(await _restore_version(heap, entry, wanted.number))
            continue
        for block in await _in_trash(heap, path):
            restored += await _restore_trashed(heap, block)
        entry = heap.index.entries.get(path)
        if wanted.number is not None and entry is not None and entry.role == "note":
            restored = [await _restore_version(heap, entry, wanted.number)]
    return restored


# ---- an earlier text --------------------------------------------------------------------------


async def _restore_version(
    heap: HeapContext, entry: EntryRow, number: int | None
) -> dict[str, Any]:
    if entry.path in heap.holds.up:
        await heap.release_holds([heap.holds.up[entry.path]])
    for _ in range(TRIES):
        try:
            gone = await heap.disk.stat(entry.path) is None
            now, stat = await _read_now(heap, entry, gone=gone)
            # If the file is missing, its last text counts as an earlier version.
            other = None if gone else now
            version = await _choose_version(heap, entry, other, number)
            data = await offload(_with_present_keys, heap, entry, now, version.data)
            stat = await heap.disk.write(entry.path, data, stat)
        except (PathChanged, FileBusy):
            continue
        saved = await offload(SavedFile.of, entry.path, data, stat)
        await notes_saved(heap, [replace(saved, meant=True)])
        log.info("version restored", path=entry.path, number=version.number)
        path = str(heap.disk.root / entry.path)
        return {"path": path, "number": version.number, "made_at_ms": version.made_at_ms}
    raise TryLater(f"Another program is changing {entry.path}; try again in a moment.")


async def _read_now(heap: HeapContext, entry: EntryRow, *, gone: bool) -> tuple[bytes, Stat]:
    """Read the present file as an edit, and return it; a missing file is written first."""
    if gone:
        base = await heap.db.read(lambda tx: renditions.newest(tx, entry.block_id))
        data = b"" if base is None else base.data
        stat = await heap.disk.write(entry.path, data, None)
    else:
        data, stat = await heap.disk.read(entry.path, NOTE_BYTES)
    await notes_saved(heap, [await offload(SavedFile.of, entry.path, data, stat)])
    return data, stat


async def _choose_version(
    heap: HeapContext, entry: EntryRow, now: bytes | None, number: int | None
) -> Version:
    kept = await heap.db.read(lambda tx: history.versions(tx, entry.block_id))
    if number is None:
        found = await offload(_newest_other, heap, kept, now)
    else:
        found = next((v for v in kept if v.number == number), None)
    if found is None:
        which = "earlier text" if number is None else f"version {number}"
        raise UserError(
            f"{heap.disk.root / entry.path} has no {which}; `heapsyncd history` lists them."
        )
    return found


def _newest_other(heap: HeapContext, kept: Sequence[Version], now: bytes | None) -> Version | None:
    def other(version: Version) -> bool:
        block = version.block_id
        return now is None or (
            _without_id(heap, version.data, block) != _without_id(heap, now, block)
        )

    return next((v for v in kept if v.data and other(v)), None)


def _with_present_keys(heap: HeapContext, entry: EntryRow, now: bytes, version: bytes) -> bytes:
    """Return an earlier file with its front matter; only our id and title are those of now."""
    note, present, block = Note.of(version), Note.of(now), entry.block_id

    def title() -> str | None:
        return shown_title(entry.path, heap.index.blocks[block].title)

    key = owner_of_title(present.front.raw, None, title)
    # If the name can't carry the title now, it could not earlier: another title was ours, too.
    earlier = owner_of_title(note.front.raw, None, title if key is None else None)
    ours = owner(heap.index, block, earlier)
    now_title = present.file(owner(heap.index, block, key)).title
    keys = OurKeys(heap.index.shown_id(block), now_title, _tags_of(heap, note))
    return file_of(note.file(ours).source, keys)


# ---- the trash --------------------------------------------------------------------------------


async def _in_trash(heap: HeapContext, path: str) -> list[Trashed]:
    """Return the deleted notes a path means: the last one there, or all that were below it."""
    trashed = await heap.db.read(lambda tx: history.trashed(tx, heap.id))
    below = [
        t for t in trashed if path == "." or (t.path is not None and t.path.startswith(f"{path}/"))
    ]
    here = [t for t in trashed if t.path == path][:1]
    if not here and not below:
        name = PurePosixPath(path).name
        here = [t for t in trashed if name in {t.block_id, t.title, f"{t.title}.md"}][:1]
    # Folders before what is in them.
    return sorted([*here, *(t for t in below if t not in here)], key=lambda t: t.kind != "folder")


async def _restore_trashed(heap: HeapContext, trashed: Trashed) -> list[dict[str, Any]]:
    if heap.index.is_live(trashed.block_id):
        return []  # it was restored with another one
    folder = heap.index.blocks[trashed.block_id].folder
    restored: list[dict[str, Any]] = []
    if folder is not None and not heap.index.is_live(folder):
        known = await heap.db.read(lambda tx: history.trashed(tx, heap.id))
        restored = [
            one for t in known if t.block_id == folder for one in await _restore_trashed(heap, t)
        ]
    kept = await heap.db.read(lambda tx: history.of_block(tx, trashed.block_id))
    last = next((v for v in kept if v.why == "deleted"), None)
    async with heap.lock:
        await edit_fields(heap, trashed.block_id, Target(deleted_at_ms=None))
        live = heap.index.is_live(trashed.block_id)
    path = trashed.path or f"{trashed.title}.md"
    if not live:
        if last is None or not last.data:
            raise UserError(f"{path} was deleted permanently, and no text of it is kept here.")
        path = await _as_new(heap, path, last.data, trashed.block_id)
    log.info("restored from the trash", path=path, block=trashed.block_id, as_new_note=not live)
    number = None if last is None else last.number
    return [*restored, {"path": str(heap.disk.root / path), "number": number, "made_at_ms": None}]


def _tags_of(heap: HeapContext, note: Note) -> tuple[str, ...] | None:
    return (note.front.tags or ()) if heap.dialect.tag_blocks else None


def _without_id(heap: HeapContext, data: bytes, block: BlockId) -> bytes:
    """Return a note's file without its id."""
    note, own = Note.of(data), heap.index.shown_id(block)
    source = note.file(Owner(lambda value: value == own)).source
    return file_of(source, OurKeys(None, None, _tags_of(heap, note)))


async def _as_new(heap: HeapContext, path: str, data: bytes, block: BlockId) -> str:
    """Write the text of a permanently deleted block as a new note's file; return its path."""
    text = await offload(_without_id, heap, data, block)
    for k in range(1, 100):
        place = PurePosixPath(path)
        name = path if k == 1 else str(place.with_name(f"{place.stem} ({k}){place.suffix}"))
        try:
            if place.parent.name:
                await heap.disk.make_dir(str(place.parent))
            await heap.disk.write(name, text, None)
        except PathChanged:
            continue
        return name
    raise UserError(f"There is already a file at {path}; move it away and try again.")
