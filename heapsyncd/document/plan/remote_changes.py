"""What others did to a block since the base: the base's view beside the live document's. Pure."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from heapsyncd.diff import align, text_hunks
from heapsyncd.document.inline.visible_text import Alphabet
from heapsyncd.document.plan.node_identity import Same
from heapsyncd.tree import CONTAINERS, LEAVES, Atom, Block, Inline, Text

_MOST = 0.5


def content(block: Block) -> tuple[Inline, ...]:
    """A leaf's content; a code block's text as one run."""
    if block.kind != "code":
        return block.inline
    return (Text(block.text),) if block.text else ()


def is_opaque(block: Block) -> bool:
    """Whether it is, or holds in its text, a node that markdown can't say."""
    return block.kind == "opaque" or any(
        isinstance(i, Atom) and i.kind == "opaque" for i in block.inline
    )


class RemoteChanges:
    """What others did to the children of one block.

    Args:
        old: the block in the base.
        live: it in the live document; None when there is nothing to know.
        same: which node of the live document is which of the base.
    """

    def __init__(self, old: Block, live: Block | None, same: Same) -> None:
        self.live = live
        self._gone: set[int] = set()
        self._partners: dict[int, int] = {}
        self._arrived: list[tuple[int, int]] = []
        self._stay: list[int] = []
        """The children that have a partner, in order."""
        if live is None:
            return
        places = {b.path: j for j, b in enumerate(live.children)}
        for i, child in enumerate(old.children):
            path = same.get(child.path) if child.path is not None else None
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
        """The live counterpart of a child; None when it is gone or hidden, or nothing is known."""
        j = self._partners.get(i)
        return None if j is None or self.live is None else self.live.children[j]

    def lost(self, i: int) -> bool:
        """Whether others deleted a child (or made it one of another kind)."""
        return i in self._gone

    def place(self, i: int) -> int:
        """Where among the live children a lost one would stand."""
        return max((j + 1 for k, j in self._partners.items() if k < i), default=0)

    def beside(self, i: int) -> list[Block]:
        """The live blocks that others put about where a lost child stood."""
        found = []
        for last, j in self._arrived:
            between = bisect_right(self._stay, min(last, i)), bisect_left(self._stay, max(last, i))
            if self.live is not None and between[0] >= between[1]:
                found.append(self.live.children[j])
        return found

    def has(self, block: Block, last: int, kept: set[int]) -> bool:
        """Whether others inserted the same block in the same gap; answered once for each.

        Args:
            block: the one to be inserted.
            last: the base child after which.
            kept: the base children that stay.
        """
        for k, (at, j) in enumerate(self._arrived):
            between = range(min(at, last) + 1, max(at, last) + 1)
            same = self.live is not None and self.live.children[j] == block
            if same and not any(i in kept and i in self._partners for i in between):
                del self._arrived[k]
                return True
        return False


def partners(old: Block, live: Block | None, same: Same) -> Iterator[tuple[Block, Block | None]]:
    """Every block from ``old`` down with what it is in ``live``; None where nothing differs."""
    stack = [(old, None if live == old else live)]
    while stack:
        block, other = stack.pop()
        yield block, other
        theirs = RemoteChanges(block, other, same)
        for i, child in reversed(list(enumerate(block.children))):
            partner = theirs.partner(i)
            stack.append((child, None if partner == child else partner))


def adds(old: Sequence[Block], new: Sequence[Block]) -> bool:
    """Whether new children hold something that the old ones do not: text, an atom, a block."""
    for i, j in align(old, new):
        if j is None:
            continue
        if _says(new[j]) if i is None else old[i] != new[j] and _adds(old[i], new[j]):
            return True
    return False


def _says(block: Block) -> bool:
    """Whether anything is in a block."""
    return any(
        bool(content(b)) if b.kind in LEAVES else b.kind not in CONTAINERS for b in block.walk()
    )


def _adds(old: Block, new: Block) -> bool:
    if new.kind not in LEAVES:
        return old.attrs != new.attrs or adds(old.children, new.children)
    letters = Alphabet(content(old), content(new))
    before, after = letters.string(content(old)), letters.string(content(new))
    return any(h.text.strip() for h in text_hunks(before, after))


def holds(block: Block, part: Block) -> bool:
    """Whether a leaf has most of another's words."""
    old, new = part.words().strip(), block.words()
    if not old or block.kind not in LEAVES:
        return False
    if old in new:
        return True
    wanted = Counter(re.findall(r"\w+", old))
    return (wanted & Counter(re.findall(r"\w+", new))).total() > _MOST * wanted.total()


def drops_text(old: Block, new: Block) -> bool:
    """Whether an edit of a leaf deletes one of its texts, or what stands between two."""
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
    """The block with only those children that were added or given something."""
    if new.kind in LEAVES or new.kind in {"table", "row"} or not new.children:
        return new
    kept = []
    for i, j in align(old.children, new.children):
        if j is None:
            continue
        if i is None:
            kept.append(new.children[j])
        elif adds(old.children[i : i + 1], new.children[j : j + 1]):
            kept.append(edited_part(old.children[i], new.children[j]))
    return new.with_children(kept)
