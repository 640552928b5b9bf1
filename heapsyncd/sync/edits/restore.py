"""Restore earlier versions and deleted notes.

A version is restored as if somebody had saved it. The present file is read first (and stays in the
history), then the earlier text is written and read as an intended edit. A deleted note is restored
from the server's trash under its id, in the style of its last text.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from heapsyncd.cache import blocks, history, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.history import Trashed, Version
from heapsyncd.database import Tx
from heapsyncd.diff.shown import Line, shown
from heapsyncd.document.edit import Target
from heapsyncd.document.replica import Replica
from heapsyncd.errors import TryLater, UserError
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.ids import BlockId
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.model import Stat
from heapsyncd.sync.edits.fields import edit_fields, is_gone_for_good
from heapsyncd.sync.edits.note_saved import notes_saved
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.heap.limits import NOTE_BYTES
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_owner, inside
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.merge.note_file import file_of, owner_of_title, without_id
from heapsyncd.sync.merge.note_text import Note, owner, shown_title
from heapsyncd.sync.report import RestoreRequest

log = structlog.get_logger()

TRIES = 5


async def restore(heap: HeapContext, wanted: RestoreRequest) -> list[dict[str, Any]]:
    """Restore what was requested in this heap; return what was done for each path.

    Each entry has the path, the version (``made_at_ms`` None: out of the trash), whether the text
    ``changed``, and the ``diff`` (``diff.shown``).

    Raises:
        UserError: there is no such version.
        TryLater: another program keeps changing the file.
    """
    restored: list[dict[str, Any]] = []
    for path in inside(heap.disk.root, wanted.paths):
        entry = heap.index.entries.get(path)
        if entry is not None and entry.role == "note" and not wanted.trash:
            restored.append(await _restore_version(heap, entry, wanted))
            continue
        if entry is not None and entry.role != "folder" and not wanted.trash:
            raise no_versions(heap.disk.root / path)
        trashed = await _in_trash(heap, path)
        if not trashed and not wanted.trash and assets_owner(path) is not None:
            raise no_versions(heap.disk.root / path)
        for block in trashed:
            restored += await restore_trashed(heap, block, preview=wanted.preview)
        entry = heap.index.entries.get(path)
        if wanted.number is not None and entry is not None and entry.role == "note":
            restored = [await _restore_version(heap, entry, wanted)]
    return restored


def no_versions(path: Path) -> UserError:
    """Return the error for a path that is a file but no note."""
    return UserError(
        f"{path}: only notes have versions; this is another file, whose earlier contents are not"
        " kept here."
    )


# ---- an earlier text --------------------------------------------------------------------------


async def _restore_version(
    heap: HeapContext, entry: EntryRow, wanted: RestoreRequest
) -> dict[str, Any]:
    chosen: list[Version] = []

    async def earlier(now: bytes, *, gone: bool) -> bytes:
        # If the file is missing, its last text counts as an earlier version.
        version = await _choose_version(heap, entry, None if gone else now, wanted.number)
        chosen[:] = [version]
        return await offload(with_present_keys, heap, entry, now, version.data)

    done = await rewrite(heap, entry, earlier, preview=wanted.preview)
    if not wanted.preview:
        log.info("version restored", path=entry.path, number=chosen[0].number)
    return {**done, "number": chosen[0].number, "made_at_ms": chosen[0].made_at_ms}


class Next(Protocol):
    """Returns the text that a file is to get, from its present one; ``gone``: it is missing."""

    async def __call__(self, now: bytes, *, gone: bool) -> bytes:
        """Return the text."""


async def rewrite(
    heap: HeapContext, entry: EntryRow, following: Next, *, preview: bool
) -> dict[str, Any]:
    """Give a note's file another text, as if somebody had saved it.

    The present text is read first, and stays in the history. A file that has the text already is
    not written.

    Args:
        heap: the heap.
        entry: the note's.
        following: returns the text; may be called several times.
        preview: change nothing.

    Returns:
        The path, whether the text changes, and the difference.

    Raises:
        TryLater: another program keeps changing the file.
    """
    if not preview and entry.path in heap.holds.up:
        await heap.release_holds([heap.holds.up[entry.path]])
    for _ in range(TRIES):
        try:
            gone = await heap.disk.stat(entry.path) is None
            now, stat = await _read_now(heap, entry, gone=gone, preview=preview)
            data = await following(now, gone=gone)
            if stat is not None and data != now:
                await _keep(heap, entry, now)
                stat = await heap.disk.write(entry.path, data, stat)
        except (PathChanged, FileBusy):
            continue
        if stat is not None and data != now:
            saved = await offload(SavedFile.of, entry.path, data, stat)
            await notes_saved(heap, [replace(saved, meant=True)])
        own = heap.index.shown_id(entry.block_id)
        return {
            "path": str(heap.disk.root / entry.path),
            "file": str(heap.disk.root / entry.path),
            "changed": gone or data != now,
            "diff": await offload(_difference, b"" if gone else now, data, own),
        }
    raise TryLater(f"Another program is changing {entry.path}; try again in a moment.")


def _difference(old: bytes, new: bytes, own_id: str | None) -> list[Line]:
    return shown(text_of(without_id(old, own_id)), text_of(without_id(new, own_id)))


def text_of(data: bytes) -> str:
    """Return a file's text, as far as it is one."""
    return data.decode("utf-8", "replace")


