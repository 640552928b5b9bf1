"""Search an account's notes in the cache, while a daemon runs or not."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from heapsyncd.cache import heaps, search
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.cache.search import Hit, Line
from heapsyncd.cache.search_query import Place, Query, joined, parse
from heapsyncd.config import Account
from heapsyncd.database import Database, Tx
from heapsyncd.sync.cache_file import cache_path, open_cache
from heapsyncd.sync.merge.note_file import searched

BATCH: Final = 100
"""So many notes are indexed in one transaction, which a daemon may have to wait for."""
SNIPPET_CHARS: Final = 120


class Found(Struct, frozen=True):
    """A note that was found, as in ``search --json``."""

    account: str
    heap: str
    path: str
    """Relative to the heap's folder."""
    file: str
    """The absolute path."""
    title: str
    modified_ms: int
    snippet: str
    """What stands around the first word that was found; '' if only title or tags have it."""
    lines: tuple[Line, ...]


def query_of(arguments: Sequence[str], heap: str | None = None) -> Query:
    """Return the query that the arguments of a command are; ``heap``: only in this heap."""
    return parse(joined(arguments), heap)


async def known_heaps(account: Account, state_dir: Path) -> list[tuple[str, str]]:
    """Return the id and the title of each heap in the cache.

    Raises:
        FolderTrouble: the cache cannot be read.
    """
    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        return [(row.id, row.title) for row in await db.read(heaps.load_all)]


def is_named(name: str, heap_id: str, title: str) -> bool:
    """Tell whether a person means a heap by a name: its title, in any case, or its id."""
    return name == heap_id or _folded(name) == _folded(title)


async def search_cache(
    account: Account,
    state_dir: Path,
    query: Query,
    folders: Mapping[str, Sequence[str]],
    limit: int,
    *,
    newest_first: bool = False,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Found]:
    """Return an account's notes that a query finds.

    Args:
        account: the account.
        state_dir: the directory of its cache.
        query: what to find.
        folders: what an ``in:`` of the query means, if it is not a name: absolute paths.
        limit: the most notes returned.
        newest_first: instead of the best first.
        tell: called with their number before notes of an older version are indexed.

    Raises:
        FolderTrouble: the cache cannot be used.
    """
    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        await complete_index(db, tell)

        def read(tx: Tx) -> list[Found]:
            rows = {row.id: row for row in heaps.load_all(tx)}
            wanted = {
                id_: _filter(account, row, query.places, folders) for id_, row in rows.items()
            }
            hits = search.find(
                tx, query, lambda heap, path: wanted[heap](path), limit, newest_first=newest_first
            )
            return [_shown(account, rows[hit.heap_id], hit) for hit in hits]

        return await db.read(read)


async def complete_index(db: Database, tell: Callable[[int], None]) -> None:
    """Index the notes that an older version stored."""

    def step(tx: Tx) -> bool:
        notes = list(search.lacking(tx, BATCH))
        for block, title, data in notes:
            search.index(tx, block, title, searched(data))
        return bool(notes)

    if left := await db.read(search.count_lacking):
        tell(left)
        while await db.write(step):
            pass


def _filter(
    account: Account,
    row: HeapRow,
    places: Sequence[Place],
    folders: Mapping[str, Sequence[str]],
) -> Callable[[str], bool]:
    """Return a function that tells whether a note of a heap is in all places, by its path."""
    root = account.folder / row.folder

    def is_in(place: Place, path: str) -> bool:
        if place.kind == "heap":
            return is_named(place.name, row.id, row.title)
        if place.name in folders:
            return any((root / path).is_relative_to(folder) for folder in folders[place.name])
        directory = path.rpartition("/")[0]
        return f"/{_folded(place.name.strip('/'))}/" in f"/{_folded(directory)}/"

    return lambda path: all(is_in(place, path) != place.is_excluded for place in places)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _shown(account: Account, row: HeapRow, hit: Hit) -> Found:
    return Found(
        account.name,
        hit.heap,
        hit.path,
        str(account.folder / row.folder / hit.path),
        hit.title,
        hit.modified_ms,
        hit.lines[0].around(SNIPPET_CHARS).text if hit.lines else "",
        hit.lines,
    )
