"""Cut a body into sections that read alone as they do within the whole.

A cut lies after a blank line and before a line at the margin that is no list item: every list and
quote has ended there. Fenced code and HTML can span blank lines at the margin, so they are
followed to their end. Where it is unclear whether they belong to a list item, cutting stops. A
long list is then cut between its items (``list_sections``). Link definitions affect the whole
body: a body with any stays one section.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from heapsyncd.markdown.read.list_sections import item_cuts

MIN_CHARS = 600
"""The least length of a section except the last. Shorter ones cost more to cache than to read."""

_FENCE = r"(?P<indent>\ {0,3})(?P<fence>`{3,}(?=[^`\n]*(?:\n|\Z))|~{3,})"
_HTML = (
    r"\ {0,3}<(?:(?P<raw>script|pre|style|textarea)(?=[\s>])"
    r"|(?P<special>!--|\?|!\[CDATA\[|![a-z]))"
)
_TAG = r"\ {0,3}(?P<tag></?[a-z])"
_CUT = r"(?P<cut>[\ \t]*\r?\n)(?=\S)(?![-+*](?:\s|\Z)|\d{1,9}[.)](?:\s|\Z))"
_CUT_OR_OPENER = re.compile(rf"\n(?:{_CUT}|{_FENCE}|{_HTML}|{_TAG})", re.IGNORECASE)
"""Starts with a newline, which is searched fast. ``_cut`` puts one before the text."""
_OPENS = re.compile(rf"\n(?:{_FENCE}|{_HTML})", re.IGNORECASE)
_DEFINITION = re.compile(
    r"^[ \t>*+\-\d.)]*(?:\[[ x]\][ \t]+)?\[(?:[^\[\]\\]|\\.){1,999}\]:",
    re.MULTILINE | re.IGNORECASE | re.DOTALL,
)
_BLANK = re.compile(r"\n[ \t]*\r?(?=\n|\Z)")
_RAW_END = re.compile(r"</(script|pre|style|textarea)>", re.IGNORECASE)
_ENDS = {"!--": "-->", "?": "?>", "![cdata[": "]]>"}


_LONG_FACTOR = 4
"""A section is searched for a list from this many times the least length on."""


class SectionText(Struct, frozen=True):
    """The text of a section.

    ``continues_list``: it may continue the list that ends the one before.
    """

    text: str
    continues_list: bool = False


def sections(text: str, min_chars: int = MIN_CHARS) -> list[SectionText]:
    """Cut a text into sections, which joined are the text.

    Args:
        text: must have gone through ``normalise_lone_cr``.
        min_chars: the least length of a section except the last.
    """
    if "]:" in text and _DEFINITION.search(text):
        return [SectionText(text)]
    return [part for section in _cut(text, min_chars) for part in _split_lists(section, min_chars)]


def _split_lists(section: str, min_chars: int) -> Iterator[SectionText]:
    """Cut a long section between the items of its list."""
    cuts = item_cuts(section, min_chars) if len(section) > _LONG_FACTOR * min_chars else []
    for a, b in zip([0, *cuts], [*cuts, len(section)], strict=True):
        yield SectionText(section[a:b], continues_list=a > 0)


def _cut(text: str, min_chars: int) -> list[str]:
    """Cut a text after blank lines where nothing is open."""
    starts = [1]
    at = 0
    text = f"\n{text}"
    while at >= 0 and (spot := _CUT_OR_OPENER.search(text, at)):
        if spot["cut"] is None:
            at = _skip_opened(text, spot)
        else:
            # Continue from this newline: the next line may open something.
            at = spot.end() - 1
            if spot.end() - starts[-1] >= min_chars:
                starts.append(spot.end())
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


def _skip_opened(text: str, spot: "re.Match[str]") -> int:
    """Return the end of the line where what opened here has ended.

    -1 if that cannot be told: nothing more is cut.
    """
    if spot["tag"]:
        # An HTML block ends at the next blank line. Inside a paragraph this is only a tag, and
        # then what opens before the blank line counts.
        blank = _BLANK.search(text, spot.end())
        end = blank.start() if blank else len(text)
        return -1 if _OPENS.search(text, spot.end(), end) else end
    indent = len(spot["indent"] or "") if spot["fence"] else spot[0].index("<") - 1
    end = _fence_end(text, spot) if spot["fence"] else _html_end(text, spot)
    if end < 0 or (indent and not _stays_in_item(text[spot.start() + 1 : end], indent)):
        return -1
    newline = text.find("\n", end)
    return len(text) if newline < 0 else newline


def _fence_end(text: str, spot: "re.Match[str]") -> int:
    """Return the end of the closing fence, -1 if there is none."""
    fence = spot["fence"]
    closing = rf"\n {{0,3}}{fence[0]}{{{len(fence)},}}[ \t]*\r?(?=\n|\Z)"
    found = re.compile(closing).search(text, spot.end())
    return found.end() if found else -1


def _html_end(text: str, spot: "re.Match[str]") -> int:
    """Return the end of an HTML construct that can span blank lines, -1 if it has none."""
    if spot["raw"]:
        found = _RAW_END.search(text, spot.start())
        # By the specification any of these tags ends it. The parser accepts only its own.
        return found.end() if found and found[1].lower() == spot["raw"].lower() else -1
    return text.find(_ENDS.get(spot["special"].lower(), ">"), spot.start())


def _stays_in_item(lines: str, indent: int) -> bool:
    """Return whether an item whose content has this indentation would hold all of the lines."""
    return all(line.startswith(" " * indent) or not line.strip() for line in lines.split("\n"))
