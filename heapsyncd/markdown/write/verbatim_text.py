"""Cut out of a leaf's content what is written as it is: formulas and harmless HTML.

In the tree both are text. Escaped, a formula would read as other text, and HTML would be shown as
text by every other program, where its author wrote a key or an index.
"""

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from heapsyncd.markdown import formulas
from heapsyncd.markdown.events import OPAQUE_BLOCK, OPAQUE_INLINE, SEPARATOR
from heapsyncd.tree import Atom, Inline, Marks, Text

_ELEMENTS = (
    "abbr|b|cite|code|dd|del|details|dfn|div|dl|dt|em|center|figcaption|figure|h[1-6]|i|ins|kbd"
    "|li|mark|ol|p|q|rp|rt|ruby|s|samp|small|span|strong|sub|summary|sup|time|ul|var"
)
"""Elements that only mark text up. Others stay escaped: what came from a document must neither run
nor load anything.
"""
_ATTRIBUTES = "align|class|dir|height|id|lang|open|title|width"
_TAG = re.compile(
    rf"<(?P<end>/)?(?P<name>{_ELEMENTS})"
    rf"(?(end)|(?:\ +(?:{_ATTRIBUTES})(?:=\"[^\"<>\n]*\"|='[^'<>\n]*')?)*)\ *>"
    r"|<!--(?!>|->)(?:[^-<>\n]|-(?!-))*-->"
)
_OPAQUE = re.compile(f"{OPAQUE_BLOCK.pattern}|{OPAQUE_INLINE.pattern}")
_ANY_TAG = re.compile(r"<(?=[A-Za-z/!?])")


class Verbatim(Text):
    """A part of a run that is written as it is. Its line ends are newlines."""


class _Tag(Struct, frozen=True):
    """A tag or comment in the text of the ``item``-th item, from ``start`` to ``end``."""

    item: int
    start: int
    end: int
    name: str | None
    closes: bool
    marks: Marks


def with_formulas(items: Sequence[Inline], *, is_flat: bool) -> list[Inline]:
    """Cut out the formulas of a leaf's content as items of their own.

    Args:
        items: the content.
        is_flat: whether a formula must not span breaks (in a heading or a cell).
    """
    out: list[Inline] = []
    row: list[Inline] = []
    marks: Marks | None = None
    for item in items:
        is_break = isinstance(item, Atom) and item.kind == "break" and not is_flat
        is_text = isinstance(item, Text) and all(m.kind != "code" for m in item.marks)
        if isinstance(item, Text) and marks not in {None, item.marks}:
            out += _cut(row)
            row, marks = [], None
        if is_text and isinstance(item, Text):
            marks = item.marks
        if is_text or is_break:
            row.append(item)
        else:
            out += [*_cut(row), item]
            row, marks = [], None
    return out + _cut(row)


def _cut(row: list[Inline]) -> list[Inline]:
    """Cut out the formulas of texts with the same marks and the breaks between them."""
    data = "".join(i.text if isinstance(i, Text) else "\n" for i in row).encode()
    found = formulas.paired(data, formulas.dollars_of_text(data))
    none = len(data), len(data)
    start, end = next(found, none)
    out: list[Inline] = []
    at = done = 0
    for item in row:
        at += len(item.text.encode()) if isinstance(item, Text) else 1
        while done < at:
            if not isinstance(item, Text):
                out.append(item)
                done = at
            elif start == done:
                out.append(Verbatim(data[start:end].decode(), item.marks))
                done = end
                start, end = next(found, none)
            else:
                last = min(start, at)
                out.append(Text(data[done:last].decode(), item.marks))
                done = last
    return out


def with_tags(items: Sequence[Inline]) -> list[Inline]:
    """Cut out comments, and the tags of harmless elements that are opened and closed here."""
    if not any(isinstance(i, Text) and "<" in i.text for i in items):
        return list(items)
    tags = sorted(_matched(list(_tags(items))), key=lambda t: (t.item, t.start))
    out: list[Inline] = []
    k = 0
    for i, item in enumerate(items):
        at = 0
        while isinstance(item, Text) and k < len(tags) and tags[k].item == i:
            tag = tags[k]
            if at < tag.start:
                out.append(Text(item.text[at : tag.start], item.marks))
            out.append(Verbatim(item.text[tag.start : tag.end], item.marks))
            at, k = tag.end, k + 1
        if not at:
            out.append(item)
        elif isinstance(item, Text) and at < len(item.text):
            out.append(Text(item.text[at:], item.marks))
    return out


def _tags(items: Sequence[Inline]) -> Iterator[_Tag]:
    for k, item in enumerate(items):
        is_plain = isinstance(item, Text) and not isinstance(item, Verbatim)
        if is_plain and isinstance(item, Text) and all(m.kind != "code" for m in item.marks):
            for found in _TAG.finditer(item.text):
                if found[0] == SEPARATOR or _OPAQUE.fullmatch(found[0]):
                    continue
                closes = found["end"] is not None
                yield _Tag(k, *found.span(), found["name"], closes, item.marks)


def _matched(tags: Sequence[_Tag]) -> Iterator[_Tag]:
    """Yield comments, and the tags that are opened and closed in order and in the same marks."""
    opened: list[_Tag] = []
    for tag in tags:
        if tag.name is None:
            yield tag
        elif not tag.closes:
            opened.append(tag)
        elif opened and (opened[-1].name, opened[-1].marks) == (tag.name, tag.marks):
            yield from (opened.pop(), tag)
        else:
            opened = []


def html_text(items: Sequence[Inline]) -> str | None:
    """Return content as the lines of an HTML block, None if it could not be one."""
    first = items[0] if items else None
    if not isinstance(first, Text) or not first.text.startswith("<"):
        return None
    cut = with_tags(items)
    if any(i.marks if isinstance(i, Text) else i.kind != "break" for i in cut):
        return None
    texts = [i.text for i in cut if isinstance(i, Text) and not isinstance(i, Verbatim)]
    if any(map(_ANY_TAG.search, texts)):
        return None
    return "".join(i.text if isinstance(i, Text) else "\n" for i in items)
