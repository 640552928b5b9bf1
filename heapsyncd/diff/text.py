"""Compute differences between two texts."""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from msgspec import Struct

from heapsyncd.diff.sequences import Gap, Match, gaps_between, matches, shared_ends

TOKEN = re.compile(r"\w+|[^\S\n]+|\n|[^\w\s]")
"""A word, a run of blanks, a newline, or another character."""
_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_SURVIVES = 0.4
"""The least share of a text that must survive for it not to be replaced as a whole."""
_WORD_SIMILAR = 0.5
"""The least similarity of words that are compared letter by letter."""
_WORD_HUNKS = 4
"""A word with more changes than this is replaced whole."""
_LETTER_CELLS = 1_000_000
"""The largest product of lengths compared letter by letter."""
_MOST_SLIDE = 200
"""The most characters by which a hunk is moved."""
_LINE_PAIRS = 2500
"""In a gap with at most this many pairs of lines, every pair is compared."""
_LETTER_GAPS = 2000
"""In a text with more changed words than this, the further ones are replaced whole."""


class Hunk(Struct, frozen=True):
    """Characters ``start`` to ``end`` (code points) of the old text become ``text``."""

    start: int
    end: int
    text: str


def text_hunks(old: str, new: str, *, letters: bool = True) -> list[Hunk]:
    """Return the hunks that turn old into new: few, small, ascending, never inside a grapheme.

    A text of which less than 40 % survives is replaced in one hunk between what both ends share.
    Without ``letters`` words are replaced whole.
    """
    if old == new:
        return []
    if not old or not new:
        return [Hunk(0, len(old), new)]
    head, tail = shared_ends(old, new)
    head, tail = _to_word_edges(old, new, head, tail)
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    gaps = _word_gaps(a, b, letters=letters)
    lost = sum(i2 - i1 for i1, i2, _, _ in gaps)
    if len(old) - lost < _SURVIVES * min(len(old), len(new)):
        gaps = [(0, len(a), 0, len(b))]
    gaps = [(i1 + head, i2 + head, j1 + head, j2 + head) for i1, i2, j1, j2 in gaps]
    gaps = _slid(old, new, _snap(old, new, gaps))
    return [Hunk(i1, i2, new[j1:j2]) for i1, i2, j1, j2 in gaps]


def lines_of(text: str) -> list[str]:
    """Split a text into lines with their ends. Only LF, CR LF and CR end a line."""
    return [line for line in _LINE.findall(text) if line]


def line_hunks(old: str, new: str, *, whole: bool = False, letters: bool = True) -> list[Hunk]:
    """Return the hunks that turn old into new, comparing lines first.

    Inside a changed line, words and letters are kept as by ``text_hunks``, but only where the new
    line is an edit of the old one. Unlike with ``text_hunks``, a line is never made of letters of
    an unrelated line: another author's edit of that one would end up in it.

    Args:
        old: the text before.
        new: the text after.
        whole: replace changed lines as a whole.
        letters: as for ``text_hunks``.
    """
    skip, rest = shared_ends(old, new)
    skip = max(old.rfind("\n", 0, skip), old.rfind("\r", 0, max(0, skip - 1))) + 1
    rest = max(0, rest - len(lines_of(old[len(old) - rest :])[0])) if rest else 0
    a, b = (lines_of(text[skip : len(text) - rest]) for text in (old, new))
    at_a = [*accumulate(map(len, a), initial=skip)]
    found = [(i, j, n, True) for i, j, n in matches(a, b)]
    if not whole:
        gaps = gaps_between([m[:3] for m in found], len(a), len(b))
        pairs = [pair for gap in gaps for pair in _edited_lines(a, b, gap)]
        found = sorted([*found, *((i, j, 1, False) for i, j in pairs)])
    out: list[Hunk] = []
    i = j = 0
    for i2, j2, n, is_same in [*found, (len(a), len(b), 0, True)]:
        if i < i2 or j < j2:
            out.append(Hunk(at_a[i], at_a[i2], "".join(b[j:j2])))
        if not is_same:
            inner = text_hunks(a[i2], b[j2], letters=letters)
            out += [Hunk(h.start + at_a[i2], h.end + at_a[i2], h.text) for h in inner]
        i, j = i2 + n, j2 + n
    return out


