"""Store problems of files, so that they are known without a daemon and after a restart."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from heapsyncd.database import Tx
from heapsyncd.ids import HeapId

Finder = Literal["scan", "read", "content", "rules", "write", "source", "push", "transfer", "feed"]
"""What found it. ``scan``: looking at names and stats; ``read``: the disk does not let the file be
read; ``content``: what is in the file; ``rules``: ``.heaperignore``; ``write``: the folder can't
be made to show a document; ``source``: the exact text in the document is not valid; ``push``: the
server does not take all of an edit; ``transfer``: content can't be sent or fetched; ``feed``: what
the server has cannot be read.
"""
Grade = Literal["left", "odd", "told"]
"""``left``: something that should be mirrored is not; ``odd``: a thing that is never mirrored, and
no problem unless it is in the place of one that is; ``told``: mirrored, but worth a look.
"""


class ProblemRow(Struct, frozen=True):
    """One problem of one path (relative to the heap's folder); at most one for each finder."""

    path: str
    finder: Finder
    reason: str
    """For people; without the path."""
    grade: Grade = "left"


def load(tx: Tx, heap_id: HeapId) -> list[ProblemRow]:
    """Return every problem of a heap, by path."""
    rows = tx.execute(
        "SELECT path, finder, reason, grade FROM file_problem WHERE heap_id = ?"
        " ORDER BY path, finder",
        (heap_id,),
    )
    return [ProblemRow(*r) for r in rows]


def save(tx: Tx, heap_id: HeapId, rows: Iterable[ProblemRow]) -> None:
    """Replace the problems of a heap."""
    tx.execute("DELETE FROM file_problem WHERE heap_id = ?", (heap_id,))
    tx.executemany(
        "INSERT INTO file_problem (heap_id, path, finder, reason, grade) VALUES (?, ?, ?, ?, ?)",
        [(heap_id, r.path, r.finder, r.reason, r.grade) for r in rows],
    )
