"""Apply the edits that an author made to one text to another text."""

from collections.abc import Iterator, Sequence

from heapsyncd.diff.sequences import Gap
from heapsyncd.diff.text import Hunk, line_hunks


def transplant(seen: str, saved: str, onto: str) -> str:
    """Return ``onto`` with the edits that turn ``seen`` into ``saved``.

    Where an edit overlaps a difference between ``seen`` and ``onto``, the place becomes as it is
    in ``saved``.

    Args:
        seen: the text that the author edited.
        saved: the text after the edits.
        onto: the text to edit; it has much in common with ``seen``.
    """
    if seen == onto:
        return saved
    out: list[str] = []
    at = 0
    for start, end, first, last in _replacements(line_hunks(seen, saved), line_hunks(seen, onto)):
        out += [onto[at:first], saved[start:end]]
        at = last
    return "".join([*out, onto[at:]])


def _replacements(own: Sequence[Hunk], other: Sequence[Hunk]) -> Iterator[Gap]:
    """Yield for each edit its range in ``saved``, then the range in ``onto`` that it replaces.

    Edits and differences that overlap, or are equal, form one range. ``own``: the edits;
    ``other``: the differences; both in ascending order.
    """
    i = k = shift_own = shift_other = 0
    while i < len(own):
        first, start, end = i, own[i].start, own[i].end
        while k < len(other) and other[k].end <= start and other[k] != own[i]:
            shift_other += _growth(other[k])
            k += 1
        left, onto_left = shift_own, shift_other
        while True:
            if i < len(own) and (i == first or own[i].start < end):
                end = max(end, own[i].end)
                shift_own += _growth(own[i])
                i += 1
            elif k < len(other) and (other[k] in own[first:i] or _overlaps(other[k], start, end)):
                start, end = min(start, other[k].start), max(end, other[k].end)
                shift_other += _growth(other[k])
                k += 1
            else:
                break
        yield start + left, end + shift_own, start + onto_left, end + shift_other


def _growth(hunk: Hunk) -> int:
    return len(hunk.text) - (hunk.end - hunk.start)


def _overlaps(other: Hunk, start: int, end: int) -> bool:
    """Tell whether a difference overlaps a range, or encloses an empty one."""
    if start == end:
        return other.start < start < other.end
    return other.start < end and start < other.end
