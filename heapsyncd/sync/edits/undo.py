"""Undo what was done on this device since a time.

Texts are undone by inverse edits: each edit of this device is taken out of the present text by a
three-way merge, so what others wrote since stays. Names and places go back; notes, files and
folders that were made go to the trash, deleted ones come out of it, and detached attachments are
attached again. What cannot be undone is said by name: above all, nothing is removed that no trash
would keep. Every step is done as if the user did it by hand, so a kill between two of them leaves
an ordinary folder.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import structlog
from msgspec import Struct

from heapsyncd.cache import blocks, history
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.history import Version
from heapsyncd.database import Tx
from heapsyncd.diff.three import without_edit
from heapsyncd.errors import BlockError, FolderTrouble, TryLater, UserError
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.folder.names import safe_name
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.sync.edits.moves import moved
from heapsyncd.sync.edits.note_saved import notes_saved
from heapsyncd.sync.edits.restore import restore_trashed, rewrite, text_of, with_present_keys
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.edits.undo_contents import OwnContents, attach_again, own_contents
from heapsyncd.sync.edits.undo_new import NEWS, to_trash
from heapsyncd.sync.heap.limits import NOTE_BYTES
from heapsyncd.sync.heap.observed import Moved
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_of, inside
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.attachments import contents_of
from heapsyncd.sync.report import UndoRequest

log = structlog.get_logger()

Action = Literal["text", "name", "trash", "back", "left"]
"""``text``: edits are taken back; ``name``: it is renamed or moved back; ``trash``: a new block is
deleted; ``back``: a deleted block or attachment comes back; ``left``: nothing is done, for a
reason.
"""
_TEXTS: Final = frozenset({"written", "saved", "stale", "overlap", "kept"})
"""Why versions are kept that were in the file one after the other."""
_EVERYTHING: Final = 1 << 30
_FINAL: Final = "it is new, and this server has no trash; delete it yourself if you want it gone"
_ATTACHED: Final = (
    "it is new, and no trash keeps attachments; delete it yourself if you want it gone"
)
_CONTENT: Final = "earlier contents of files are not kept here"
_ORDER: Final[Mapping[Action, int]] = {"back": 0, "name": 1, "text": 2, "trash": 3, "left": 4}
"""What has to be done first."""


class _Step(Struct, frozen=True):
    """What is to be done with a block."""

    action: Action
    block: BlockId
    path: str
    """Its path now."""
    to: str = ""
    """The path that it gets back."""
    reason: str = ""
    """Why it is left."""
    content: FileEntry | None = None
    """The attachment that comes back; None: the block itself."""


async def undo(heap: HeapContext, wanted: UndoRequest) -> list[dict[str, Any]]:
    """Undo what was done here in this heap; return what was done, step by step.

    Each entry is one of ``undo --json``: paths in the heap's folder and as absolute files, the
    ``action``, and, depending on it, where ``to`` it went, the ``diff`` and the ``reason``.
    """
    scope = inside(heap.disk.root, wanted.paths) if wanted.paths else ["."]
    if not scope:
        return []
    await _read_saves(heap, scope)
    done: list[dict[str, Any]] = []
    steps = await _plan(heap, wanted.since_ms, scope)
    leaving = {step.block for step in steps if step.action == "trash"}
    for step in steps:
        told = await _tried(heap, step, wanted, leaving)
        if told is not None:
            done.append(_told(heap, step, told))
    if not wanted.preview:
        log.info("edits undone", heap=heap.report.title, steps=len(done))
    return done


def _told(heap: HeapContext, step: _Step, told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "path": step.path, "action": step.action, "to": None, "reason": None, "diff": [],
    }  # fmt: skip
    found |= told
    return {
        "heap": heap.report.title,
        **found,
        "file": str(heap.disk.root / found["path"]),
        "to_file": None if found["to"] is None else str(heap.disk.root / found["to"]),
    }


async def _read_saves(heap: HeapContext, scope: Sequence[str]) -> None:
    """Read notes that were saved while no mirror ran: these edits are undone, too."""
    for path, entry in list(heap.index.entries.items()):
        if entry.role != "note" or not _is_in(path, scope):
            continue
        try:
            stat = await heap.disk.stat(path)
            if stat is None or (entry.stat is not None and stat.agrees(entry.stat)):
                continue
            data, stat = await heap.disk.read(path, NOTE_BYTES)
        except (PathChanged, FileBusy, FolderTrouble):
            continue  # the scan reads it, or reports why it cannot
        await notes_saved(heap, [await offload(SavedFile.of, path, data, stat)])


# ---- the plan ---------------------------------------------------------------------------------


async def _plan(heap: HeapContext, since_ms: int, scope: Sequence[str]) -> list[_Step]:
    """Return the steps, in the order in which they have to be done."""

    def read(tx: Tx) -> tuple[list[Version], dict[BlockId, list[Version]], set[BlockId]]:
        recent = history.since(tx, heap.id, since_ms, _EVERYTHING)
        made = blocks.made_since(tx, heap.id, since_ms)
        known: dict[BlockId, list[Version]] = {block: [] for block, _, _ in made}
        for block in {v.block_id for v in recent if v.author == "here"}:
            known[block] = history.versions(tx, block)[::-1]
        return recent, known, {block for block, seq, _ in made if seq == 1}

    recent, known, born = await heap.db.read(read)
    steps: list[_Step] = []
    for block, versions in known.items():
        steps += _steps(heap, block, versions, since_ms, is_new=block in born)
        if block not in born and heap.index.is_live(block) and heap.dialect.content_hashes:
            steps += _contents(heap, block, await own_contents(heap, block, since_ms))
    steps += _names(heap, [v for v in recent if v.block_id not in born])
    steps = [s for s in steps if _is_in(s.path, scope) or _is_in(s.to, scope)]
    return sorted(steps, key=_order)


def _order(step: _Step) -> tuple[int, int, str]:
    """Sort steps: renames as they are, and what is in a directory before it goes to the trash."""
    depth = -step.path.count("/") if step.action == "trash" else 0
    return _ORDER[step.action], depth, "" if step.action == "name" else step.path


def _steps(
    heap: HeapContext, block: BlockId, versions: Sequence[Version], since_ms: int, *, is_new: bool
) -> Iterator[_Step]:
    """Yield what is to be done with a block, but for its names.

    Args:
        heap: the heap.
        block: the block.
        versions: all kept ones of a note, oldest first.
        since_ms: since when.
        is_new: it was made since then.
    """
    path = heap.index.path_of.get(block)
    recent = [v for v in versions if v.made_at_ms >= since_ms]
    last = versions[-1] if versions else None
    if not heap.index.is_live(block):
        is_ours = last is not None and last.why == "deleted" and last.author == "here"
        if last is not None and is_ours and not is_new and last.made_at_ms >= since_ms:
            yield _Step("back", block, last.path or "")
    elif path is None:
        return
    elif is_new:
        if any(v.author == "server" for v in recent):
            yield _Step("left", block, path, reason=NEWS)
        elif not heap.dialect.has_trash:
            yield _Step("left", block, path, reason=_FINAL)
        else:
            yield _Step("trash", block, path)
    elif any(v.author == "here" and v.why in _TEXTS for v in recent):
        if len(recent) == len(versions) and versions[0].author == "here":
            yield _Step("left", block, path, reason="its text of that time is not kept any more")
        else:
            yield _Step("text", block, path)


def _contents(heap: HeapContext, block: BlockId, own: OwnContents) -> Iterator[_Step]:
    """Yield what is to be done with a block's contents."""
    path = heap.index.path_of.get(block)
    if path is None:
        return
    if heap.index.kind(block) != "document":
        if own.added:
            yield _Step("left", block, path, reason=_CONTENT)
        return
    known, folder = contents_of(heap, block), assets_of(path)
    replaced = {file.name for file in own.added} & {file.name for file in own.dropped}
    for file in own.added:
        at = known[file.key].path if file.key in known else f"{folder}/{safe_name(file.name)}"
        reason = _CONTENT if file.name in replaced else _ATTACHED
        yield _Step("left", block, at, reason=reason)
    for file in own.dropped:
        if file.name not in replaced:
            yield _Step("back", block, f"{folder}/{safe_name(file.name)}", content=file)


