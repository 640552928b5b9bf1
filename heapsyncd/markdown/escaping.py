"""Escape text so that markdown reads it literally, and resolve escapes.

Text can be escaped at one of five *escape levels*, each stronger than the one before. A renderer
uses the lowest level whose result reads back correctly:

* 0: the text itself (a ``<`` that could open a tag is escaped anyway).
* 1: only characters that are likely to be misread.
* 2: every punctuation character.
* 3: as 2, and whitespace at edges as entities.
* 4: as 3, and an empty comment between delimiters and the text beside them.
"""

import html
import re

ESCAPE_LEVELS = 5
PUNCTUATION = r"!-/:-@\[-`{-~"
_ESCAPED = re.compile(rf"\\([{PUNCTUATION}])|(&(?:#[0-9]{{1,7}}|#[xX][0-9a-fA-F]{{1,6}}|\w+);)")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_MINIMAL = re.compile(r"[\\`*\[\]<~]|!$|\b_|_\b|(?<=\W)_|_(?=\W)|^_|_$|&(?=#?\w+;)")
_ALL = re.compile(rf"[{PUNCTUATION}]")
_CLOSING_DOLLAR = re.compile(r"(?<!\s)\$(?!\d)")
_LINE_START = re.compile(r"(#{1,6}(?=\s|$)|[-+](?=\s|$)|[>=]|-+$|[:|])|(\d{1,9})([.)])")
_EDGE = re.compile(r"\A\s++|(?<!\s)\s++\Z")
_UNSAFE = re.compile(r"[\n\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029\ufeff]")
_CONTROL = re.compile(r"[\x00-\x1f]")
_DESTINATION = re.compile(r"[^\s\x00-\x20\x7f<>\\]*")


def unescape(text: str) -> str:
    """Resolve backslash escapes and entities."""
    return _ESCAPED.sub(lambda m: m[1] or html.unescape(m[2]), text)


def escape(text: str, escape_level: int) -> str:
    """Escape text inside a line at an escape level."""
    if escape_level == 0:
        # In the document this is text. Unescaped, other markdown readers would hide it as a tag.
        text = _TAG.sub(r"\\<", text)
    elif escape_level == 1:
        text = _MINIMAL.sub(_backslash, text)
    else:
        text = _ALL.sub(_backslash, text)
    return to_entities(text, _UNSAFE) if escape_level > 2 else text


def escape_dollars(text: str) -> str:
    """Escape the dollars that could end a formula. Without an end, none begins."""
    return _CLOSING_DOLLAR.sub(r"\\$", text)


def escape_edges(text: str, *, left: bool, right: bool) -> str:
    """Write whitespace at the chosen ends as entities, so that a delimiter beside it counts."""

    def swap(match: re.Match[str]) -> str:
        wanted = (left and match.start() == 0) or (right and match.end() == len(text))
        return to_entities(match[0], re.compile(r"\s")) if wanted else match[0]

    return _EDGE.sub(swap, text)


def escape_line_start(text: str, escape_level: int) -> str:
    """Escape the start of a line so that it opens no block. Only level 1 needs this."""
    if escape_level != 1:
        return text
    match = _LINE_START.match(text)
    if match is None:
        return text
    if match[2]:
        return f"{match[2]}\\{text[match.start(3) :]}"
    return "\\" + text


def escape_closing_hashes(text: str, escape_level: int) -> str:
    """Escape trailing hashes of a heading so that they are read as text.

    Only level 1 needs this.
    """
    bare = text.rstrip("#")
    if escape_level != 1 or bare == text or (bare and bare[-1] not in " \t"):
        return text
    return bare + "\\" + text[len(bare) :]


def escape_pipes(text: str) -> str:
    """Escape pipes for use in a table cell."""
    return text.replace("|", "\\|")


def code_span(text: str) -> str:
    """Write text as a code span, with enough backticks and padding."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    ticks = "`" * (1 if longest == 0 else longest + 1)
    both = text[0] == " " and text[-1] == " " and text.strip(" ")
    pad = " " if both or text[0] == "`" or text[-1] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def destination(url: str, title: str) -> str:
    """Write a link's destination and title, as they stand between the parentheses."""
    if _DESTINATION.fullmatch(url) and (url or not title) and _is_balanced(url):
        target = _ENTITY.sub("&amp;", url)
    else:
        inner = _ENTITY.sub("&amp;", re.sub(r"[\\<>]", _backslash, url))
        target = f"<{to_entities(inner, _CONTROL)}>"
    if not title:
        return target
    quoted = _ENTITY.sub("&amp;", re.sub(r'["\\]', _backslash, title))
    return f'{target} "{to_entities(quoted, _CONTROL)}"'


def _is_balanced(url: str) -> bool:
    depth = 0
    for char in url:
        depth += (char == "(") - (char == ")")
        if not 0 <= depth < 32:
            return False
    return depth == 0


def info_string(info: str) -> str:
    """Write a code block's language as one word for the opening fence."""
    word = re.sub(rf"\\(?=[{PUNCTUATION}])|^[`~]", _backslash, info)
    return to_entities(_ENTITY.sub("&amp;", word), re.compile(r"\s"))


def to_entities(text: str, which: re.Pattern[str]) -> str:
    """Write the matching characters as numeric entities."""
    return which.sub(lambda m: "".join(f"&#{ord(c)};" for c in m[0]), text)


def _backslash(match: re.Match[str]) -> str:
    return "&amp;" if match[0] == "&" else "\\" + match[0]
