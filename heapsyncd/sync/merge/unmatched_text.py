"""Match text that is elsewhere on the other side: moved, split, or in another kind of block. Pure.

Aligning two texts without a known base pairs blocks and finds what the paired blocks share. The
rest of either side is unmatched, and may still be the same text.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.diff import Hunk, text_hunks
from heapsyncd.document.inline.visible_text import kept
from heapsyncd.tree import Block

_WORD: Final = re.compile(r"\w+")
_MIN_MATCH: Final = 12
"""At least this many letters in common words are no chance, anywhere ..."""
_MIN_MATCH_IN_PLACE: Final = 7
"""... this many at the same position ..."""
_MIN_WHOLE_MATCH: Final = 5
"""... and this many there if they are all of one of the texts."""
_MAX_LETTER_RATIO: Final = 2
"""A shorter whole match counts if the larger text has at most this many times its letters."""
MIN_STEM: Final = 3
"""A shorter word, or common beginning or end of two words, is in a longer one by chance."""
_MAX_STEM_WORDS: Final = 200
"""In a longer difference extended words are not looked for: pairing them is quadratic."""
_MAX_ROUNDS: Final = 4
"""A text that was cut into more pieces than this is followed no further."""
_MAX_SPANS_PER_WORD: Final = 50
"""A word in more spans than this identifies none of them."""

_MAX_CANDIDATES: Final = 10
"""The number of candidates compared for each span."""

Match = tuple[Block, int, int]
"""A stretch of a leaf of theirs that ours has too: block, start, end."""


class UnmatchedSpan(Struct, frozen=True, eq=False):
    """A stretch of a leaf that the paired leaf does not have.

    ``position``: the number of paired blocks before it. ``is_part``: it is part of the last of
    these.
    """

    block: Block
    text: str
    at: int = 0
    position: int = 0
    is_part: bool = False


def by_word(old: str, new: str) -> list[Hunk]:
    """Return how two texts differ, in whole words.

    Letters that two different words share by chance count as changed. If one side extended a word,
    the part that both have counts as unchanged.
    """
    out: list[Hunk] = []
    for hunk in text_hunks(old, new):
        between = old[out[-1].end : hunk.start] if out else ""
        is_apart = between.isspace() and _is_replacement(out[-1]) and _is_replacement(hunk)
        if is_apart or (between.isalnum() and not _is_whole_word(old, out[-1], hunk)):
            text = out[-1].text + between + hunk.text
            out[-1] = replace(out[-1], end=hunk.end, text=text)
        else:
            out.append(hunk)
    whole = [_to_word_edges(old, h) if _is_replacement(h) else h for h in out]
    return [part for hunk in whole for part in _without_stems(old[hunk.start : hunk.end], hunk)]


def _is_replacement(hunk: Hunk) -> bool:
    return bool(hunk.text) and hunk.start < hunk.end


def is_extended_by(word: str, other: str) -> bool:
    """Return whether ``other`` is ``word``, or begins or ends with it.

    Words grow at their ends; words that merely look alike do not count.
    """
    if word == other:
        return True
    return len(word) >= MIN_STEM and (other.startswith(word) or other.endswith(word))


def _is_extension_of_either(a: str, b: str) -> bool:
    return is_extended_by(a, b) or is_extended_by(b, a)


class StemIndex:
    """Finds the words that a word may be extended by, or extend: they share a beginning or an end.

    Args:
        words: the words to look among.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._having: dict[tuple[bool, str], list[str]] = defaultdict(list)
        for word in dict.fromkeys(words):
            for stem in _stems(word):
                self._having[stem].append(word)

    def alike(self, word: str) -> set[str]:
        """Return the words that share a stem with a word; itself only, if it is too short."""
        if len(word) < MIN_STEM:
            return {word}
        return {other for stem in _stems(word) for other in self._having.get(stem, ())}


def _stems(word: str) -> tuple[tuple[bool, str], tuple[bool, str]]:
    """Return the beginning and the end of a word, told from one another."""
    return (True, word[:MIN_STEM]), (False, word[-MIN_STEM:])


def _without_stems(old: str, hunk: Hunk) -> list[Hunk]:
    """Split a hunk at the words that both sides have, possibly extended.

    Args:
        old: the text that the hunk replaces.
        hunk: the hunk.
    """
    a, b = list(_WORD.finditer(old)), list(_WORD.finditer(hunk.text))
    if not a or not b or len(a) + len(b) > _MAX_STEM_WORDS:
        return [hunk]
    out: list[Hunk] = []
    at, start = 0, 0
    for i, j in _pair_words([m[0] for m in a], [m[0] for m in b]):
        x, y = a[i], b[j]
        n = min(len(x[0]), len(y[0]))
        is_head = x[0][:n] == y[0][:n]
        left, right = (m.start() if is_head else m.end() - n for m in (x, y))
        out.append(Hunk(hunk.start + at, hunk.start + left, hunk.text[start:right]))
        at, start = left + n, right + n
    out.append(Hunk(hunk.start + at, hunk.end, hunk.text[start:]))
    return [h for h in out if h.text or h.start < h.end]


