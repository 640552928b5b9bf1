"""Inline content as one visible string, so that two of them can be compared and spliced.

Each atom is one character of a private plane, equal atoms the same one. Each visible character of
a document knows its place in the *flat* content: all children of the textblock in a row, a
character or an inline node one unit each, the hidden ones counted too.
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

    def named(self) -> frozenset[str]:
        """The characters of the atoms that say what they are: all but breaks."""
        return frozenset(c for a, c in self._atoms.items() if a.kind != "break")


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

    What either deleted is gone, what either inserted is there, what both did alike is done once;
    where two words would become one, there is a blank between them.
    """
    letters = Alphabet(base, ours, theirs)
    old, *new = (letters.string(x) for x in (base, theirs, ours))
    hunks = [text_hunks(old, text) for text in new]
    weave = InlineMerge(old, new, hunks)
    sides = [(theirs, kept(hunks[0], len(old))), (ours, kept(hunks[1], len(old)))]
    out: list[Inline] = []
    last: Stretch | None = None
    for part in weave.merged():
        if last is not None and weave.lacks_blank(last, part):
            out.append(Text(" "))
        last = part
        if part.side != OLD:
            out += cut(sides[part.side][0], part.start, part.end)
            continue
        theirs_now, ours_now = (_now(*side, part) for side in sides)
        is_as_before = spans(ours_now) == spans(cut(base, part.start, part.end))
        out += theirs_now if is_as_before else ours_now
    return inline(out)


def _now(
    items: Sequence[Inline], stays: Sequence[tuple[int, int, int]], part: Stretch
) -> list[Inline]:
    """A stretch of the base that stands, with the marks a side has it with."""
    for old_at, new_at, n in stays:
        if old_at <= part.start and part.end <= old_at + n:
            return cut(items, new_at + part.start - old_at, new_at + part.end - old_at)
    return []


def meet(base: Sequence[Inline], ours: Sequence[Inline], live: Sequence[Inline]) -> bool:
    """Whether both sides wrote at one place and Yjs would put it together badly: both began or
    ended it with the same words but did not write the same, or two words would become one.
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
