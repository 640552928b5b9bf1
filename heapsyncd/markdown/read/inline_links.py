"""Interpret links, images, wikilinks and underline tags as a whole."""

from collections.abc import Callable
from typing import Any

from heapsyncd.ids import is_ulid
from heapsyncd.markdown.events import OPAQUE_INLINE, Event, Events, closing, start_of
from heapsyncd.markdown.source import Source
from heapsyncd.tree import Mark

UNDERLINE = Mark("underline")
MARKS = {"Emphasis": Mark("italic"), "Strong": Mark("bold"), "Strikethrough": Mark("strike")}
_BLANK = " \t\n\r\f\v\0"


def is_wikilink(data: dict[str, Any]) -> bool:
    """Return whether a link's or image's data belongs to ``[[...]]``."""
    return type(data["link_type"]) is dict


def is_literal(source: Source, events: Events, i: int) -> bool:
    """Return whether the link or image that starts at ``i`` must be read as its source text.

    True for an unknown wikilink, a link without text, and a link around something other than text.
    """
    found = start_of(events[i][0])
    assert found is not None, "asked of Start events only"
    kind, data = found
    end = closing(events, i)
    if is_wikilink(data):
        return (
            kind == "Image"
            or wikilink_target(source, data) is None
            or wikilink_label(source, events, i) is None
        )
    inner = events[i + 1 : end]
    if kind == "Link" and not any(_has_text(e) for e, _ in inner):
        return True
    if inner:
        # pulldown-cmark drops the words of a wikilink in an image's text: bytes without an event.
        opened = events[i][1]["start"] + (1 if kind == "Link" else 2)
        if source.data[opened : inner[0][1]["start"]] not in {b"", b"\\", b"\\\\"}:
            return True
    return any(_is_unmarkable(e, in_image=kind == "Image") for e, _ in inner)


def wikilink_target(source: Source, data: dict[str, Any]) -> str | None:
    """Return the id of the block that a wikilink refers to, None if it is unknown."""
    name = str(data["dest_url"])
    if data["link_type"]["WikiLink"]["has_pothole"]:
        # In a table the pipe is escaped, and the parser leaves the backslash on the name.
        name = name.removesuffix("\\")
    if is_ulid(name):
        return name
    return None if "\n" in name else source.links.block_of(name)


def case_label(source: Source, data: dict[str, Any], block: str | None) -> str | None:
    """Return the name as typed if it differs from the block's own name only in case, else None.

    It becomes the label, so that ``see [[properties]]`` reads the same on every device.
    """
    typed, own = str(data["dest_url"]), source.links.name_of(block) if block else None
    same = own is not None and typed.casefold() == own.casefold()
    return typed if same and typed != own else None


def wikilink_label(source: Source, events: Events, i: int) -> str | None:
    """Return the label of the wikilink at ``i``: its text, or its source if that has markup.

    None if the label spans several lines and has markup.
    """
    end = closing(events, i)
    words: list[str] = []
    for event, _ in events[i + 1 : end]:
        if event == "SoftBreak":
            words.append(" ")
        elif type(event) is dict and "Text" in event:
            words.append(event["Text"])
        else:
            raw = source.data[events[i + 1][1]["start"] : events[end][1]["end"] - 2].decode()
            return None if "\n" in raw else raw.replace("\\|", "|")
    return "".join(words).replace("\0", "")


def alt_text(events: Events, i: int) -> str:
    """Return the text of the image at ``i`` without markup."""
    words = []
    for event, _ in events[i + 1 : closing(events, i)]:
        if type(event) is str:
            words.append(" ")
        else:
            words.append(event.get("Text") or event.get("Code") or "")
    return "".join(words).replace("\0", "")


def pair_underlines(
    source: Source, events: Events, i: int, is_formula: Callable[[int], bool]
) -> dict[int, bool]:
    """Pair the ``<u>`` and ``</u>`` tags from ``i`` to the end of the leaf.

    Args:
        source: the text.
        events: its events.
        i: the index of the leaf's first event.
        is_formula: whether an offset lies inside a formula, where tags are text.

    Returns:
        The index of each paired tag, with True where the text after it is underlined.
    """
    paired: dict[int, bool] = {}
    waiting: list[int] = []
    depth = 0
    while depth >= 0 and i < len(events):
        event, where = events[i]
        started = start_of(event)
        if started is not None:
            if started[0] not in MARKS and started[0] not in {"Link", "Image"}:
                break
            if _is_read_whole(source, events, i):
                i = closing(events, i)
            else:
                depth += 1
        elif type(event) is dict and "End" in event:
            depth -= 1
        elif is_formula(where["start"]):
            pass
        elif event == {"InlineHtml": "<u>"}:
            waiting.append(i)
        elif event == {"InlineHtml": "</u>"} and waiting:
            first = waiting.pop()
            paired[first], paired[i] = True, False
            source.record_mark(events[first][1]["start"], where["end"], 3, 4, UNDERLINE)
        i += 1
    return _underline_states(paired)


def _underline_states(paired: dict[int, bool]) -> dict[int, bool]:
    """Turn opening and closing tags into whether the text after each is underlined."""
    out, depth = {}, 0
    for k in sorted(paired):
        depth += 1 if paired[k] else -1
        out[k] = depth > 0
    return out


def _is_read_whole(source: Source, events: Events, i: int) -> bool:
    """Return whether what starts at ``i`` is read as one thing. Tags inside do not count."""
    found = start_of(events[i][0])
    assert found is not None, "asked of Start events only"
    kind, data = found
    if kind in MARKS:
        return False
    return kind == "Image" or is_wikilink(data) or is_literal(source, events, i)


def _has_text(event: Event) -> bool:
    """Return whether an event is text or code that is not blank."""
    return type(event) is dict and bool(
        event.get("Code") or str(event.get("Text") or "").strip(_BLANK)
    )


def _is_unmarkable(event: Event, *, in_image: bool) -> bool:
    """Return whether an event inside a link or image cannot carry a mark."""
    started = start_of(event)
    if started is not None:
        return started[0] in {"Link", "Image"}
    if type(event) is not dict or "Text" in event:
        return False
    if in_image:
        return "InlineHtml" in event or "FootnoteReference" in event
    return bool(OPAQUE_INLINE.fullmatch(event.get("InlineHtml", "")))