def _pair_words(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Pair equal or extended words of two texts in order, for the most letters in total."""
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]

    def same(i: int, j: int) -> int:
        return min(len(a[i]), len(b[j])) if _is_extension_of_either(a[i], b[j]) else 0

    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            n = same(i, j)
            both = n + best[i + 1][j + 1] if n else 0
            best[i][j] = max(both, best[i + 1][j], best[i][j + 1])
    out = []
    i = j = 0
    while i < len(a) and j < len(b) and best[i][j]:
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            out.append((i, j))
            i, j = i + 1, j + 1
    return out


def _is_whole_word(old: str, before: Hunk, after: Hunk) -> bool:
    """Return whether the text between two hunks is a whole word on both sides."""
    edges = (
        old[max(0, before.end - 1) : before.end],
        before.text[-1:] or old[max(0, before.start - 1) : before.start],
        old[after.start : after.start + 1],
        after.text[:1] or old[after.end : after.end + 1],
    )
    return not any(edge.isalnum() for edge in edges)


def _to_word_edges(old: str, hunk: Hunk) -> Hunk:
    """Widen a hunk that replaces one word by another to the ends of the words."""
    start, end = hunk.start, hunk.end
    while start and old[start - 1].isalnum() and (old[start] + hunk.text[0]).isalnum():
        start -= 1
    while end < len(old) and old[end].isalnum() and (old[end - 1] + hunk.text[-1]).isalnum():
        end += 1
    return Hunk(start, end, old[start : hunk.start] + hunk.text + old[hunk.end : end])


def matching_spans(ours: Sequence[UnmatchedSpan], theirs: Sequence[UnmatchedSpan]) -> list[Match]:
    """Return the stretches of theirs that ours has somewhere too; each word is used once."""
    out: list[Match] = []
    for _ in range(_MAX_ROUNDS):
        found, ours, theirs = _match_round(ours, theirs)
        if not found:
            break
        out += found
    return out


def _match_round(
    ours: Sequence[UnmatchedSpan], theirs: Sequence[UnmatchedSpan]
) -> tuple[list[Match], list[UnmatchedSpan], list[UnmatchedSpan]]:
    found: list[Match] = []
    left: tuple[dict[int, list[UnmatchedSpan]], dict[int, list[UnmatchedSpan]]] = ({}, {})
    for i, j in _candidates(ours, theirs):
        if i in left[0] or j in left[1]:
            continue
        a, b = ours[i], theirs[j]
        same = [s for s in kept(by_word(b.text, a.text), len(b.text)) if _letters_in(b.text, s)]
        if not _is_significant(a, b, sum(_letters_in(b.text, s) for s in same)):
            continue
        found += [(b.block, b.at + start, b.at + start + n) for start, _, n in same]
        left[0][i] = _remainder(a, [(start, n) for _, start, n in same])
        left[1][j] = _remainder(b, [(start, n) for start, _, n in same])
    rests = [
        [r for k, s in enumerate(side) for r in gone.get(k, [s])]
        for side, gone in zip((ours, theirs), left, strict=True)
    ]
    return found, rests[0], rests[1]


def _candidates(
    ours: Sequence[UnmatchedSpan], theirs: Sequence[UnmatchedSpan]
) -> list[tuple[int, int]]:
    """Return the pairs of spans (indices) that may match, the likeliest first."""
    having: dict[str, list[int]] = defaultdict(list)
    for i, span in enumerate(ours):
        for word in set(_WORD.findall(span.text)):
            having[word].append(i)
    stems = StemIndex(having)
    rated: list[tuple[float, int, int]] = []
    for j, span in enumerate(theirs):
        shared: Counter[int] = Counter()
        for word in set(_WORD.findall(span.text)):
            if word in having:
                found = {word}
            else:
                found = {o for o in stems.alike(word) if _is_extension_of_either(word, o)}
            spans = {i: min(len(word), len(o)) for o in found for i in having[o]}
            if len(spans) <= _MAX_SPANS_PER_WORD:
                shared.update(spans)
        for i, letters in shared.most_common(_MAX_CANDIDATES):
            if _is_significant(ours[i], span, letters):
                share = letters / max(_letters(span.text), _letters(ours[i].text))
                rated.append((-share, i, j))
    return [(i, j) for _, i, j in sorted(rated)]


def _is_significant(a: UnmatchedSpan, b: UnmatchedSpan, same: int) -> bool:
    """Return whether ``same`` equal letters of two spans are no chance.

    A word may be in any two texts, but not everything that is in one.
    """
    small, large = sorted((_letters(a.text), _letters(b.text)))
    if same >= _MIN_MATCH:
        return 2 * same >= small
    if a.is_part or b.is_part:
        return same == small >= _MIN_MATCH_IN_PLACE and _are_beside(a, b)
    if a.position != b.position or "cell" in {a.block.kind, b.block.kind}:
        return False
    if same == small:
        return same >= _MIN_WHOLE_MATCH or large <= _MAX_LETTER_RATIO * small
    return same >= _MIN_MATCH_IN_PLACE and 2 * same >= small


def _are_beside(a: UnmatchedSpan, b: UnmatchedSpan) -> bool:
    """Return whether one is part of a paired leaf and the other a block right before or after it.

    Somebody split the leaf, or joined the two.
    """
    part, block = (a, b) if a.is_part else (b, a)
    return not block.is_part and part.position - 1 <= block.position <= part.position


def _remainder(span: UnmatchedSpan, same: Sequence[tuple[int, int]]) -> list[UnmatchedSpan]:
    """Return what is left of a span without some stretches (start, length)."""
    edges = [0, *(e for start, n in sorted(same) for e in (start, start + n)), len(span.text)]
    return [
        replace(span, text=span.text[start:end], at=span.at + start)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if _letters(span.text[start:end])
    ]


def _letters_in(text: str, stretch: tuple[int, int, int]) -> int:
    """Count the letters of a stretch."""
    start, _, n = stretch
    return _letters(text[start : start + n])


def _letters(text: str) -> int:
    return sum(map(len, _WORD.findall(text)))
