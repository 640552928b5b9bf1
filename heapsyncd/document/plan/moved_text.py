"""Where others took the text of leaves that they deleted. Pure.

Yjs can't move a node: who moves, retypes, indents, splits or joins deletes nodes and makes others
with their text. What we did to such a leaf belongs where its text now stands.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from heapsyncd.diff import similarity, text_hunks
from heapsyncd.document.plan.node_identity import Path, Same
from heapsyncd.document.plan.remote_changes import holds
from heapsyncd.tree import LEAVES, Block

_WORD = re.compile(r"\w+")
_NEAR = 0.5
"""What came about where a text went, and is this much alike or has most of its words, is the same
text, edited.
"""
_FAR = 0.6
_CHANCE = 12
"""So many letters of words are elsewhere by no chance, if they are most of the text."""
PART = 3
"""Shorter texts are in others by chance."""


@dataclass(slots=True)
class MovedText:
    """The leaves of the live document that deleted ones may have become.

    Args:
        base: the base's view.
        live: the live document's; None when there is nothing to know.
        same: which node of the live document is which of the base.
    """

    base: Block
    live: Block | None
    same: Same
    _new: list[Block] | None = field(init=False, default=None)
    """Leaves that the base does not have."""
    _grown: list[tuple[Block, str]] = field(init=False, default_factory=list)
    """Leaves that others edited, with the words they had."""
    _places: dict[Path, Block] | None = field(init=False, default=None)
    _taken: set[int] = field(init=False, default_factory=set)
    _found: dict[int, Block] = field(init=False, default_factory=dict)
    """What holds all of a leaf's text, by the leaf."""

    def is_lost(self, block: Block) -> bool:
        """Whether others deleted a base block, or left nothing of it to be seen."""
        return self.live is not None and block.path is not None and self.now(block) is None

    def now(self, block: Block) -> Block | None:
        """What a base block is in the live document; None when it is gone or hidden."""
        path = self.same.get(block.path) if block.path is not None else None
        if self.live is None or path is None:
            return None
        if self._places is None:
            self._places = {b.path: b for b in self.live.walk() if b.path is not None}
        return self._places.get(path)

    def find(
        self, leaf: Block, edited: Block | None = None, near: Sequence[Block] = ()
    ) -> Block | None:
        """The live leaf that holds a deleted one's text.

        Args:
            leaf: the deleted one.
            edited: what we made of it: of several parts the one that we wrote in is meant.
            near: the live blocks that came to stand about where it was.
        """
        words = leaf.words().strip()
        if id(leaf) in self._found:
            return self._found[id(leaf)]
        if self.live is None or leaf.kind not in LEAVES or not words:
            return None
        if self._new is None:
            self._new = list(self._arrived())
        free = [b for b in self._new if id(b) not in self._taken]
        found = next((b for b in free if b.words().strip() == words), None)
        found = found or self._whole(words) or _parts(leaf, edited or leaf, free)
        found = found or _alike(leaf, free, near)
        if found is not None and words not in found.words():
            return found
        if found is not None:
            self._taken.add(id(found))
            self._found[id(leaf)] = found
        return found

    def _whole(self, words: str) -> Block | None:
        """A leaf that holds all of the text among other, which it had not before."""
        if len(words) < PART:
            return None
        for block in self._new or ():
            if words in block.words():
                return block
        return next((b for b, had in self._grown if words in b.words() and words not in had), None)

    def _arrived(self) -> Iterator[Block]:
        assert self.live is not None
        came_from = {there: here for here, there in self.same.items()}
        before: dict[Path | None, Block] = {
            b.path: b for b in self.base.walk() if b.path is not None
        }
        stack = [self.live]
        while stack:
            block = stack.pop()
            path = came_from.get(block.path or ())
            old = before.get(path)
            if old == block:
                continue  # as it was, also where single nodes were not followed
            stack += reversed(block.children)
            if block.kind not in LEAVES or block.path is None or not block.words().strip():
                continue
            if path is None:
                yield block
            elif old is not None:
                self._grown.append((block, old.words()))


def _parts(leaf: Block, edited: Block, free: list[Block]) -> Block | None:
    """Of the pieces a text was cut into, the one we wrote in; else the longest."""
    words = leaf.words()
    parts = [b for b in free if len(b.words().strip()) >= PART and b.words().strip() in words]
    places = [h.start for h in text_hunks(words, edited.words()) if h.text.strip()]

    def fit(part: Block) -> tuple[int, int]:
        text = part.words().strip()
        start = words.index(text)
        return sum(start <= p <= start + len(text) for p in places), len(text)

    return max(parts, key=fit, default=None)


def _alike(leaf: Block, free: list[Block], near: Sequence[Block]) -> Block | None:
    """What is most like a text, if it is like it at all."""
    beside = {id(b) for n in near for b in n.walk()}
    best: tuple[float, Block] | None = None
    for block in free:
        alike = similarity(leaf, block)
        is_beside = id(block) in beside
        is_it = alike >= (_NEAR if is_beside else _FAR)
        is_it = is_it or (holds(block, leaf) and (is_beside or _shared(leaf, block) >= _CHANCE))
        if is_it and (best is None or alike > best[0]):
            best = alike, block
    return best[1] if best else None


def _shared(leaf: Block, block: Block) -> int:
    """The letters of the words that both have."""
    both = Counter(_WORD.findall(leaf.words())) & Counter(_WORD.findall(block.words()))
    return sum(len(word) for word in both.elements())
