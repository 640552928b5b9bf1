"""A base for two texts whose own is not known, or not well enough: what they have in common.
Pure.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from heapsyncd.diff import Hunk, align
from heapsyncd.diff.sequences import matches
from heapsyncd.document.edit import merge_three
from heapsyncd.document.inline.visible_text import Alphabet, cut
from heapsyncd.document.plan.clone_sources import with_content
from heapsyncd.document.plan.remote_changes import content
from heapsyncd.sync.merge.unmatched_text import UnmatchedSpan, by_word, goes_on, meetings
from heapsyncd.tree import CONTAINERS, LEAVES, Atom, Block, Inline, Text, attrs, inline

ALIKE: Final = 2
"""What became another block has at most so many times the words ..."""
MUCH: Final = 5
"""... or so many letters of it are in the other in order: that is no chance."""
_LETTERS: Final = 3
"""Two people may both write a shorter word, or number."""
_WORD: Final = re.compile(r"\w+")
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")


def common(ours: Block, theirs: Block) -> Block:
    """A base for two texts that share no known one: what stands in both, so that a merge keeps all
    of either.

    The base has their shape: against it they only added, and what stands elsewhere here we moved.
    """
    if ours == theirs or _is_grown(ours, theirs):
        return ours
    found = _Common(Alphabet(*(content(b) for side in (ours, theirs) for b in side.walk())))
    top = _Node(ours, theirs)
    found.children(top)
    found.strays()
    made = _made(top)
    return ours.with_children(made.children if made else ())


def merged(before: Block, ours: Block, theirs: Block) -> Block:
    """Merge two trees that share no history. What both have and the base has not counts as known
    to both, should it else stand twice: theirs may hold an edit of ours, edited further.
    """
    body = merge_three(before, ours, theirs)
    both = common(ours, theirs)
    known = merge_three(common(both, before), before, both)
    if known == before or body in (ours, theirs):
        return body
    again = merge_three(known, ours, theirs)
    text, shorter = body.words(), again.words()
    is_all_there = all(w in shorter for w in said(ours) | said(theirs) if w in text)
    # What returns of the base (nobody knows any more who took it away) may make it longer.
    is_better = len(shorter) < len(text) or _repeats(again) < _repeats(body)
    return again if is_better and is_all_there else body


def _repeats(body: Block) -> int:
    """How many words of a body stood in it before."""
    words = said(body)
    return words.total() - len(words)


def are_both_newer(before: Block, ours: Block, theirs: Block) -> bool:
    """Whether two texts have words in common that their base has not: the cache is older than the
    file (it was put back from a backup), which shows some of what the document got since.
    """
    known = said(before)
    return any(len(w) >= _LETTERS for w in (said(ours) - known) & (said(theirs) - known))


def said(body: Block) -> Counter[str]:
    """The words of a body."""
    return Counter(_WORD.findall(body.words()))


def is_said_in(words: Counter[str], body: Block) -> bool:
    """Whether a body has all of these words, longer perhaps."""
    there = said(body)
    return all(any(goes_on(word, other) for other in there) for word in words)


@dataclass(slots=True)
class _Node:
    """A block of theirs, as the base may have it."""

    like: Block
    """Ours, where it stands for it: what they made of its attributes they changed."""
    theirs: Block
    below: "list[_Node | Block]" = field(default_factory=list)
    parts: list[tuple[int, int, list[Inline]]] = field(default_factory=list)
    """Of a leaf's content what is in both: where it begins and ends in theirs, and what it is."""
    stands: bool = False
    """Whether the base has it even with nothing in it."""


