"""Make the canonical form of inline content and of attributes."""

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from heapsyncd.tree.nodes import Atom, Inline, Mark, Marks, Text

_BLANK = " \t\n\r\f\v"
"""What markdown strips at edges; NBSP and other Unicode spaces are text."""


def is_blank(item: Inline) -> bool:
    """Tell whether an item is only whitespace, which has no meaning at an edge."""
    return isinstance(item, Text) and not item.text.strip(_BLANK) and not _is_code(item.marks)


def inline(items: Iterable[Inline]) -> tuple[Inline, ...]:
    """Return inline content in canonical form (see the package's docstring), with right pieces.

    Text must not contain newlines: the caller turns them into breaks or spaces.
    """
    given = tuple(items)
    if is_canonical(given):
        return given
    merged: list[Inline] = []
    for item in _bare_blanks(_blanks_apart(given)):
        last = merged[-1] if merged else None
        if isinstance(item, Text) and isinstance(last, Text) and last.marks == item.marks:
            merged[-1] = last.join(item)
        else:
            merged.append(item)
    return tuple(_trim(merged))


def is_canonical(items: Sequence[Inline]) -> bool:
    """Tell whether content is obviously canonical; False is inconclusive."""
    marks: Marks | None = None
    is_edge, ends_blank = True, False
    for item in items:
        if not isinstance(item, Text):
            is_edge = item.kind == "break"
            if is_edge and ends_blank:
                return False
            marks, ends_blank = None, False
            continue
        text = item.text
        if item.marks == marks or not text:
            return False
        marks, ends_blank = item.marks, text[-1] in _BLANK
        if (marks and ends_blank) or ((marks or is_edge) and text[0] in _BLANK):
            return False
        is_edge = False
    return not ends_blank


def _is_code(marks: Marks) -> bool:
    # Called for every run: a generator would cost more than the rest of ``inline``.
    for mark in marks:  # noqa: SIM110
        if mark.kind == "code":
            return True
    return False


def _blanks_apart(items: Iterable[Inline]) -> list[Inline]:
    """Split the whitespace at both ends of every marked run into runs of its own.

    Code runs stay whole: their text is exact.
    """
    flat: list[Inline] = []
    for item in items:
        if isinstance(item, Text) and not item.text:
            continue
        if not isinstance(item, Text) or not item.marks or _is_code(item.marks):
            flat.append(item)
            continue
        left = len(item.text) - len(item.text.lstrip(_BLANK))
        right = max(left, len(item.text.rstrip(_BLANK)))
        if (left, right) == (0, len(item.text)):
            flat.append(item)
        else:
            cuts = ((0, left), (left, right), (right, len(item.text)))
            flat += [item.cut(a, b) for a, b in cuts if a < b]
    return flat


def _bare_blanks(flat: list[Inline]) -> Iterator[Inline]:
    """Remove a blank run's marks, except those that the nearest words on both sides have.

    So ``**a** **b**`` keeps its bare space, and bold text with an italic end keeps a bold one. An
    atom has no marks and so separates the words around it.
    """
    after: list[frozenset[Mark]] = []
    seen: frozenset[Mark] = frozenset()
    for x in reversed(flat):
        after.append(seen)
        if not is_blank(x):
            seen = frozenset(x.marks) if isinstance(x, Text) else frozenset()
    seen = frozenset()
    for x, later in zip(flat, reversed(after), strict=True):
        if not is_blank(x):
            seen = frozenset(x.marks) if isinstance(x, Text) else frozenset()
        elif isinstance(x, Text) and x.marks:
            yield replace(x, marks=tuple(m for m in x.marks if m in seen and m in later))
            continue
        yield x


def _trim(items: list[Inline]) -> list[Inline]:
    """Drop whitespace at both ends and beside breaks."""
    out: list[Inline] = []
    for k, item in enumerate(items):
        if not isinstance(item, Text) or _is_code(item.marks):
            out.append(item)
            continue
        start, end = 0, len(item.text)
        if _is_edge(items, k - 1):
            start = end - len(item.text.lstrip(_BLANK))
        if _is_edge(items, k + 1):
            end = len(item.text.rstrip(_BLANK))
        if start < end:
            out.append(item if (start, end) == (0, len(item.text)) else item.cut(start, end))
    # A run that was dropped may have put its neighbour's whitespace at an edge.
    return out if len(out) == len(items) else _trim(out)


def _is_edge(items: list[Inline], k: int) -> bool:
    if not 0 <= k < len(items):
        return True
    item = items[k]
    return isinstance(item, Atom) and item.kind == "break"


def destination(href: str) -> str:
    """Return a link's or image's target in canonical form: control characters percent-encoded."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda m: f"%{ord(m[0]):02X}" if m[0] != "\0" else "", href)


def one_spaced(text: str) -> str:
    """Return a title, alt text or label in canonical form: one line, stripped.

    Whitespace that contains a newline becomes one space.
    """
    return re.sub(r"(?<![ \t])[ \t]*+[\r\n]++\s*+", " ", text.replace("\0", "")).strip()


def language(text: str) -> str:
    """Return a code block's language in canonical form: its first word, or ''."""
    words = text.replace("\0", "").split()
    return words[0] if words else ""


def opaque_label(text: str, longest: int | None = 80) -> str:
    """Return an opaque node's label in canonical form: what a one-line HTML comment can hold.

    Single spaces, no run of hyphens, no ``<`` or ``>``, not empty, at most ``longest`` characters.
    """
    words = re.sub(r"[<>\x00-\x1f\x7f]", " ", text)
    words = re.sub(r"-(?=-)", "- ", " ".join(words.split(" "))).strip(" -:")
    words = re.sub(r" +", " ", words)[:longest].strip(" -:")
    return words or "node"
