"""A body cut where it can be read in parts: each section reads alone as it does in the whole.

A cut lies behind a blank line, before a line that starts at the margin and is no list item: there
every list and quote has ended. What can reach over blank lines at the margin, fenced code and
HTML, is followed to its end; where it is open whether it belongs to a list item, nothing more is
cut. What is a long list then is cut between its items (``list_sections``). Link definitions mean
something everywhere: a body with any is one section.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from heapsyncd.markdown.read.list_sections import item_cuts

MIN_CHARS = 600
"""Characters: no section but the last is shorter. Short ones cost more to keep than to read."""

_FENCE = r"(?P<indent>\ {0,3})(?P<fence>`{3,}(?=[^`\n]*(?:\n|\Z))|~{3,})"
_HTML = (
    r"\ {0,3}<(?:(?P<raw>script|pre|style|textarea)(?=[\s>])"
    r"|(?P<special>!--|\?|!\[CDATA\[|![a-z]))"
)
_TAG = r"\ {0,3}(?P<tag></?[a-z])"
_CUT = r"(?P<cut>[\ \t]*\r?\n)(?=\S)(?![-+*](?:\s|\Z)|\d{1,9}[.)](?:\s|\Z))"
_CUT_OR_OPENER = re.compile(rf"\n(?:{_CUT}|{_FENCE}|{_HTML}|{_TAG})", re.IGNORECASE)
"""Begins with a character that is looked for fast: the text is searched with a newline before."""
_OPENS = re.compile(rf"\n(?:{_FENCE}|{_HTML})", re.IGNORECASE)
_DEFINITION = re.compile(
    r"^[ \t>*+\-\d.)]*(?:\[[ x]\][ \t]+)?\[(?:[^\[\]\\]|\\.){1,999}\]:",
    re.MULTILINE | re.IGNORECASE | re.DOTALL,
)
_BLANK = re.compile(r"\n[ \t]*\r?(?=\n|\Z)")
_RAW_END = re.compile(r"</(script|pre|style|textarea)>", re.IGNORECASE)
_ENDS = {"!--": "-->", "?": "?>", "![cdata[": "]]>"}


_LONG_FACTOR = 4
"""A section is looked through for a list when it is so many times as long as the shortest."""


@dataclass(frozen=True, slots=True)
class SectionText:
    """A section of a text. ``goes_on``: a list that ends the part before may go on in this one."""

    text: str
    continues_list: bool = False


def sections(text: str, min_chars: int = MIN_CHARS) -> list[SectionText]:
    """The sections of a text that ``newlines`` has been through; joined they are the text."""
    if "]:" in text and _DEFINITION.search(text):
        return [SectionText(text)]
    return [part for section in _cut(text, min_chars) for part in _split_lists(section, min_chars)]


def _split_lists(section: str, min_chars: int) -> Iterator[SectionText]:
    cuts = item_cuts(section, min_chars) if len(section) > _LONG_FACTOR * min_chars else []
    for a, b in zip([0, *cuts], [*cuts, len(section)], strict=True):
        yield SectionText(section[a:b], continues_list=a > 0)


def _cut(text: str, min_chars: int) -> list[str]:
    starts = [1]
    at = 0
    text = f"\n{text}"
    while at >= 0 and (spot := _CUT_OR_OPENER.search(text, at)):
        if spot["cut"] is None:
            at = _skip_opened(text, spot)
        else:
            # From the last newline on: what follows it may open something.
            at = spot.end() - 1
            if spot.end() - starts[-1] >= min_chars:
                starts.append(spot.end())
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


def _skip_opened(text: str, spot: "re.Match[str]") -> int:
    """The end of the line to go on behind, after what opens here; -1 where that can't be told."""
    if spot["tag"]:
        # To the next blank line, if that is an HTML block; in a paragraph it is only a tag.
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
    fence = spot["fence"]
    closing = rf"\n {{0,3}}{fence[0]}{{{len(fence)},}}[ \t]*\r?(?=\n|\Z)"
    found = re.compile(closing).search(text, spot.end())
    return found.end() if found else -1


def _html_end(text: str, spot: "re.Match[str]") -> int:
    if spot["raw"]:
        found = _RAW_END.search(text, spot.start())
        # By the specification any of them ends it, for the parser only its own.
        return found.end() if found and found[1].lower() == spot["raw"].lower() else -1
    return text.find(_ENDS.get(spot["special"].lower(), ">"), spot.start())


def _stays_in_item(lines: str, indent: int) -> bool:
    """Whether an item whose content is indented so far would not end before the last line does."""
    return all(line.startswith(" " * indent) or not line.strip() for line in lines.split("\n"))
