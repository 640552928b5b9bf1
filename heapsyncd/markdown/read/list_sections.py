"""Cut a long list at the margin between its items.

Each part reads alone as a list; the lists joined are the original list.

A line at the margin with the list's marker starts the next item whatever the earlier items hold,
provided that every other line since the list began is blank or indented to its item's text. Then
everything an item may have opened, even a fence, has ended with it. At any other line the cutting
of this list stops.
"""

import re
from functools import lru_cache

_RULE = r"(?:(?:\*[ \t]*)+|(?:-[ \t]*)+|(?:_[ \t]*)+)\r?$"
_TEXT = rf"(?=\S)(?!{_RULE})"
"""What must follow an item's marker: some text that does not make the line a thematic break."""
_HEAD = re.compile(
    rf"^(?:(?P<bullet>[-*+])|(?P<digits>\d{{1,9}})(?P<end>[.)])) {{1,4}}{_TEXT}", re.MULTILINE
)
_OPENS = re.compile(r"^ {0,3}(?:`{3}|~{3}|<)", re.MULTILINE)
_TYPICAL_LINE = 20
"""A typical line length in characters. Matching many lines with one pattern is fast."""


def item_cuts(text: str, min_chars: int) -> list[int]:
    """Return the offsets before which a section may be cut between items.

    Args:
        text: a section.
        min_chars: the least distance between cuts.

    Returns:
        Offsets of item starts, ascending.
    """
    cuts: list[int] = []
    at = 0
    while (head := _HEAD.search(text, at)) and not _OPENS.search(text, at, head.start()):
        at = _cut_list(text, head, min_chars, cuts) if _starts_list(text, head) else head.end()
    return cuts


def _starts_list(text: str, head: "re.Match[str]") -> bool:
    """Return whether a list begins here. Most numbers cannot interrupt a paragraph."""
    above = text[: head.start()].removesuffix("\n").rpartition("\n")[2]
    return head["bullet"] is not None or head["digits"] == "1" or not above.strip()


def _cut_list(text: str, head: "re.Match[str]", min_chars: int, cuts: list[int]) -> int:
    """Walk along the items of a list and append its cuts.

    Args:
        text: a section.
        head: the match of the list's first item.
        min_chars: the least distance between cuts.
        cuts: receives the offsets.

    Returns:
        The offset of the first line that may not belong to the list.
    """
    marker, last = head["bullet"] or head["end"], head.start()
    found: re.Match[str] | None = head
    at = last
    while found is not None and (found["bullet"] or found["end"]) == marker:
        if at - last >= min_chars:
            cuts.append(at)
            last = at
        digits = len(found["digits"] or "")
        lines, inside = _patterns(marker, digits, found.end() - at, min_chars // _TYPICAL_LINE + 1)
        for pattern in (lines, inside):
            more = pattern.match(text, at)
            at = more.end() if more else at
        found = _HEAD.match(text, at) if at > found.start() else None
    return max(at, head.end())


@lru_cache(64)
def _patterns(
    marker: str, digits: int, width: int, most: int
) -> "tuple[re.Pattern[str], re.Pattern[str]]":
    """Return two patterns: several lines of a list, then the lines up to its next item.

    Args:
        marker: the bullet, or the delimiter after a number.
        digits: number of digits, 0 for a bullet.
        width: the column at which the items' text begins.
        most: maximum number of lines for the first pattern.
    """
    head = rf"\d{{{digits}}}" if digits else ""
    gap = " " * (width - digits - 1)
    item = rf"{head}{re.escape(marker)}{gap}{_TEXT}[^\n]*"
    inside = rf"{' ' * width}[^\n]*|[ \t]*\r?"
    if width <= 4:
        inside += r"|\t[^\n]*"
    flags = re.MULTILINE
    return (
        re.compile(rf"(?:(?:{item}|{inside})\n){{1,{most}}}", flags),
        re.compile(rf"(?:(?:{inside})\n)*", flags),
    )
