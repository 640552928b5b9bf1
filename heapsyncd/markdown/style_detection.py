"""Detect the style of a text, so that added text looks like what is there."""

import re
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.style import DEFAULT, Style
from heapsyncd.tree import Atom, Block

_MIN_WRAPPED = 3
"""A body counts as hard-wrapped from this many wrapped paragraphs on."""
_WIDTHS = range(40, 121)
"""Plausible columns for hard wrapping."""
_FULL_LINE = 0.75
"""A paragraph counts as wrapped if its ``unwrapped`` length reaches this share of the width."""
_GAP = re.compile(rb"(?:[-*+]|\d{1,9}[.)])( {1,4})[^ \t\r\n]")
_MARKER = re.compile(rb"(?:[-*+]|\d{1,9}[.)])[ \t]*")


class StyleHints(Struct, frozen=True):
    """What one part of a body shows of its style.

    ``found``: fields of ``Style`` with the first value seen for each. ``longest``: the length of
    the longest line of any paragraph. ``unwrapped``: for each paragraph of several lines, the
    shortest length that one of its lines would have with the next line's first word appended.
    """

    found: dict[str, Any]
    longest: int
    unwrapped: tuple[int, ...]


def style_hints(data: bytes, tree: Block, trace: Trace) -> StyleHints:
    """Collect the style hints of a text that was read with a trace."""
    found: dict[str, Any] = _emphasis_hints(data, trace)
    longest = 0
    unwrapped: list[int] = []
    for block in tree.walk():
        if block.span is None:
            continue
        text = data[block.span.start : block.span.end]
        for name, value in _block_hints(block, data, text):
            found.setdefault(name, value)
        if block.kind == "paragraph":
            lines = text.decode().splitlines()
            longest = max(longest, *map(len, lines))
            unwrapped += _unwrapped_lengths(lines)
    return StyleHints(found, longest, tuple(unwrapped))


def _unwrapped_lengths(lines: list[str]) -> list[int]:
    """Return the shortest line length of a paragraph with the next line's first word appended.

    The result has one element, or none for a paragraph of one line.
    """
    words = (line.lstrip(" \t>").partition(" ")[0] for line in lines[1:])
    fuller = [len(line) + 1 + len(word) for line, word in zip(lines, words, strict=False)]
    return [min(fuller)] if fuller else []


def detect_style(body: str, parts: Iterable[StyleHints]) -> Style:
    """Combine the hints of a body's parts into a style. What no part shows keeps its default."""
    found: dict[str, Any] = {}
    width = 0
    unwrapped: list[int] = []
    for part in parts:
        found = part.found | found
        width = max(width, part.longest)
        unwrapped += part.unwrapped
    # Lines broken well before the width are deliberate: a title and its text, an address, a poem.
    full = [length for length in unwrapped if length > width * _FULL_LINE]
    wrapped = len(full) >= _MIN_WRAPPED and len(full) * 2 > len(unwrapped) and width in _WIDTHS
    return replace(DEFAULT, **found, newline=newline_of(body), width=width if wrapped else None)


def newline_of(body: str) -> str:
    """Return the majority line end of a body."""
    windows = body.count("\r\n")
    return "\r\n" if windows > body.count("\n") - windows else "\n"


def _emphasis_hints(data: bytes, trace: Trace) -> dict[str, Any]:
    """Return the characters first used for emphasis and strong emphasis."""
    found: dict[str, str] = {}
    for wrap in trace.mark_ranges:
        if wrap.mark.kind in {"italic", "bold"}:
            char = data[wrap.outer.start : wrap.outer.start + 1].decode()
            found.setdefault("emphasis" if wrap.mark.kind == "italic" else "strong", char)
    return {k: v for k, v in found.items() if v in "*_"}


def _block_hints(block: Block, data: bytes, text: bytes) -> list[tuple[str, str]]:
    """Return the hints of one block.

    Args:
        block: a parsed block.
        data: the whole source.
        text: the block's source.
    """
    if block.kind in {"bullet_list", "todo_list"}:
        return [("bullet", text[:1].decode()), ("gap", marker_gap(text))]
    if block.kind == "ordered_list":
        match = re.match(rb"\d+([.)])", text)
        return (
            [("delimiter", match[1].decode()), ("number_gap", marker_gap(text))] if match else []
        )
    if block.kind == "item":
        return _indent(block, data)
    if block.kind == "code":
        return [("fence", text[:1].decode())] if text[:1] in {b"`", b"~"} else []
    if block.kind == "rule" and not text.startswith(b"-"):
        return [("rule", text.decode().strip())]
    breaks = (i.span for i in block.inline if isinstance(i, Atom) and i.kind == "break" and i.span)
    notations = (data[span.start : span.start + 2] for span in breaks)
    # A break may also be a bare line end or a tag.
    said = next((n for n in notations if n == b"  " or n.startswith(b"\\")), b"")
    return [("hard_break", "  ")] if said == b"  " else []


def marker_gap(item: bytes) -> str:
    """Return the spaces between an item's marker and its text, if any text may follow them.

    Otherwise one space: more than four spaces would begin indented code.
    """
    match = _GAP.match(item)
    return match[1].decode() if match else " "


def _indent(item: Block, data: bytes) -> list[tuple[str, str]]:
    """Return how an item's further blocks are indented, if not aligned with its text."""
    assert item.span is not None, "every parsed block has its span"
    at = item.span.start
    own = data[data.rfind(b"\n", 0, at) + 1 : at]
    for child in item.children[1:]:
        assert child.span is not None, "every parsed block has its span"
        lead = data[data.rfind(b"\n", 0, child.span.start) + 1 : child.span.start]
        match = _MARKER.match(data, at)
        if match and lead.startswith(own) and not lead[len(own) :].strip(b" \t"):
            indent = lead[len(own) :].decode()
            odd = indent == "\t" or (indent == "    " and len(match[0]) < len(indent))
            return [("indent", indent if odd else "")]
    return []
