r"""Find formulas, ``$...$`` and ``$$...$$``, whose text is taken literally.

The rule is Pandoc's: there is no blank just inside single dollars, and no digit after the closing
one. So ``$5 and $6`` is no formula. The parser's own option is not used: it takes links and
``US$100 to US$200`` for formulas.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

_RUN_OR_ESCAPE = re.compile(rb"\\[!-/:-@\[-`{-~]|(\$+)")
_RUN = re.compile(rb"\$+")
_PREFIX = b" \t\r\n>"
_DOUBLE = 2

Range = tuple[int, int]


def dollars_of_text(data: bytes) -> list[Range]:
    """Return the runs of one or two dollars in a text that has yet to be read."""
    runs = (match.span(1) for match in _RUN_OR_ESCAPE.finditer(data))
    return [run for run in runs if 0 < run[1] - run[0] <= _DOUBLE]


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
