"""Tell what others did to a block: compare its base view with its live view. Pure."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from heapsyncd.diff import align, text_hunks
from heapsyncd.document.inline.visible_text import Alphabet
from heapsyncd.document.plan.node_identity import NodeMap
from heapsyncd.tree import CONTAINERS, LEAVES, Atom, Block, Inline, Text

_MIN_SHARE = 0.5
"""The share of words above which one text has most of another's."""


def content(block: Block) -> tuple[Inline, ...]:
    """Return a leaf's inline content; a code block's text is one text."""
    if block.kind != "code":
        return block.inline
    return (Text(block.text),) if block.text else ()


def is_opaque(block: Block) -> bool:
    """Tell whether a block is, or directly contains, a node that markdown cannot express."""
    return block.kind == "opaque" or any(
        isinstance(i, Atom) and i.kind == "opaque" for i in block.inline
    )


class RemoteChanges:
    """What others did to the children of one block.

    Args:
        old: the block in the base.
        live: the block in the live document; None when nothing is known of it.
        node_map: the live node of each node of the base.
    """

    def __init__(self, old: Block, live: Block | None, node_map: NodeMap) -> None:
        self.live = live
        self._gone: set[int] = set()
        self._partners: dict[int, int] = {}
        self._arrived: list[tuple[int, int]] = []
        self._stay: list[int] = []
        """The indexes of the children that have a live counterpart, in order."""
        if live is None:
            return
        places = {b.path: j for j, b in enumerate(live.children)}
        for i, child in enumerate(old.children):
            path = node_map.get(child.path) if child.path is not None else None
            if path is None:
                self._gone.add(i)
            elif path in places:
                self._partners[i] = places[path]
        self._stay = list(self._partners)
        known = {j: i for i, j in self._partners.items()}
        last = -1
        for j in range(len(live.children)):
            last = known.get(j, last)
            if j not in known:
                self._arrived.append((last, j))

    def partner(self, i: int) -> Block | None:
        """Return a child's live counterpart; None when it is deleted, hidden or unknown."""
        j = self._partners.get(i)
        return None if j is None or self.live is None else self.live.children[j]

    def is_deleted(self, i: int) -> bool:
        """Tell whether others deleted a child, or replaced it by one of another kind."""
        return i in self._gone

    def place(self, i: int) -> int:
        """Return the index at which a deleted child would be among the live children."""
        return max((j + 1 for k, j in self._partners.items() if k < i), default=0)

    def inserted_near(self, i: int) -> list[Block]:
        """Return the live blocks that others inserted about where a deleted child was."""
        found = []
        for last, j in self._arrived:
            between = bisect_right(self._stay, min(last, i)), bisect_left(self._stay, max(last, i))
            if self.live is not None and between[0] >= between[1]:
                found.append(self.live.children[j])
        return found

    def has(self, block: Block, last: int, kept: set[int]) -> bool:
        """Tell whether others inserted an equal block in the same gap; each of theirs counts once.

        Args:
            block: the block that we insert.
            last: the index of the base child before it.
            kept: the indexes of the base children that stay.
        """
        for k, (at, j) in enumerate(self._arrived):
            between = range(min(at, last) + 1, max(at, last) + 1)
            is_same = self.live is not None and self.live.children[j] == block
            if is_same and not any(i in kept and i in self._partners for i in between):
                del self._arrived[k]
                return True
        return False


def partners(
    old: Block, live: Block | None, node_map: NodeMap
) -> Iterator[tuple[Block, Block | None]]:
    """Yield every block from ``old`` down with its live counterpart; None where it is equal or
    deleted.
    """
    stack = [(old, None if live == old else live)]
    while stack:
        block, other = stack.pop()
        yield block, other
        theirs = RemoteChanges(block, other, node_map)
        for i, child in reversed(list(enumerate(block.children))):
            partner = theirs.partner(i)
            stack.append((child, None if partner == child else partner))


def adds_content(old: Sequence[Block], new: Sequence[Block]) -> bool:
    """Tell whether new children hold text, an atom or a block that the old ones do not."""
    for i, j in align(old, new):
        if j is None:
            continue
        if (
            _has_content(new[j])
            if i is None
            else old[i] != new[j] and _adds_content(old[i], new[j])
        ):
            return True
    return False


def _has_content(block: Block) -> bool:
    """Tell whether a block holds anything."""
    return any(
        bool(content(b)) if b.kind in LEAVES else b.kind not in CONTAINERS for b in block.walk()
    )


def _adds_content(old: Block, new: Block) -> bool:
    if new.kind not in LEAVES:
        return old.attrs != new.attrs or adds_content(old.children, new.children)
    letters = Alphabet(content(old), content(new))
    before, after = letters.string(content(old)), letters.string(content(new))
    return any(h.text.strip() for h in text_hunks(before, after))


def has_words_of(block: Block, part: Block) -> bool:
    """Tell whether a leaf has most of another block's words."""
    old, new = part.words().strip(), block.words()
    if not old or block.kind not in LEAVES:
        return False
    if old in new:
        return True
    wanted = Counter(re.findall(r"\w+", old))
    return (wanted & Counter(re.findall(r"\w+", new))).total() > _MIN_SHARE * wanted.total()


def drops_text(old: Block, new: Block) -> bool:
    """Tell whether an edit of a leaf deletes one of its XmlTexts or an atom."""
    items, goal = content(old), content(new)
    letters = Alphabet(items, goal)
    hunks = text_hunks(letters.string(items), letters.string(goal))
    ranges: dict[object, tuple[int, int]] = {}
    at = 0
    for item in items:
        paths = {p.path for p in item.pieces} if isinstance(item, Text) else {item}
        end = at + (len(item.text) if isinstance(item, Text) else 1)
        for path in paths:
            ranges[path] = (min(at, ranges.get(path, (at, at))[0]), end)
        at = end
    return any(h.start <= a and b <= h.end for h in hunks for a, b in ranges.values())


def edited_part(old: Block, new: Block) -> Block:
    """Return the block with only those children that an edit added or extended."""
    if new.kind in LEAVES or new.kind in {"table", "row"} or not new.children:
        return new
    kept = []
    for i, j in align(old.children, new.children):
        if j is None:
            continue
        if i is None:
            kept.append(new.children[j])
        elif adds_content(old.children[i : i + 1], new.children[j : j + 1]):
            kept.append(edited_part(old.children[i], new.children[j]))
    return new.with_children(kept)
