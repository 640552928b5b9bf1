"""Inline content as one visible string, so that two of them can be compared and spliced.

Each atom is one character of a private plane, equal atoms the same one. Each visible character of
a document knows its place in the *flat* content: all children of the textblock in a row, a
character or an inline node one unit each, the hidden ones counted too.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from heapsyncd.diff import Hunk, text_hunks, without_convergent
from heapsyncd.diff.ends import common_ends
from heapsyncd.document.nodes import Elem, Node, Txt
from heapsyncd.tree import Atom, Inline, Marks, Text, inline

_FIRST = 0x100000
"""The last private plane; characters of it that occur in the texts are passed over."""


class Alphabet:
    """The characters that stand for atoms in the strings compared with each other."""

    def __init__(self, *contents: Iterable[Inline]) -> None:
        self._atoms: dict[Atom, str] = {}
        self._taken = {
            ch
            for items in contents
            for item in items
            if isinstance(item, Text) and not item.text.isascii()
            for ch in item.text
            if ord(ch) >= _FIRST
        }
        self._next = _FIRST

    def string(self, items: Iterable[Inline]) -> str:
        """Content as a string, one character an atom."""
        return "".join(i.text if isinstance(i, Text) else self._char(i) for i in items)

    def _char(self, atom: Atom) -> str:
        if atom not in self._atoms:
            while chr(self._next) in self._taken:
                self._next += 1
            self._atoms[atom] = chr(self._next)
            self._next += 1
        return self._atoms[atom]


def cut(items: Sequence[Inline], start: int, end: int) -> list[Inline]:
    """The visible characters ``start`` to ``end`` of content, an atom counting one."""
    out: list[Inline] = []
    at = 0
    for item in items:
        length = len(item.text) if isinstance(item, Text) else 1
        first, last = max(start, at), min(end, at + length)
        if first < last:
            out.append(item.cut(first - at, last - at) if isinstance(item, Text) else item)
        at += length
        if at >= end:
            break
    return out


def spans(items: Iterable[Inline]) -> list[tuple[int, int, Marks]]:
    """The stretches of content with their marks; an atom has none."""
    out = []
    at = 0
    for item in items:
        end = at + (len(item.text) if isinstance(item, Text) else 1)
        out.append((at, end, item.marks if isinstance(item, Text) else ()))
        at = end
    return out


class Places:
    """Where the visible characters of a document's content stand among its children.

    Args:
        children: the textblock's children.
        items: their view, whose paths end in the index of the child.
    """

    def __init__(self, children: Sequence[Node], items: Iterable[Inline]) -> None:
        widths = [1 if isinstance(c, Elem) else len(c.text) for c in children]
        self.starts = list(accumulate(widths, initial=0))
        """Flat position of each child, and of the end."""
        self._children = children
        self._offsets = {k: c.offsets() for k, c in enumerate(children) if isinstance(c, Txt)}
        self._seen: list[int] = []
        self._flat: list[int] = []
        self.length = 0
        for item in items:
            self._add(item)

    def _add(self, item: Inline) -> None:
        if isinstance(item, Atom):
            assert item.path is not None
            offset = 0 if item.span is None else item.span.start
            self._put(self.length, self._at(item.path[-1], offset))
            self.length += 1
            return
        for piece in item.pieces:
            self._put(self.length + piece.at, self._at(piece.path[-1], piece.offset))
        self.length += len(item.text)

    def _put(self, seen: int, flat: int) -> None:
        self._seen.append(seen)
        self._flat.append(flat)

    def _at(self, child: int, offset: int) -> int:
        node = self._children[child]
        if isinstance(node, Elem):
            return self.starts[child]
        return self.starts[child] + self._offsets[child].char(offset)

    def flat(self, at: int) -> int:
        """The flat position of a visible character."""
        k = bisect_right(self._seen, at) - 1
        return self._flat[k] + at - self._seen[k]

    def stretches(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Visible ``start`` to ``end`` as (visible start, flat start, length), unbroken each."""
        out = []
        k = bisect_right(self._seen, start) - 1
        while start < end:
            stop = self._seen[k + 1] if k + 1 < len(self._seen) else self.length
            n = min(stop, end) - start
            if n > 0:
                out.append((start, self._flat[k] + start - self._seen[k], n))
                start += n
            k += 1
        return out


def kept(hunks: Iterable[Hunk], old_length: int) -> list[tuple[int, int, int]]:
    """What hunks leave standing: (old start, new start, length)."""
    out = []
    old = new = 0
    for hunk in hunks:
        if old < hunk.start:
            out.append((old, new, hunk.start - old))
        new += hunk.start - old + len(hunk.text)
        old = hunk.end
    if old < old_length:
        out.append((old, new, old_length - old))
    return out


