"""The parser behind one door: pyromark's events with byte ranges, and what must be known of them.

pulldown-cmark (pyromark is its Python form) is exact CommonMark. FOOTNOTES is on so that
``[^1]: x`` never becomes a link definition; the metadata option is off because it finds front
matter in the middle of a text. A lone CR is a line end in CommonMark but not always in
pulldown-cmark, so it is made a newline first: one byte for one byte, ranges stay right.
"""

import re
from bisect import bisect_left
from typing import Any

import pyromark

Event = Any
"""``'Rule'``, ``{'Text': 'a'}``, ``{'Start': {'List': None}}``, ``{'End': 'Item'}`` ..."""
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
"""An empty comment between a delimiter and text it must not touch; reads as nothing."""
OPAQUE_INLINE = re.compile(r"<!--([^<>\n]*):([0-9a-f]{6})-->")
OPAQUE_BLOCK = re.compile(r"<!-- heapsyncd: ([^<>\n]*) ([0-9a-f]{6}) -->")


def normalise_lone_cr(text: str) -> str:
    """The text with lone CRs as newlines, every byte in its place."""
    return _LONE_CR.sub("\n", text) if "\r" in text else text


def events(text: str) -> Events:
    """All events of a text that ``newlines`` has been through, ranges in its UTF-8 bytes."""
    if "\r\n" in text:
        return _crlf_events(text)
    found: Any = _MARKDOWN.events_with_range(text)
    return list(found)


def _crlf_events(text: str) -> Events:
    """The events of the text with LF for CRLF, ranges moved back: CRs would be in code spans."""
    data = text.encode()
    ends = [match.start() - k for k, match in enumerate(re.finditer(rb"\r\n", data))]
    found: Any = _MARKDOWN.events_with_range(text.replace("\r\n", "\n"))

    def moved(at: int) -> int:
        return at + bisect_left(ends, at)

    return [(e, {"start": moved(r["start"]), "end": moved(r["end"])}) for e, r in found]


def start_of(event: Event) -> tuple[str, Any] | None:
    """Name and data of what a Start event opens, None for other events."""
    if type(event) is dict and "Start" in event:
        value = event["Start"]
        return (value, None) if type(value) is str else next(iter(value.items()))
    return None


def closing(events: Events, i: int) -> int:
    """The index of the End event that belongs to the Start event at ``i``."""
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
