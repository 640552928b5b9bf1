"""Make new nodes for what the view shows, in the heap's vocabulary (PROTOCOL §8).

An attribute whose value would mean "absent" is left out, never written as null.
"""

from collections.abc import Mapping
from typing import Any

from heapsyncd.document.xml.node_kinds import atom_of
from heapsyncd.document.xml.nodes import Elem, Node, Run, Txt
from heapsyncd.document.xml.schema import DocumentVocabulary
from heapsyncd.tree import Atom, Block

_SHOWN_ATTRS = {
    "image": ("src", "alt", "title"),
    "pagelink": ("blockKey",),
    "reference": ("id", "label"),
}


def atom_elem(atom: Atom) -> Elem:
    """Make the inline node of a break, an image or a mention."""
    if atom.kind == "break":
        return Elem("hardBreak")
    if atom.kind == "image":
        values = {k: atom.get(k) for k in ("src", "alt", "title")}
        return Elem("image", {k: v for k, v in values.items() if v or k == "src"})
    label = atom.get("label")
    if label is None:
        return Elem("pagelink", {"blockKey": atom.get("id")})
    return Elem("reference", {"id": atom.get("id"), "label": label, "type": "mention"})


def with_values(elem: Elem, atom: Atom) -> Elem | None:
    """Return the node of an image or a mention with the values of another atom.

    Attributes that the view does not show are kept. Returns None when the atom needs another node.
    """
    wanted = atom_elem(atom) if atom.kind in {"image", "mention"} else None
    now = atom_of(elem)
    if wanted is None or now is None or wanted.tag != elem.tag or now.kind != atom.kind:
        return None
    values = dict(elem.attrs)
    for name in _SHOWN_ATTRS[elem.tag]:
        if now.get(_VIEW_NAME.get(name, name)) == atom.get(_VIEW_NAME.get(name, name)):
            continue
        if name in wanted.attrs:
            values[name] = wanted.attrs[name]
        else:
            values.pop(name, None)
    return Elem(elem.tag, values, elem.children, elem.raw)


_VIEW_NAME = {"blockKey": "id"}


def block_elem(block: Block, vocabulary: DocumentVocabulary, children: list[Node]) -> Elem:
    """Make the node of a block with the given children."""
    return Elem(tag_of(block, vocabulary), attrs_from_view(block), children)


def tag_of(block: Block, vocabulary: DocumentVocabulary) -> str:
    """Return the tag that a block's node has in this vocabulary."""
    if block.kind == "item":
        return "listItem" if block.get("checked") is None else vocabulary.names.todo_item
    return _TAGS.get(block.kind) or vocabulary.names.todo_list


_TAGS = {
    "paragraph": "paragraph",
    "heading": "heading",
    "code": "codeBlock",
    "files": "file",
    "ordered_list": "orderedList",
    "quote": "blockquote",
    "bullet_list": "bulletList",
    "rule": "horizontalRule",
    "table": "table",
    "row": "tableRow",
    "cell": "tableCell",
}


def attrs_from_view(block: Block) -> dict[str, Any]:
    """Return the node attributes that a block of the view determines."""
    match block.kind:
        case "heading":
            return {"level": block.get("level")}
        case "code":
            info = block.get("info")
            return {"language": info} if info else {}
        case "ordered_list":
            return {"start": block.get("start")}
        case "item":
            done = block.get("checked")
            return {} if done is None else {"checked": done}
        case "files":
            return {"files": str(block.get("keys") or "").split("\n")}
        case _:
            return {}


def paragraph(children: list[Node] | None = None) -> Elem:
    """Make a paragraph; without children it is the empty one that some containers require."""
    return Elem("paragraph", {}, children or [])


def code_children(text: str) -> list[Node]:
    """Return a code block's children: one text without marks, or none for empty text."""
    return [Txt([Run(text, {})])] if text else []


def with_keys(files: list[Any], old: list[str], new: list[str]) -> list[Any]:
    """Return a file node's ``files`` array for other keys.

    Args:
        files: the array as it is; elements are strings or objects.
        old: the key that each of its elements names.
        new: the keys to name. An element that stays keeps its form, a new one copies the first
            one's.
    """
    elements = dict(zip(reversed(old), reversed(files), strict=True))
    pattern = files[0] if files else None
    return [elements[k] if k in elements else _like(pattern, old[0], k) for k in new]


def _like(pattern: Any, old_key: str, key: str) -> Any:
    if isinstance(pattern, Mapping):
        name = next(k for k, v in pattern.items() if v == old_key)
        return {name: key}
    return key
