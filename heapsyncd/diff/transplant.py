"""What an author changed in one text, changed in another."""

from collections.abc import Iterator, Sequence

from heapsyncd.diff.sequences import Gap
from heapsyncd.diff.text import Hunk, line_hunks


def transplanted(seen: str, saved: str, onto: str) -> str:
    """A text with the edits that made one text of another.

    Args:
        seen: what the author had before him.
        saved: what he made of it.
        onto: the text that is to have his edits; much of it is as in ``seen``.

    Where he edited what ``onto`` has otherwise, it gets the place as he left it.
    """
    if seen == onto:
        return saved
    out: list[str] = []
    at = 0
    for start, end, first, last in _places(line_hunks(seen, saved), line_hunks(seen, onto)):
        out += [onto[at:first], saved[start:end]]
        at = last
    return "".join([*out, onto[at:]])


def _places(own: Sequence[Hunk], other: Sequence[Hunk]) -> Iterator[Gap]:
    """Of each edit the stretch of the saved text, and the one it takes the place of. Edits that
    meet with a difference, or are the same, are one with it.
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
            elif k < len(other) and (other[k] in own[first:i] or _meets(other[k], start, end)):
                start, end = min(start, other[k].start), max(end, other[k].end)
                shift_other += _growth(other[k])
                k += 1
            else:
                break
        yield start + left, end + shift_own, start + onto_left, end + shift_other


def _growth(hunk: Hunk) -> int:
    return len(hunk.text) - (hunk.end - hunk.start)


def _meets(other: Hunk, start: int, end: int) -> bool:
    """Whether a difference lies in a stretch, or crosses one of its edges."""
    if start == end:
        return other.start < start < other.end
    return other.start < end and start < other.end
