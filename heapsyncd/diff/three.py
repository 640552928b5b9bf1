"""Merge two authors' edits of one text: by lines (diff3), and by words within the same lines.

Edits of different lines are both made. Edits of the same lines are merged by words if these do not
touch. Otherwise the lines are *contested*: the lines of both authors stand whole, one below the
other. No markers are written, and no word of either author is lost.

Where the text that both edited is not known, every line of either stands; what both share stands
once.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from heapsyncd.diff.sequences import gaps_between, matches, shared_ends
from heapsyncd.diff.text import (
    Hunk,
    line_hunks,
    lines_of,
    text_hunks,
    with_hunks,
    without_convergent,
)

_LINE_END = re.compile(r"\r\n|\r|\n")
_WORD_CHARS = 20_000
"""The most characters of overlapping edits that are compared by words."""

_Hunks = Sequence[Hunk]


class Contested(Struct, frozen=True):
    """Lines that both authors changed, so that both versions stand in the merged text; without a
    base, lines of each where the other has different ones.

    ``line``: the number of the first of them in the merged text, from 1. ``first``, ``second``:
    what each author wrote; '' where he deleted the lines.
    """

    line: int
    first: str
    second: str


class Merged(Struct, frozen=True):
    """A merged text, and what of it a person should review."""

    text: str
    contested: tuple[Contested, ...] = ()


def merge_texts(base: str | None, first: str, second: str) -> Merged:
    """Merge two texts that were made from one.

    What both inserted at one place stands one below the other and is not contested. The kind of
    line end, and whether the last line has one, are merged apart from the lines.

    Args:
        base: the text that both authors edited; None: it is not known.
        first: one author's text. Of contested lines and of insertions, his stand above.
        second: the other's.
    """
    if second in {base, first}:
        return Merged(first)
    if first == base:
        return Merged(second)
    texts, newline = with_one_line_end(base or "", first, second)
    ending = _three_way(*("" if not t else "closed" if _is_closed(t) else "open" for t in texts))
    closed = [t if not t or _is_closed(t) else f"{t}\n" for t in texts]
    merged = _unite_lines(*closed[1:]) if base is None else _merge_lines(*closed)
    text = merged.text
    if ending == "open" and text:
        text = text.removesuffix(lines_of(text)[-1]) + lines_of(text)[-1].rstrip("\r\n")
    return Merged(text.replace("\n", newline) if newline else text, merged.contested)


def without_edit(before: str, after: str, now: str) -> Merged:
    """Undo in a text the edit that once turned ``before`` into ``after``.

    What others wrote since stays. Lines that they changed, too, stay as they are: these are the
    contested ones.
    """
    merged = merge_texts(after, before, now)
    lines = lines_of(merged.text)
    for one in reversed(merged.contested):
        start = one.line - 1
        del lines[start : start + len(lines_of(one.first))]
    return Merged("".join(lines), merged.contested)


def with_one_line_end(base: str, first: str, second: str) -> tuple[list[str], str]:
    """Return the texts with LF as line end, and the line end that a merged text gets instead.

    It is the one that an author changed to, the first author's if both did. Texts of which one
    has mixed line ends are returned as they are, with ''.
    """
    texts = [base, first, second]
    kinds = [set(_LINE_END.findall(text)) for text in texts]
    if any(len(kind) > 1 for kind in kinds):
        return texts, ""
    return [_LINE_END.sub("\n", t) for t in texts], _three_way(*("".join(k) for k in kinds))


def _is_closed(text: str) -> bool:
    return text.endswith(("\n", "\r"))


def _three_way(base: str, first: str, second: str) -> str:
    """Merge one property of the texts; '' is a text that does not have it."""
    first = first or base or second
    second = second or base or first
    return second if base and first == base else first


def _merge_lines(base: str, first: str, second: str) -> Merged:
    """Merge texts whose last lines have line ends."""
    out: list[str] = []
    contested: list[Contested] = []
    at, line = 0, 1
    # Most of all after a lost answer, one author's text already contains the other's edits.
    edits, others = (line_hunks(base, text, whole=True) for text in (first, second))
    others = _without_contained(others, edits)
    edits = _without_contained(edits, others)
    for ours, theirs in _groups(_by_lines(base, edits), _by_lines(base, others)):
        both = [*ours, *theirs]
        start, end = min(h.start for h in both), max(h.end for h in both)
        shift = [[Hunk(h.start - start, h.end - start, h.text) for h in s] for s in (ours, theirs)]
        above, a, b, below = _resolved(base[start:end], *shift)
        line += len(_LINE_END.findall(base, at, start)) + len(_LINE_END.findall(above))
        if start < end and (a or b):
            contested.append(Contested(line, a, b))
        line += sum(len(_LINE_END.findall(part)) for part in (a, b, below))
        out += [base[at:start], above, a, b, below]
        at = end
    return Merged("".join([*out, base[at:]]), tuple(contested))


def _unite_lines(first: str, second: str) -> Merged:
    """Merge texts without a base; their last lines have line ends."""
    a, b = lines_of(first), lines_of(second)
    out: list[str] = []
    contested: list[Contested] = []
    at = 0
    for i1, i2, j1, j2 in gaps_between(matches(a, b), len(a), len(b)):
        out += a[at:i1]
        own_a, own_b = "".join(a[i1:i2]), "".join(b[j1:j2])
        if own_a.strip() and own_b.strip():
            contested.append(Contested(len(out) + 1, own_a, own_b))
        out += [*a[i1:i2], *b[j1:j2]]
        at = i2
    return Merged("".join([*out, *a[at:]]), tuple(contested))


def _by_lines(base: str, edits: _Hunks) -> Iterator[Hunk]:
    """Yield the edits line by line where as many lines replace others."""
    for hunk in edits:
        old, new = lines_of(base[hunk.start : hunk.end]), lines_of(hunk.text)
        if len(old) != len(new):
            yield hunk
            continue
        at = hunk.start
        for was, now in zip(old, new, strict=True):
            if was != now:
                yield Hunk(at, at + len(was), now)
            at += len(was)


def _without_contained(edits: _Hunks, others: _Hunks) -> list[Hunk]:
    """Return an author's edits without those that are part of the other author's."""
    starts = [h.start for h in others]
    # At most three edits reach to a place: one ends there, one inserts there, one begins there.
    return [
        h
        for h in edits
        if not any(
            _stands_in(h, other)
            for at in [bisect_right(starts, h.start)]
            for other in others[max(0, at - 3) : at]
        )
    ]


def _groups(first: Iterator[Hunk], second: Iterator[Hunk]) -> Iterator[tuple[_Hunks, _Hunks]]:
    """Yield both authors' edits in order, those together that overlap or insert at one place."""
    edits = sorted(
        [*((h, 0) for h in first), *((h, 1) for h in second)],
        key=lambda e: (e[0].start, e[0].end, e[1]),
    )
    group: tuple[list[Hunk], list[Hunk]] = ([], [])
    start = end = -1
    for hunk, side in edits:
        if hunk.start >= end and not start == end == hunk.start == hunk.end:
            if start >= 0:
                yield group
            group, start, end = ([], []), hunk.start, hunk.end
        group[side].append(hunk)
        end = max(end, hunk.end)
    if start >= 0:
        yield group


