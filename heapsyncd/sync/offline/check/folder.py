"""Compare a heap's folder with what the cache last agreed with it."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.folder.ignore import MARKER
from heapsyncd.folder.snapshot import compare
from heapsyncd.sync.edits.new_texts import batches
from heapsyncd.sync.heap.index import CONTENT_ROLES
from heapsyncd.sync.heap.limits import NOTE_BYTES
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge.note_text import Note
from heapsyncd.sync.offline.check.findings import Finding, Step
from heapsyncd.sync.report import Progress

_SILENT: Final = "its content is another one, although nothing says that it was saved"


async def check_folder(
    heap: HeapContext, step: Step, *, was_mirrored: bool, is_running: bool
) -> tuple[list[Finding], list[str]]:
    """Return what is wrong with a heap's folder, and what in it was not read yet.

    Args:
        heap: the heap.
        step: takes the progress.
        was_mirrored: the first mirror was complete, so that the folder has a marker.
        is_running: a daemon mirrors it now; its temporaries are no leftovers.
    """
    wrong = await _marker(heap)
    if wrong is not None and not was_mirrored:
        return [], ["it was not mirrored completely yet"]
    if wrong is not None and wrong.repair is None:
        return [wrong], []
    snapshot = await heap.disk.scan(heap.layout.ignore)
    index = heap.index
    now = compare(index.stats, snapshot, None, folders=index.folders)
    missing = [p for p in now.missing if p not in heap.holds.up]
    if wrong is not None and missing:
        advice = f"mount its disk, or bring back the {len(missing)} files that are missing too"
        return [Finding(wrong.what, MARKER, heap.id, advice=advice)], []
    # What could not be judged is reported by ``status``.
    odd = {row.path for row in heap.problems.rows()}
    counts = {
        "changed": sum(e.kind == "file" and e.path not in odd for e in now.modified),
        "new": sum(e.kind == "file" and e.path not in odd for e in now.created),
        "deleted": len(missing),
    }
    waiting = [
        f"{count} {what} in the folder, not read yet" for what, count in counts.items() if count
    ]
    unread = {e.path for e in now.modified} | odd
    known = [
        e
        for e in index.entries.values()
        if e.stat is not None and e.digest is not None and e.path not in unread
        and e.path in snapshot.entries
    ]  # fmt: skip
    found = [] if wrong is None else [wrong]
    found += await _notes(heap, [e for e in known if e.role == "note"], step)
    found += await _contents(heap, [e for e in known if e.role in CONTENT_ROLES], step)
    if not is_running:
        found += [
            Finding(
                "left over from a write that was cut off",
                path,
                heap.id,
                None,
                "clear",
                is_damage=False,
            )
            for path in await heap.disk.find_temps()
        ]
    return found, waiting


async def _marker(heap: HeapContext) -> Finding | None:
    """Return what is wrong with the folder as a whole; None: it has its marker."""
    root = heap.disk.root
    try:
        found = await heap.disk.marker()
        if found == heap.id:
            return None
        if found is not None:
            what, advice = "it marks the folder of another heap", "move that folder away"
            return Finding(what, MARKER, heap.id, advice=advice)
        await heap.disk.scan(heap.layout.ignore, [MARKER])
    except FolderTrouble as error:
        advice = f"mount its disk, or bring {root} back; nothing is treated as deleted until then"
        return Finding(f"the folder can't be used: {error}", "", heap.id, advice=advice)
    return Finding(
        "the folder's marker is missing, so nothing is mirrored", MARKER, heap.id, None, "mark"
    )


async def _notes(heap: HeapContext, known: Sequence[EntryRow], step: Step) -> list[Finding]:
    """Compare notes' files with their last texts, and the ids in them with their blocks."""
    found: list[Finding] = []
    done, by_path = 0, {e.path: e for e in known}
    for some in batches(list(by_path), lambda path: heap.index.stats[path].size):
        step(Progress(f"{heap.report.title}: reading files", done, len(known)))
        results = await heap.disk.read_many(some, NOTE_BYTES)
        read = [
            (by_path[path], result[0])
            for path, result in zip(some, results, strict=True)
            if isinstance(result, tuple) and result[1].agrees(heap.index.stats[path])
        ]
        found += await offload(lambda r=read: [f for e, data in r for f in _note(heap, e, data)])  # type: ignore[misc]
        done += len(some)
    step(Progress(f"{heap.report.title}: reading files", len(known), len(known)))
    return found


def _note(heap: HeapContext, entry: EntryRow, data: bytes) -> Iterator[Finding]:
    """Yield what is wrong with a note's file; runs in a thread."""
    is_other = hashlib.sha256(data).digest() != entry.digest
    try:
        front = Note.of(data).front
    except UnreadableFile as error:
        if is_other:
            advice = "`heapsyncd restore` with its path brings its last text back"
            what = f"{_SILENT}, and it is no text: {error}"
            yield Finding(what, entry.path, heap.id, entry.block_id, advice=advice)
        return
    if is_other:
        yield Finding(_SILENT, entry.path, heap.id, entry.block_id, "read")
        return
    index = heap.index
    named = {index.block_with_id(i) for i in index.ids_in(front)} - {None}
    others = [index.path_of[b] for b in named if b in index.path_of and b is not None]
    if others and entry.block_id not in named:
        what = f"the id in it is that of {others[0]}"
        yield Finding(what, entry.path, heap.id, entry.block_id, "write")


async def _contents(heap: HeapContext, known: Sequence[EntryRow], step: Step) -> list[Finding]:
    """Compare the contents of files that are no notes."""
    found: list[Finding] = []
    for k, entry in enumerate(known):
        step(Progress(f"{heap.report.title}: reading attachments", k, len(known)))
        try:
            digest, stat = await heap.disk.digest(entry.path)
        except (FolderTrouble, PathChanged, FileBusy, UnreadableFile):
            continue  # what can't be read is reported by ``status``
        if stat.agrees(heap.index.stats[entry.path]) and digest != (entry.digest or b"").hex():
            advice = "put a good copy in its place, or `touch` it to send it as it is"
            found.append(Finding(_SILENT, entry.path, heap.id, entry.block_id, advice=advice))
    step(Progress(f"{heap.report.title}: reading attachments", len(known), len(known)))
    return found
