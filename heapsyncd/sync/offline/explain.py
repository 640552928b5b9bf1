"""Explain a file's state: what the cache and the disk say, and the rule that applies now.

Works offline and beside a running daemon; changes nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heapsyncd.cache import blocks, entries, heaps, history, holds, problems, renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError, FolderTrouble, UnreadableFile, UserError
from heapsyncd.folder.disk import FileBusy, HeapFolder, PathChanged
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.model import Stat
from heapsyncd.sync.cache_file import cache_path, open_cache
from heapsyncd.sync.heap.problems import joined
from heapsyncd.sync.layout.heap_folder import read_ignore
from heapsyncd.sync.merge.note_source import read_source
from heapsyncd.sync.merge.note_text import Note

Facts = Mapping[str, Any]
"""The document of ``explain --json``."""


async def explain(account: Account, state_dir: Path, path: Path) -> dict[str, Any] | None:
    """Return the facts about a path; None if it is in no mirrored heap of this account.

    Args:
        account: the account; its folder absolute.
        state_dir: the directory of its cache.
        path: absolute; the file need not exist.

    Raises:
        FolderTrouble: the cache or the folder cannot be read.
        UserError: the path is a heap's folder itself.
    """
    if not cache_path(account, state_dir).exists():
        return None
    async with await open_cache(account, state_dir) as db:
        rows = await db.read(heaps.load_all)
        for row in rows:
            root = account.folder / row.folder
            if path == root:
                raise UserError(
                    f"{root} is the folder of the heap {row.title}; name a file in it."
                )
            if path.is_relative_to(root):
                inside = path.relative_to(root).as_posix()
                facts = await db.read(lambda tx, r=row, p=inside: _cached(tx, r, p))  # type: ignore[misc]
                entry: EntryRow | None = facts.pop("entry")
                log, shown = facts.pop("log"), facts.pop("shown")
                local = account.source == "local"
                facts["text"] = await asyncio.to_thread(_text, log, shown, local) if log else None
                facts["disk"] = await _disk(HeapFolder(root), inside, entry)
                whole = {"account": account.name, "folder": str(root), "file": str(path), **facts}
                return {**whole, "rule": rule(whole)}
    return None


# ---- what the cache says ----------------------------------------------------------------------


def _cached(tx: Tx, heap: HeapRow, path: str) -> dict[str, Any]:
    entry = next((e for e in entries.of_heap(tx, heap.id) if e.path == path), None)
    block = _NO_BLOCK if entry is None else _block(tx, entry.block_id)
    held = next((h for h in holds.of_heap(tx, heap.id) if h.path == path), None)
    left = history.last_at(tx, heap.id, path) if entry is None else None
    gone = None if left is None else blocks.get(tx, left)
    rows = [r for r in problems.load(tx, heap.id) if r.path == path]
    return {
        "heap": {"id": heap.id, "title": heap.title},
        "path": path,
        "trashed_at_ms": None if gone is None else gone.deleted_at_ms,
        "entry": entry,
        "role": None if entry is None else entry.role,
        "todo": None if entry is None else entry.todo,
        "hold": None
        if held is None
        else {
            "deleted": "here" if held.direction == "up" else "on the server",
            "since_ms": held.made_at_ms,
            "decision": held.decision,
        },
        **block,
        "problem": joined(r.reason for r in rows) or block["problem"],
        "held_up": any(r.grade != "told" for r in rows) or block["problem"] is not None,
    }


_NO_BLOCK: Facts = {
    "block": None, "base": None, "server": None, "stale": False, "problem": None,
    "log": [], "shown": None,
}  # fmt: skip


def _block(tx: Tx, block: BlockId) -> dict[str, Any]:
    state = blocks.get(tx, block)
    if state is None:
        return dict(_NO_BLOCK)
    ring = renditions.ring(tx, block)
    rows = blocks.log(tx, block)
    unsent = [r for r in rows if r.local]
    return {
        "log": [r.data for r in rows] if state.kind == "document" else [],
        "shown": ring[0].data if ring else None,
        "block": {"id": state.id, "kind": state.kind, "title": state.title},
        "base": None
        if not ring
        else {
            "made_at_ms": ring[0].made_at_ms,
            "sha256": ring[0].digest.hex(),
            "size": len(ring[0].data),
            "kept": len(ring),
        },
        "server": {
            "sync_version": state.sync_version,
            "unsent_updates": len(unsent),
            "unsent_bytes": sum(len(r.data) for r in unsent),
            "wanted": state.wanted,
            "changed_at_ms": state.announced_ms or None,
            "deleted_at_ms": state.deleted_at_ms,
        },
        "stale": state.stale,
        "problem": state.problem,
    }


def _text(log: Sequence[bytes], shown: bytes | None, local: bool) -> dict[str, Any] | None:
    """Return how the file is made from the document; None if that cannot be said.

    ``kind``: ``exact``: the text as it was saved, from the document; ``patched``: that text, with
    the lines of what was changed in the document since; ``rendering``: the document has no text;
    ``local``: it is not to have one, and the file keeps its own style.
    ``problem``: why its text is not used.
    """
    try:
        replica = Replica.load(log)
        stored = read_source(replica, replica.view, NO_LINKS)
        body = None if shown is None else Note.of(shown).body
    except (BlockError, UnreadableFile):
        return None
    if local:
        return {"kind": "local", "problem": None}
    if stored.source is None:
        return {"kind": "rendering", "problem": stored.problem}
    return {"kind": "exact" if body == stored.source.body else "patched", "problem": None}


# ---- what the disk says -----------------------------------------------------------------------


async def _disk(disk: HeapFolder, path: str, entry: EntryRow | None) -> dict[str, Any]:
    now = await disk.stat(path)
    agreed = None if entry is None else entry.stat
    is_dir = entry is not None and entry.role == "folder"
    ignored = (await read_ignore(disk)).rule(path, is_dir)
    return {
        "now": _stamps(now),
        "agreed": _stamps(agreed),
        "ignored_by": ignored,
        "changed": await _changed(disk, path, entry, now),
    }


def _stamps(stat: Stat | None) -> dict[str, int] | None:
    if stat is None:
        return None
    return {"size": stat.size, "mtime_ns": stat.mtime_ns, "inode": stat.inode}


async def _changed(
    disk: HeapFolder, path: str, entry: EntryRow | None, now: Stat | None
) -> str | None:
    """Return ``gone``, ``content``, ``stamps only`` or ``no``; None without a known state."""
    agreed = None if entry is None else entry.stat
    if entry is None or agreed is None:
        return None
    if now is None:
        return "gone"
    if entry.role == "folder" or now.agrees(agreed):
        return "no"
    try:
        found, _ = await disk.digest(path)
    except (FolderTrouble, PathChanged, FileBusy, UnreadableFile):
        return "content"
    return "stamps only" if entry.digest == bytes.fromhex(found) else "content"


# ---- the rule ---------------------------------------------------------------------------------


def rule(facts: Facts) -> str:
    """Return the rule that applies to a file now, as a sentence. Pure; the first that fits."""
    if facts["hold"] is not None:
        return _held(facts["hold"])
    if facts["disk"]["ignored_by"] is not None:
        return f"It is ignored ({facts['disk']['ignored_by']}): never read, sent or written."
    if facts["held_up"]:
        return _troubled(facts)
    if facts["block"] is None:
        return _unknown(facts)
    return _changed_here(facts) or _changed_there(facts) or _AGREED


_AGREED = (
    "The file shows the document, and the server has all of it as far as this device knows:"
    " nothing is written or sent until one of them changes."
)


def _held(hold: Facts) -> str:
    if hold["decision"] is not None:
        return f"Its held deletion is decided ({hold['decision']}): that is carried out next."
    other = "the server" if hold["deleted"] == "here" else "the file"
    return (
        f"It was deleted {hold['deleted']} together with very many others. So {other} is left as"
        " it is until you run `heapsyncd deletions --confirm` or `--undo`."
    )


def _troubled(facts: Facts) -> str:
    if facts["block"] is None:
        return "It is not synced until its problem is solved; then it becomes a block."
    if facts["server"]["unsent_updates"]:
        return "Its edits are kept here and sent when its problem is solved; nothing is lost."
    return "File and document are left as they are until its problem is solved."


def _unknown(facts: Facts) -> str:
    if facts["disk"]["now"] is None:
        if facts["trashed_at_ms"] is not None:
            return (
                "It was deleted and is in the trash: `heapsyncd trash --restore` brings it back."
            )
        return "There is no such file, and none is known."
    return "It is new: it becomes a block when a daemon, or `heapsyncd sync`, has scanned it."


def _changed_here(facts: Facts) -> str | None:
    changed, deleted = facts["disk"]["changed"], facts["server"]["deleted_at_ms"] is not None
    if changed == "gone":
        return (
            "The file is missing: unless it is found elsewhere, the block goes to the server's"
            " trash."
        )
    if changed == "content" and deleted:
        return "It was deleted on the server and edited here: the edit wins, it is restored."
    if changed == "content":
        return (
            "The file was changed: its difference from the base becomes an edit, which is merged"
            " with what arrived since."
        )
    if deleted:
        return "It was deleted on the server: the file is removed, its text stays in the trash."
    if facts["todo"] is not None:
        return f"Its content is to be {facts['todo']}ed; an interrupted transfer is resumed."
    return None


def _changed_there(facts: Facts) -> str | None:
    server = facts["server"]
    if server["wanted"]:
        return "The server announced a newer state: it is pulled and merged."
    if server["unsent_updates"] or not server["sync_version"]:
        return (
            "It has edits that the server has not acknowledged: they are sent again until it does;"
            " sending twice is harmless."
        )
    if facts["stale"]:
        return (
            "The document has a newer state than the file shows: the lines of the changed blocks"
            " are written next."
        )
    return None