def _resolved(region: str, first: _Hunks, second: _Hunks) -> tuple[str, str, str, str]:
    """Return what stands for overlapping edits: the lines above those that differ, each author's
    own, and the lines below.

    Args:
        region: the text that the edits cover.
        first: one author's edits of it.
        second: the other's.
    """
    if not (first and second):
        return with_hunks(region, first or second), "", "", ""
    if region and len(region) + sum(len(h.text) for h in (*first, *second)) <= _WORD_CHARS:
        merged = _merge_words(region, with_hunks(region, first), with_hunks(region, second))
        if merged is not None:
            return merged, "", "", ""
    a, b = (lines_of("".join(h.text for h in side)) for side in (first, second))
    head, tail = shared_ends(a, b)
    own_a, own_b = ("".join(side[head : len(side) - tail]) for side in (a, b))
    return "".join(a[:head]), own_a, own_b, "".join(a[len(a) - tail :])


def _stands_in(hunk: Hunk, other: Hunk) -> bool:
    """Tell whether an edit's lines stand in what another author made of the same lines."""
    if not (other.start <= hunk.start and hunk.end <= other.end):
        return False
    # Else a deletion would stand in every edit: who edits a deleted line should know.
    lines = iter(lines_of(other.text))
    return all(line in lines for line in lines_of(hunk.text)) if hunk.text else not other.text


def _merge_words(region: str, first: str, second: str) -> str | None:
    """Merge two versions of the same lines by words; None if their edits touch."""
    a, b = (text_hunks(region, text, letters=False) for text in (first, second))
    if _has_all(region, first, a, second, b):
        return first
    if _has_all(region, second, b, first, a):
        return second
    edits = sorted([*a, *without_convergent(b, a)], key=lambda h: (h.start, h.end))
    return None if _touch(edits) else with_hunks(region, edits)


def _has_all(region: str, text: str, own: _Hunks, other: str, edits: _Hunks) -> bool:
    """Tell whether a text, made by its ``own`` edits of the region, has all edits that made
    another one: it deletes as much, and differs from that one elsewhere.

    Comparing the edits does not tell, for one edit has several spellings.
    """
    made, shift = [], 0
    for h in edits:
        gone = region[h.start : h.end]
        words = h.start + len(gone) - len(gone.lstrip()), h.start + len(gone.rstrip())
        if gone.strip() and not any(o.start <= words[0] and words[1] <= o.end for o in own):
            return False
        made.append(Hunk(h.start + shift, h.start + shift + len(h.text), ""))
        shift += len(h.text) - (h.end - h.start)
    differences = text_hunks(other, text, letters=False)
    return not _touch(sorted([*made, *differences], key=lambda h: (h.start, h.end)))


def _touch(hunks: _Hunks) -> bool:
    """Tell whether any of the ranges, sorted, meet."""
    return any(h.end >= following.start for h, following in pairwise(hunks))
