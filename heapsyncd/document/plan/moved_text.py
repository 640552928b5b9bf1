"""Find where others moved the text of leaves that they deleted. Pure.

Yjs cannot move a node: moving, retyping, indenting, splitting or joining deletes nodes and makes
others with their text. An edit of ours to such a leaf belongs where its text is now.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from heapsyncd.diff import similarity, text_hunks
from heapsyncd.document.plan.node_identity import NodeMap, Path
from heapsyncd.document.plan.remote_changes import has_words_of
from heapsyncd.tree import LEAVES, Block

_WORD = re.compile(r"\w+")
_MIN_SIMILARITY_NEAR = 0.5
"""The least similarity of a leaf inserted about where the text was; having most of its words is
enough, too.
"""
_MIN_SIMILARITY = 0.6
"""The least similarity of a leaf inserted elsewhere."""
_MIN_SHARED_LETTERS = 12
"""The least number of letters in shared words, if they are most of the text, that is no
coincidence.
"""
MIN_PART_LETTERS = 3
"""Shorter texts occur in others by coincidence."""


@dataclass(slots=True)
class MovedText:
    """Finds the leaves of the live document that deleted ones may have become.

    Args:
        base: the base's view.
        live: the live document's view; None when nothing is known of it.
        node_map: the live node of each node of the base.
    """

    base: Block
    live: Block | None
    node_map: NodeMap
    _new: list[Block] | None = field(init=False, default=None)
    """Leaves that others inserted; None until they are asked for."""
    _grown: list[tuple[Block, str]] = field(init=False, default_factory=list)
    """Leaves that others edited, with the words they had."""
    _places: dict[Path, Block] | None = field(init=False, default=None)
    _taken: set[int] = field(init=False, default_factory=set)
    _found: dict[int, Block] = field(init=False, default_factory=dict)
    """The live leaf that holds all of a deleted leaf's text, by the ``id()`` of the latter."""

    def is_deleted(self, block: Block) -> bool:
        """Tell whether others deleted a block of the base, or left nothing of it visible."""
        return self.live is not None and block.path is not None and self.live_block(block) is None

    def live_block(self, block: Block) -> Block | None:
        """Return what a block of the base is in the live document; None when deleted or hidden."""
        path = self.node_map.get(block.path) if block.path is not None else None
        if self.live is None or path is None:
            return None
        if self._places is None:
            self._places = {b.path: b for b in self.live.walk() if b.path is not None}
        return self._places.get(path)

    def find(
        self, leaf: Block, edited: Block | None = None, near: Sequence[Block] = ()
    ) -> Block | None:
        """Return the live leaf that holds a deleted leaf's text; None when there is none.

        Args:
            leaf: the deleted leaf.
            edited: what we made of it: if others split it, the part that we wrote in is returned.
            near: the live blocks that others inserted about where it was.
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
        found = found or _most_similar(leaf, free, near)
        if found is not None and words not in found.words():
            return found
        if found is not None:
            self._taken.add(id(found))
            self._found[id(leaf)] = found
        return found

    def _whole(self, words: str) -> Block | None:
        """Return a leaf that holds all of the text among other text, and did not before."""
        if len(words) < MIN_PART_LETTERS:
            return None
        for block in self._new or ():
            if words in block.words():
                return block
        return next((b for b, had in self._grown if words in b.words() and words not in had), None)

    def _arrived(self) -> Iterator[Block]:
        assert self.live is not None
        came_from = {there: here for here, there in self.node_map.items()}
        before: dict[Path | None, Block] = {
            b.path: b for b in self.base.walk() if b.path is not None
        }
        stack = [self.live]
        while stack:
            block = stack.pop()
            path = came_from.get(block.path or ())
            old = before.get(path)
            if old == block:
                continue  # unchanged, so nothing below it is new
            stack += reversed(block.children)
            if block.kind not in LEAVES or block.path is None or not block.words().strip():
                continue
            if path is None:
                yield block
            elif old is not None:
                self._grown.append((block, old.words()))


def _parts(leaf: Block, edited: Block, free: list[Block]) -> Block | None:
    """Return the part of a split text that we wrote in, else the longest one."""
    words = leaf.words()
    parts = [
        b
        for b in free
        if len(b.words().strip()) >= MIN_PART_LETTERS and b.words().strip() in words
    ]
    places = [h.start for h in text_hunks(words, edited.words()) if h.text.strip()]

    def fit(part: Block) -> tuple[int, int]:
        text = part.words().strip()
        start = words.index(text)
        return sum(start <= p <= start + len(text) for p in places), len(text)

    return max(parts, key=fit, default=None)


def _most_similar(leaf: Block, free: list[Block], near: Sequence[Block]) -> Block | None:
    """Return the leaf that is most similar to a text, if any is similar enough."""
    beside = {id(b) for n in near for b in n.walk()}
    best: tuple[float, Block] | None = None
    for block in free:
        alike = similarity(leaf, block)
        is_beside = id(block) in beside
        is_it = alike >= (_MIN_SIMILARITY_NEAR if is_beside else _MIN_SIMILARITY)
        is_it = is_it or (
            has_words_of(block, leaf)
            and (is_beside or _shared_letters(leaf, block) >= _MIN_SHARED_LETTERS)
        )
        if is_it and (best is None or alike > best[0]):
            best = alike, block
    return best[1] if best else None


def _shared_letters(leaf: Block, block: Block) -> int:
    """Count the letters of the words that both have."""
    both = Counter(_WORD.findall(leaf.words())) & Counter(_WORD.findall(block.words()))
    return sum(len(word) for word in both.elements())
