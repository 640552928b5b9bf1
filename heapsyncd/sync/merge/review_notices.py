"""What a person should look at after a merge: found, and said in a sentence. Pure.

``cache.history`` keeps it with the text it is about. Nothing of it stands in a file; it stands in
``status`` until somebody looked at the note's ``history``.
"""

from collections.abc import Sequence

import structlog

from heapsyncd.cache.blocks import LogRow
from heapsyncd.cache.history import Review
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.markdown.read.blocks import read
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.heap.index import NoteLinks
from heapsyncd.sync.merge.note_text import Base, Note
from heapsyncd.sync.merge.overlaps import Overlap, overlaps
from heapsyncd.tree import Block

log = structlog.get_logger()

SHOWN = 3
"""So many overlaps of one merge are told in words."""
QUOTED_CHARS = 80


STALE = Review(
    "stale",
    "it was saved from an earlier text; what had come since was kept. If that was meant to go,"
    " remove it once more",
)
KEPT = Review("kept", "it was deleted on the server and edited here: it was kept")

BACK = Review(
    "kept",
    "it was deleted while somebody else, who did not know, edited it: it is back, with the edit",
)
UNSEEN = Review(
    "kept", "it was deleted here while somebody else edited it: it was kept, with the edit"
)
CROSSED = Review(
    "kept",
    "somebody deleted a part of it and could not know what you had just written there: that is"
    " back. If it was meant to go, remove it once more",
)


def take_in(
    live: Replica, update: bytes | None, base: Base | None, note: Note, links: NoteLinks
) -> tuple[Review, ...]:
    """Apply a saved file's edit to the replica, and say where it met others' changes.

    Args:
        live: the replica.
        update: the edit; None: there is none.
        base: what the edit is measured from; None: nothing has come since.
        note: the saved file.
        links: how it was read.
    """
    theirs = live.view() if base is not None else None
    if update is not None:
        live.apply(update)
    if update is None or base is None or theirs is None:
        return ()
    before, merged = parse(base.note.body, links), live.view()
    if not overlaps(before, parse(note.body, links), theirs, merged):
        return ()
    # Once more, knowing where in the file: that takes longer, and is seldom asked for.
    found = overlaps(before, read(note.body, links), theirs, merged)
    above = note.front.raw.count("\n")
    body = note.body.encode()
    lines = [None if o.start is None else above + body.count(b"\n", 0, o.start) + 1 for o in found]
    return _told(found, lines)


def met(rows: Sequence[LogRow], update: bytes, ours: Block, merged: Replica) -> tuple[Review, ...]:
    """Where an update from the server met our unsent edits.

    Args:
        rows: the log without it.
        update: what came.
        ours: the view before it came.
        merged: the replica with it.
    """
    sent = [r.data for r in rows if not r.local]
    try:
        return compared(Replica.load(sent), ours, Replica.load([*sent, update]), merged)
    except BlockError as error:
        log.debug("overlaps not looked for", reason=str(error))
        return ()


def compared(before: Replica, ours: Block, theirs: Replica, merged: Replica) -> tuple[Review, ...]:
    """Where two documents that came from one met in a third."""
    found = overlaps(before.view(), ours, theirs.view(), merged.view())
    return _told(found, [None] * len(found))


def _told(found: Sequence[Overlap], lines: Sequence[int | None]) -> tuple[Review, ...]:
    if not found:
        return ()
    said = [_sentence(o, n) for o, n in zip(found[:SHOWN], lines, strict=False)]
    if (more := len(found) - SHOWN) > 0:
        said.append(f"and {more} more places")
    return (Review("overlap", "; ".join(said)),)


def _sentence(overlap: Overlap, line: int | None) -> str:
    where = "" if line is None else f"line {line}: "
    here = f"changed here to {_quoted(overlap.ours)}" if overlap.ours else "deleted here"
    there = f"elsewhere to {_quoted(overlap.theirs)}" if overlap.theirs else "deleted elsewhere"
    return f"{where}{here} and {there} at the same time; it reads {_quoted(overlap.merged)} now"


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line[:QUOTED_CHARS]}{"…" if len(line) > QUOTED_CHARS else ""}"'
