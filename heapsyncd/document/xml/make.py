"""New nodes for what the view wants, in the heap's vocabulary (PROTOCOL §8).

An attribute that would say "absent" is left out, never written as null.
"""

from collections.abc import Mapping
from typing import Any

from heapsyncd.document.xml.node_kinds import atom_of
from heapsyncd.document.xml.nodes import Elem, Node, Run, Txt
from heapsyncd.document.xml.schema import Spoken
from heapsyncd.tree import Atom, Block

_SHOWN_ATTRS = {
    "image": ("src", "alt", "title"),
    "pagelink": ("blockKey",),
    "reference": ("id", "label"),
}


def atom_elem(atom: Atom) -> Elem:
    """A node for a break, an image or a mention."""
    if atom.kind == "break":
        return Elem("hardBreak")
    if atom.kind == "image":
        values = {k: atom.get(k) for k in ("src", "alt", "title")}
        return Elem("image", {k: v for k, v in values.items() if v or k == "src"})
    label = atom.get("label")
    if label is None:
        return Elem("pagelink", {"blockKey": atom.get("id")})
    return Elem("reference", {"id": atom.get("id"), "label": label, "type": "mention"})


def revalued(elem: Elem, atom: Atom) -> Elem | None:
    """The same image or mention with other values; None when another node is needed."""
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


def block_elem(block: Block, spoken: Spoken, children: list[Node]) -> Elem:
    """A node for a block, with its children as given."""
    return Elem(tag_of(block, spoken), shown_attrs(block), children)


def tag_of(block: Block, spoken: Spoken) -> str:
    """The name of a block's node."""
    if block.kind == "item":
        return "listItem" if block.get("checked") is None else spoken.words.todo_item
    return _TAGS.get(block.kind) or spoken.words.todo_list


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


def shown_attrs(block: Block) -> dict[str, Any]:
    """The attributes that the view of a block stands for."""
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
    """A paragraph; an empty one where a container needs something."""
    return Elem("paragraph", {}, children or [])


def code_children(text: str) -> list[Node]:
    """A code block's content: one text without marks, or nothing."""
    return [Txt([Run(text, {})])] if text else []


def with_keys(files: list[Any], old: list[str], new: list[str]) -> list[Any]:
    """A file node's array for other keys: elements that stay keep their shape."""
    elements = dict(zip(reversed(old), reversed(files), strict=True))
    pattern = files[0] if files else None
    return [elements[k] if k in elements else _like(pattern, old[0], k) for k in new]


def _like(pattern: Any, old_key: str, key: str) -> Any:
    if isinstance(pattern, Mapping):
        name = next(k for k, v in pattern.items() if v == old_key)
        return {name: key}
    return key
