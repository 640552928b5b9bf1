"""Text that can't be misread: what the renderer need not read back.

The rules here are narrow on purpose and stand on CommonMark alone: nothing special in any run, one
mark at a time, letters on the inside of its delimiters, bare text between two marked runs. Most
notes are nothing else, and reading a text back costs several times what writing it costs.
"""

import re
from collections.abc import Sequence

from heapsyncd.markdown.style import Style
from heapsyncd.tree import Block, Inline, Mark, Text

_QUIET = re.compile(r"[^\\`*_\[\]<>&~|#\x00-\x1f\x7f\u2028\u2029\x85\ufeff]+")
"""No character that markdown reads as anything but itself inside a line."""
_URL = re.compile(r"https?://[A-Za-z0-9/.:?=%+,;@$_#~'-]+")
_INFO = re.compile(r"[A-Za-z0-9+.-]*")
_STARTS = "\"'("
_APART = " .,;:()"


def plain_inline(items: Sequence[Inline], style: Style) -> str | None:
    """The content as markdown when it can't be misread in any context, else None."""
    if not items or style.width:
        return None
    out: list[str] = []
    before = " "
    for k, item in enumerate(items):
        if not isinstance(item, Text) or not _QUIET.fullmatch(item.text):
            return None
        text: str | None = item.text
        if item.marks:
            after = items[k + 1] if k + 1 < len(items) else None
            bare = after is None or (isinstance(after, Text) and not after.marks)
            if len(item.marks) != 1 or not bare or before == "!":
                return None
            follower = after.text[0] if isinstance(after, Text) else " "
            text = _marked(item.text, item.marks[0], before, follower, style)
        elif k == 0 and not _starts_line(item.text[0]):
            return None
        if text is None:
            return None
        out.append(text)
        before = text[-1]
    return "".join(out)


def _starts_line(char: str) -> bool:
    """Whether a line that begins so is a paragraph's."""
    if char.isascii():
        return char.isalpha() or char in _STARTS
    return not char.isspace() and not char.isdigit()


def _marked(text: str, mark: Mark, before: str, after: str, style: Style) -> str | None:
    """A run between its delimiters; ``before`` and ``after`` are the characters around them."""
    first, last = text[0], text[-1]
    if first.isspace() or last.isspace():
        return None
    if mark.kind == "code":
        return f"`{text}`"
    if mark.kind == "link":
        plain = not mark.title and text != mark.href and first != "^"
        return f"[{text}]({mark.href})" if plain and _URL.fullmatch(mark.href) else None
    # Beside a letter a delimiter always counts; beside a symbol if something else is outside.
    if not (first.isalnum() or before in _APART) or not (last.isalnum() or after in _APART):
        return None
    if mark.kind == "bold" and style.strong == "*":
        return f"**{text}**"
    if mark.kind == "italic" and style.emphasis == "*":
        return f"*{text}*"
    return None


def is_plain_code(block: Block, depth: int) -> bool:
    """Whether a fence can hold the code as it is; inside containers tabs may be columns."""
    info = str(block.get("info"))
    return bool(_INFO.fullmatch(info)) and not ("\t" in block.text and depth)


def is_plain_item(item: Block) -> bool:
    """Whether an item begins with its text."""
    return bool(item.children) and item.children[0].kind == "paragraph"
