"""Write new blocks of the common kinds straight from the view into the document.

Each such block has exactly one form as nodes, which shows as the block and which editors accept.
So it is not built as values, viewed or checked. New notes consist mostly of these. Measured: the
document of 1 MB of tasks is made in a third of the time, and a mixed new note is expressed in
three fifths of it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment

from heapsyncd.document.view.from_nodes import NOT_VERBATIM
from heapsyncd.document.xml import make
from heapsyncd.document.xml.make import attrs_from_view, tag_of
from heapsyncd.document.xml.nodes import OBJECT, Elem, Formats, Node, Run, Txt
from heapsyncd.document.xml.schema import DocumentVocabulary, mark_value
from heapsyncd.ids import is_ulid
from heapsyncd.tree import (
    LISTS,
    MOST_EMPTY_CELLS,
    Atom,
    Block,
    Inline,
    Mark,
    Text,
    is_canonical,
    language,
)

_ODD = re.compile(rf"{NOT_VERBATIM.pattern}|[<{OBJECT}]")
"""Matches a text that does not show verbatim, or that makes ``spelling`` ambiguous."""
_ODD_PART = re.compile(rf"[\n\r\0<{OBJECT}]")
"""The same, for a text beside others."""
_ODD_CODE = re.compile(rf"[\r\0<{OBJECT}]")
_ODD_VALUE = re.compile(r'[\x00-\x1f\x7f"<]')
"""The same, for the value of an attribute."""

_ROW, _HEADER, _CELL = "tableRow", "tableHeader", "tableCell"

_DEEPEST = 8
"""Blocks nested deeper are made the general way, which checks the depth."""


def is_simple(block: Block, is_new: Callable[[Atom], bool], depth: int = 0) -> bool:
    """Tell whether a canonical block, with everything below it, can be written this way.

    Args:
        block: the block.
        is_new: tells whether no node is to be cloned for a mention.
        depth: how many blocks it is in.
    """
    kind, children = block.kind, block.children
    if kind in {"paragraph", "heading"}:
        return bool(block.inline) and _is_simple_content(block.inline, is_new)
    if kind == "rule":
        return True
    if kind == "code":
        return _is_simple_code(block)
    if not children or depth > _DEEPEST:
        return False
    if kind in LISTS:
        is_todo = kind == "todo_list"
        return all(
            c.kind == "item" and bool(c.attrs) is is_todo and is_simple(c, is_new, depth + 1)
            for c in children
        )
    if kind == "table":
        return _is_simple_table(block, is_new)
    if kind == "quote" or (kind == "item" and children[0].kind == "paragraph"):
        return all(is_simple(c, is_new, depth + 1) for c in children)
    return False


def _is_simple_content(items: Sequence[Inline], is_new: Callable[[Atom], bool]) -> bool:
    only = items[0]
    if len(items) == 1 and isinstance(only, Text) and not only.marks:
        return not _ODD.search(only.text)
    for item in items:
        if isinstance(item, Atom):
            if item.kind != "break" and not (_is_bare_mention(item) and is_new(item)):
                return False
        elif _ODD_PART.search(item.text) or (item.marks and not _is_simple_mark(item.marks)):
            return False
    return is_canonical(items)


def _is_bare_mention(atom: Atom) -> bool:
    return atom.kind == "mention" and atom.get("label") is None and is_ulid(str(atom.get("id")))


def _is_simple_mark(marks: Sequence[Mark]) -> bool:
    # yrs gives several values in any order, so that ``spelling`` could not tell it.
    return len(marks) == 1 and not marks[0].title and not _ODD_VALUE.search(marks[0].href)


def _is_simple_code(block: Block) -> bool:
    info = block.get("info")
    return (
        isinstance(info, str)
        and info == language(info)
        and not _ODD_VALUE.search(info)
        and not _ODD_CODE.search(block.text)
    )


def _is_simple_table(block: Block, is_new: Callable[[Atom], bool]) -> bool:
    rows = block.children
    width = len(rows[0].children)
    return 0 < width * len(rows) <= MOST_EMPTY_CELLS and all(
        len(row.children) == width
        and all(not c.inline or _is_simple_content(c.inline, is_new) for c in row.children)
        for row in rows
    )


class DeferredElem(Elem):
    """An element to create from a simple block. Its attributes and children are made on first
    access; from then on it is an ordinary element that may be changed.
    """

    __slots__ = ("block", "vocabulary")

    def __init__(self, block: Block, vocabulary: DocumentVocabulary) -> None:
        # The other slots stay empty, so that the first access to one calls ``__getattr__``.
        self.tag = tag_of(block, vocabulary)
        self.raw = None
        self.block: Block | None = block
        """None once attributes or children were accessed."""
        self.vocabulary = vocabulary

    @property
    def is_known_valid(self) -> bool:
        """True until its attributes or children were accessed, and may have been changed."""
        return self.block is not None

    def __getattr__(self, name: str) -> Any:
        if name not in {"attrs", "children"} or self.block is None:
            raise AttributeError(name)
        block, self.block = self.block, None
        self.attrs = attrs_from_view(block)
        if block.kind == "code":
            self.children = make.code_children(block.text)
        elif block.kind == "table":
            self.children = [_row(row, is_first=not k) for k, row in enumerate(block.children)]
        else:
            self.children = [DeferredElem(c, self.vocabulary) for c in block.children]
            self.children += _nodes(block.inline)
        return getattr(self, name)


def _row(row: Block, *, is_first: bool) -> Elem:
    tag = _HEADER if is_first else _CELL
    cells: list[Node] = [Elem(tag, {}, [make.paragraph(_nodes(c.inline))]) for c in row.children]
    return Elem(_ROW, {}, cells)


def _nodes(items: Sequence[Inline]) -> list[Node]:
    """Return content as values."""
    return [
        make.atom_elem(part)
        if isinstance(part, Atom)
        else Txt([Run(text.text, _formats(text)) for text in part])
        for part in _parts(items)
    ]


def _parts(items: Sequence[Inline]) -> Iterator[Atom | list[Text]]:
    """Yield the atoms of some content, and together the texts between them."""
    texts: list[Text] = []
    for item in items:
        if isinstance(item, Text):
            texts.append(item)
            continue
        if texts:
            yield texts
            texts = []
        yield item
    if texts:
        yield texts


def _formats(text: Text) -> Formats:
    return {mark.kind: mark_value(mark) for mark in text.marks}


def insert(
    raw: XmlElement | XmlFragment,
    index: int,
    block: Block,
    vocabulary: DocumentVocabulary,
    txn: Transaction,
) -> None:
    """Create a simple block as a child of ``raw``."""
    todo = [(raw, index, block)]
    while todo:
        parent, at, item = todo.pop()
        made = parent.insert_element_prelim(txn, at, tag_of(item, vocabulary))
        if item.attrs:
            for name, value in attrs_from_view(item).items():
                made.insert_attribute(txn, name, value)
        if item.inline:
            _insert_content(made, item.inline, txn)
        elif item.text:
            made.insert_str(txn, 0, item.text)
        elif item.kind == "table":
            _insert_rows(made, item.children, txn)
        else:
            # Last child first, always at index 0: yrs walks to an index from the front.
            todo += [(made, 0, child) for child in item.children]


def _insert_rows(table: XmlElement, rows: Sequence[Block], txn: Transaction) -> None:
    for k in range(len(rows) - 1, -1, -1):
        row = table.insert_element_prelim(txn, 0, _ROW)
        for cell in reversed(rows[k].children):
            made = row.insert_element_prelim(txn, 0, _CELL if k else _HEADER)
            paragraph = made.insert_element_prelim(txn, 0, "paragraph")
            if cell.inline:
                _insert_content(paragraph, cell.inline, txn)


def _insert_content(raw: XmlElement, items: Sequence[Inline], txn: Transaction) -> None:
    only = items[0]
    if len(items) == 1 and isinstance(only, Text) and not only.marks:
        raw.insert_str(txn, 0, only.text)
        return
    for part in reversed(list(_parts(items))):
        if isinstance(part, Atom):
            node = make.atom_elem(part)
            atom = raw.insert_element_prelim(txn, 0, node.tag)
            for name, value in node.attrs.items():
                atom.insert_attribute(txn, name, value)
            continue
        plain = "" if part[0].marks else part[0].text
        text = raw.insert_str(txn, 0, plain)
        end = len(plain.encode())
        for one in part[1:] if plain else part:
            # All formats are passed: inserted text inherits none by itself.
            text.insert(txn, end, one.text, iter(_formats(one).items()))
            end += len(one.text.encode())


def spelling(block: Block, vocabulary: DocumentVocabulary) -> str:
    """Return the string that yrs makes of a simple block's element, to verify what was written."""
    if block.inline:
        inside = _spelled_content(block.inline)
    elif block.kind == "table":
        inside = "".join([_spelled_row(row, k) for k, row in enumerate(block.children)])
    else:
        inside = block.text or "".join([spelling(c, vocabulary) for c in block.children])
    return _element(
        tag_of(block, vocabulary), attrs_from_view(block) if block.attrs else {}, inside
    )


def _spelled_row(row: Block, k: int) -> str:
    cells = [
        _element(
            _CELL if k else _HEADER, {}, _element("paragraph", {}, _spelled_content(c.inline))
        )
        for c in row.children
    ]
    return _element(_ROW, {}, "".join(cells))


def _spelled_content(items: Sequence[Inline]) -> str:
    out = []
    for item in items:
        if isinstance(item, Atom):
            node = make.atom_elem(item)
            out.append(_element(node.tag, node.attrs, ""))
        elif item.marks:
            (mark,) = item.marks
            out.append(_element(mark.kind, mark_value(mark), item.text))
        else:
            out.append(item.text)
    return "".join(out)


def _element(tag: str, values: Mapping[str, object], inside: str) -> str:
    if not values:
        return f"<{tag}>{inside}</{tag}>"
    spelled = "".join([f' {k}="{_spelled(v)}"' for k, v in values.items()])
    return f"<{tag}{spelled}>{inside}</{tag}>"


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
