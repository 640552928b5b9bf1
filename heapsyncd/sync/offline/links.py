"""Which notes a note names, and which notes name it: as their files stand in the cache."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from heapsyncd.cache import entries, heaps, renditions, search
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.cache.search_query import Term, words_of
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId
from heapsyncd.markdown.frontmatter import looks_like
from heapsyncd.sync.cache_file import cache_path, open_cache
from heapsyncd.sync.heap.index import Index, link_key
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.heap.paths import inside
from heapsyncd.sync.merge.link_meanings import names_in, names_linked
from heapsyncd.sync.offline.search import complete_index

Facts = dict[str, Any]
"""The document of ``links --json`` or ``backlinks --json``."""


async def links(account: Account, state_dir: Path, paths: Sequence[str]) -> Facts | None:
    """Return which notes a note names, and which names have no note; None if there is no note.

    Args:
        account: the account.
        state_dir: the directory of its cache.
        paths: absolute; the spellings of one path.

    Raises:
        FolderTrouble: the cache cannot be read.
    """
    return await _asked(account, state_dir, paths, _links)


async def backlinks(account: Account, state_dir: Path, paths: Sequence[str]) -> Facts | None:
    """Return which notes name a note, or one that does not exist yet; None outside all heaps.

    Arguments and errors as for ``links``.
    """
    return await _asked(account, state_dir, paths, _backlinks)


class _Heap(Struct, frozen=True):
    """A heap with the names of its notes, and where its folder is."""

    tx: Tx
    account: Account
    row: HeapRow
    index: Index

    def where(self, path: str) -> Facts:
        block = self._note(path)
        return {
            "account": self.account.name,
            "heap": {"id": self.row.id, "title": self.row.title},
            **self.shown(path),
            "block": block,
        }

    def shown(self, path: str) -> Facts:
        return {"path": path, "file": str(self.account.folder / self.row.folder / path)}

    def _note(self, path: str) -> BlockId | None:
        entry = self.index.entries.get(path)
        return entry.block_id if entry is not None and entry.role == "note" else None

    def text(self, block: BlockId) -> str:
        newest = renditions.newest(self.tx, block)
        if newest is None:
            return ""
        return newest.data.decode("utf-8", "replace").removeprefix("\ufeff")


async def _asked(
    account: Account,
    state_dir: Path,
    paths: Sequence[str],
    ask: Callable[[_Heap, str], Facts | None],
) -> Facts | None:
    if not cache_path(account, state_dir).exists():
        return None

    def read(tx: Tx) -> Facts | None:
        for row in heaps.load_all(tx):
            for path in inside(account.folder / row.folder, paths):
                heap = _Heap(tx, account, row, Index.of_heap(tx, row.id))
                return ask(heap, path)
        return None

    async with await open_cache(account, state_dir) as db:
        await complete_index(db, lambda _: None)
        return await db.read(read)


def _links(heap: _Heap, path: str) -> Facts | None:
    facts = heap.where(path)
    block = facts["block"]
    if block is None:
        return None
    names = _Names(heap.index, block, heap.text(block))
    found: dict[str, list[Facts]] = {}
    missing: dict[str, list[Facts]] = {}
    for line, name in names.lines():
        target = names.block_of(name)
        at = None if target is None else heap.index.path_of.get(target)
        (missing if at is None else found).setdefault(at or name, []).append(line)
    return {
        **facts,
        "links": [{**heap.shown(p), "lines": _once(lines)} for p, lines in found.items()],
        "missing": [{"name": name, "lines": _once(lines)} for name, lines in missing.items()],
    }


def _backlinks(heap: _Heap, path: str) -> Facts | None:
    facts = heap.where(path)
    wanted: BlockId | None = facts["block"]
    if wanted is None and (path in heap.index.entries or not path.endswith(".md")):
        return None
    whole = link_key(path)
    keys = frozenset((whole, whole.rpartition("/")[2]))
    backlinks = []
    for at, block in sorted(_candidates(heap, path, wanted)):
        names = _Names(heap.index, block, heap.text(block))
        lines = [line for line, _ in names.lines(wanted, keys)]
        if lines:
            backlinks.append({**heap.shown(at), "lines": _once(lines)})
    return {**facts, "backlinks": backlinks}


def _candidates(heap: _Heap, path: str, wanted: BlockId | None) -> Iterator[tuple[str, BlockId]]:
    """Yield the notes that may name a note: their paths and blocks."""
    words = tuple(words_of(path.rpartition("/")[2].removesuffix(".md")))
    found = search.blocks_with(heap.tx, Term(words)) if words else set()
    if wanted is not None:
        found |= entries.mentioning(heap.tx, [wanted])
    for block in found:
        entry = heap.index.entries.get(heap.index.path_of.get(block, ""))
        if entry is not None and entry.role == "note":
            yield entry.path, block


class _Names:
    """The names that the text of a note links to, in its body and its front matter."""

    def __init__(self, index: Index, block: BlockId, text: str) -> None:
        self._links = NoteLinks(index, block, aliases=True)
        self._text = text

    def block_of(self, name: str) -> BlockId | None:
        """Return the note that a name means, which may have a heading behind it."""
        found = self._links.block_of(name) or self._links.block_of(_note_part(name))
        return None if found is None else BlockId(found)

    def lines(
        self, block: BlockId | None = None, keys: frozenset[str] = frozenset()
    ) -> Iterator[tuple[Facts, str]]:
        """Yield each link's line and name, in the order of the text.

        Args:
            block: only links to this one.
            keys: only links to a note that does not exist, with one of these ``link_key``s.
        """
        found = [
            (number, line, name)
            for number, line in enumerate(self._text.split("\n"), start=1)
            for name in names_in(line)
            if _note_part(name) and self._is_wanted(name, block, keys)
        ]
        if not found:
            return  # finding out what is a link takes longer
        front = looks_like(self._text)
        linked = names_linked(self._text[len(front) :])
        linked |= {link_key(name) for name in names_in(front)}
        for number, line, name in found:
            if link_key(name) in linked:
                yield {"number": number, "text": line.removesuffix("\r")}, name

    def _is_wanted(self, name: str, block: BlockId | None, keys: frozenset[str]) -> bool:
        if block is not None:
            return self.block_of(name) == block
        if keys:
            return link_key(_note_part(name)) in keys and self.block_of(name) is None
        return True


def _note_part(name: str) -> str:
    """Return what stands before the heading in a link's name; '' if the note itself is meant."""
    return name.partition("#")[0].strip()


def _once(lines: Iterable[Facts]) -> list[Facts]:
    return list({line["number"]: line for line in lines}.values())
