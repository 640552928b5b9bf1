"""Put content together from kept stretches of old content and new runs and nodes. Pure."""

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from heapsyncd.document.inline.formats import restyle
from heapsyncd.document.xml.nodes import Elem, Formats, Node, Run, Txt
from heapsyncd.tree import Marks

Change = tuple[int, int, Marks]
"""A flat range, and the marks it is to show."""

Bit = tuple[Run, int | None]
"""A run, and the index of the old child it comes from; None for a new one."""

Part = Elem | list[Bit]
"""A node, or the text between two nodes."""


_NONE: Change = (sys.maxsize, sys.maxsize, ())


class Splice:
    """Collects new content from left to right. Positions are flat ones in the old children."""

    def __init__(
        self, children: Sequence[Node], starts: Sequence[int], changes: list[Change]
    ) -> None:
        self._children = children
        self._starts = starts
        self._changes = changes
        self._change = 0
        self.parts: list[Part] = []

    def add(self, node: Node) -> None:
        """Append a new node, or an old one with other values."""
        if isinstance(node, Elem):
            self.parts.append(node)
        else:
            for run in node.runs:
                self.add_run(run)

    def add_run(self, run: Run) -> None:
        """Append new text."""
        self._put((run, None))

    def keep(self, start: int, end: int) -> None:
        """Append a stretch of the old content."""
        while start < end:
            k = self.child(start)
            node = self._children[k]
            stop = min(end, self._starts[k + 1])
            if isinstance(node, Elem):
                self.parts.append(node)
            else:
                for run in self._runs(k, start, stop):
                    self._put((run, k))
            start = stop

    def _put(self, bit: Bit) -> None:
        last = self.parts[-1] if self.parts else None
        if not isinstance(last, list) or self._stays_apart(last, bit[1]):
            self.parts.append([bit])
        else:
            last.append(bit)

    def _stays_apart(self, group: list[Bit], child: int | None) -> bool:
        """Tell whether a child's text stays separate from a group: joining adjacent texts only
        costs.
        """
        before = next((k for _, k in reversed(group) if k is not None), None)
        return child is not None and before is not None and child == before + 1

    def _runs(self, k: int, start: int, end: int) -> Iterator[Run]:
        """Yield the runs of a text between two flat positions, with changed marks applied."""
        node = self._children[k]
        assert isinstance(node, Txt)
        base = self._starts[k]
        for run in node.runs:
            at = base + (run.origin or 0)
            if at >= end:
                break
            first, last = max(start, at), min(end, at + len(run.text))
            for x, y, formats in self._styled(first, last, run.formats):
                yield Run(run.text[x - at : y - at], formats, run.embed, x - base)

    def _styled(
        self, start: int, end: int, formats: Formats
    ) -> Iterator[tuple[int, int, Formats]]:
        while start < end:
            while self._change < len(self._changes) and self._changes[self._change][1] <= start:
                self._change += 1
            more = self._change < len(self._changes)
            a, b, marks = self._changes[self._change] if more else _NONE
            if start < a:
                yield start, min(a, end), formats
            if a < end:
                yield max(a, start), min(b, end), restyle(formats, marks)
            start = min(b, end)

    def child(self, at: int) -> int:
        """Return the index of the child at a flat position."""
        return bisect_right(self._starts, at) - 1

    def element(self, at: int) -> Elem | None:
        """Return the inline node at a flat position; None for text."""
        node = self._children[self.child(at)]
        return node if isinstance(node, Elem) else None

    def formats(self, at: int) -> Formats:
        """Return the formats of the character at a flat position; empty at a node or outside."""
        return next(iter(self.formats_in(at, at + 1)), {}) if at >= 0 else {}

    def formats_in(self, start: int, end: int) -> list[Formats]:
        """Return the formats of all runs in a flat range."""
        out = []
        end = min(end, self._starts[-1])
        while start < end:
            k = self.child(start)
            node = self._children[k]
            if isinstance(node, Txt):
                base = self._starts[k]
                out += [
                    r.formats
                    for r in node.runs
                    if base + (r.origin or 0) < end
                    and start < base + (r.origin or 0) + len(r.text)
                ]
            start = self._starts[k + 1]
        return out

    def in_one_text(self, a: int, b: int) -> bool:
        """Tell whether two flat positions are in the same text."""
        return a >= 0 and b < self._starts[-1] and self.child(a) == self.child(b)


def build_nodes(parts: Sequence[Part], children: Sequence[Node]) -> list[Node]:
    """Turn parts into nodes, and decide which old text each new one stays in.

    A text stays in the old text that most of it comes from; what comes from other texts is copied
    into it. A text of only new runs reuses an old text that would otherwise be deleted.
    """
    votes: Counter[tuple[int, int]] = Counter()
    for n, part in enumerate(parts):
        if isinstance(part, list):
            for run, k in part:
                if k is not None:
                    votes[n, k] += len(run.text)
    kept_texts: dict[int, int] = {}
    for (n, k), _ in sorted(votes.items(), key=lambda v: (-v[1], v[0])):
        if n not in kept_texts and k not in kept_texts.values():
            kept_texts[n] = k
    _reuse_texts(parts, children, kept_texts)
    return [
        part if isinstance(part, Elem) else _text(part, children, kept_texts.get(n))
        for n, part in enumerate(parts)
    ]


def _reuse_texts(
    parts: Sequence[Part], children: Sequence[Node], kept_texts: dict[int, int]
) -> None:
    """Assign old texts that nobody keeps to parts without one, in document order."""
    position = {id(c): k for k, c in enumerate(children)}
    free = -1
    taken = set(kept_texts.values())
    for n, part in enumerate(parts):
        if isinstance(part, Elem):
            free = max(free, position.get(id(part), -1))
        elif n in kept_texts:
            free = kept_texts[n]
        else:
            later = [kept_texts[m] for m in range(n + 1, len(parts)) if m in kept_texts]
            stop = min([*later, *_elements_after(parts, n, position), len(children)])
            for k in range(free + 1, stop):
                if isinstance(children[k], Txt) and k not in taken:
                    kept_texts[n] = free = k
                    taken.add(k)
                    break


def _elements_after(parts: Sequence[Part], n: int, position: dict[int, int]) -> list[int]:
    return [position[id(p)] for p in parts[n + 1 :] if isinstance(p, Elem) and id(p) in position]


def _text(bits: list[Bit], children: Sequence[Node], kept_text: int | None) -> Txt:
    runs: list[Run] = []
    for run, k in bits:
        origin = run.origin if k is not None and k == kept_text else None
        last = runs[-1] if runs else None
        if (
            last is not None
            and last.formats == run.formats
            and last.embed is None
            and run.embed is None
            and (last.origin is None) == (origin is None)
            and (origin is None or last.origin is None or last.origin + len(last.text) == origin)
        ):
            runs[-1] = Run(last.text + run.text, last.formats, None, last.origin)
        else:
            runs.append(Run(run.text, run.formats, run.embed, origin))
    if kept_text is None:
        return Txt(runs)
    old = children[kept_text]
    assert isinstance(old, Txt)
    return old if runs == old.runs else Txt(runs, old.raw)
