"""Place delimiters so that they count, by CommonMark's flanking rules.

``**`` opens always before a letter, before punctuation only after whitespace or punctuation, and
never before whitespace. It closes by the mirrored rule. So ``**(a)**b`` is not bold. It gets an
empty comment: ``**(a)**<!---->b``. Whitespace on the inside of a delimiter is written as an
entity.
"""

import unicodedata
from collections.abc import Sequence

from msgspec import Struct

from heapsyncd.markdown.events import SEPARATOR
from heapsyncd.markdown.style import SOFT_SPACE


class Delimiter(Struct, frozen=True):
    """An opening or closing ``**``, ``*``, ``_``, ``~~`` or underline tag."""

    text: str
    opens: bool


def join(parts: Sequence[str | Delimiter], before: str, after: str, *, always: bool) -> str:
    """Join text and delimiters into one text.

    Args:
        parts: texts and delimiters in order; no text is empty.
        before: the character before the parts, '' at the start of a line.
        after: the character after them, '' at the end of the block.
        always: separate delimiters from text even where they seem to count.
    """
    out: list[str] = []
    for k, part in enumerate(parts):
        last, following = _edge(parts, k - 1, before), _edge(parts, k + 1, after)
        if not isinstance(part, Delimiter):
            out.append(_encode_edge_spaces(parts, k, part))
        elif part.opens:
            closed = k > 0 and isinstance(parts[k - 1], Delimiter) and not _opens(parts[k - 1])
            is_separated = always or closed or _would_not_count(part, following, last)
            out.append(
                SEPARATOR + part.text if is_separated and last not in {"", "\n"} else part.text
            )
        else:
            is_separated = always or _would_not_count(part, last, following)
            out.append(part.text + SEPARATOR if is_separated else part.text)
    return "".join(out)


def _opens(part: str | Delimiter) -> bool:
    return isinstance(part, Delimiter) and part.opens


def _edge(parts: Sequence[str | Delimiter], k: int, outside: str) -> str:
    """Return part ``k`` as its neighbour sees it. A delimiter counts as punctuation."""
    if not 0 <= k < len(parts):
        return outside
    part = parts[k]
    return "*" if isinstance(part, Delimiter) else part


def _would_not_count(part: Delimiter, inner: str, outer: str) -> bool:
    """Return whether a delimiter between these texts would be read as text."""
    if part.text.startswith("<"):
        return False
    inside, outside = (inner[:1], outer[-1:]) if part.opens else (inner[-1:], outer[:1])
    if part.text.startswith("_") and _is_letter(outside):
        return True
    return not _is_letter(inside) and _is_letter(outside)


def _is_letter(char: str) -> bool:
    """Return whether a character is neither whitespace nor punctuation, and not missing."""
    if not char or char == SOFT_SPACE or char.isspace():
        return False
    return unicodedata.category(char)[0] not in "PSZ"


def _encode_edge_spaces(parts: Sequence[str | Delimiter], k: int, text: str) -> str:
    """Return a text with whitespace on the inside of adjacent delimiters as entities."""
    if k and _opens(parts[k - 1]) and text[0].isspace():
        text = f"&#{ord(text[0])};{text[1:]}"
    following = parts[k + 1] if k + 1 < len(parts) else None
    closes = isinstance(following, Delimiter) and not following.opens
    if closes and text[-1].isspace():
        text = f"{text[:-1]}&#{ord(text[-1])};"
    return text
