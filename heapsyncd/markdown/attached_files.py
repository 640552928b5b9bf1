"""Attached files: paragraphs made only of ``![[name]]`` lines."""

import re
from urllib.parse import unquote

from heapsyncd.markdown.events import Event, Events, closing
from heapsyncd.markdown.links import Links

FILE_KEY = re.compile(r"[0-9a-f]{64}(?::\d+)?")
"""A ``files_v0`` key. It is written in place of a name when a file has no usable name."""
_FILE_NAME = re.compile(r"[^\[\]|\\\n\r\t\0]+")


def file_keys(events: Events, i: int, end: int, links: Links) -> list[str]:
    """Return the file keys if a paragraph consists only of known files, one per line.

    Args:
        events: all parser events.
        i: index of the paragraph's first inline event.
        end: index after its last inline event.
        links: resolves file names to keys.

    Returns:
        The keys in order, or [] if the paragraph holds anything else.
    """
    keys: list[str] = []
    while i < end:
        key = _key(events[i][0], links)
        if key is None:
            return []
        keys.append(key)
        i = closing(events, i) + 1
        if i < end and events[i][0] not in ("SoftBreak", "HardBreak"):
            return []
        i += 1
    return keys


def _key(event: Event, links: Links) -> str | None:
    """Return the key of the file that a Start event shows, None if it shows no known file."""
    image = event["Start"] if type(event) is dict and "Start" in event else None
    if type(image) is not dict or "Image" not in image:
        return None
    target, kind = image["Image"]["dest_url"], image["Image"]["link_type"]
    if type(kind) is dict:
        name = target.rsplit("/", 1)[-1].removesuffix("\\")
        return name if FILE_KEY.fullmatch(name) else links.file_key(name)
    if kind != "Inline" or "://" in target:
        return None
    return links.file_key(unquote(target.rsplit("/", 1)[-1]))


def file_line(key: str, links: Links) -> str:
    """Return the markdown line for one attached file.

    The line shows the file's name if the name can be written and resolves back to ``key``.
    Otherwise it shows the key.
    """
    name = links.file_name(key)
    if name is None or not _FILE_NAME.fullmatch(name) or FILE_KEY.fullmatch(name):
        return f"![[{key}]]"
    return f"![[{name if links.file_key(name) == key else key}]]"