class _Common:
    def __init__(self, letters: Alphabet) -> None:
        self._letters = letters
        self._ours: list[UnmatchedSpan] = []
        self._theirs: list[UnmatchedSpan] = []
        self._nodes: dict[int, _Node] = {}
        self._place = 0

    def children(self, node: _Node) -> None:
        """What the children of two blocks that stand for one another have in common."""
        ours, theirs = node.like.children, node.theirs.children
        gap: tuple[list[Block], list[Block]] = ([], [])
        for i, j in align(ours, theirs):
            if i is None or j is None:
                side, block = (0, ours[i]) if i is not None else (1, theirs[j or 0])
                gap[side].append(block)
                continue
            node.below += self._gap(*gap)
            gap = ([], [])
            node.below += self._both(ours[i], theirs[j])
        node.below += self._gap(*gap)

    def _both(self, ours: Block, theirs: Block) -> "list[_Node | Block]":
        """What two blocks have in common that stand for one another."""
        same = ours if ours == theirs else _fewer_files(ours, theirs)
        if same is not None:
            self._place += 1
            return [same]
        if ours.kind != theirs.kind or not _is_filled(ours) or not _is_filled(theirs):
            return list(self._gap([ours], [theirs]))
        node = _Node(ours, theirs)
        if ours.children:
            self.children(node)
        elif ours.kind in LEAVES:
            # An empty paragraph is no part of a text: words put into it by both would become one.
            node.stands = ours.kind != "paragraph"
            self._place += 1
            self._leaf(node)
        return [node]

    def _leaf(self, node: _Node) -> None:
        ours, theirs = (self._string(b) for b in (node.like, node.theirs))
        self._nodes[id(node.theirs)] = node
        at = shift = 0
        hunks = _around(ours, by_word(ours, theirs), self._letters.named())
        for hunk in [*hunks, Hunk(len(ours), len(ours), "")]:
            if at < hunk.start:
                known = cut(content(node.theirs), at + shift, hunk.start + shift)
                items = _with_atoms_of(known, cut(content(node.like), at, hunk.start))
                node.parts.append((at + shift, hunk.start + shift, items))
            start = hunk.start + shift
            self._ours.append(UnmatchedSpan(node.like, ours[hunk.start : hunk.end], hunk.start))
            self._theirs.append(UnmatchedSpan(node.theirs, hunk.text, start))
            at, shift = hunk.end, shift + len(hunk.text) - (hunk.end - hunk.start)

    def _gap(self, ours: Sequence[Block], theirs: Sequence[Block]) -> "Iterator[_Node | Block]":
        """What stands in one place and for nothing of the other side."""
        if old := _older(ours, theirs):
            yield from old
            return
        self._ours += [s for b in ours for s in self._whole(b)]
        for block in theirs:
            yield self._alone(block)
            self._theirs += self._whole(block)

    def _whole(self, block: Block) -> Iterator[UnmatchedSpan]:
        for leaf in block.walk():
            if leaf.kind in LEAVES:
                yield UnmatchedSpan(leaf, self._string(leaf), place=self._place)

    def _string(self, leaf: Block) -> str:
        """A leaf's content; two links under one label are the same, whatever note they mean."""
        return self._letters.string(
            Atom("mention", attrs(label=i.get("label")))
            if isinstance(i, Atom) and i.kind == "mention" and i.get("label")
            else i
            for i in content(leaf)
        )

    def _alone(self, block: Block) -> _Node:
        node = _Node(block, block, [self._alone(c) for c in block.children])
        node.stands = block.kind == "cell"
        self._nodes[id(block)] = node
        return node

    def strays(self) -> None:
        """What both have, but in blocks that don't stand for one another, is in the base where
        they have it: else a merge would have it twice.
        """
        for block, start, end in meetings(self._ours, self._theirs):
            items = cut(content(block), start, end)
            self._nodes[id(block)].parts.append((start, end, items))


def _with_atoms_of(theirs: Iterable[Inline], ours: Iterable[Inline]) -> list[Inline]:
    """What two sides have in common, as ours has it but for links that mean another note there:
    then we changed that.
    """
    atoms = (i for i in theirs if isinstance(i, Atom))
    return [next(atoms) if isinstance(i, Atom) else i for i in ours]


def _around(old: str, hunks: Iterable[Hunk], atoms: Collection[str]) -> Iterator[Hunk]:
    """The hunks, parted where both sides have an atom: the same link in two texts that stand for
    one another is one, however little else they have in common.
    """
    for hunk in hunks:
        here = [(ch, hunk.start + k) for k, ch in enumerate(old[hunk.start : hunk.end])]
        here = [one for one in here if one[0] in atoms]
        there = [(ch, k) for k, ch in enumerate(hunk.text) if ch in atoms]
        start, begins = hunk.start, 0
        for i, j, n in matches([ch for ch, _ in here], [ch for ch, _ in there]):
            for (_, end), (_, ends) in zip(here[i : i + n], there[j : j + n], strict=True):
                yield Hunk(start, end, hunk.text[begins:ends])
                start, begins = end + 1, ends + 1
        yield Hunk(start, hunk.end, hunk.text[begins:])


