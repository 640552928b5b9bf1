"""What a person should review after a merge, as sentences. Pure.

``cache.history`` stores each notice with the text it is about. Notices are never written into a
file; ``status`` shows them until somebody looks at the note's ``history``.
"""

from collections.abc import Sequence

import structlog
from msgspec import Struct

from heapsyncd.cache.blocks import LogRow
from heapsyncd.cache.history import Review
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.blocks import read
from heapsyncd.model import Source
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.merge.note_source import read_source
from heapsyncd.sync.merge.note_text import Base, Note
from heapsyncd.sync.merge.overlaps import Overlap, overlaps
from heapsyncd.tree import Block, Text, inline

log = structlog.get_logger()

MAX_SHOWN = 3
"""At most this many overlaps of one merge are spelled out."""
QUOTED_CHARS = 80


STALE = Review(
    "stale",
    "Your editor saved an outdated copy. Newer changes were kept; delete them again if that was"
    " intended.",
)
KEPT = Review("kept", "It was deleted on the server while you edited it here. The note was kept.")
BACK = Review(
    "kept",
    "It was deleted while somebody else edited it. The note was restored with that edit.",
)
UNSEEN = Review(
    "kept",
    "Its file was deleted here before somebody else's edit was shown. The note was kept.",
)
CROSSED = Review(
    "kept",
    "Somebody deleted a part of it without knowing what you had just written there. Your words"
    " were restored; delete them again if that was intended.",
)


class NoteState(Struct, frozen=True):
    """What a document says: the view of its body, and its source."""

    view: Block
    source: Source | None

    @classmethod
    def of(cls, replica: Replica) -> "NoteState":
        """Return what a replica says now."""
        return cls(replica.view(), read_source(replica, replica.view, NO_LINKS).source)


def apply_edit(
    live: Replica, update: bytes | None, base: Base | None, note: Note, links: NoteLinks
) -> tuple[Review, ...]:
    """Apply a saved file's edit to the replica, and return where it overlaps others' changes.

    Args:
        live: the replica; changed.
        update: the edit; None: there is none.
        base: the text the edit is measured from; None: nothing has arrived since.
        note: the saved file.
        links: how the file's links were resolved.
    """
    theirs = live.view() if base is not None else None
    if update is not None:
        live.apply(update)
    if update is None or base is None or theirs is None:
        return ()
    before, merged = base.note.view(links), live.view()
    if not overlaps(before, note.view(links), theirs, merged):
        return ()
    # Parse again with positions for the line numbers: slower, and rarely needed.
    found = overlaps(before, read(note.body, links, line_breaks=note.line_breaks), theirs, merged)
    above = note.front.raw.count("\n")
    body = note.body.encode()
    lines = [None if o.start is None else above + body.count(b"\n", 0, o.start) + 1 for o in found]
    return _notice(found, lines)


def front_notices(
    before: Source | None, ours: Source | None, theirs: Source | None, merged: Source | None
) -> tuple[Review, ...]:
    """Return where the changes of two front matters overlap in a third; arguments as below."""
    if ours is None or merged is None or ours.front == merged.front:
        return ()
    found = overlaps(*(_front_tree(source) for source in (before, ours, theirs, merged)))
    return _notice(found, [None] * len(found))


def _front_tree(source: Source | None) -> Block:
    """Return front matter as a paragraph for each key, to be compared like a text."""
    front = source.front if source is not None else {}
    texts = (inline([Text(" ".join(front[key].text.split()))]) for key in sorted(front))
    return Block("doc", children=tuple(Block("paragraph", inline=text) for text in texts))


def overlap_notices(
    rows: Sequence[LogRow], update: bytes, ours: NoteState, merged: Replica
) -> tuple[Review, ...]:
    """Return where an update from the server overlaps our unsent edits.

    Args:
        rows: the log without the update.
        update: what came in.
        ours: the state before it came in.
        merged: the replica with it.
    """
    sent = [r.data for r in rows if not r.local]
    try:
        return overlap_notices_between(
            Replica.load(sent), ours, Replica.load([*sent, update]), merged
        )
    except BlockError as error:
        log.debug("could not look for overlaps", reason=str(error))
        return ()


def overlap_notices_between(
    before: Replica, ours: NoteState, theirs: Replica, merged: Replica
) -> tuple[Review, ...]:
    """Return where the changes of two documents overlap in a third.

    Args:
        before: the document both came from.
        ours: ours.
        theirs: theirs.
        merged: with both.
    """
    found = overlaps(before.view(), ours.view, theirs.view(), merged.view())
    sources = (NoteState.of(r).source for r in (before, theirs, merged))
    first, other, last = sources
    return _notice(found, [None] * len(found)) + front_notices(first, ours.source, other, last)


def merge_notices(said: Sequence[str]) -> tuple[Review, ...]:
    """Return the notices of a merge of files (``Dialect.merge_files``)."""
    return (_review(said),) if said else ()


def _review(said: Sequence[str]) -> Review:
    """Return a notice that spells out the first places of a merge."""
    more = len(said) - MAX_SHOWN
    rest = [f"and {more} more places"] if more > 0 else []
    return Review("overlap", "; ".join([*said[:MAX_SHOWN], *rest]))


def _notice(found: Sequence[Overlap], lines: Sequence[int | None]) -> tuple[Review, ...]:
    if not found:
        return ()
    return (_review([_sentence(o, n) for o, n in zip(found, lines, strict=True)]),)


def _sentence(overlap: Overlap, line: int | None) -> str:
    where = "" if line is None else f"line {line}: "
    here = f"changed here to {_quoted(overlap.ours)}" if overlap.ours else "deleted here"
    there = f"elsewhere to {_quoted(overlap.theirs)}" if overlap.theirs else "deleted elsewhere"
    return f"{where}{here} and {there} at the same time; it reads {_quoted(overlap.merged)} now"


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line[:QUOTED_CHARS]}{"…" if len(line) > QUOTED_CHARS else ""}"'
