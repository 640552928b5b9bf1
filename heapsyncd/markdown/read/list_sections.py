"""A long list at the margin, cut between its items: the parts read alone as lists that follow one
another, and are one list again when put together.

A line at the margin with the list's marker is its next item whatever stands in the items before,
as long as every other line since the list began is blank or indented to the text of its item: then
all that an item may have opened, a fence too, has ended with it. Where another line comes, the
list is not cut any further.
"""

import re
from functools import lru_cache

_RULE = r"(?:(?:\*[ \t]*)+|(?:-[ \t]*)+|(?:_[ \t]*)+)\r?$"
_TEXT = rf"(?=\S)(?!{_RULE})"
"""What stands behind an item's marker: something, and nothing that makes the line a rule."""
_HEAD = re.compile(
    rf"^(?:(?P<bullet>[-*+])|(?P<digits>\d{{1,9}})(?P<end>[.)])) {{1,4}}{_TEXT}", re.MULTILINE
)
_OPENS = re.compile(r"^ {0,3}(?:`{3}|~{3}|<)", re.MULTILINE)
_TYPICAL_LINE = 20
"""Characters: about so long is a line; to go along many of them at once is quick."""


def item_cuts(text: str, min_chars: int) -> list[int]:
    """Where a section may be cut before an item, ascending; at least so many characters apart."""
    cuts: list[int] = []
    at = 0
    while (head := _HEAD.search(text, at)) and not _OPENS.search(text, at, head.start()):
        at = _cut_list(text, head, min_chars, cuts) if _starts_list(text, head) else head.end()
    return cuts


def _starts_list(text: str, head: "re.Match[str]") -> bool:
    """Whether a list begins here: some numbers can't, in the middle of a paragraph."""
    above = text[: head.start()].removesuffix("\n").rpartition("\n")[2]
    return head["bullet"] is not None or head["digits"] == "1" or not above.strip()


def _cut_list(text: str, head: "re.Match[str]", min_chars: int, cuts: list[int]) -> int:
    """Go along the items of a list, noting the cuts; where the first line begins that may be none
    of the list.
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
    """Some lines of a list whose text begins in a column; then those up to the next item."""
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
