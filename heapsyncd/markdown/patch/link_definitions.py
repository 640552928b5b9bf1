"""Find link definitions: source that no block shows and no edit may lose."""

import re

from heapsyncd.tree import Block, Span

_DEFINITION = re.compile(rb"\[(?:[^\[\]\\]|\\.)+\]:")
_LEAVES = frozenset({"paragraph", "heading", "code", "rule", "table", "files", "opaque"})


def link_definitions(data: bytes, tree: Block) -> list[Span]:
    """Return the ranges of link definitions, one range for all between two leaves.

    Definitions without effect (duplicates) are included.
    """
    if b"]:" not in data:
        return []
    found: list[Span] = []
    at = 0
    for start, end in [*_leaves(tree), (len(data), len(data))]:
        match = _DEFINITION.search(data, at, start)
        if match:
            text = data[match.start() : start].rstrip(b" \t\r\n>")
            found.append(Span(match.start(), match.start() + len(_without_marker(text))))
        at = max(at, end)
    return found


def _leaves(tree: Block) -> list[tuple[int, int]]:
    return [(b.span.start, b.span.end) for b in tree.walk() if b.kind in _LEAVES and b.span]


def _without_marker(text: bytes) -> bytes:
    """Strip the marker of a list item that begins on the last line."""
    head, newline, last = text.rpartition(b"\n")
    if newline and re.fullmatch(rb"[ \t>]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+\[[ xX]\])?", last):
        return _without_marker(head.rstrip(b" \t\r\n>"))
    return text


def definition_lines(data: bytes, span: Span) -> str:
    """Return the lines of a range without their container's prefix."""
    raw = data[span.start : span.end].decode().replace("\r\n", "\n").replace("\r", "\n")
    first, *rest = raw.strip().split("\n")
    return "\n".join([first, *(line.lstrip(" \t>") for line in rest)])
