"""Merge two sides' edits of one text, as a three-way merge (diff3) by characters. Pure.

Yields the merged stretches in order, and tells where a blank is missing between two words.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from heapsyncd.diff import Hunk
from heapsyncd.diff.ends import common_ends

_STEM: Final = 3
"""The least length at which a text that ends another one is more than a coincidence."""
OLD: Final = 2
"""The side of text that both sides kept."""


class Stretch(Struct, frozen=True):
    """Characters ``start`` to ``end`` of a side's text (0 or 1), or of the old text (``OLD``)."""

    side: int
    start: int
    end: int


class InlineMerge:
    """A merge of two sides' edits of one text, in the order in which Yjs would merge them.

    Args:
        old: the text before both edits.
        new: the text of each side.
        hunks: the difference of each side from the old text.
    """

    def __init__(self, old: str, new: Sequence[str], hunks: Sequence[Sequence[Hunk]]) -> None:
        self._texts = (*new, old)
        self._hunks = hunks
        self._at: list[dict[int, int]] = []
        """For each side: the position in its text of each hunk's text, by the hunk's end."""
        for side in hunks:
            shift = 0
            at = {}
            for hunk in side:
                at[hunk.end] = hunk.start + shift
                shift += len(hunk.text) - (hunk.end - hunk.start)
            self._at.append(at)

    def merged(self) -> list[Stretch]:
        """Return the merged stretches in order.

        Words that the insertions of both sides at one position share at their start or end appear
        once.
        """
        return list(self._stretches((0, 1), once=True))

    def is_glued(self) -> bool:
        """Tell whether a merge by Yjs could join two words into one.

        Yjs knows no words, and may put either side's insertion first; both orders are checked.
        """
        orders = [list(self._stretches(order, once=False)) for order in ((0, 1), (1, 0))]
        return any(self.lacks_blank(a, b) for order in orders for a, b in pairwise(order))

    def lacks_blank(self, left: Stretch, right: Stretch) -> bool:
        """Tell whether the end of one word and the start of another have become adjacent."""
        last, first = (left.side, left.end - 1), (right.side, right.start)
        if not all(_is_word(self._texts[side], at) for side, at in (last, first)):
            return False
        x, y = self._places(*last), self._places(*first)
        if any(s in x and x[s] + 1 == at for s, at in y.items()):
            return False
        ends = any(not _is_word(self._texts[s], at + 1) for s, at in x.items())
        return ends and any(not _is_word(self._texts[s], at - 1) for s, at in y.items())

    def _stretches(self, order: Sequence[int], *, once: bool) -> Iterator[Stretch]:
        old = self._texts[OLD]
        ends = {e for side in self._hunks for h in side for e in (h.start, h.end)}
        edges = sorted({0, len(old), *ends})
        # The text of a hunk is inserted behind what the hunk deletes.
        written = [{h.end: h for h in side if h.text} for side in self._hunks]
        for start, end in zip(edges, [*edges[1:], len(old)], strict=True):
            found = [(s, written[s][start]) for s in order if start in written[s]]
            yield from self._joined(found, once=once)
            if start < end and not any(_deletes(side, start) for side in self._hunks):
                yield Stretch(OLD, start, end)

    def _joined(self, found: Sequence[tuple[int, Hunk]], *, once: bool) -> Iterator[Stretch]:
        """Yield what the two sides inserted at one position."""
        whole = [(s, self._at[s][h.end], len(h.text)) for s, h in found]
        if len(found) < len(self._hunks) or not once:
            yield from (Stretch(s, at, at + n) for s, at, n in whole)
            return
        if self._is_out_of_order(*(h for _, h in found)):
            found = found[::-1]
        (a, first), (b, second) = found
        both = self._texts[OLD][max(first.start, second.start) : first.end]
        head, tail = common_ends(first.text, second.text, both)
        if not head and not tail:
            tail = max(self._continued(first, second), self._continued(second, first))
        at_a, at_b = self._at[a][first.end], self._at[b][second.end]
        middle = at_a + len(first.text) - tail
        parts = (
            Stretch(a, at_a, middle),
            Stretch(b, at_b + head, at_b + len(second.text) - tail),
            Stretch(a, middle, at_a + len(first.text)),
        )
        yield from (p for p in parts if p.start < p.end)

    def _is_out_of_order(self, first: Hunk, second: Hunk) -> bool:
        """Tell whether the second insertion belongs before the first one.

        That is when only the second one extends the word before the position, or only the first
        one the word behind it.
        """
        old = self._texts[OLD]

        def longer(hunk: Hunk, word: int, letter: int) -> bool:
            is_put_in = hunk.start == hunk.end
            return is_put_in and _is_word(old, word) and _is_word(hunk.text, letter)

        at = first.end
        before = [longer(h, at - 1, 0) for h in (first, second)]
        if before[0] != before[1]:
            return before[1]
        behind = [longer(h, at, len(h.text) - 1) for h in (first, second)]
        return behind[0] and not behind[1]

    def _continued(self, one: Hunk, other: Hunk) -> int:
        """Return how many characters ``one`` appended to a word that ``other`` also wrote.

        ``other`` replaced that word by text which ends with the same characters, so it knew them.
        """
        text, at = one.text, one.start
        goes_on = len(text) >= _STEM and text.isalnum() and _is_word(self._texts[OLD], at - 1)
        is_in = at == one.end and other.start < at and other.text.endswith(text)
        return len(text) if goes_on and is_in else 0

    def _places(self, side: int, at: int) -> dict[int, int]:
        """Return the position of a character in each text that has it, by side."""
        if side != OLD:
            return {side: at}
        found = {OLD: at}
        for s, hunks in enumerate(self._hunks):
            if not _deletes(hunks, at):
                shifts = (len(h.text) - (h.end - h.start) for h in hunks if h.end <= at)
                found[s] = at + sum(shifts)
        return found


def _deletes(hunks: Sequence[Hunk], at: int) -> bool:
    return any(h.start <= at < h.end for h in hunks)


def _is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")