def _made(node: _Node) -> Block | None:
    """The base's block; None when nothing of it is in both."""
    if node.like.kind in LEAVES:
        items = inline(_apart(sorted(node.parts, key=lambda p: p[0])))
        return with_content(node.like, items) if items or node.stands else None
    below = [b if isinstance(b, Block) else _made(b) for b in node.below]
    children = [b for b in below if b is not None]
    if node.like.kind == "row" and not any(c.inline for c in children):
        return None
    return node.like.with_children(children) if children else None


def _apart(parts: Iterable[tuple[int, int, list[Inline]]]) -> Iterator[Inline]:
    """The parts of a leaf in a row; words between which others stood stay two."""
    last: tuple[int, str] = (0, " ")
    for start, end, items in parts:
        ends = [i.text for i in (items[0], items[-1]) if isinstance(i, Text)]
        if start > last[0] and last[1].isalnum() and ends and ends[0][:1].isalnum():
            yield Text(" ")
        yield from items
        last = end, ends[-1][-1:] if ends else " "


def _is_grown(ours: Block, theirs: Block) -> bool:
    """Whether they made theirs of ours by adding to it. Not so the other way: what is no word, as
    whether a task is done, they may have changed since.
    """
    a, b = _Said(ours.children), _Said(theirs.children)
    return a.tokens != b.tokens and a.grew_into(b)


def _older(ours: Sequence[Block], theirs: Sequence[Block]) -> Sequence[Block]:
    """Of blocks that stand in one place those of which the others were made: they hold every word
    of them, and not many more, or in order.
    """
    a, b = _Said(ours), _Said(theirs)
    for old, said, others in ((theirs, b, a), (ours, a, b)):
        if said.is_in(others) or said.grew_into(others):
            return old
    return []


def _fewer_files(ours: Block, theirs: Block) -> Block | None:
    """Of two groups of files that of which the other holds all; None: there is no such."""
    if not ours.kind == theirs.kind == "files":
        return None
    a, b = (frozenset(str(block.get("keys")).split("\n")) for block in (ours, theirs))
    return ours if a <= b else theirs if b <= a else None


class _Said:
    """What blocks say.

    Args:
        blocks: in a row.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        below = [b for block in blocks for b in block.walk()]
        self.tokens = [t for b in below if b.kind in LEAVES for t in _TOKEN.findall(b.words())]
        self._words = Counter(t for t in self.tokens if _WORD.match(t))
        self._things: Counter[object] = Counter(b for b in below if _is_thing(b))
        self._things.update(
            i for b in below for i in b.inline if isinstance(i, Atom) and i.kind != "break"
        )

    def is_in(self, other: "_Said") -> bool:
        """Whether the other has all of these words, and not many more."""
        return self._may_be_in(other) and self._words <= other._words  # noqa: SLF001

    def grew_into(self, other: "_Said") -> bool:
        """Whether the other has all of these words in order, where some may have become longer."""
        left = iter(other.tokens)
        may_be = self._may_be_in(other) or self._may_be_in(other, much=True)
        return may_be and all(any(goes_on(t, o) for o in left) for t in self.tokens)

    def _may_be_in(self, other: "_Said", *, much: bool = False) -> bool:
        """Whether that would be no chance: the other says not much more, or this says ``much``."""
        if not self._words or not self._things <= other._things:  # noqa: SLF001
            return False
        if much:
            return sum(map(len, self._words)) >= MUCH
        return other._words.total() <= ALIKE * self._words.total()  # noqa: SLF001


def _is_thing(block: Block) -> bool:
    return block.kind not in LEAVES and block.kind not in CONTAINERS


def _is_filled(block: Block) -> bool:
    return bool(block.children or block.inline or block.kind == "code")
