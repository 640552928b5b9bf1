"""Tell what a single node shows in the markdown view. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from heapsyncd.document.xml import schema
from heapsyncd.document.xml.nodes import Elem, Node, Txt
from heapsyncd.ids import is_ulid
from heapsyncd.tree import Atom, Piece, Text, attrs, destination, one_spaced, plain

_CODE_STRETCH = re.compile(r"[^\r\0]+|\r(?!\n)")


def file_keys(elem: Elem) -> list[str] | None:
    """Return the ``files_v0`` keys that a file node names; None when an element names none."""
    files = elem.attrs.get("files")
    keys = [file_key(f) for f in files] if isinstance(files, list) else []
    return [k for k in keys if k is not None] if keys and None not in keys else None


def file_key(element: Any) -> str | None:
    """Return the key that an element of a file node's array names: itself or one of its values."""
    if isinstance(element, str):
        return element if element.strip() and "\n" not in element else None
    values = element.values() if isinstance(element, dict) else ()
    return next((v for v in values if isinstance(v, str) and schema.FILE_KEY.fullmatch(v)), None)


def code_text(elem: Elem) -> str | None:
    """Return a code block's text; None when it holds anything but text."""
    parts = []
    for child in elem.children:
        if isinstance(child, Elem) or any(r.embed is not None for r in child.runs):
            return None
        parts.append(child.text)
    return "".join(parts)


def code_items(children: Sequence[Node]) -> list[Text]:
    """Return a code block's text as view texts with their positions; newlines are text in them."""
    out = []
    for k, child in enumerate(children):
        assert isinstance(child, Txt)
        offsets = child.offsets()
        for match in _CODE_STRETCH.finditer(child.text):
            piece = Piece(0, (k,), offsets.byte(match.start()))
            out.append(Text(match[0].replace("\r", "\n"), (), (piece,)))
    return out


def visible_code(text: str) -> str:
    """Return a code block's text as a file can hold it: one kind of line end, no NUL."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def atom_of(node: Elem) -> Atom | None:
    """Return the atom that an inline node shows; None when markdown cannot express it."""
    tag, values = node.tag, node.attrs
    if node.children:
        return None
    if tag == "hardBreak":
        return Atom("break")
    if tag == "image":
        found = attrs(
            src=destination(schema.text_of(values.get("src"))),
            alt=one_spaced(schema.text_of(values.get("alt"))),
            title=one_spaced(schema.text_of(values.get("title"))),
        )
        return Atom("image", found)
    target = schema.text_of(values.get("blockKey" if tag == "pagelink" else "id"))
    if tag not in {"pagelink", "reference"} or not is_ulid(target):
        return None
    label = one_spaced(schema.text_of(values.get("label"))) or None
    return Atom("mention", attrs(id=target, label=label if tag == "reference" else None))


def is_checked(value: Any) -> bool:
    """Tell whether a task item's ``checked`` attribute means done."""
    return value is True or value == "true" or (isinstance(value, float) and value == 1)


def is_showable_table(node: Elem) -> bool:
    """Tell whether a pipe table can show it: rows of unmerged cells that hold only paragraphs."""
    rows = node.children
    if not rows or not all(isinstance(r, Elem) and r.tag == "tableRow" for r in rows):
        return False
    cells = [c for r in rows if isinstance(r, Elem) for c in r.children]
    return bool(cells) and all(_is_showable_cell(c) for c in cells)


def _is_showable_cell(node: Node) -> bool:
    return (
        isinstance(node, Elem)
        and node.tag in schema.CELLS
        and schema.number(node.attrs.get("colspan"), 1, 2, 1) == 1
        and schema.number(node.attrs.get("rowspan"), 1, 2, 1) == 1
        and all(isinstance(c, Elem) and c.tag == "paragraph" for c in node.children)
    )


def words_of(node: Node) -> str:
    """Return all words of the texts, images and mentions below a node, on one line."""
    found = []
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Txt):
            found.append("".join([r.text for r in item.runs if r.embed is None]))
        else:
            atom = atom_of(item)
            found += [plain(atom)] if atom is not None else []
            stack += reversed(item.children)
    return " ".join(" ".join(found).split())


def digest_source(node: Node) -> Any:
    """Return a node's content as JSON values: equal for equal content, whatever its history."""
    out: list[Any] = []
    stack: list[Any] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Elem):
            values = sorted((k, schema.canonical(v)) for k, v in item.attrs.items())
            out.append(["<", item.tag, values])
            stack += [">", *reversed(item.children)]
        elif isinstance(item, Txt):
            out.append(
                [
                    [r.text, schema.canonical(r.formats), schema.canonical(r.embed)]
                    for r in item.runs
                ]
            )
        else:
            out.append(item)
    return out
