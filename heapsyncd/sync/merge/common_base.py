"""Make a synthetic base for two texts whose base is unknown: the text both have. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from msgspec import Struct, field

from heapsyncd.diff import Hunk, align
from heapsyncd.diff.sequences import matches
from heapsyncd.document.inline.visible_text import Alphabet, cut
from heapsyncd.document.plan.clone_sources import with_content
from heapsyncd.document.plan.remote_changes import content
from heapsyncd.sync.merge.unmatched_text import (
    UnmatchedSpan,
    by_word,
    is_extended_by,
    matching_spans,
)
from heapsyncd.tree import CONTAINERS, LEAVES, Atom, Block, Inline, Text, attrs, inline
from heapsyncd.tree.nodes import plain

MAX_WORD_RATIO: Final = 2
"""A text counts as the older state of another that has at most this many times its words ..."""
MIN_LETTERS: Final = 5
"""... or if it has at least this many letters: more than two texts share by chance."""
_MIN_WORD_LETTERS: Final = 3
"""Two people may write the same shorter word or number by chance."""
_WORD: Final = re.compile(r"\w+")
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")


def common_base(ours: Block, theirs: Block) -> Block:
    """Return a base for two texts that share no known one: what both contain.

    A three-way merge against it keeps all text of either side. The base has the block structure of
    ``theirs``: seen from it, they only added, and what is elsewhere in ``ours`` we moved.
    """
    if ours == theirs or _is_extension(ours.children, theirs.children):
        return ours
    letters = Alphabet(*(content(b) for side in (ours, theirs) for b in side.walk()))
    found = _BaseBuilder(letters, ours)
    top = _Node(ours, theirs)
    found.pair_children(top)
    found.match_unmatched()
    made = _build(top)
    return ours.with_children(made.children if made else ())


def are_both_newer(before: Block, ours: Block, theirs: Block) -> bool:
    """Return whether two texts share words that their base lacks.

    Then the cache is older than the file (it was restored from a backup): the file already shows
    some of what the document received since. Either side may have extended such a word.
    """
    known = word_counts(before)
    new, other = (word_counts(side) - known for side in (ours, theirs))
    if any(len(word) >= _MIN_WORD_LETTERS for word in new & other):
        return True
    long, others = ([w for w in side if len(w) >= MIN_LETTERS] for side in (new, other))
    return any(is_extended_by(a, b) or is_extended_by(b, a) for a in long for b in others)


def word_counts(body: Block) -> Counter[str]:
    """Count the words of a body. A link's label is no part of the word beside it."""
    return Counter(word for block in body.walk() for word in _WORD.findall(_said(block)))


def _said(block: Block) -> str:
    if block.kind == "code":
        return block.text
    return "".join([i.text if isinstance(i, Text) else f" {plain(i)} " for i in block.inline])


def contains_words(words: Counter[str], body: Block) -> bool:
    """Return whether a body has all of these words, possibly extended."""
    there = word_counts(body)
    return all(any(is_extended_by(word, other) for other in there) for word in words)


class _Node(Struct):
    """A block of the base under construction, placed as in ``theirs``."""

    ours: Block
    """Our block of the pair: its attributes are taken, so that changes of theirs count as changes.
    """
    theirs: Block
    children: "list[_Node | Block]" = field(default_factory=list)
    parts: list[tuple[int, int, list[Inline]]] = field(default_factory=list)
    """For a leaf, the content in both: start and end in theirs, and the items."""
    keep_empty: bool = False
    """Whether the base contains the block even without content."""


_Pair = tuple[Block | None, Block | None]
"""Aligned blocks of ours and theirs; None: there is no such block."""


