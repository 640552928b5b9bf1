"""Documents made with pycrdt alone, independent of heapsyncd's own writer."""

from collections.abc import Sequence
from typing import Any

from pycrdt import Doc, XmlElement, XmlFragment, XmlText


def element(
    tag: str, children: Sequence[XmlElement | XmlText] = (), **attributes: Any
) -> XmlElement:
    """An element that is not in any document yet."""
    return XmlElement(tag, attributes, children)


def paragraph(text: str) -> XmlElement:
    """A paragraph of plain text."""
    return element("paragraph", [XmlText(text)])


def document(*blocks: XmlElement | XmlText) -> bytes:
    """A body of these blocks, as one update."""
    doc: Doc[Any] = Doc()
    doc["content_v0"] = root = XmlFragment()
    with doc.transaction():
        for block in blocks:
            root.children.append(block)
    return doc.get_update()


def note(*paragraphs: str) -> bytes:
    """A body of plain paragraphs."""
    return document(*(paragraph(text) for text in paragraphs))


def with_text(state: bytes, text: str) -> bytes:
    """The update that puts ASCII text at the very start of the first paragraph."""
    doc: Doc[Any] = Doc()
    doc["content_v0"] = root = XmlFragment()
    doc.apply_update(state)
    before = doc.get_state()
    first = root.children[0]
    assert isinstance(first, XmlElement)
    run = first.children[0]
    assert isinstance(run, XmlText)
    run.insert(0, text)
    return doc.get_update(before)
