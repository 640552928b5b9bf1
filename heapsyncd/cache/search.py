"""Search the text of the notes, offline.

The rows are updated in the transactions that store what stands in the files. A note without a row
was stored by an older version: ``lacking`` finds it.
"""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from heapsyncd.cache import renditions
from heapsyncd.cache.search_query import SEPARATOR, Query, Term, unspaced
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId

_BEGIN: Final = "\x02"
_END: Final = "\x03"
_CONTROLS: Final = (SEPARATOR, _BEGIN, _END)
_WEIGHTS: Final = "10, 8, 6, 1, 1"
"""How much a word counts in each column when the best notes are chosen."""


class Searched(Struct, frozen=True):
    """What is searched of a note's file."""

    text: str
    """All of the file."""
    names: str = ""
    """Other names of the note."""
    tags: str = ""
    joined: str = ""
    """Words that the file interrupts with markup."""


class Line(Struct, frozen=True):
    """A line of a note's file with words that were searched for."""

    number: int
    text: str
    marks: tuple[tuple[int, int], ...]
    """Where these words begin and end in the text."""

    def around(self, chars: int) -> "Line":
        """Return the part of the line around its first mark, at most so many characters."""
        text, marks = self.text, self.marks
        begin = len(text) - len(text.lstrip())
        if marks and len(text) - begin > chars:
            begin = max(begin, min(marks[0][0] - chars // 3, len(text) - chars))
        end = min(len(text), begin + chars)
        head, tail = "… " if text[:begin].strip() else "", " …" if text[end:].strip() else ""
        shift = len(head) - begin
        kept = [(max(a, begin) + shift, min(b, end) + shift) for a, b in marks]
        part = text[begin:end] if tail else text[begin:end].rstrip()
        return Line(self.number, head + part + tail, tuple((a, b) for a, b in kept if a < b))


class Hit(Struct, frozen=True):
    """A note that was found. ``path`` is relative to its heap's folder."""

    heap_id: HeapId
    heap: str
    """The heap's title."""
    path: str
    title: str
    modified_ms: int
    """When the file was changed last; 0: not known."""
    lines: tuple[Line, ...]


def index(tx: Tx, block: BlockId, title: str, searched: Searched) -> None:
    """Index a note by these words, replacing earlier ones."""
    remove(tx, block)
    columns = (title, searched.names, searched.tags, searched.text, searched.joined)
    row = tx.execute(
        "INSERT INTO search (title, names, tags, body, joined) VALUES (?, ?, ?, ?, ?)",
        [unspaced(_without_controls(column)) for column in columns],
    ).lastrowid
    tx.execute("INSERT INTO search_row (id, block_id) VALUES (?, ?)", (row, block))


def _without_controls(text: str) -> str:
    for control in _CONTROLS:  # nearly never there, and faster than any way to do it at once
        text = text.replace(control, " ")
    return text


def remove(tx: Tx, block: BlockId) -> None:
    """Remove a note from the index."""
    row = tx.execute("SELECT id FROM search_row WHERE block_id = ?", (block,)).fetchone()
    if row is not None:
        tx.execute("DELETE FROM search WHERE rowid = ?", row)
        tx.execute("DELETE FROM search_row WHERE id = ?", row)


def verify(tx: Tx) -> None:
    """Compare the index with the words it was made of.

    Raises:
        FolderTrouble: from the database, if they differ.
    """
    tx.execute("INSERT INTO search (search) VALUES ('integrity-check')")


def rebuild(tx: Tx) -> None:
    """Make the index anew of the words it holds."""
    tx.execute("INSERT INTO search (search) VALUES ('rebuild')")


_LACKS = (
    "FROM entry JOIN block ON block.id = entry.block_id WHERE role = 'note'"
    " AND block.id NOT IN (SELECT block_id FROM search_row) AND EXISTS (SELECT 1 FROM rendition"
    " WHERE rendition.block_id = block.id AND origin <> 'planned')"
)


def count_lacking(tx: Tx) -> int:
    """Return the number of notes with a file that are not indexed."""
    return int(tx.execute(f"SELECT count(*) {_LACKS}").fetchone()[0])


def lacking(tx: Tx, limit: int) -> Iterator[tuple[BlockId, str, bytes]]:
    """Yield some notes that are not indexed: block, title, and what stands in the file."""
    rows = tx.execute(f"SELECT block.id, title {_LACKS} LIMIT ?", (limit,)).fetchall()
    for block, title in rows:
        newest = renditions.newest(tx, block)
        assert newest is not None
        yield BlockId(block), title, newest.data


def find(
    tx: Tx,
    query: Query,
    keep: Callable[[HeapId, str], bool],
    limit: int,
    *,
    newest_first: bool = False,
) -> list[Hit]:
    """Return the notes that a query finds, best first.

    Args:
        tx: the transaction.
        query: its places are left to ``keep``.
        keep: tells whether a note is wanted, by its heap and its path.
        limit: the most notes returned.
        newest_first: the file that was changed last comes first.
    """
    if query == Query():
        return []
    wanted, excluded = query.expression(), query.excluding()
    sql = (
        "SELECT search_row.id, heap.id, heap.title, entry.path, block.title, entry.mtime_ns"
        " FROM search_row JOIN block ON block.id = search_row.block_id"
        " JOIN entry ON entry.block_id = block.id AND entry.role = 'note'"
        " JOIN heap ON heap.id = entry.heap_id"
    )
    conditions, arguments = [], []
    if wanted:
        sql += " JOIN search ON search.rowid = search_row.id"
        conditions.append("search MATCH ?")
        arguments.append(wanted)
    if excluded:
        conditions.append("search_row.id NOT IN (SELECT rowid FROM search WHERE search MATCH ?)")
        arguments.append(excluded)
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    order = "entry.mtime_ns DESC" if newest_first or not wanted else f"bm25(search, {_WEIGHTS})"
    rows = tx.execute(f"{sql} ORDER BY {order}, entry.path", arguments)
    hits: list[Hit] = []
    for row, heap_id, heap, path, title, mtime_ns in rows:
        if len(hits) == limit:
            break
        if keep(HeapId(heap_id), path):
            lines = tuple(_lines(tx, row, wanted)) if wanted else ()
            modified_ms = (mtime_ns or 0) // 1_000_000
            hits.append(Hit(HeapId(heap_id), heap, path, title, modified_ms, lines))
    return hits


def blocks_with(tx: Tx, term: Term) -> set[BlockId]:
    """Return the notes in which some words stand."""
    rows = tx.execute(
        "SELECT block_id FROM search_row JOIN search ON search.rowid = search_row.id"
        " WHERE search MATCH ?",
        (term.expression(),),
    )
    return {BlockId(row[0]) for row in rows}


def _lines(tx: Tx, row: int, wanted: str) -> Iterator[Line]:
    """Yield the lines of a note's file that hold words of the query."""
    (text,) = tx.execute(
        "SELECT highlight(search, 3, ?, ?) FROM search WHERE search MATCH ? AND rowid = ?",
        (_BEGIN, _END, wanted, row),
    ).fetchone()
    is_open = False
    for number, line in enumerate(text.replace(SEPARATOR, "").split("\n"), start=1):
        if is_open or _BEGIN in line:
            found = _marked(number, line.removesuffix("\r"), is_open=is_open)
            is_open = line.rfind(_BEGIN) > line.rfind(_END) or (is_open and _END not in line)
            if found.marks:
                yield found


def _marked(number: int, line: str, *, is_open: bool) -> Line:
    """Return a line whose marked words stand between control characters."""
    marks, text = list[tuple[int, int]](), ""
    for at, part in enumerate(line.replace(_END, _BEGIN).split(_BEGIN)):
        if part and (at % 2 == 1) != is_open:
            marks.append((len(text), len(text) + len(part)))
        text += part
    return Line(number, text, tuple(marks))
