"""Characters that mean something, written so that they don't, and back.

The *rungs* are ever stronger notations; a renderer takes the first whose result reads back right:
0 the text itself, 1 minimal escapes, 2 every punctuation character escaped, 3 also entities for
whitespace at edges, 4 also an empty comment between delimiters and what they must not touch.
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
_LINE_START = re.compile(r"(#{1,6}(?=\s|$)|[-+](?=\s|$)|[>=]|-+$|[:|])|(\d{1,9})([.)])")
_EDGE = re.compile(r"\A\s++|(?<!\s)\s++\Z")
_UNSAFE = re.compile(r"[\n\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029\ufeff]")
_CONTROL = re.compile(r"[\x00-\x1f]")
_DESTINATION = re.compile(r"[^\s\x00-\x20\x7f<>\\]*")


def unescape(text: str) -> str:
    """What a text reads with its backslash escapes and entities resolved."""
    return _ESCAPED.sub(lambda m: m[1] or html.unescape(m[2]), text)


def escape(text: str, escape_level: int) -> str:
    """Text inside a line, at a rung."""
    if escape_level == 0:
        # Text that looks like a tag is text in the document, and must not vanish in other readers.
        text = _TAG.sub(r"\\<", text)
    elif escape_level == 1:
        text = _MINIMAL.sub(_backslash, text)
    else:
        text = _ALL.sub(_backslash, text)
    return to_entities(text, _UNSAFE) if escape_level > 2 else text


def escape_edges(text: str, *, left: bool, right: bool) -> str:
    """Whitespace at the ends as entities, so that a delimiter beside it still counts."""

    def swap(match: re.Match[str]) -> str:
        wanted = (left and match.start() == 0) or (right and match.end() == len(text))
        return to_entities(match[0], re.compile(r"\s")) if wanted else match[0]

    return _EDGE.sub(swap, text)


def escape_line_start(text: str, escape_level: int) -> str:
    """The start of a line, so that it opens no block."""
    if escape_level != 1:
        return text
    match = _LINE_START.match(text)
    if match is None:
        return text
    if match[2]:
        return f"{match[2]}\\{text[match.start(3) :]}"
    return "\\" + text


def escape_closing_hashes(text: str, escape_level: int) -> str:
    """A heading's end, so that hashes there are text."""
    bare = text.rstrip("#")
    if escape_level != 1 or bare == text or (bare and bare[-1] not in " \t"):
        return text
    return bare + "\\" + text[len(bare) :]


def escape_pipes(text: str) -> str:
    """What stands in a table's cell."""
    return text.replace("|", "\\|")


def code_span(text: str) -> str:
    """Code inside a line."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    ticks = "`" * (1 if longest == 0 else longest + 1)
    both = text[0] == " " and text[-1] == " " and text.strip(" ")
    pad = " " if both or text[0] == "`" or text[-1] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def destination(url: str, title: str) -> str:
    """What stands between a link's parentheses."""
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
    """A fenced code's language as one word."""
    word = re.sub(rf"\\(?=[{PUNCTUATION}])|^[`~]", _backslash, info)
    return to_entities(_ENTITY.sub("&amp;", word), re.compile(r"\s"))


def to_entities(text: str, which: re.Pattern[str]) -> str:
    """The matching characters as numeric entities."""
    return which.sub(lambda m: "".join(f"&#{ord(c)};" for c in m[0]), text)


def _backslash(match: re.Match[str]) -> str:
    return "&amp;" if match[0] == "&" else "\\" + match[0]