async def _read_now(
    heap: HeapContext, entry: EntryRow, *, gone: bool, preview: bool
) -> tuple[bytes, Stat | None]:
    """Read the present file as an edit, and return it; a missing file is written first.

    With ``preview`` nothing is changed, and no stat returned.
    """
    stat: Stat | None = None
    if gone:
        base = await heap.db.read(lambda tx: renditions.newest(tx, entry.block_id))
        data = b"" if base is None else base.data
        if not preview:
            stat = await heap.disk.write(entry.path, data, None)
    else:
        data, stat = await heap.disk.read(entry.path, NOTE_BYTES)
    if preview or stat is None:
        return data, None
    await notes_saved(heap, [await offload(SavedFile.of, entry.path, data, stat)])
    return data, stat


async def _keep(heap: HeapContext, entry: EntryRow, now: bytes) -> None:
    """Keep the present text, before the file gets another one, unless it was read as an edit.

    A text that its document does not take, or of a note that is gone for good, is nowhere else.
    """

    def store(tx: Tx) -> None:
        if not any(v.data == now for v in history.versions(tx, entry.block_id)):
            block, path = entry.block_id, entry.path
            history.keep(tx, heap.id, block, path, "saved", now, now_ms(), author="here")

    await heap.db.write(store)


async def _choose_version(
    heap: HeapContext, entry: EntryRow, now: bytes | None, number: int | None
) -> Version:
    kept = await heap.db.read(lambda tx: history.versions(tx, entry.block_id))
    path = heap.disk.root / entry.path
    if number is not None:
        found = next((v for v in kept if v.number == number), None)
        if found is None:
            raise UserError(
                f"{path} has no version {number};"
                f" `heapsyncd history {shlex.quote(str(path))}` lists them."
            )
        return found
    found = await offload(_newest_other, heap, kept, now)
    if found is None:
        raise UserError(f"{path} has no earlier text: no text but the present one is kept.")
    return found


def _newest_other(heap: HeapContext, kept: Sequence[Version], now: bytes | None) -> Version | None:
    def other(version: Version) -> bool:
        own = heap.index.shown_id(version.block_id)
        return now is None or without_id(version.data, own) != without_id(now, own)

    return next((v for v in kept if v.data and other(v)), None)


def with_present_keys(heap: HeapContext, entry: EntryRow, now: bytes, version: bytes) -> bytes:
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


async def restore_trashed(
    heap: HeapContext, trashed: Trashed, *, preview: bool
) -> list[dict[str, Any]]:
    """Restore a deleted block, and the folders that it is in; return what was restored.

    ``preview``: change nothing.

    Raises:
        UserError: it was deleted permanently, and nothing of it is kept.
    """
    if heap.index.is_live(trashed.block_id):
        return []  # it was restored with another one
    folder = heap.index.blocks[trashed.block_id].folder
    restored: list[dict[str, Any]] = []
    if folder is not None and not heap.index.is_live(folder):
        known = await heap.db.read(lambda tx: history.trashed(tx, heap.id))
        restored = [
            one
            for t in known
            if t.block_id == folder
            for one in await restore_trashed(heap, t, preview=preview)
        ]
    kept = await heap.db.read(lambda tx: history.of_block(tx, trashed.block_id))
    last = next((v for v in kept if v.why == "deleted"), None)
    path = trashed.path or f"{trashed.title}.md"
    if await _is_gone(heap, trashed.block_id, has_text=bool(last and last.data)):
        raise _gone(path)
    if not preview:
        path = await _undelete(heap, trashed, path, b"" if last is None else last.data)
    number = None if last is None else last.number
    done: dict[str, Any] = {"number": number, "made_at_ms": None, "changed": True, "diff": []}
    place = str(heap.disk.root / path)
    return [*restored, {"path": place, "file": place, **done}]


async def _is_gone(heap: HeapContext, block: BlockId, *, has_text: bool) -> bool:
    """Return whether a deleted block cannot come back, not even as a new note of its text."""

    def read(tx: Tx) -> tuple[BlockState | None, list[bytes], bool]:
        log = blocks.log(tx, block)
        return blocks.get(tx, block), [r.data for r in log], any(r.local for r in log)

    state, updates, is_unsent = await heap.db.read(read)
    if state is None:
        return True
    if not heap.dialect.has_trash:
        # The item is made again, but its content was deleted with it.
        return state.kind == "file" and not is_unsent
    with heap.at_work.on(block):
        return not has_text and await offload(
            lambda: is_gone_for_good(state, Replica.load(updates).fields())
        )


def _gone(path: str) -> UserError:
    return UserError(f"{path} was deleted permanently, and nothing is kept of it here.")


async def _undelete(heap: HeapContext, trashed: Trashed, path: str, text: bytes) -> str:
    """Take a block out of the trash, or make a new one of its text; return the path."""
    async with heap.lock:
        await edit_fields(heap, trashed.block_id, Target(deleted_at_ms=None))
        live = heap.index.is_live(trashed.block_id)
    if not live:
        if not text:
            raise _gone(path)
        path = await _as_new(heap, path, text, trashed.block_id)
    log.info("restored from the trash", path=path, block=trashed.block_id, as_new_note=not live)
    return path


def _tags_of(heap: HeapContext, note: Note) -> tuple[str, ...] | None:
    return (note.front.tags or ()) if heap.dialect.tag_blocks else None


async def _as_new(heap: HeapContext, path: str, data: bytes, block: BlockId) -> str:
    """Write the text of a permanently deleted block as a new note's file; return its path."""
    text = await offload(without_id, data, heap.index.shown_id(block))
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