def _edited_lines(a: list[str], b: list[str], gap: Gap) -> list[tuple[int, int]]:
    """Pair the old and new lines of a gap that are edits of one another, in order.

    The pairs have the greatest total similarity. In a large gap, only lines at the same distance
    from its start are compared.
    """
    i1, i2, j1, j2 = gap
    if (i2 - i1) * (j2 - j1) > _LINE_PAIRS:
        straight = zip(range(i1, i2), range(j1, j2), strict=False)
        return [(i, j) for i, j in straight if _similar_chars(a[i], b[j])]
    n, m = i2 - i1, j2 - j1
    score = [[_similar_chars(a[i1 + i], b[j1 + j]) for j in range(m)] for i in range(n)]
    best = [[0.0] * (m + 1) for _ in range(n + 1)]
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            paired = score[i][j] + best[i + 1][j + 1] if score[i][j] else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    out = []
    i = j = 0
    while i < n and j < m:
        if score[i][j] and best[i][j] == score[i][j] + best[i + 1][j + 1]:
            out.append((i1 + i, j1 + j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return out


def _similar_chars(old: str, new: str) -> float:
    """Estimate how many characters two lines share; 0 if new is not an edit of old."""
    longer = max(len(old), len(new))
    if len(old) * len(new) > _LETTER_CELLS:
        return float(longer)
    from rapidfuzz.distance import Indel

    similarity = float(Indel.normalized_similarity(old.strip(), new.strip()))
    contains_old = old.strip() and (new.strip().startswith(old.strip()) or old.strip() in new)
    return similarity * longer if similarity >= _WORD_SIMILAR or contains_old else 0.0


def with_hunks(old: str, hunks: Iterable[Hunk]) -> str:
    """Apply hunks, in ascending order, to the old text."""
    out: list[str] = []
    at = 0
    for hunk in hunks:
        out += [old[at : hunk.start], hunk.text]
        at = hunk.end
    return "".join([*out, old[at:]])


def without_convergent(local: list[Hunk], live: list[Hunk]) -> list[Hunk]:
    """Return the local hunks that the live text does not contain already.

    Both lists are hunks of the same old text. A correction that both sides made would otherwise be
    doubled.
    """
    done = set(live)
    return [h for h in local if h not in done]


def _to_word_edges(old: str, new: str, head: int, tail: int) -> tuple[int, int]:
    """Shrink the shared ends to whole words."""
    while head and _inside_word(old, head) | _inside_word(new, head):
        head -= 1
    while tail and _inside_word(old, len(old) - tail) | _inside_word(new, len(new) - tail):
        tail -= 1
    return head, tail


def _inside_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and _is_word(text[at - 1]) and _is_word(text[at])


def _is_word(ch: str) -> bool:
    return ch.isalnum() or ch == "_"


def _word_gaps(a: str, b: str, *, letters: bool) -> list[Gap]:
    words_a, words_b = TOKEN.findall(a), TOKEN.findall(b)
    at_a, at_b = ([*accumulate(map(len, words), initial=0)] for words in (words_a, words_b))
    out: list[Gap] = []
    for i1, i2, j1, j2 in _token_gaps(words_a, words_b):
        pairs = [(i1, i2, j1, j2)]
        if i2 - i1 == j2 - j1:
            pairs = [(i1 + k, i1 + k + 1, j1 + k, j1 + k + 1) for k in range(i2 - i1)]
        for p1, p2, q1, q2 in pairs:
            if words_a[p1:p2] == words_b[q1:q2]:
                continue
            gap = (at_a[p1], at_a[p2], at_b[q1], at_b[q2])
            is_fine = letters and len(out) < _LETTER_GAPS
            out += _letter_gaps(a, b, gap) if is_fine else [gap]
    return out


def _token_gaps(a: list[str], b: list[str]) -> Iterator[Gap]:
    """Yield where tokens differ.

    A shared word counts more than any number of blanks, since blanks alone do not make texts
    alike.
    """
    found = matches(a, b)
    words = [m for m in found if not all(t.isspace() for t in a[m[0] : m[0] + m[2]])]
    if len(words) == len(found):
        yield from gaps_between(found, len(a), len(b))
        return
    for i1, i2, j1, j2 in gaps_between(words, len(a), len(b)):
        same = _words_first(a[i1:i2], b[j1:j2])
        inner = gaps_between(same, i2 - i1, j2 - j1)
        yield from ((i1 + p1, i1 + p2, j1 + q1, j1 + q2) for p1, p2, q1, q2 in inner)


def _words_first(a: list[str], b: list[str]) -> list[Match]:
    """Match two lists of tokens: as many words as possible, then the blanks between them."""
    at_a, at_b = ([k for k, t in enumerate(side) if not t.isspace()] for side in (a, b))
    words = matches([a[k] for k in at_a], [b[k] for k in at_b])
    out = [(at_a[i + k], at_b[j + k], 1) for i, j, n in words for k in range(n)]
    for i1, i2, j1, j2 in gaps_between(out, len(a), len(b)):
        out += [(i1 + i, j1 + j, n) for i, j, n in matches(a[i1:i2], b[j1:j2])]
    return sorted(out)


def _letter_gaps(a: str, b: str, gap: Gap) -> Iterator[Gap]:
    i1, i2, j1, j2 = gap
    old, new = a[i1:i2], b[j1:j2]
    from rapidfuzz.distance import Indel

    bounded = 0 < len(old) * len(new) <= _LETTER_CELLS
    if not bounded or Indel.normalized_similarity(old, new) < _WORD_SIMILAR:
        yield gap
        return
    inner = gaps_between(matches(old, new), len(old), len(new))
    if len(inner) > _WORD_HUNKS:
        yield gap
        return
    yield from ((i1 + p1, i1 + p2, j1 + q1, j1 + q2) for p1, p2, q1, q2 in inner)


def _snap(old: str, new: str, gaps: list[Gap]) -> list[Gap]:
    """Widen gaps to grapheme boundaries on both sides, and join gaps that meet."""
    out: list[Gap] = []
    for n, gap in enumerate(gaps):
        i1, i2, j1, j2 = gap
        floor = out[-1][1] if out else 0
        while i1 > floor and not (_is_boundary(old, i1) and _is_boundary(new, j1)):
            i1, j1 = i1 - 1, j1 - 1
        ceiling = gaps[n + 1][0] if n + 1 < len(gaps) else len(old)
        while i2 < ceiling and not (_is_boundary(old, i2) and _is_boundary(new, j2)):
            i2, j2 = i2 + 1, j2 + 1
        if out and out[-1][1] == i1 and out[-1][3] == j1:
            out[-1] = (out[-1][0], i2, out[-1][2], j2)
        else:
            out.append((i1, i2, j1, j2))
    return [g for g in out if old[g[0] : g[1]] != new[g[2] : g[3]]]


def _slid(old: str, new: str, gaps: list[Gap]) -> list[Gap]:
    """Move hunks that insert or delete words so that they include the blank behind, if possible.

    ``a word `` and `` a word`` may be the same difference. If each side of a merge chose for
    itself, a word typed where another one was deleted could end up without a blank beside it.
    """
    out: list[Gap] = []
    for n, (i1, i2, j1, j2) in enumerate(gaps):
        # Keep one unchanged character between hunks, so that they do not touch.
        left = min(i1 - out[-1][1] - 1 if out else i1, _MOST_SLIDE)
        right = min((gaps[n + 1][0] - 1 if n + 1 < len(gaps) else len(old)) - i2, _MOST_SLIDE)
        by = 0
        if i1 == i2:
            by = _to_whole_words(new, j1, j2, left, right)
        elif j1 == j2:
            by = _to_whole_words(old, i1, i2, left, right)
        edges = ((old, i1), (old, i2), (new, j1), (new, j2))
        if not all(_is_boundary(text, at + by) for text, at in edges):
            by = 0
        out.append((i1 + by, i2 + by, j1 + by, j2 + by))
    return out


def _to_whole_words(text: str, start: int, end: int, left: int, right: int) -> int:
    """Return how far a stretch can move, with equal effect, to start with a word and end with a
    blank.
    """

    def is_whole(a: int, b: int) -> bool:
        return text[b - 1].isspace() and not text[a].isspace() and not _inside_word(text, a)

    for by in range(right + 1):
        if by and text[end + by - 1] != text[start + by - 1]:
            break
        if is_whole(start + by, end + by):
            return by
    for by in range(1, left + 1):
        if text[start - by] != text[end - by]:
            break
        if is_whole(start - by, end - by):
            return -by
    return 0


def _is_boundary(text: str, at: int) -> bool:
    if at in {0, len(text)} or (text[at - 1].isascii() and text[at].isascii()):
        return True
    import regex

    start = at - 1
    while start > 0 and at - start < 64 and not text[start].isascii():
        start -= 1
    graphemes = regex.compile(r"\X").finditer(text, start, min(len(text), at + 1))
    return any(m.end() == at for m in graphemes)
