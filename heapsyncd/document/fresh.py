"""A document made anew: the same content, nothing of its history (PROTOCOL §7).

What a server does when it compacts a block. Everything is carried over, also what this project
has no name for: unknown roots, nodes, attributes and formats, embedded objects, nulls.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from heapsyncd.document import nodes
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import apply

_KINDS: dict[str, type] = {
    nodes.TITLE: XmlFragment,
    nodes.BODY: XmlFragment,
    nodes.RELATIONS: Map,
    nodes.FILES: Map,
    nodes.META: Map,
}


def fresh(updates: Iterable[bytes]) -> bytes:
    """The state of a new document with the content of an old one.

    Raises:
        UnreadableDocument: the old one can't be loaded.
    """
    state = Replica.load(updates).state()
    # Each root is read from a copy of its own: reading one as the wrong kind spoils it for good.
    old = _load(state)
    new: Doc[Any] = Doc(client_id=Replica().client_id)
    with new.transaction():
        for name in sorted(old.keys()):
            kind = _KINDS.get(name) or _kind(state, name)
            source = _load(state).get(name, type=kind)
            _fill(new.get(name, type=kind), source)
    return new.get_update()


def _load(state: bytes) -> Doc[Any]:
    doc: Doc[Any] = Doc()
    apply(doc, state)
    return doc


def _kind(state: bytes, name: str) -> type:
    """What an unknown root is; updates do not say it, but its content does."""
    if len(_load(state).get(name, type=Map)):
        return Map
    items = list(_load(state).get(name, type=Array))
    if any(isinstance(item, XmlElement | XmlText | XmlFragment) for item in items):
        return XmlFragment
    # A text read as a list comes letter by letter.
    is_text = bool(items) and all(isinstance(item, str) and len(item) == 1 for item in items)
    return Text if is_text else Array


def _fill(target: Any, source: Any) -> None:
    """Copy everything in a shared type into an empty one of the same kind, however deep."""
    todo = [(target, source)]
    while todo:
        into, out_of = todo.pop()
        if isinstance(out_of, Map):
            todo += [p for k, v in out_of.items() if (p := _put(into, k, v)) is not None]
        elif isinstance(out_of, Array):
            todo += [p for v in out_of if (p := _put(into, None, v)) is not None]
        elif isinstance(out_of, Text | XmlText):
            _fill_text(into, out_of)
        else:
            todo += [p for v in out_of.children if (p := _put(into.children, None, v)) is not None]
        if isinstance(out_of, XmlElement | XmlText):
            attributes: Any = out_of.attributes  # its stub has no iterator
            for key, value in attributes:
                into.attributes[key] = value


def _put(into: Any, key: str | None, value: Any) -> tuple[Any, Any] | None:
    """Put a value in a container; a shared type goes in empty, and comes back with its source."""
    blank = _blank(value)
    shown = value if blank is None else blank
    if key is None:
        into.append(shown)
    else:
        into[key] = shown
    return None if blank is None else (blank, value)


def _blank(value: Any) -> Any:
    if isinstance(value, XmlElement):
        return XmlElement(value.tag or "")
    for kind in (XmlText, XmlFragment, Map, Array, Text):
        if isinstance(value, kind):
            return kind()
    return None


def _fill_text(into: Any, out_of: Any) -> None:
    at = 0
    for value, formats in out_of.diff():
        attrs: Mapping[str, Any] | None = formats or None
        if isinstance(value, str):
            into.insert(at, value, attrs)
            at += len(value.encode())  # offsets are UTF-8 bytes here
        else:
            into.insert_embed(at, value, attrs)
            at += 1