def _names(heap: HeapContext, recent: Sequence[Version]) -> Iterator[_Step]:
    """Yield the renames to undo, the last one first."""
    first: dict[BlockId, Version] = {}
    for version in reversed(recent):
        if version.why == "renamed" and version.author == "here":
            first[version.block_id] = version
    others = {v.block_id for v in recent if v.why == "renamed" and v.author != "here"}
    for block, version in first.items():
        path = heap.index.path_of.get(block)
        if path is None or path == version.path or not heap.index.is_live(block):
            continue
        if block in others:
            yield _Step("left", block, path, reason="it was renamed elsewhere, too")
        else:
            yield _Step("name", block, path, version.path or "")


def _is_in(path: str, scope: Sequence[str]) -> bool:
    return any(top in {".", path} or path.startswith(f"{top}/") for top in scope if path)


# ---- the steps --------------------------------------------------------------------------------


async def _tried(
    heap: HeapContext, step: _Step, wanted: UndoRequest, leaving: Collection[BlockId]
) -> dict[str, Any] | None:
    """Do a step; return what there is to say of it beside its path and action; None: nothing.

    ``leaving``: all blocks that go to the trash.
    """
    try:
        return await _do(heap, step, wanted, leaving)
    except (PathChanged, FileBusy, TryLater):
        return {"action": "left", "reason": "another program is changing it"}
    except FolderTrouble as error:
        return {"action": "left", "reason": error.reason}
    except (UserError, BlockError) as error:
        return {"action": "left", "reason": str(error)}


