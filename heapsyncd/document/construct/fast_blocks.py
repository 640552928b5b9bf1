"""Write new blocks of the commonest kinds straight from the view into the document.

Each such block has exactly one form as nodes, which shows as the block and which editors accept.
So it is not built as values, viewed or checked. Long lists consist mostly of these. Measured: the
document of 1 MB of tasks is made in a third of the time, and a new note of it taken in in half.
Mixed text gains 4 to 7 % at any size, which alone would not be worth it.
"""

import re
from typing import Any

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment

from heapsyncd.document.view.from_nodes import NOT_VERBATIM
from heapsyncd.document.xml.make import attrs_from_view, tag_of
from heapsyncd.document.xml.nodes import OBJECT, Elem, Run, Txt
from heapsyncd.document.xml.schema import DocumentVocabulary
from heapsyncd.tree import LISTS, Block, Text

_ODD = re.compile(rf"{NOT_VERBATIM.pattern}|[<{OBJECT}]")
"""Matches a text that does not show verbatim, or that makes ``spelling`` ambiguous."""

_DEEPEST = 8
"""Blocks nested deeper are made the general way, which checks the depth."""


def is_simple(block: Block, depth: int = 0) -> bool:
    """Tell whether a canonical block, with everything below it, can be written this way."""
    kind, inline = block.kind, block.inline
    if kind in {"paragraph", "heading"}:
        if len(inline) != 1:
            return False
        text = inline[0]
        return isinstance(text, Text) and not text.marks and not _ODD.search(text.text)
    if kind == "rule":
        return True
    children = block.children
    if not children or depth > _DEEPEST:
        return False
    if kind in LISTS:
        is_todo = kind == "todo_list"
        return all(
            c.kind == "item" and bool(c.attrs) is is_todo and is_simple(c, depth + 1)
            for c in children
        )
    if kind == "quote" or (kind == "item" and children[0].kind == "paragraph"):
        return all(is_simple(c, depth + 1) for c in children)
    return False


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
        self.children = [DeferredElem(c, self.vocabulary) for c in block.children]
        self.children += [Txt([Run(plain_text(block), {})])] if block.inline else []
        return getattr(self, name)


def plain_text(block: Block) -> str:
    """Return the text of a simple leaf."""
    (text,) = block.inline
    assert isinstance(text, Text)
    return text.text


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
            made.insert_str(txn, 0, plain_text(item))
        # Last child first, always at index 0: yrs walks to an index from the front.
        todo += [(made, 0, child) for child in item.children]


def spelling(block: Block, vocabulary: DocumentVocabulary) -> str:
    """Return the string that yrs makes of a simple block's element, to verify what was written."""
    if block.inline:
        inside = plain_text(block)
    else:
        inside = "".join([spelling(c, vocabulary) for c in block.children])
    tag = tag_of(block, vocabulary)
    if not block.attrs:
        return f"<{tag}>{inside}</{tag}>"
    values = "".join([f' {k}="{_spelled(v)}"' for k, v in attrs_from_view(block).items()])
    return f"<{tag}{values}>{inside}</{tag}>"


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