def without_repeats(
    base: Sequence[Inline], ours: Sequence[Inline], live: Sequence[Inline]
) -> tuple[Inline, ...]:
    """Our content without the text edits that the live content already has.

    What remains is measured from ``base`` still; merged with ``live`` it has each edit once.
    """
    letters = Alphabet(base, ours, live)
    old, new, now = (letters.string(x) for x in (base, ours, live))
    hunks = text_hunks(old, new)
    left = without_convergent(hunks, text_hunks(old, now))
    if len(left) == len(hunks):
        return tuple(ours)
    out: list[Inline] = []
    at = shift = 0
    for hunk in hunks:
        start = hunk.start + shift
        out += cut(ours, at, start)
        end = start + len(hunk.text)
        out += cut(ours, start, end) if hunk in left else cut(base, hunk.start, hunk.end)
        at, shift = end, shift + len(hunk.text) - (hunk.end - hunk.start)
    out += cut(ours, at, len(new))
    return inline(out)


def merged(
    base: Sequence[Inline], ours: Sequence[Inline], theirs: Sequence[Inline]
) -> tuple[Inline, ...]:
    """Both sides' edits of one content, as Yjs would merge them.

    What either deleted is gone, what either inserted is there, what both did alike is done once.
    """
    letters = Alphabet(base, ours, theirs)
    old = letters.string(base)
    sides = [_Side(base, side, text_hunks(old, letters.string(side))) for side in (theirs, ours)]
    out: list[Inline] = []
    edges = sorted({0, len(old), *(e for s in sides for h in s.hunks for e in (h.start, h.end))})
    for start, end in zip(edges, [*edges[1:], len(old)], strict=True):
        first, second = (side.inserted.get(start) for side in sides)
        out += _joined(first, second, old)
        if start < end and not any(side.lacks(start) for side in sides):
            theirs_now, ours_now = (side.now(start, end) for side in sides)
            out += theirs_now if spans(ours_now) == spans(cut(base, start, end)) else ours_now
    return inline(out)


def meet(base: Sequence[Inline], ours: Sequence[Inline], live: Sequence[Inline]) -> bool:
    """Whether both sides wrote at one place, and began or ended it with the same words but did not
    write the same.
    """
    letters = Alphabet(base, ours, live)
    old, new, now = (letters.string(x) for x in (base, ours, live))
    theirs = {(h.start, h.end): h.text for h in text_hunks(old, now) if h.text}
    return any(
        any(common_ends(theirs[h.start, h.end], h.text, old[h.start : h.end]))
        and theirs[h.start, h.end] != h.text
        for h in text_hunks(old, new)
        if h.text and (h.start, h.end) in theirs
    )


_Insertion = tuple[Hunk, list[Inline]]


def _joined(first: _Insertion | None, second: _Insertion | None, old: str) -> list[Inline]:
    """What both sides wrote at one place; the words that both begin or end it with, once."""
    if first is None or second is None:
        return [i for side in (first, second) if side for i in side[1]]
    a, b = first[0].text, second[0].text
    both = slice(first[0].start, min(first[0].end, second[0].end))
    head, tail = common_ends(a, b, old[both])
    return [
        *cut(first[1], 0, len(a) - tail),
        *cut(second[1], head, len(b) - tail),
        *cut(first[1], len(a) - tail, len(a)),
    ]


class _Side:
    """One side's edits of a content."""

    def __init__(self, base: Sequence[Inline], now: Sequence[Inline], hunks: list[Hunk]) -> None:
        self.hunks = hunks
        self.inserted: dict[int, tuple[Hunk, list[Inline]]] = {}
        self._now = now
        length = sum(len(i.text) if isinstance(i, Text) else 1 for i in base)
        self._kept = kept(hunks, length)
        shift = 0
        for hunk in hunks:
            at = hunk.start + shift
            if hunk.text:
                self.inserted[hunk.start] = (hunk, cut(now, at, at + len(hunk.text)))
            shift += len(hunk.text) - (hunk.end - hunk.start)

    def lacks(self, at: int) -> bool:
        """Whether a base character was deleted."""
        return any(h.start <= at < h.end for h in self.hunks)

    def now(self, start: int, end: int) -> list[Inline]:
        """A stretch of the base that stands, with the marks it has now."""
        for old_at, new_at, n in self._kept:
            if old_at <= start and end <= old_at + n:
                return cut(self._now, new_at + start - old_at, new_at + end - old_at)
        return []


def with_additions(base: Sequence[Inline], ours: Sequence[Inline]) -> tuple[Inline, ...]:
    """The base with what ours has more, and without none of what ours lacks."""
    letters = Alphabet(base, ours)
    # By words: a letter of another word is no addition.
    hunks = text_hunks(letters.string(base), letters.string(ours), letters=False)
    out: list[Inline] = []
    at = shift = 0
    for hunk in hunks:
        start = hunk.start + shift
        out += [*cut(base, at, hunk.end), *cut(ours, start, start + len(hunk.text))]
        at, shift = hunk.end, shift + len(hunk.text) - (hunk.end - hunk.start)
    return inline([*out, *cut(base, at, len(letters.string(base)))])


def without_lacking(
    base: Sequence[Inline], ours: Sequence[Inline], theirs: Sequence[Inline]
) -> tuple[Inline, ...]:
    """Our content without what theirs lacks of the base."""
    letters = Alphabet(base, theirs)
    old = letters.string(base)
    stays = kept(text_hunks(old, letters.string(theirs)), len(old))
    return merged(base, ours, inline([i for at, _, n in stays for i in cut(base, at, at + n)]))
