"""Recognise text that cannot be misread, which the renderer need not read back.

The rules are deliberately narrow and rest on CommonMark alone: no special character in any run,
one mark at a time, letters on the inside of its delimiters, unmarked text between two marked runs.
When a whole body is written, more is known (``WholeBody``): it has no link definitions, and which
names resolve. Most notes hold nothing else, and reading a text back costs several times as much as
writing it.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from heapsyncd.ids import is_ulid
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.style import Style
from heapsyncd.tree import Atom, Block, Inline, Mark, Text

_SAFE = re.compile(r"[^\\`*_\[\]<>&~|#\x00-\x1f\x7f\u2028\u2029\x85\ufeff]+")
"""Only characters that always read as themselves inside a line."""
_SAFE_IN_BODY = re.compile(
    r"(?:[^\\`*_\[\]<>&~|#\x00-\x1f\x7f\u2028\u2029\x85\ufeff]|[>#|]|&(?!#?\w+;)"
    r"|(?<=[^\W_])_+(?=[^\W_])|(?<!!)\[(?!\^)|\](?![(:\[]))+"
)
"""Also characters that have a meaning elsewhere, but not in this position inside a line."""
_CODE = re.compile(r"[^`\x00-\x1f\x7f\u2028\u2029\x85\ufeff]+")
_WIKI = re.compile(r"\[\[([^\[\]|]+)(?:\|[^\[\]]*)?\]\]")
_BOX = re.compile(r"\[[ xX]\]")
_NAME = re.compile(r"[^\\`*_\[\]<>&~|#^\x00-\x1f\x7f\u2028\u2029\x85\ufeff]+")
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|mailto:)[A-Za-z0-9/.:?=%+,;@$_#~'-]+")
_INFO = re.compile(r"[A-Za-z0-9+.-]*")
_NUMBER = re.compile(r"\d{1,9}[.)]")
_STARTS = "\"'("
_SEPARATING = " .,;:()"


class WholeBody(Struct, frozen=True):
    """The context of a leaf in a body that is written whole, without link definitions."""

    links: Links
    in_cell: bool

    def is_safe(self, text: str, mark: str | None) -> bool:
        """Return whether a text that is not safe everywhere is safe here, under ``mark``."""
        if self.in_cell and "|" in text:
            return False
        if mark == "code":
            return _CODE.fullmatch(text) is not None
        if not _SAFE_IN_BODY.fullmatch(text) or text.rstrip().endswith("#"):
            return False
        has_brackets = "[" in text or "]" in text
        return not has_brackets or (mark != "link" and self._has_safe_brackets(text))

    def _has_safe_brackets(self, text: str) -> bool:
        """Return whether brackets are paired, and doubled only around unknown names."""
        if any(
            self.links.block_of(n) or is_ulid(n) or n != n.strip() for n in _WIKI.findall(text)
        ):
            return False
        rest = _WIKI.sub("", text)
        depth = 0
        for char in rest:
            depth += (char == "[") - (char == "]")
            if not 0 <= depth <= 1:
                return False
        return not depth and not _BOX.match(text)

    def mention(self, atom: Atom) -> str | None:
        """Return a mention by name if the name resolves back and is not special, else None."""
        label, block = atom.get("label"), str(atom.get("id"))
        name = self.links.name_of(block)
        if name is None or not _NAME.fullmatch(name) or is_ulid(name) or name != name.strip():
            return None
        if self.links.block_of(name) != block:
            return None
        if label is None:
            return f"[[{name}]]"
        return None if self.in_cell or not _NAME.fullmatch(str(label)) else f"[[{name}|{label}]]"


def safe_inline(
    items: Sequence[Inline], style: Style, whole: WholeBody | None = None
) -> str | None:
    """Return the content as markdown if it cannot be misread, else None.

    Args:
        items: a block's content.
        style: the notation.
        whole: the context; without it the result is safe in any context.
    """
    if not items or style.width:
        return None
    if len(items) > 1 and any("$" in i.text for i in items if isinstance(i, Text)):
        # What is inside a formula is text: no mark, no mention.
        return None
    out: list[str] = []
    before = " "
    for k, item in enumerate(items):
        after = items[k + 1] if k + 1 < len(items) else None
        text = _safe_run(item, before, after, style, whole)
        if text is None or (k == 0 and not _may_begin_line(item, text, whole)):
            return None
        out.append(text)
        before = text[-1]
    return "".join(out)


def _safe_run(
    item: Inline, before: str, after: Inline | None, style: Style, whole: WholeBody | None
) -> str | None:
    """Return one item as markdown if it cannot be misread, else None.

    ``before`` is the character before it, ``after`` the next item.
    """
    if not isinstance(item, Text):
        is_mention = whole is not None and item.kind == "mention" and before not in "![]"
        return whole.mention(item) if whole is not None and is_mention else None
    kind = item.marks[0].kind if item.marks else None
    if not _SAFE.fullmatch(item.text) and not (whole and whole.is_safe(item.text, kind)):
        return None
    if not item.marks:
        # A bracket at the end could become a link with the text that follows.
        return None if after is not None and item.text[-1] == "]" else item.text
    bare = after is None or (isinstance(after, Text) and not after.marks)
    if len(item.marks) != 1 or not bare or before == "!":
        return None
    follower = after.text[0] if isinstance(after, Text) else " "
    return _safe_marked_run(item.text, item.marks[0], before, follower, style)


def _may_begin_line(item: Inline, text: str, whole: WholeBody | None) -> bool:
    """Return whether a line may begin with an item."""
    if isinstance(item, Atom) or item.marks:
        return True
    return _starts_paragraph(text) or (whole is not None and text[0] == "[")


def _starts_paragraph(text: str) -> bool:
    """Return whether a line that begins like this can only be a paragraph."""
    char = text[0]
    if not char.isascii():
        return not char.isspace() and not char.isdigit()
    return char.isalpha() or char in _STARTS or (char.isdigit() and not _NUMBER.match(text))


def _safe_marked_run(text: str, mark: Mark, before: str, after: str, style: Style) -> str | None:
    """Return a run between its delimiters if they surely count, else None.

    ``before`` and ``after`` are the characters around it.
    """
    first, last = text[0], text[-1]
    if first.isspace() or last.isspace():
        return None
    if mark.kind == "code":
        return f"`{text}`"
    if mark.kind == "link":
        plain = not mark.title and text != mark.href and first != "^"
        return f"[{text}]({mark.href})" if plain and _URL.fullmatch(mark.href) else None
    # With a letter inside, a delimiter always counts. With a symbol inside, it counts only if
    # there is no letter outside.
    if not (first.isalnum() or before in _SEPARATING) or not (
        last.isalnum() or after in _SEPARATING
    ):
        return None
    if mark.kind == "bold" and style.strong == "*":
        return f"**{text}**"
    if mark.kind == "italic" and style.emphasis == "*":
        return f"*{text}*"
    return None


def is_safe_code(block: Block, depth: int) -> bool:
    """Return whether a fence can hold the code unchanged. In containers a tab may be expanded."""
    info = str(block.get("info"))
    return bool(_INFO.fullmatch(info)) and not ("\t" in block.text and depth)


def is_safe_item(item: Block) -> bool:
    """Return whether an item begins with text."""
    return bool(item.children) and item.children[0].kind == "paragraph"