class _BaseBuilder:
    """Pairs the blocks of two trees and collects what both contain.

    Args:
        letters: maps inline content to characters; knows both trees.
        ours: our tree.
    """

    def __init__(self, letters: Alphabet, ours: Block) -> None:
        self._letters = letters
        self._words = word_counts(ours)
        self._ours: list[UnmatchedSpan] = []
        self._theirs: list[UnmatchedSpan] = []
        self._nodes: dict[int, _Node] = {}
        self._position = 0

    def pair_children(self, node: _Node) -> None:
        """Pair the children of two paired blocks."""
        ours, theirs = node.ours.children, node.theirs.children
        run: list[_Pair] = []
        for i, j in align(ours, theirs):
            a, b = None if i is None else ours[i], None if j is None else theirs[j]
            if a is not None and a == b:
                node.children += [*self._run(run), *self._paired(a, b)]
                run = []
            else:
                run.append((a, b))
        node.children += self._run(run)

    def _run(self, pairs: "Sequence[_Pair]") -> "list[_Node | Block]":
        """Return the base's blocks for what is between two equal blocks.

        If theirs only grew there, it stands as it is: two devices that know no base must not both
        make something of it.
        """
        if not pairs:
            return []
        ours, theirs = ([b for b in side if b is not None] for side in zip(*pairs, strict=True))
        if _is_extension(ours, theirs) and not self._has_elsewhere(ours, theirs):
            self._position += 1
            return list(ours)
        found: list[_Node | Block] = []
        gap: tuple[list[Block], list[Block]] = ([], [])
        for a, b in pairs:
            if a is not None and b is not None:
                found += [*self._unpaired_run(*gap), *self._paired(a, b)]
                gap = ([], [])
            elif a is not None:
                gap[0].append(a)
            elif b is not None:
                gap[1].append(b)
        return [*found, *self._unpaired_run(*gap)]

    def _has_elsewhere(self, ours: Sequence[Block], theirs: Sequence[Block]) -> bool:
        """Return whether words that these blocks of theirs have more are elsewhere in ours."""
        here, there = (sum((word_counts(b) for b in side), Counter()) for side in (ours, theirs))
        return bool((there - here) & (self._words - here))

    def _paired(self, ours: Block, theirs: Block) -> "list[_Node | Block]":
        """Return what two paired blocks have in common."""
        same = ours if ours == theirs else _contained_files(ours, theirs)
        if same is not None:
            self._position += 1
            return [same]
        if ours.kind != theirs.kind or not _is_filled(ours) or not _is_filled(theirs):
            return list(self._unpaired_run([ours], [theirs]))
        node = _Node(ours, theirs)
        if ours.children:
            self.pair_children(node)
        elif ours.kind in LEAVES:
            # An empty paragraph in the base would join what both sides typed into theirs.
            node.keep_empty = ours.kind != "paragraph"
            self._position += 1
            self._pair_leaves(node)
        return [node]

    def _pair_leaves(self, node: _Node) -> None:
        ours, theirs = (self._string(b) for b in (node.ours, node.theirs))
        self._nodes[id(node.theirs)] = node
        at = shift = 0
        hunks = _split_at_atoms(ours, by_word(ours, theirs), self._letters.named())
        for hunk in [*hunks, Hunk(len(ours), len(ours), "")]:
            if at < hunk.start:
                known = cut(content(node.theirs), at + shift, hunk.start + shift)
                items = _with_their_links(known, cut(content(node.ours), at, hunk.start))
                node.parts.append((at + shift, hunk.start + shift, items))
            start = hunk.start + shift
            part = partial(UnmatchedSpan, position=self._position, is_part=True)
            self._ours.append(part(node.ours, ours[hunk.start : hunk.end], hunk.start))
            self._theirs.append(part(node.theirs, hunk.text, start))
            at, shift = hunk.end, shift + len(hunk.text) - (hunk.end - hunk.start)

    def _unpaired_run(
        self, ours: Sequence[Block], theirs: Sequence[Block]
    ) -> "Iterator[_Node | Block]":
        """Return the base's blocks for adjacent blocks without partners on the other side."""
        if old := _older_of(ours, theirs):
            yield from old
            return
        self._ours += [s for b in ours for s in self._spans_of(b)]
        for block in theirs:
            yield self._unpaired(block)
            self._theirs += self._spans_of(block)

    def _spans_of(self, block: Block) -> Iterator[UnmatchedSpan]:
        for leaf in block.walk():
            if leaf.kind in LEAVES:
                yield UnmatchedSpan(leaf, self._string(leaf), position=self._position)

    def _string(self, leaf: Block) -> str:
        """Return a leaf's content as characters; links with one label are equal."""
        return self._letters.string(
            Atom("mention", attrs(label=i.get("label")))
            if isinstance(i, Atom) and i.kind == "mention" and i.get("label")
            else i
            for i in content(leaf)
        )

    def _unpaired(self, block: Block) -> _Node:
        node = _Node(block, block, [self._unpaired(c) for c in block.children])
        node.keep_empty = block.kind == "cell"
        self._nodes[id(block)] = node
        return node

    def match_unmatched(self) -> None:
        """Add text that both sides have in blocks that are not paired.

        It goes to its place in theirs; without it a merge would contain it twice.
        """
        for block, start, end in matching_spans(self._ours, self._theirs):
            items = cut(content(block), start, end)
            self._nodes[id(block)].parts.append((start, end, items))


