"""Find what a link means whose name no block has any more. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

from heapsyncd.diff.sequences import gaps_between, matches
from heapsyncd.document.replica import Replica
from heapsyncd.markdown.read.blocks import read
from heapsyncd.sync.heap.index import link_key
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.merge.note_text import NAMED, Base, Note
from heapsyncd.tree import Block, Text

_STEP: Final = re.compile(rf"{NAMED.pattern}|(\w+)")
_UNKNOWN: Final = "?"
"""Prefix of a name that belongs to no block, used in the place of an id."""


def recall(
    base: Base | None, note: Note, live: Replica, updates: Sequence[bytes], links: NoteLinks
) -> NoteLinks:
    """Return the links with meanings added for names in this text that no block has any more.

    The note linked to was renamed or deleted, and this text was not written since. Such a name
    means the block that the document mentions at the same place. Arguments as for ``read_body``.
    """
    shown = tuple(updates) if base is None else base.updates
    body = note.body if base is None else base.note.body
    known = [(n, links.block_of(n)) for n in NAMED.findall(body)]
    if shown is None or all(block for _, block in known):
        return links
    view = live.view() if shown == tuple(updates) else Replica.load(shown).view()
    there = list(_steps(view))
    ids = Counter(s.word for s in there if s.is_block)
    if base is None or ids - Counter(block or name for name, block in known):
        here = read(body, _AnyName(links), line_breaks=note.line_breaks)
        return replace(links, meant=_meanings(list(_steps(here)), there))
    return links


def _meanings(here: Sequence["_Step"], there: Sequence["_Step"]) -> dict[str, str]:
    """Match unknown names in a text to blocks that the document mentions at the same place.

    Left out are blocks that the text mentions elsewhere, names that could mean two blocks (or a
    block two names), and names that are plain text in the document. Returns block ids by
    ``link_key``.
    """
    found = matches([s.word for s in here], [s.word for s in there])
    texts = {s.word for s in there}
    kept = {s.word for _, j, n in found for s in there[j : j + n]}
    pairs: set[tuple[str, str]] = set()
    for i1, i2, j1, j2 in gaps_between(found, len(here), len(there)):
        is_name = [s.word.startswith(_UNKNOWN) and s.word not in texts for s in here[i1:i2]]
        names = [s if ok else None for s, ok in zip(here[i1:i2], is_name, strict=True)]
        blocks = [s if s.is_block and s.word not in kept else None for s in there[j1:j2]]
        words = i1 > 0 and j1 > 0, i2 < len(here) and j2 < len(there)
        both = _facing(names, blocks, words)
        pairs |= {(n.word, b.word) for n, b in both if n.label == b.label}
    once = Counter(end for pair in pairs for end in pair)
    return {n.removeprefix(_UNKNOWN): b for n, b in pairs if once[n] == once[b] == 1}


def _facing(
    here: Sequence["_Step | None"], there: Sequence["_Step | None"], words: tuple[bool, bool]
) -> Iterator[tuple["_Step", "_Step"]]:
    """Yield the names and blocks of a gap that correspond (None: any other word).

    If there are equally many, all correspond in order. Otherwise those with the same label do, and
    those next to the words around the gap; ``words``: whether there are such before and behind it.
    """
    names, blocks = ([s for s in side if s is not None] for side in (here, there))
    if len(names) == len(blocks):
        yield from zip(names, blocks, strict=True)
        return
    yield from ((n, b) for n in names for b in blocks if n.label and n.label == b.label)
    for step in (s for s, is_there in zip((1, -1), words, strict=True) if is_there):
        names, blocks = (
            [s for s in takewhile(bool, side[::step]) if s is not None] for side in (here, there)
        )
        if len(names) == len(blocks):
            yield from zip(names, blocks, strict=True)


@dataclass(frozen=True, slots=True)
class _Step:
    """A word of a body, or a link: its block's id, or a name that means none."""

    word: str
    label: str | None = None
    is_block: bool = False


def _steps(body: Block) -> Iterator[_Step]:
    for block in body.walk():
        for item in block.inline:
            if isinstance(item, Text):
                for name, word in _STEP.findall(item.text):
                    yield _Step(_UNKNOWN + link_key(name) if name else word)
            elif item.kind == "mention":
                word, label = str(item.get("id")), item.get("label")
                is_block = not word.startswith(_UNKNOWN)
                yield _Step(word, None if label is None else str(label), is_block)


class _AnyName:
    """Links that resolve every name; unknown ones to a marked name."""

    def __init__(self, links: NoteLinks) -> None:
        self._links = links
        self.name_of = links.name_of
        self.file_name, self.file_key = links.file_name, links.file_key

    def block_of(self, name: str) -> str | None:
        return self._links.block_of(name) or _UNKNOWN + link_key(name)
