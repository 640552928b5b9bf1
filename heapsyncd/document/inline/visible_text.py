"""Represent inline content as one string of visible characters, to compare and merge it. Pure.

Each atom is one character of a private-use plane, equal atoms the same one. Each visible character
has a position in the *flat* content: all children of the textblock in a row, hidden characters
included, with one unit for a character or an inline node.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from heapsyncd.diff import Hunk, text_hunks, with_hunks, without_convergent
from heapsyncd.diff.ends import common_ends
from heapsyncd.document.inline.merge import OLD, InlineMerge, Stretch
from heapsyncd.document.xml.nodes import Elem, Node, Txt
from heapsyncd.tree import Atom, Inline, Marks, Text, inline

_FIRST = 0x100000
"""The start of the last private-use plane; characters that occur in the texts are not used."""


class Alphabet:
    """The characters that represent atoms in strings that are compared with each other.

    Args:
        contents: all content that will be compared.
    """

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
        """Return content as a string, with one character for each atom."""
        return "".join(i.text if isinstance(i, Text) else self._char(i) for i in items)

    def _char(self, atom: Atom) -> str:
        if atom not in self._atoms:
            while chr(self._next) in self._taken:
                self._next += 1
            self._atoms[atom] = chr(self._next)
            self._next += 1
        return self._atoms[atom]

    def named(self) -> frozenset[str]:
        """Return the characters of all atoms but breaks."""
        return frozenset(c for a, c in self._atoms.items() if a.kind != "break")


def cut(items: Sequence[Inline], start: int, end: int) -> list[Inline]:
    """Return the visible characters ``start`` to ``end`` of content; an atom counts as one."""
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
    """Return the ranges of content with their marks; an atom has none."""
    out = []
    at = 0
    for item in items:
        end = at + (len(item.text) if isinstance(item, Text) else 1)
        out.append((at, end, item.marks if isinstance(item, Text) else ()))
        at = end
    return out


class FlatPositions:
    """Maps the visible characters of a textblock to flat positions.

    Args:
        children: the textblock's children.
        items: their view; each path ends in the index of the child.
    """

    def __init__(self, children: Sequence[Node], items: Iterable[Inline]) -> None:
        widths = [1 if isinstance(c, Elem) else len(c.text) for c in children]
        self.starts = list(accumulate(widths, initial=0))
        """The flat position of each child, and of the end."""
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
        """Return the flat position of a visible character."""
        k = bisect_right(self._seen, at) - 1
        return self._flat[k] + at - self._seen[k]

    def stretches(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Split a visible range into contiguous flat ones: (visible start, flat start, length)."""
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
    """Return the ranges that hunks keep: (old start, new start, length)."""
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


def without_shared_edits(
    base: Sequence[Inline], ours: Sequence[Inline], live: Sequence[Inline]
) -> tuple[Inline, ...]:
    """Return our content without the text edits that the live content already has.

    The result is still an edit of ``base``; merged with ``live`` it has each edit once.
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
    """Merge both sides' edits of one content as Yjs would.

    What either side deleted is gone, what either inserted is there, what both did alike is done
    once. Where two words would become one, a blank is put between them.
    """
    letters = Alphabet(base, ours, theirs)
    old, *new = (letters.string(x) for x in (base, theirs, ours))
    hunks = [text_hunks(old, text) for text in new]
    merge = InlineMerge(old, new, hunks)
    sides = [(theirs, kept(hunks[0], len(old))), (ours, kept(hunks[1], len(old)))]
    out: list[Inline] = []
    last: Stretch | None = None
    for part in merge.merged():
        if last is not None and merge.lacks_blank(last, part):
            out.append(Text(" "))
        last = part
        if part.side != OLD:
            out += cut(sides[part.side][0], part.start, part.end)
            continue
        theirs_now, ours_now = (_with_marks_of_side(*side, part) for side in sides)
        is_as_before = spans(ours_now) == spans(cut(base, part.start, part.end))
        out += theirs_now if is_as_before else ours_now
    return inline(out)


def _with_marks_of_side(
    items: Sequence[Inline], stays: Sequence[tuple[int, int, int]], part: Stretch
) -> list[Inline]:
    """Return a kept stretch of the base with the marks that one side gave it.

    Args:
        items: that side's content.
        stays: the ranges it keeps, as from ``kept``.
        part: the stretch of the base.
    """
    for old_at, new_at, n in stays:
        if old_at <= part.start and part.end <= old_at + n:
            return cut(items, new_at + part.start - old_at, new_at + part.end - old_at)
    return []


def collide(base: Sequence[Inline], ours: Sequence[Inline], live: Sequence[Inline]) -> bool:
    """Tell whether both sides wrote at one position in a way that Yjs would merge badly.

    Their insertions share words at the start or end but differ, or two words would become one.
    """
    letters = Alphabet(base, ours, live)
    old, new, now = (letters.string(x) for x in (base, ours, live))
    others = text_hunks(old, now)
    mine = without_convergent(text_hunks(old, new), others)
    theirs = {(h.start, h.end): h.text for h in others if h.text}
    if any(
        any(common_ends(theirs[h.start, h.end], h.text, old[h.start : h.end]))
        for h in mine
        if h.text and (h.start, h.end) in theirs
    ):
        return True
    return InlineMerge(old, (now, with_hunks(old, mine)), (others, mine)).is_glued()


def with_additions(base: Sequence[Inline], ours: Sequence[Inline]) -> tuple[Inline, ...]:
    """Return the base with everything that ours adds, and with what ours deletes."""
    letters = Alphabet(base, ours)
    # By words: by letters, parts of a replaced word would count as additions.
    hunks = text_hunks(letters.string(base), letters.string(ours), letters=False)
    out: list[Inline] = []
    at = shift = 0
    for hunk in hunks:
        start = hunk.start + shift
        out += [*cut(base, at, hunk.end), *cut(ours, start, start + len(hunk.text))]
        at, shift = hunk.end, shift + len(hunk.text) - (hunk.end - hunk.start)
    return inline([*out, *cut(base, at, len(letters.string(base)))])


def without_removed(
    base: Sequence[Inline], ours: Sequence[Inline], theirs: Sequence[Inline]
) -> tuple[Inline, ...]:
    """Return our content without what theirs removed from the base."""
    letters = Alphabet(base, theirs)
    old = letters.string(base)
    stays = kept(text_hunks(old, letters.string(theirs)), len(old))
    return merged(base, ours, inline([i for at, _, n in stays for i in cut(base, at, at + n)]))