def _with_their_links(theirs: Iterable[Inline], ours: Iterable[Inline]) -> list[Inline]:
    """Return the common items as ours has them, but links with the target they have in theirs.

    A different target in ours then counts as our change.
    """
    atoms = (i for i in theirs if isinstance(i, Atom))
    return [next(atoms) if isinstance(i, Atom) else i for i in ours]


def _split_at_atoms(old: str, hunks: Iterable[Hunk], atoms: Collection[str]) -> Iterator[Hunk]:
    """Split hunks where both sides have the same atom.

    The same link in two paired texts is one link, however little else they share.
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


def _build(node: _Node) -> Block | None:
    """Return the base's block for a node; None if both sides share nothing of it."""
    if node.ours.kind in LEAVES:
        items = inline(_join_parts(sorted(node.parts, key=lambda p: p[0])))
        return with_content(node.ours, items) if items or node.keep_empty else None
    below = [b if isinstance(b, Block) else _build(b) for b in node.children]
    children = [b for b in below if b is not None]
    if node.ours.kind == "row" and not any(c.inline for c in children):
        return None
    return node.ours.with_children(children) if children else None


def _join_parts(parts: Iterable[tuple[int, int, list[Inline]]]) -> Iterator[Inline]:
    """Yield a leaf's parts in order; where other text was left out, a space separates words."""
    last: tuple[int, str] = (0, " ")
    for start, end, items in parts:
        ends = [i.text for i in (items[0], items[-1]) if isinstance(i, Text)]
        if start > last[0] and last[1].isalnum() and ends and ends[0][:1].isalnum():
            yield Text(" ")
        yield from items
        last = end, ends[-1][-1:] if ends else " "


def _is_extension(ours: Sequence[Block], theirs: Sequence[Block]) -> bool:
    """Return whether theirs were made from ours by additions only.

    Not used the other way round: what is not a word, such as whether a task is done, they may have
    changed since.
    """
    a, b = _WordSummary(ours), _WordSummary(theirs)
    return a.tokens != b.tokens and a.is_extended_by(b)


def _older_of(ours: Sequence[Block], theirs: Sequence[Block]) -> Sequence[Block]:
    """Return which of two runs of blocks at one position is the older state of the other.

    It is the one whose words are all in the other, which has not many more or has them in order.
    Empty if neither is.
    """
    a, b = _WordSummary(ours), _WordSummary(theirs)
    for old, word_counts, others in ((theirs, b, a), (ours, a, b)):
        if word_counts.is_contained_in(others) or word_counts.is_extended_by(others):
            return old
    return []


def _contained_files(ours: Block, theirs: Block) -> Block | None:
    """Return the group of files that the other group contains; None if neither does."""
    if not ours.kind == theirs.kind == "files":
        return None
    a, b = (frozenset(str(block.get("keys")).split("\n")) for block in (ours, theirs))
    return ours if a <= b else theirs if b <= a else None


class _WordSummary:
    """The words and objects of consecutive blocks, for comparing.

    Args:
        blocks: the blocks, in order.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        below = [b for block in blocks for b in block.walk()]
        self.tokens = [t for b in below if b.kind in LEAVES for t in _TOKEN.findall(_said(b))]
        self._words = Counter(t for t in self.tokens if _WORD.match(t))
        self._objects: Counter[object] = Counter(b for b in below if _is_opaque(b))
        self._objects.update(
            i for b in below for i in b.inline if isinstance(i, Atom) and i.kind != "break"
        )

    def is_contained_in(self, other: "_WordSummary") -> bool:
        """Return whether the other has all of these words, and not many more."""
        return self._is_significant_in(other) and self._words <= other._words  # noqa: SLF001

    def is_extended_by(self, other: "_WordSummary") -> bool:
        """Return whether the other has all of these words in order; some may be extended."""
        left = iter(other.tokens)
        may_be = self._is_significant_in(other) or self._is_significant_in(other, is_long=True)
        return may_be and all(any(is_extended_by(t, o) for o in left) for t in self.tokens)

    def _is_significant_in(self, other: "_WordSummary", *, is_long: bool = False) -> bool:
        """Return whether containment would be no chance.

        Either the other has not many more words or, with ``is_long``, these have enough letters.
        """
        if not self._words or not self._objects <= other._objects:  # noqa: SLF001
            return False
        if is_long:
            return sum(map(len, self._words)) >= MIN_LETTERS
        return other._words.total() <= MAX_WORD_RATIO * self._words.total()  # noqa: SLF001


def _is_opaque(block: Block) -> bool:
    return block.kind not in LEAVES and block.kind not in CONTAINERS


def _is_filled(block: Block) -> bool:
    return bool(block.children or block.inline or block.kind == "code")