async def _do(
    heap: HeapContext, step: _Step, wanted: UndoRequest, leaving: Collection[BlockId]
) -> dict[str, Any] | None:
    if step.action == "left":
        return {"reason": step.reason}
    if step.action == "name":
        return await _rename_back(heap, step, preview=wanted.preview)
    if step.content is not None:
        return await attach_again(heap, step.block, step.content, preview=wanted.preview)
    if step.action == "back":
        trashed = await heap.db.read(lambda tx: history.trashed(tx, heap.id))
        one = next((t for t in trashed if t.block_id == step.block), None)
        if one is None:
            return None  # its file became another note
        await restore_trashed(heap, one, preview=wanted.preview)
        return {}
    entry = heap.index.entries.get(heap.index.path_of.get(step.block, step.path))
    if entry is None or await heap.disk.stat(entry.path) is None:
        return None
    if step.action == "trash":
        return await to_trash(heap, entry, leaving, preview=wanted.preview)
    return await _take_back(heap, entry, wanted)


async def _take_back(
    heap: HeapContext, entry: EntryRow, wanted: UndoRequest
) -> dict[str, Any] | None:
    """Undo the edits of a note's text; None if nothing changes."""
    stays: list[bool] = []

    async def earlier(now: bytes, *, gone: bool) -> bytes:  # noqa: ARG001 - see Next
        kept = await heap.db.read(lambda tx: history.versions(tx, entry.block_id))
        texts = [v for v in reversed(kept) if v.why in _TEXTS]
        text, contested = await offload(_without_own, texts, wanted.since_ms, text_of(now))
        stays[:] = [contested]
        return await offload(with_present_keys, heap, entry, now, text.encode())

    done = await rewrite(heap, entry, earlier, preview=wanted.preview)
    reason = "lines that were changed elsewhere since stay as they are" if stays[0] else None
    if not done["changed"]:
        return {"action": "left", "reason": reason} if reason else None
    return {"path": entry.path, "diff": done["diff"], "reason": reason}


def _without_own(versions: Sequence[Version], since_ms: int, now: str) -> tuple[str, bool]:
    """Return the present text without this device's edits since a time.

    Args:
        versions: the texts that were in the file, oldest first.
        since_ms: the time.
        now: the text in the file.

    Returns:
        The text, and whether something stays that others have changed, too.
    """
    start = next((k for k, v in enumerate(versions) if v.made_at_ms >= since_ms), len(versions))
    start = max(start, 1)  # a note that came from elsewhere since then has that text before ours
    texts = [text_of(v.data) for v in versions]
    stays = False
    at = len(versions) - 1
    while at >= start:
        before = at
        while before >= start and versions[before].author == "here":
            before -= 1
        if before == at:
            at -= 1
            continue
        undone = without_edit(texts[before], texts[at], now)
        now, stays, at = undone.text, stays or bool(undone.contested), before
    return now, stays


async def _rename_back(heap: HeapContext, step: _Step, *, preview: bool) -> dict[str, Any] | None:
    path = heap.index.path_of.get(step.block)
    entry = None if path is None else heap.index.entries.get(path)
    if path is None or entry is None or path == step.to:
        return None
    parent = str(PurePosixPath(step.to).parent)
    if preview:
        return {"to": step.to}
    if parent != "." and heap.index.folder_at(parent) is None:
        return {"action": "left", "reason": f"the folder {parent} is gone"}
    if step.to in heap.index.entries or await heap.disk.stat(step.to) is not None:
        return {"action": "left", "reason": f"there is another {step.to} now"}
    if parent != ".":
        await heap.disk.make_dir(parent)
    await heap.disk.move(path, step.to)
    await moved(heap, Moved(entry, step.to))
    return {"path": path, "to": step.to}
