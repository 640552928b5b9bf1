"""New blocks of the commonest kinds, straight from the view into the document.

One shape of nodes says such a block, shows as the block, and is accepted by an editor: so it is
neither made as values, nor viewed, nor judged. Long lists are made of little else. Measured: the
document of 1 MB of tasks is made in a third of the time, and a new note of it taken in in half.
Mixed text gains 4 to 7 %, whatever its size: it alone would not be worth it.
"""

import re
from typing import Any

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment

from heapsyncd.document.view.from_nodes import UNPLAIN
from heapsyncd.document.xml.make import shown_attrs, tag_of
from heapsyncd.document.xml.nodes import OBJECT, Elem, Run, Txt
from heapsyncd.document.xml.schema import Spoken
from heapsyncd.tree import LISTS, Block, Text

_ODD = re.compile(rf"{UNPLAIN.pattern}|[<{OBJECT}]")
"""What shows otherwise than it stands; and how tags begin, so that a spelling says all."""

_DEEPEST = 8
"""What is nested deeper is left to the general way, which counts."""


def is_simple(block: Block, depth: int = 0) -> bool:
    """Whether a canonical block, and all below it, can be made in this way."""
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


class Unmade(Elem):
    """An element to be created of a simple block. Whoever asks for its attributes or children gets
    them, and may change them: from then on it is an element like others.
    """

    __slots__ = ("block", "spoken")

    def __init__(self, block: Block, spoken: Spoken) -> None:
        # The other slots stay empty: that is what ``__getattr__`` hears of.
        self.tag = tag_of(block, spoken)
        self.raw = None
        self.block: Block | None = block
        """None when it has been asked."""
        self.spoken = spoken

    @property
    def is_sound(self) -> bool:
        """Until somebody asked, and may have changed it."""
        return self.block is not None

    def __getattr__(self, name: str) -> Any:
        if name not in {"attrs", "children"} or self.block is None:
            raise AttributeError(name)
        block, self.block = self.block, None
        self.attrs = shown_attrs(block)
        self.children = [Unmade(c, self.spoken) for c in block.children]
        self.children += [Txt([Run(plain_text(block), {})])] if block.inline else []
        return getattr(self, name)


def plain_text(block: Block) -> str:
    """The text of a simple leaf."""
    (text,) = block.inline
    assert isinstance(text, Text)
    return text.text


def plant(
    raw: XmlElement | XmlFragment, index: int, block: Block, spoken: Spoken, txn: Transaction
) -> None:
    """Create a simple block as a child of ``raw``."""
    todo = [(raw, index, block)]
    while todo:
        parent, at, item = todo.pop()
        made = parent.insert_element_prelim(txn, at, tag_of(item, spoken))
        if item.attrs:
            for name, value in shown_attrs(item).items():
                made.insert_attribute(txn, name, value)
        if item.inline:
            made.insert_str(txn, 0, plain_text(item))
        # The last child first, always to the front: an index further in is counted from there.
        todo += [(made, 0, child) for child in item.children]


def spelling(block: Block, spoken: Spoken) -> str:
    """What yrs makes of a simple block's element as a string."""
    if block.inline:
        inside = plain_text(block)
    else:
        inside = "".join([spelling(c, spoken) for c in block.children])
    tag = tag_of(block, spoken)
    if not block.attrs:
        return f"<{tag}>{inside}</{tag}>"
    values = "".join([f' {k}="{_spelled(v)}"' for k, v in shown_attrs(block).items()])
    return f"<{tag}{values}>{inside}</{tag}>"


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
