"""Check nodes against a strict subset of every Tiptap schema's content model.

An editor deletes for everybody what its schema does not allow, so an edit that breaks one of these
rules is never sent. Unknown nodes are not judged: an edit only keeps, copies or deletes them
whole.
"""

from collections.abc import Iterator
from typing import TypeGuard

from heapsyncd.document.xml.nodes import Elem, LazyElem, Node, Txt
from heapsyncd.document.xml.schema import BLOCKS, CELLS, INLINE, ITEMS, LEAVES, NAMES, TEXTBLOCKS


def violations(node: Node) -> list[str]:
    """List every rule that a node or anything below it breaks, as short sentences."""
    out: list[str] = []
    stack = [node]
    while stack:
        item = stack.pop()
        if _is_judged(item):
            out += violation(item)
            stack += item.children
    return out


def violation(node: Node) -> list[str]:
    """List the rules that a node itself breaks, whatever is below it."""
    return list(_broken(node)) if _is_judged(node) else []


def _is_judged(node: Node) -> TypeGuard[Elem]:
    return isinstance(node, Elem) and (node.tag in NAMES or not node.tag)


def _broken(elem: Elem) -> Iterator[str]:
    tag, children = elem.tag, elem.children
    if tag in TEXTBLOCKS:
        yield from _broken_text(elem)
    elif tag == "codeBlock":
        if len(children) > 1 or any(isinstance(c, Elem) for c in children):
            yield "codeBlock: more than one text"
        elif any(r.formats for c in children if isinstance(c, Txt) for r in c.runs):
            yield "codeBlock: marks"
    elif tag in LEAVES:
        if children:
            yield f"{tag}: children"
    else:
        yield from _broken_container(elem)


def _broken_text(elem: Elem) -> Iterator[str]:
    was_text = False
    for child in elem.children:
        is_text = isinstance(child, Txt)
        if is_text and was_text:
            yield f"{elem.tag}: two texts side by side"
        if isinstance(child, Txt):
            if not child.runs:
                yield f"{elem.tag}: an empty text"
            if any(v is True for r in child.runs for v in r.formats.values()):
                yield f"{elem.tag}: a mark without a value"
        elif child.tag in NAMES and child.tag not in INLINE:
            yield f"{elem.tag}: holds {child.tag}"
        was_text = is_text


def _broken_container(elem: Elem) -> Iterator[str]:
    tag, children = elem.tag, elem.children
    if not children and tag:
        yield f"{tag}: empty"
    if tag.endswith(("Item", "_item")) and children and _tag(children[0]) != "paragraph":
        yield f"{tag}: does not start with a paragraph"
    for child in children:
        if isinstance(child, LazyElem) and not child.is_read and elem.raw is not None:
            continue  # not read, so no edit moved it: its parent held it before, too
        found = _tag(child)
        if found is None:
            yield f"{tag or 'document'}: bare text"
        elif found in NAMES and not _may_hold(tag, found):
            yield f"{tag or 'document'}: holds {found}"


def _tag(node: Node) -> str | None:
    return node.tag if isinstance(node, Elem) else None


def _may_hold(tag: str, child: str) -> bool:
    if tag in ITEMS:
        return child == ITEMS[tag]
    if tag == "table":
        return child == "tableRow"
    if tag == "tableRow":
        return child in CELLS
    # An image is a block in some schemas.
    return child in BLOCKS or child == "image"
