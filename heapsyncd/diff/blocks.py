"""Align two lists of blocks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from msgspec import Struct

from heapsyncd.diff.sequences import Gap, matches
from heapsyncd.diff.text import TOKEN
from heapsyncd.tree import Block

Pair = tuple[int | None, int | None]
"""The indexes of a block in the old and in the new list; None where it is absent."""

SIMILAR = 0.4
"""Two blocks with at least this similarity are one block that was edited."""

_BY_ATTRS = frozenset({"opaque", "files", "rule"})
"""Kinds that are compared by their attributes instead of their words."""
_WINDOW = 60
"""The most blocks on either side that are aligned pair by pair."""
_FEW = 8
"""The most texts that are paired in place although unlike; more at once are rarely replaced one by
one, and each has to be checked for having moved.
"""
_LONG_TEXT = 1500
"""Longer texts, in characters, are compared by their words only."""


def align(old: Sequence[Block], new: Sequence[Block]) -> list[Pair]:
    """Pair two child lists in order.

    Returns:
        ``(i, j)`` for a block kept or edited (same kind, equal or similar), ``(i, None)`` for a
        deleted one, ``(None, j)`` for an inserted one. i and j ascend, and each occurs once.
    """
    head, tail = equal_ends(old, new)
    out: list[Pair] = [(k, k) for k in range(head)]
    i = j = head
    ends = (len(old) - tail, len(new) - tail, tail)
    if ends[0] - head == ends[1] - head == 1 and _stays(old[head], new[head]):
        return [*out, *((k, k) for k in range(head, len(old)))]
    if head in ends[:2]:
        return [*out, *_align_gap(old, new, (i, ends[0], j, ends[1])), *_pairs(*ends)]
    middle = _numbered(old[head : ends[0]], new[head : ends[1]])
    for i2, j2, n in [*((x + head, y + head, n) for x, y, n in matches(*middle)), ends]:
        out += _replaced(old, new, _align_gap(old, new, (i, i2, j, j2)))
        out += _pairs(i2, j2, n)
        i, j = i2 + n, j2 + n
    return out


def _pairs(i: int, j: int, n: int) -> list[Pair]:
    return [(i + k, j + k) for k in range(n)]


def equal_ends(old: Sequence[Block], new: Sequence[Block]) -> tuple[int, int]:
    """Count the equal blocks at the start, and at the end of the rest."""
    most = min(len(old), len(new))
    head = 0
    while head < most and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < most - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return head, tail


def _stays(a: Block, b: Block) -> bool:
    """Tell whether two blocks in one place are the same one, edited, without looking at others.

    Most children of a container are unchanged, or a text is similar.
    """
    if a.kind != b.kind:
        return False
    if not a.children:
        return not b.children and similarity(a, b) >= SIMILAR
    head, tail = equal_ends(a.children, b.children)
    return 2 * (head + tail) >= max(len(a.children), len(b.children))


def similarity(a: Block, b: Block) -> float:
    """Return the similarity of two blocks' content, 0 to 1, whatever their kinds."""
    if a == b:
        return 1.0
    if a.kind in _BY_ATTRS or b.kind in _BY_ATTRS:
        return _attrs_alike(a, b)
    return _alike(_words(a), _words(b))


class _Words(Struct, frozen=True):
    text: str
    bag: Counter[str] | None


def _words(block: Block) -> _Words:
    text = block.words() or " ".join(str(i) for i in block.inline)
    return _Words(text, Counter(TOKEN.findall(text)) if len(text) > _LONG_TEXT else None)


def _alike(a: _Words, b: _Words) -> float:
    if a.text == b.text:
        return 1.0
    if a.bag is None or b.bag is None:
        from rapidfuzz.distance import Indel

        alike = float(Indel.normalized_similarity(a.text, b.text))
        return max(alike, SIMILAR) if _grown(a.text, b.text) else alike
    # Long texts: the share of common words takes linear time and is good enough to pair blocks.
    return 2 * sum((a.bag & b.bag).values()) / (a.bag.total() + b.bag.total())


def _grown(a: str, b: str) -> bool:
    """Tell whether one text is the other with text added only before or only after it."""
    short, long = sorted((a, b), key=len)
    return bool(short) and (long.startswith(short) or long.endswith(short))


def _same_lead(a: Block, b: Block) -> bool:
    """Tell whether two items start with the same words."""
    if not a.children or not b.children:
        return False
    return a.children[0] == b.children[0] and bool(a.children[0].words())


def _attrs_alike(a: Block, b: Block) -> float:
    if a.kind != b.kind or a.kind != "files":
        return 0.0
    keys_a, keys_b = (set(str(x.get("keys") or "").split("\n")) for x in (a, b))
    return len(keys_a & keys_b) / max(len(keys_a), len(keys_b))


def _numbered(old: Sequence[Block], new: Sequence[Block]) -> tuple[list[int], list[int]]:
    """Replace equal blocks by equal numbers, which compare and hash faster."""
    seen: dict[Block, int] = {}
    return [seen.setdefault(b, len(seen)) for b in old], [
        seen.setdefault(b, len(seen)) for b in new
    ]


