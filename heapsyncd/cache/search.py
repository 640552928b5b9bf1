"""Search the text of the notes, offline.

The rows are updated in the transactions that publish the documents.
"""

import re
from dataclasses import dataclass

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId

SNIPPET_WORDS = 16
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Hit:
    """One note that contains all the words. ``path`` is relative to its heap's folder."""

    heap: str
    """The heap's title."""
    path: str
    title: str
    snippet: str
    """Some words around the first match, on one line."""


def index(tx: Tx, heap_id: HeapId, block: BlockId, title: str, body: str) -> None:
    """Index a note by these words, replacing earlier ones."""
    remove(tx, block)
    row = tx.execute(
        "INSERT INTO search (block_id, heap_id, title, body) VALUES (?, ?, ?, ?)",
        (block, heap_id, title, body),
    ).lastrowid
    tx.execute("INSERT INTO search_row (block_id, id) VALUES (?, ?)", (block, row))


def remove(tx: Tx, block: BlockId) -> None:
    """Remove a note from the index."""
    row = tx.execute("SELECT id FROM search_row WHERE block_id = ?", (block,)).fetchone()
    if row is not None:
        tx.execute("DELETE FROM search WHERE rowid = ?", (row[0],))
        tx.execute("DELETE FROM search_row WHERE block_id = ?", (block,))


def verify(tx: Tx) -> None:
    """Compare the index with the words it was made of.

    Raises:
        FolderTrouble: from the database, if they differ.
    """
    tx.execute("INSERT INTO search (search) VALUES ('integrity-check')")


def rebuild(tx: Tx) -> None:
    """Make the index anew of the words it holds."""
    tx.execute("INSERT INTO search (search) VALUES ('rebuild')")


def find(tx: Tx, query: str, heap: str | None, limit: int) -> list[Hit]:
    """Return the notes that contain every word of the query, best first.

    The last word may be a prefix.

    Args:
        tx: the transaction.
        query: words; punctuation is ignored.
        heap: only this heap, by title or id; None: all.
        limit: the most notes returned.
    """
    words = _WORD.findall(query)
    if not words:
        return []
    match = " ".join(f'"{w}"' for w in words) + "*"
    rows = tx.execute(
        "SELECT heap.title, entry.path, search.title,"
        " snippet(search, 3, '', '', ' … ', ?)"
        " FROM search JOIN heap ON heap.id = search.heap_id"
        " JOIN entry ON entry.block_id = search.block_id AND entry.role = 'note'"
        " WHERE search MATCH ? AND (? IS NULL OR heap.title = ? OR heap.id = ?)"
        " ORDER BY rank LIMIT ?",
        (SNIPPET_WORDS, match, heap, heap, heap, limit),
    )
    return [Hit(h, p, t, " ".join(s.split())) for h, p, t, s in rows]
