"""Edits of a textblock's inline content: from what stands there to what should be seen. Pure.

The new content is made of the old one's own stretches and nodes wherever they stay, so that
writing it touches nothing else. A minimal edit is tried first and its view compared with the goal;
where something hidden (a mark on a space, whitespace that comes to the middle) would show, the
next rung settles it: exact marks, then no hidden characters, at last new content throughout.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from heapsyncd.diff import Hunk, text_hunks
from heapsyncd.document.inline.formats import common, hidden, inherit
from heapsyncd.document.inline.splice import Change, Part, Splice, settle
from heapsyncd.document.inline.visible_text import Alphabet, Places, cut, kept, spans
from heapsyncd.document.xml.nodes import Elem, Formats, Node, Run, Txt
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Atom, Inline, Text

Content = Sequence[Inline]
_DONOR_TEXT = 8
"""Inserted text at least this long takes its hidden formats from where the same text vanished."""


@dataclass(frozen=True, slots=True)
class Donor:
    """Text that vanishes elsewhere, with its formats; inserted text may have come from it."""

    children: Sequence[Node]

    def find(self, text: str) -> list[Run] | None:
        """The runs that hold this text, None when it is not in here."""
        runs = [r for c in self.children if isinstance(c, Txt) for r in c.runs]
        at = "".join(r.text for r in runs).find(text)
        if at < 0:
            return None
        out = []
        for run in runs:
            first, last = max(0, at), min(len(run.text), at + len(text))
            if first < last and run.embed is None:
                out.append(Run(run.text[first:last], run.formats))
            at -= len(run.text)
        return out


@dataclass(frozen=True, slots=True)
class Makers:
    """How an edit makes what it inserts, and sees what it made."""

    atom: Callable[[Atom], Node]
    """A node for an atom."""
    revalue: Callable[[Elem, Atom], Elem | None]
    """The same node showing another atom; None when it takes another node."""
    seen: Callable[[Sequence[Node]], Content]
    """The view of content."""
    plain: Callable[[Content], Content]
    """A goal as ``seen`` would show it."""


def edit(
    children: Sequence[Node],
    old: Content,
    new: Content,
    makers: Makers,
    donors: Sequence[Donor] = (),
) -> list[Node]:
    """The children that show ``new``.

    Args:
        children: the textblock's.
        old: their view.
        new: the goal, canonical.
        makers: see there.
        donors: where inserted text may have come from.

    Raises:
        InvalidEdit: no content shows that (a goal that is not canonical).
    """
    goal = makers.plain(new)
    work = _Work(children, old, new, makers, donors)
    for rung in range(3):
        made = settle(work.parts(rung), children)
        if makers.seen(made) == goal:
            return made
    made = settle(_Work((), (), new, makers, donors).parts(0), children)
    if makers.seen(made) == goal:
        return made
    raise InvalidEdit("a paragraph holds what a document can't show")


def fresh(new: Content, makers: Makers) -> list[Node]:
    """Children that show ``new``, made of nothing old."""
    if len(new) == 1 and isinstance(new[0], Text) and not new[0].marks:
        return [Txt([Run(new[0].text, {})])]
    parts: list[Part] = []
    for item in new:
        node = None if isinstance(item, Text) else makers.atom(item)
        if isinstance(node, Elem):
            parts.append(node)
            continue
        runs = node.runs if node is not None else []
        if isinstance(item, Text):
            runs = [Run(item.text, inherit(item.marks, {}, ()))]
        if not parts or isinstance(parts[-1], Elem):
            parts.append([])
        last = parts[-1]
        assert isinstance(last, list)
        last += [(run, None) for run in runs]
    return settle(parts, ())


@dataclass(slots=True)
class _Work:
    """One edit. Visible positions are of ``old``, flat ones of ``children``."""

    children: Sequence[Node]
    old: Content
    new: Content
    makers: Makers
    donors: Sequence[Donor]
    hunks: list[Hunk] = field(init=False)
    places: Places = field(init=False)
    text: str = field(init=False)

    def __post_init__(self) -> None:
        letters = Alphabet(self.old, self.new)
        self.text = letters.string(self.old)
        self.hunks = text_hunks(self.text, letters.string(self.new))
        self.places = Places(self.children, self.old)

    def parts(self, rung: int) -> list[Part]:
        """The new content. Rung 1 sets marks exactly, rung 2 also drops what is hidden."""
        splice = Splice(self.children, self.places.starts, self._changes(exact=rung > 0))
        at = shift = 0
        for hunk in self.hunks:
            start, end = self._range(hunk, around=rung > 0)
            self._keep(splice, at, start, bare=rung > 1)
            items = cut(self.new, hunk.start + shift, hunk.start + shift + len(hunk.text))
            self._insert(splice, hunk, items, (start, end))
            at, shift = end, shift + len(hunk.text) - (hunk.end - hunk.start)
        self._keep(splice, at, self.places.starts[-1], bare=rung > 1)
        return splice.parts

    def _range(self, hunk: Hunk, *, around: bool) -> tuple[int, int]:
        """The flat stretch that a hunk replaces; what is hidden inside goes with it."""
        first, last = hunk.start == 0, hunk.end == self.places.length
        before = 0 if first else self.places.flat(hunk.start - 1) + 1
        after = self.places.starts[-1] if last else self.places.flat(hunk.end)
        if around:
            return before, after
        if hunk.start < hunk.end:
            return self.places.flat(hunk.start), self.places.flat(hunk.end - 1) + 1
        # Hidden whitespace stays at its edge or beside its break: insert on its other side.
        at = after if (first or self._is_break(before - 1)) and not last else before
        return at, at

    def _is_break(self, flat: int) -> bool:
        k = bisect_right(self.places.starts, flat) - 1
        node = self.children[k]
        return isinstance(node, Elem) or node.text[flat - self.places.starts[k]] in "\r\n"

    def _keep(self, splice: Splice, start: int, end: int, *, bare: bool) -> None:
        if not bare:
            splice.keep(start, end)
            return
        for _, flat, n in self.places.stretches(0, self.places.length):
            if max(start, flat) < min(end, flat + n):
                splice.keep(max(start, flat), min(end, flat + n))

    def _changes(self, *, exact: bool) -> list[Change]:
        """Which kept stretches are to show other marks."""
        out: list[Change] = []
        before, after = spans(self.old), spans(self.new)
        a = b = 0
        for old_at, new_at, n in kept(self.hunks, len(self.text)):
            at = 0
            while at < n:
                while before[a][1] <= old_at + at:
                    a += 1
                while after[b][1] <= new_at + at:
                    b += 1
                stop = min(n, before[a][1] - old_at, after[b][1] - new_at)
                if exact or before[a][2] != after[b][2]:
                    found = self.places.stretches(old_at + at, old_at + stop)
                    out += [(flat, flat + length, after[b][2]) for _, flat, length in found]
                at = stop
        return out

    def _insert(
        self, splice: Splice, hunk: Hunk, items: list[Inline], place: tuple[int, int]
    ) -> None:
        start, end = place
        if len(items) == 1 and isinstance(items[0], Atom) and hunk.end - hunk.start == 1:
            same = splice.element(self.places.flat(hunk.start))
            changed = self.makers.revalue(same, items[0]) if same is not None else None
            if changed is not None:
                splice.add(changed)
                return
        neighbours = (splice.formats(start - 1), splice.formats(end))
        unseen = self._unseen(splice, hunk, items, place)
        for item in items:
            if isinstance(item, Atom):
                splice.add(self.makers.atom(item))
                continue
            for run in self._given(item):
                own = hidden(run.formats) or unseen
                splice.add_run(Run(run.text, inherit(item.marks, own, neighbours)))

    def _given(self, item: Text) -> Iterator[Run]:
        """The inserted text, in the runs it had where it vanished."""
        core = item.text.strip()
        found = None
        if len(core) >= _DONOR_TEXT:
            found = next((f for f in (d.find(core) for d in self.donors) if f), None)
        if found is None:
            yield Run(item.text, {})
            return
        at = item.text.index(core)
        if at:
            yield Run(item.text[:at], {})
        yield from found
        if at + len(core) < len(item.text):
            yield Run(item.text[at + len(core) :], {})

    def _unseen(
        self, splice: Splice, hunk: Hunk, items: list[Inline], place: tuple[int, int]
    ) -> Formats:
        """Hidden formats for inserted text.

        What stood in its place had, what the word has that it continues, or what both neighbours
        in the XmlText have.
        """
        start, end = place
        gone = splice.formats_in(start, end)
        if gone:
            return common([hidden(f) for f in gone])
        left, right = hidden(splice.formats(start - 1)), hidden(splice.formats(end))
        first = items[0].text[:1] if items and isinstance(items[0], Text) else ""
        if hunk.start and first.isalnum() and self.text[hunk.start - 1].isalnum():
            return left
        return common([left, right]) if splice.in_one_text(start - 1, end) else {}
