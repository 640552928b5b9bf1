"""Rebuild a document: the same content without its history (PROTOCOL §7).

A server does this when it compacts a block. Everything is carried over, including what this
project has no name for: unknown roots, nodes, attributes and formats, embedded objects, nulls.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from heapsyncd.document.replica import Replica, new_client_id
from heapsyncd.document.updates import apply, new_doc, pycrdt_errors
from heapsyncd.document.xml import nodes
from heapsyncd.errors import UnreadableDocument

_KINDS: dict[str, type] = {
    nodes.TITLE: XmlFragment,
    nodes.BODY: XmlFragment,
    nodes.RELATIONS: Map,
    nodes.FILES: Map,
    nodes.META: Map,
    nodes.CONFIRMED: Map,
}


def rebuild(updates: Iterable[bytes]) -> bytes:
    """Return the state of a new document with the content of an old one.

    Args:
        updates: the updates of the old document.

    Raises:
        UnreadableDocument: the old one can't be loaded, or has content that pycrdt can't read or
            make.
    """
    state = Replica.load(updates).state()
    # Each root is read from its own copy: reading one as the wrong kind corrupts the document.
    old = _load(state)
    new = new_doc(new_client_id())
    with pycrdt_errors(), new.transaction():
        for name in sorted(old.keys()):
            kind = _KINDS.get(name) or _kind(state, name)
            source = _load(state).get(name, type=kind)
            try:
                _fill(new.get(name, type=kind), source)
            except (AttributeError, TypeError) as e:
                # pycrdt can read but not make an XML node in a map or in a plain text.
                raise UnreadableDocument(f"its root {name!r} can't be rebuilt ({e})") from e
    return new.get_update()


def _load(state: bytes) -> Doc[Any]:
    doc = new_doc()
    apply(doc, state)
    return doc


def _kind(state: bytes, name: str) -> type:
    """Guess the type of an unknown root from its content, since updates do not record it."""
    if len(_load(state).get(name, type=Map)):
        return Map
    # Read as a text, a root returns strings, embeds and shared types, but no values of a list.
    items = [item for item, _ in _load(state).get(name, type=Text).diff()]
    if any(isinstance(item, XmlElement | XmlText | XmlFragment) for item in items):
        return XmlFragment
    return Array if all(isinstance(item, Map | Array | Text) for item in items) else Text


def _fill(target: Any, source: Any) -> None:
    """Copy everything in a shared type into an empty one of the same type. Iterative."""
    todo = [(target, source)]
    while todo:
        into, out_of = todo.pop()
        if isinstance(out_of, Map):
            todo += [p for k, v in out_of.items() if (p := _put(into, k, v)) is not None]
        elif isinstance(out_of, Array):
            # A root list holds no text (``_kind`` would say Text), so it is safe to read.
            values = out_of if out_of is source else _values(out_of)
            todo += [p for v in values if (p := _put(into, None, v)) is not None]
        elif isinstance(out_of, Text | XmlText):
            todo += _fill_text(into, out_of)
        else:
            todo += [p for v in out_of.children if (p := _put(into.children, None, v)) is not None]
        if isinstance(out_of, XmlElement | XmlText):
            attributes: Any = out_of.attributes  # its stub has no iterator
            for key, value in attributes:
                into.attributes[key] = value


def _values(shared: Array[Any]) -> Iterator[Any]:
    """Yield the values of a nested list.

    If a text was put into the list, yrs returns its characters as values but counts UTF-16 units,
    and never returns from reading past the last character of a text with an emoji.

    Raises:
        UnreadableDocument: the list may contain such a text.
    """
    last = len(shared) - 1
    for k in range(last + 1):
        value = shared[k]
        yield value
        if k < last and isinstance(value, str) and len(value) == 1 and value > "\uffff":
            raise UnreadableDocument("a list in it can't be read past a lone emoji")


def _put(into: Any, key: str | None, value: Any) -> tuple[Any, Any] | None:
    """Put a value in a container. A shared type is put in empty; returns it with its source."""
    blank = _empty_like(value)
    shown = value if blank is None else blank
    if key is None:
        into.append(shown)
    else:
        into[key] = shown
    return None if blank is None else (blank, value)


def _empty_like(value: Any) -> Any:
    """Make an empty shared type of the same type; None for a plain value."""
    if isinstance(value, XmlElement):
        return XmlElement(value.tag or "")
    for kind in (XmlText, XmlFragment, Map, Array, Text):
        if isinstance(value, kind):
            return kind()
    return None


def _fill_text(into: Any, out_of: Any) -> list[tuple[Any, Any]]:
    """Copy a text. Shared types are embedded empty; returns them with their sources."""
    at, found = 0, []
    for value, formats in out_of.diff():
        attrs: Mapping[str, Any] | None = formats or None
        if isinstance(value, str):
            into.insert(at, value, attrs)
            at += len(value.encode())  # offsets are UTF-8 bytes here
            continue
        blank = _empty_like(value)
        into.insert_embed(at, value if blank is None else blank, attrs)
        at += 1
        if blank is not None:
            found.append((blank, value))
    return found