def _align_gap(old: Sequence[Block], new: Sequence[Block], gap: Gap) -> Iterator[Pair]:
    i1, i2, j1, j2 = gap
    if i1 == i2 or j1 == j2:
        yield from ((i, None) for i in range(i1, i2))
        yield from ((None, j) for j in range(j1, j2))
        return
    size = max(i2 - i1, j2 - j1)
    if size <= _WINDOW:
        yield from _align_window(old, new, gap)
        return
    # Too many pairs to try all: align proportional windows, the smaller the longer the gap is.
    count = -(-size // max(4, min(_WINDOW, 200_000 // size)))
    for k in range(count):
        a1, a2 = i1 + (i2 - i1) * k // count, i1 + (i2 - i1) * (k + 1) // count
        b1, b2 = j1 + (j2 - j1) * k // count, j1 + (j2 - j1) * (k + 1) // count
        yield from _align_window(old, new, (a1, a2, b1, b2))


def _replaced(old: Sequence[Block], new: Sequence[Block], pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Pair texts that were replaced one by one, however unlike they are; the rest is unchanged.

    So a text of which every word was replaced keeps its node, and what others type into it
    meanwhile is kept; in a deleted node it would be lost.
    """
    gone: list[int] = []
    fresh: list[int] = []
    for i, j in [*pairs, (-1, -1)]:
        if i is not None and j is not None:
            if gone or fresh:
                yield from _one_by_one(old, new, gone, fresh)
                gone, fresh = [], []
            if i >= 0:
                yield i, j
        elif i is not None:
            gone.append(i)
        elif j is not None:
            fresh.append(j)


def _one_by_one(
    old: Sequence[Block], new: Sequence[Block], gone: Sequence[int], fresh: Sequence[int]
) -> Iterator[Pair]:
    if len(gone) == len(fresh) <= _FEW and all(
        _replaceable(old, new, i, j) for i, j in zip(gone, fresh, strict=True)
    ):
        yield from zip(gone, fresh, strict=True)
        return
    yield from ((i, None) for i in gone)
    yield from ((None, j) for j in fresh)


def _replaceable(old: Sequence[Block], new: Sequence[Block], i: int, j: int) -> bool:
    a, b = old[i], new[j]
    if a.kind != b.kind or a.kind in _BY_ATTRS:
        return False
    if a.kind == "row":
        return True
    if not (a.words() and b.words()) or a in new or b in old:
        return False  # nothing, or a move
    return not (_stands_near(a, new, j) or _stands_near(b, old, i))


def _stands_near(block: Block, among: Sequence[Block], at: int) -> bool:
    """Tell whether a text is also in another block nearby, that is, it was retyped or moved."""
    words = block.words()
    near = [*among[max(0, at - _FEW) : at], *among[at + 1 : at + _FEW + 1]]
    return any(words in b.words() for b in near if len(b.children) < _WINDOW)


def _align_window(old: Sequence[Block], new: Sequence[Block], gap: Gap) -> Iterator[Pair]:
    """Find the order-preserving pairs that maximise similarity times length, by dynamic
    programming.
    """
    i1, i2, j1, j2 = gap
    scores = Scores(old[i1:i2], new[j1:j2])
    n, m = i2 - i1, j2 - j1
    if scores.are_straight():
        yield from zip(range(i1, i2), range(j1, j2), strict=True)
        return
    score = cache(scores.of)
    best = [[0.0] * (m + 1) for _ in range(n + 1)]
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            paired = score(i, j)
            with_pair = best[i + 1][j + 1] + paired if paired else 0.0
            best[i][j] = max(with_pair, best[i + 1][j], best[i][j + 1])
    i = j = 0
    while i < n or j < m:
        paired = score(i, j) if i < n and j < m else 0.0
        if paired and best[i][j] == best[i + 1][j + 1] + paired:
            yield i1 + i, j1 + j
            i, j = i + 1, j + 1
        elif i < n and (j == m or best[i][j] == best[i + 1][j]):
            yield i1 + i, None
            i += 1
        else:
            yield None, j1 + j
            j += 1


class Scores:
    """Scores the pairs of two short lists: 0 where blocks are not similar enough."""

    def __init__(self, old: Sequence[Block], new: Sequence[Block]) -> None:
        self._old, self._new = old, new
        self._words_old, self._words_new = [_words(b) for b in old], [_words(b) for b in new]

    def of(self, i: int, j: int) -> float:
        """Return the score of one pair."""
        a, b = self._old[i], self._new[j]
        if a.kind != b.kind:
            return 0.0
        x, y = self._words_old[i], self._words_new[j]
        alike = similarity(a, b) if a.kind in _BY_ATTRS else _alike(x, y)
        length = max(len(x.text), len(y.text), 1)
        if a.kind == "item" and _same_lead(a, b):
            # An item indented below this one may become most of its text: it is still this item.
            return 2.0 * length
        return alike * length if alike >= SIMILAR else 0.0

    def are_straight(self) -> bool:
        """Tell whether pairing each block with the one in its place is certainly best.

        Any other alignment leaves a block out, and no pair scores more than the length of the
        longest text (twice that with items).
        """
        n = len(self._old)
        if n != len(self._new):
            return False
        most = max(1, *(len(w.text) for w in (*self._words_old, *self._words_new)))
        if any(b.kind == "item" for b in self._old):
            most *= 2
        return sum(self.of(k, k) for k in range(n)) > (n - 1) * most
