"""Wrap the markdown parser: events with byte ranges, and helpers to walk them.

The parser is pyromark, the Python binding of pulldown-cmark, which implements CommonMark exactly.
FOOTNOTES is enabled so that ``[^1]: x`` is never taken for a link definition. The metadata option
is off because it finds front matter in the middle of a text. CommonMark treats a lone CR as a line
end, but pulldown-cmark does not always. ``normalise_lone_cr`` replaces it first; one byte replaces
one byte, so ranges stay valid.
"""

import re
from bisect import bisect_left
from typing import Any

import pyromark

Event = Any
"""``'Rule'``, ``{'Text': 'a'}``, ``{'Start': {'List': None}}``, ``{'End': 'Item'}``, ..."""
Range = dict[str, int]
"""``{'start': byte, 'end': byte}``."""
Events = list[tuple[Event, Range]]

_O = pyromark.Options
_MARKDOWN = pyromark.Markdown(
    options=_O.ENABLE_TABLES
    | _O.ENABLE_STRIKETHROUGH
    | _O.ENABLE_TASKLISTS
    | _O.ENABLE_WIKILINKS
    | _O.ENABLE_FOOTNOTES
)
_LONE_CR = re.compile(r"\r(?!\n)")

BREAK_TAG = re.compile(r"<br ?/?>")
SEPARATOR = "<!---->"
"""An empty comment, written between a delimiter and text it must not touch. Reads as nothing."""
OPAQUE_INLINE = re.compile(r"<!--([^<>\n]*):([0-9a-f]{6})-->")
OPAQUE_BLOCK = re.compile(r"<!-- heapsyncd: ([^<>\n]*) ([0-9a-f]{6}) -->")


def normalise_lone_cr(text: str) -> str:
    """Replace each lone CR by LF. Byte offsets do not change."""
    return _LONE_CR.sub("\n", text) if "\r" in text else text


def events(text: str) -> Events:
    """Parse a text into events with ranges in its UTF-8 bytes.

    Args:
        text: must have gone through ``normalise_lone_cr``.
    """
    if "\r\n" in text:
        return _crlf_events(text)
    found: Any = _MARKDOWN.events_with_range(text)
    return list(found)


def _crlf_events(text: str) -> Events:
    """Parse a CRLF text as LF and map the ranges back.

    Parsed directly, CRs would become part of code spans.
    """
    data = text.encode()
    ends = [match.start() - k for k, match in enumerate(re.finditer(rb"\r\n", data))]
    found: Any = _MARKDOWN.events_with_range(text.replace("\r\n", "\n"))

    def moved(at: int) -> int:
        return at + bisect_left(ends, at)

    return [(e, {"start": moved(r["start"]), "end": moved(r["end"])}) for e, r in found]


def start_of(event: Event) -> tuple[str, Any] | None:
    """Return the name and data of a Start event, None for other events."""
    if type(event) is dict and "Start" in event:
        value = event["Start"]
        return (value, None) if type(value) is str else next(iter(value.items()))
    return None


def closing(events: Events, i: int) -> int:
    """Return the index of the End event that matches the Start event at ``i``."""
    depth = 0
    for k in range(i, len(events)):
        event = events[k][0]
        if type(event) is dict:
            if "Start" in event:
                depth += 1
            elif "End" in event:
                depth -= 1
                if depth == 0:
                    return k
    raise AssertionError("every Start has its End")
