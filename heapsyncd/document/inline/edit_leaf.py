"""Edit the inline content of a textblock so that it shows a goal. Pure.

The new content is made of the old one's own stretches and nodes wherever they stay, so that
writing it touches nothing else. A minimal edit is tried first, and its view compared with the
goal. Where something hidden would then show (a mark on a space, whitespace that is no longer at an
edge), the next escape level is tried: exact marks, then no hidden characters, finally all content
new.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from heapsyncd.diff import Hunk, text_hunks
from heapsyncd.document.inline.formats import common, hidden, inherit
from heapsyncd.document.inline.splice import Change, Part, Splice, build_nodes
from heapsyncd.document.inline.visible_text import Alphabet, FlatPositions, cut, kept, spans
from heapsyncd.document.xml.nodes import Elem, Formats, Node, Run, Txt
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Atom, Inline, Text

Content = Sequence[Inline]
_DONOR_TEXT = 8
"""The least length of inserted text that takes its hidden formats from equal deleted text."""


class Donor(Struct, frozen=True):
    """Content that is deleted elsewhere in the edit; inserted text may have been moved from it."""

    children: Sequence[Node]

    def find(self, text: str) -> list[Run] | None:
        """Return the runs that hold this text, with their formats; None when it is not in here."""
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


class Makers(Struct, frozen=True):
    """How an edit makes nodes and views what it made."""

    atom: Callable[[Atom], Node]
    """Makes a node for an atom."""
    with_values: Callable[[Elem, Atom], Elem | None]
    """Returns a node with the values of another atom, or None when the atom needs another node."""
    show: Callable[[Sequence[Node]], Content]
    """Returns the view of content."""
    normalise: Callable[[Content], Content]
    """Returns a goal as ``show`` would show it."""


def edit(
    children: Sequence[Node],
    old: Content,
    new: Content,
    makers: Makers,
    donors: Sequence[Donor] = (),
) -> list[Node]:
    """Return the children that show ``new``, reusing as much of the old ones as possible.

    Args:
        children: the textblock's children.
        old: their view.
        new: the goal, in canonical form.
        makers: how nodes are made and viewed.
        donors: deleted content that inserted text may have come from.

    Raises:
        InvalidEdit: no content shows the goal (it is not canonical).
    """
    goal = makers.normalise(new)
    work = _LeafEdit(children, old, new, makers, donors)
    for level in range(3):
        made = build_nodes(work.parts(level), children)
        if makers.show(made) == goal:
            return made
    made = build_nodes(_LeafEdit((), (), new, makers, donors).parts(0), children)
    if makers.show(made) == goal:
        return made
    raise InvalidEdit("a paragraph contains something that a document can't show")


def new_content(new: Content, makers: Makers) -> list[Node]:
    """Return new children that show ``new``, without an old textblock."""
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
    return build_nodes(parts, ())


@dataclass(slots=True)
class _LeafEdit:
    """One edit. Visible positions count characters of ``old``, flat ones units of ``children``."""

    children: Sequence[Node]
    old: Content
    new: Content
    makers: Makers
    donors: Sequence[Donor]
    hunks: list[Hunk] = field(init=False)
    positions: FlatPositions = field(init=False)
    text: str = field(init=False)

    def __post_init__(self) -> None:
        letters = Alphabet(self.old, self.new)
        self.text = letters.string(self.old)
        self.hunks = text_hunks(self.text, letters.string(self.new))
        self.positions = FlatPositions(self.children, self.old)

    def parts(self, level: int) -> list[Part]:
        """Build the new content at an escape level.

        Level 0 is minimal, level 1 sets marks exactly, level 2 also drops hidden characters.
        """
        splice = Splice(self.children, self.positions.starts, self._changes(exact=level > 0))
        at = shift = 0
        for hunk in self.hunks:
            start, end = self._range(hunk, around=level > 0)
            self._keep(splice, at, start, bare=level > 1)
            items = cut(self.new, hunk.start + shift, hunk.start + shift + len(hunk.text))
            self._insert(splice, hunk, items, (start, end))
            at, shift = end, shift + len(hunk.text) - (hunk.end - hunk.start)
        self._keep(splice, at, self.positions.starts[-1], bare=level > 1)
        return splice.parts

    def _range(self, hunk: Hunk, *, around: bool) -> tuple[int, int]:
        """Return the flat range that a hunk replaces, with the hidden characters inside it."""
        first, last = hunk.start == 0, hunk.end == self.positions.length
        before = 0 if first else self.positions.flat(hunk.start - 1) + 1
        after = self.positions.starts[-1] if last else self.positions.flat(hunk.end)
        if around:
            return before, after
        if hunk.start < hunk.end:
            return self.positions.flat(hunk.start), self.positions.flat(hunk.end - 1) + 1
        # Insert on that side of hidden whitespace where it stays at its edge or beside its break.
        at = after if (first or self._is_break(before - 1)) and not last else before
        return at, at

    def _is_break(self, flat: int) -> bool:
        k = bisect_right(self.positions.starts, flat) - 1
        node = self.children[k]
        return isinstance(node, Elem) or node.text[flat - self.positions.starts[k]] in "\r\n"

    def _keep(self, splice: Splice, start: int, end: int, *, bare: bool) -> None:
        if not bare:
            splice.keep(start, end)
            return
        for _, flat, n in self.positions.stretches(0, self.positions.length):
            if max(start, flat) < min(end, flat + n):
                splice.keep(max(start, flat), min(end, flat + n))

    def _changes(self, *, exact: bool) -> list[Change]:
        """Return the kept stretches whose marks change, as flat ranges with the new marks."""
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
                    found = self.positions.stretches(old_at + at, old_at + stop)
                    out += [(flat, flat + length, after[b][2]) for _, flat, length in found]
                at = stop
        return out

    def _insert(
        self, splice: Splice, hunk: Hunk, items: list[Inline], place: tuple[int, int]
    ) -> None:
        start, end = place
        if len(items) == 1 and isinstance(items[0], Atom) and hunk.end - hunk.start == 1:
            same = splice.element(self.positions.flat(hunk.start))
            changed = self.makers.with_values(same, items[0]) if same is not None else None
            if changed is not None:
                splice.add(changed)
                return
        neighbours = (splice.formats(start - 1), splice.formats(end))
        inherited = self._hidden_formats(splice, hunk, items, place)
        for item in items:
            if isinstance(item, Atom):
                splice.add(self.makers.atom(item))
                continue
            for run in self._runs_of(item):
                own = hidden(run.formats) or inherited
                splice.add_run(Run(run.text, inherit(item.marks, own, neighbours)))

    def _runs_of(self, item: Text) -> Iterator[Run]:
        """Yield inserted text in runs, with the formats of equal deleted text if there is any."""
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

    def _hidden_formats(
        self, splice: Splice, hunk: Hunk, items: list[Inline], place: tuple[int, int]
    ) -> Formats:
        """Return the hidden formats for inserted text.

        They are those of the text it replaces, else of the word it continues, else those that both
        neighbours in the same XmlText share.
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
