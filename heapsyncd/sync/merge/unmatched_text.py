"""Text of one side that stands elsewhere on the other: moved, cut in two, made another kind. Pure.

Of two texts without a known base only what stands in blocks that correspond is found by aligning
them; the rest of either side strays, and may still be the same.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from heapsyncd.diff import Hunk, text_hunks
from heapsyncd.document.inline.visible_text import kept
from heapsyncd.tree import Block

_WORD: Final = re.compile(r"\w+")
_CHANCE: Final = 12
"""So many letters in a row of words are in two places by no chance ..."""
_HERE: Final = 7
"""... so many in one place ..."""
_ALL: Final = 5
"""... and so many there that are all of one of the texts."""
_ALIKE: Final = 2
_STEM: Final = 3
"""A shorter word is in a longer one by chance."""
_WORDS: Final = 200
"""A longer difference is not looked through for words that were made longer."""
_ROUNDS: Final = 4
"""A text that was cut into more pieces is followed no further."""
_OFTEN: Final = 50
"""A word that so many strays have tells nothing about any."""

_LIKELY: Final = 10
"""So many others are looked at for each."""

Meeting = tuple[Block, int, int]
"""A stretch of a leaf of theirs: block, start, end."""


@dataclass(frozen=True, slots=True, eq=False)
class UnmatchedSpan:
    """A stretch of a leaf that the corresponding leaf does not have.

    ``place``: the number of blocks before it that both sides have; None: it is part of a leaf that
    has a corresponding one.
    """

    block: Block
    text: str
    at: int = 0
    place: int | None = None


def by_word(old: str, new: str) -> list[Hunk]:
    """How two texts differ; letters that two different words have in common by chance are none. Of
    a word that one text has longer what both have stays.
    """
    out: list[Hunk] = []
    for hunk in text_hunks(old, new):
        between = old[out[-1].end : hunk.start] if out else ""
        is_apart = between.isspace() and _replaces(out[-1]) and _replaces(hunk)
        if is_apart or (between.isalnum() and not _is_whole(old, out[-1], hunk)):
            text = out[-1].text + between + hunk.text
            out[-1] = replace(out[-1], end=hunk.end, text=text)
        else:
            out.append(hunk)
    whole = [_to_word_edges(old, h) if _replaces(h) else h for h in out]
    return [part for hunk in whole for part in _without_stems(old[hunk.start : hunk.end], hunk)]


def _replaces(hunk: Hunk) -> bool:
    return bool(hunk.text) and hunk.start < hunk.end


def goes_on(word: str, other: str) -> bool:
    """Whether a word is another, or begins or ends it: words are made longer, not put for others
    that look so.
    """
    if word == other:
        return True
    return len(word) >= _STEM and (other.startswith(word) or other.endswith(word))


def _without_stems(old: str, hunk: Hunk) -> list[Hunk]:
    """What is left of a hunk (``old``: the text it replaces) without the words that both have."""
    a, b = list(_WORD.finditer(old)), list(_WORD.finditer(hunk.text))
    if not a or not b or len(a) + len(b) > _WORDS:
        return [hunk]
    out: list[Hunk] = []
    at, start = 0, 0
    for i, j in _pairs([m[0] for m in a], [m[0] for m in b]):
        x, y = a[i], b[j]
        n = min(len(x[0]), len(y[0]))
        is_head = x[0][:n] == y[0][:n]
        left, right = (m.start() if is_head else m.end() - n for m in (x, y))
        out.append(Hunk(hunk.start + at, hunk.start + left, hunk.text[start:right]))
        at, start = left + n, right + n
    out.append(Hunk(hunk.start + at, hunk.end, hunk.text[start:]))
    return [h for h in out if h.text or h.start < h.end]


def _pairs(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """The words of two texts that stand for one another, in order; most letters win."""
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]

    def same(i: int, j: int) -> int:
        n = min(len(a[i]), len(b[j]))
        return n if goes_on(a[i], b[j]) or goes_on(b[j], a[i]) else 0

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


def _is_whole(old: str, before: Hunk, after: Hunk) -> bool:
    """Whether what stands between two hunks is a whole word on both sides."""
    edges = (
        old[max(0, before.end - 1) : before.end],
        before.text[-1:] or old[max(0, before.start - 1) : before.start],
        old[after.start : after.start + 1],
        after.text[:1] or old[after.end : after.end + 1],
    )
    return not any(edge.isalnum() for edge in edges)


def _to_word_edges(old: str, hunk: Hunk) -> Hunk:
    """A hunk that puts one word for another, with what both begin and end with."""
    start, end = hunk.start, hunk.end
    while start and old[start - 1].isalnum() and (old[start] + hunk.text[0]).isalnum():
        start -= 1
    while end < len(old) and old[end].isalnum() and (old[end - 1] + hunk.text[-1]).isalnum():
        end += 1
    return Hunk(start, end, old[start : hunk.start] + hunk.text + old[hunk.end : end])


def meetings(ours: Sequence[UnmatchedSpan], theirs: Sequence[UnmatchedSpan]) -> list[Meeting]:
    """The stretches of theirs that ours has somewhere too; each word of either counts once."""
    out: list[Meeting] = []
    for _ in range(_ROUNDS):
        found, ours, theirs = _round(ours, theirs)
        if not found:
            break
        out += found
    return out


def _round(
    ours: Sequence[UnmatchedSpan], theirs: Sequence[UnmatchedSpan]
) -> tuple[list[Meeting], list[UnmatchedSpan], list[UnmatchedSpan]]:
    found: list[Meeting] = []
    left: tuple[dict[int, list[UnmatchedSpan]], dict[int, list[UnmatchedSpan]]] = ({}, {})
    for i, j in _candidates(ours, theirs):
        if i in left[0] or j in left[1]:
            continue
        a, b = ours[i], theirs[j]
        same = [s for s in kept(by_word(b.text, a.text), len(b.text)) if _in(b.text, s)]
        if not _is_enough(a, b, sum(_in(b.text, s) for s in same)):
            continue
        found += [(b.block, b.at + start, b.at + start + n) for start, _, n in same]
        left[0][i] = _rest(a, [(start, n) for _, start, n in same])
        left[1][j] = _rest(b, [(start, n) for start, _, n in same])
    rests = [
        [r for k, s in enumerate(side) for r in gone.get(k, [s])]
        for side, gone in zip((ours, theirs), left, strict=True)
    ]
    return found, rests[0], rests[1]


def _candidates(
    ours: Sequence[UnmatchedSpan], theirs: Sequence[UnmatchedSpan]
) -> list[tuple[int, int]]:
    """Which strays may be the same, the likeliest first."""
    having: dict[str, list[int]] = defaultdict(list)
    for i, stray in enumerate(ours):
        for word in set(_WORD.findall(stray.text)):
            having[word].append(i)
    rated: list[tuple[float, int, int]] = []
    for j, stray in enumerate(theirs):
        shared: Counter[int] = Counter()
        for word in set(_WORD.findall(stray.text)):
            if len(having.get(word, ())) <= _OFTEN:
                shared.update(dict.fromkeys(having.get(word, ()), len(word)))
        for i, letters in shared.most_common(_LIKELY):
            if _is_enough(ours[i], stray, letters):
                share = letters / max(_letters(stray.text), _letters(ours[i].text))
                rated.append((-share, i, j))
    return [(i, j) for _, i, j in sorted(rated)]


def _is_enough(a: UnmatchedSpan, b: UnmatchedSpan, same: int) -> bool:
    """Whether so many equal letters are no chance: a word may be in any two texts, but not all
    there is in one.
    """
    small, large = sorted((_letters(a.text), _letters(b.text)))
    if same >= _CHANCE:
        return 2 * same >= small
    if a.place is None or a.place != b.place or "cell" in {a.block.kind, b.block.kind}:
        return False
    if same == small:
        return same >= _ALL or large <= _ALIKE * small
    return same >= _HERE and 2 * same >= small


def _rest(stray: UnmatchedSpan, same: Sequence[tuple[int, int]]) -> list[UnmatchedSpan]:
    """What is left of a stray without some stretches."""
    edges = [0, *(e for start, n in sorted(same) for e in (start, start + n)), len(stray.text)]
    return [
        UnmatchedSpan(stray.block, stray.text[start:end], stray.at + start, stray.place)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if _letters(stray.text[start:end])
    ]


def _in(text: str, stretch: tuple[int, int, int]) -> int:
    """The letters of a stretch."""
    start, _, n = stretch
    return _letters(text[start : start + n])


def _letters(text: str) -> int:
    return sum(map(len, _WORD.findall(text)))
