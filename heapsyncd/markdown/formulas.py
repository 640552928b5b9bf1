r"""Find formulas, ``$...$`` and ``$$...$$``, whose text is taken literally.

The rule is Pandoc's: there is no blank just inside single dollars, and no digit after the closing
one. So ``$5 and $6`` is no formula. The parser's own option is not used: it takes links and
``US$100 to US$200`` for formulas.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from heapsyncd.tree import Atom, Inline, Marks, Text

_RUN = re.compile(rb"\$+")
_RUN_OR_ESCAPE = re.compile(rb"\\[!-/:-@\[-`{-~]|(\$+)")
_PREFIX = b" \t\r\n>"
_DOUBLE = 2

Range = tuple[int, int]


class Formula(Text):
    """A formula as part of a run, to be written literally. Its line ends are newlines."""


def dollars(data: bytes, start: int, end: int) -> list[Range]:
    """Return the runs of one or two dollars in a source range without escapes."""
    runs = (match.span() for match in _RUN.finditer(data, start, end))
    return [run for run in runs if run[1] - run[0] <= _DOUBLE]


def paired(data: bytes, found: Sequence[Range]) -> Iterator[Range]:
    """Yield the formulas among the dollars that stand in one mark: ranges with their dollars.

    Args:
        data: the source.
        found: the runs of dollars, in order.
    """
    doubles = [k for k, run in enumerate(found) if run[1] - run[0] == _DOUBLE]
    following = dict(pairwise(doubles))
    k = 0
    while k < len(found) - 1:
        (start, first), other = found[k], k + 1
        if first - start == _DOUBLE:
            other = following.get(k, other)
            is_formula = k in following and bool(data[first : found[other][0]].strip(_PREFIX))
        else:
            last, end = found[other]
            is_formula = end - last < _DOUBLE and _may_enclose(data, first, last)
        if is_formula:
            yield start, found[other][1]
        # Dollars that do not close may open.
        k = other + is_formula


def _may_enclose(data: bytes, first: int, last: int) -> bool:
    """Return whether single dollars around a range make it a formula."""
    inside = data[first:last]
    if not inside or inside[:1].isspace() or data[last + 1 : last + 2].isdigit():
        return False
    _, newline, line = inside.rpartition(b"\n")
    return not inside[-1:].isspace() and bool(line.strip(_PREFIX) or not newline)


def with_formulas(items: Sequence[Inline], *, is_flat: bool) -> list[Inline]:
    """Cut out the formulas of a leaf's content as items of their own.

    Args:
        items: the content.
        is_flat: whether a formula must not span breaks (in a heading or a cell).
    """
    out: list[Inline] = []
    row: list[Inline] = []
    marks: Marks | None = None
    for item in items:
        is_break = isinstance(item, Atom) and item.kind == "break" and not is_flat
        is_text = isinstance(item, Text) and all(m.kind != "code" for m in item.marks)
        if isinstance(item, Text) and marks not in {None, item.marks}:
            out += _cut(row)
            row, marks = [], None
        if is_text and isinstance(item, Text):
            marks = item.marks
        if is_text or is_break:
            row.append(item)
        else:
            out += [*_cut(row), item]
            row, marks = [], None
    return out + _cut(row)


def _cut(row: list[Inline]) -> list[Inline]:
    """Cut out the formulas of texts with the same marks and the breaks between them."""
    data = "".join(i.text if isinstance(i, Text) else "\n" for i in row).encode()
    runs = (match.span(1) for match in _RUN_OR_ESCAPE.finditer(data))
    found = paired(data, [r for r in runs if 0 < r[1] - r[0] <= _DOUBLE])
    none = len(data), len(data)
    start, end = next(found, none)
    out: list[Inline] = []
    at = done = 0
    for item in row:
        at += len(item.text.encode()) if isinstance(item, Text) else 1
        while done < at:
            if not isinstance(item, Text):
                out.append(item)
                done = at
            elif start == done:
                out.append(Formula(data[start:end].decode(), item.marks))
                done = end
                start, end = next(found, none)
            else:
                last = min(start, at)
                out.append(Text(data[done:last].decode(), item.marks))
                done = last
    return out
