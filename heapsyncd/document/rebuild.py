"""A document made anew: the same content, nothing of its history (PROTOCOL §7).

What a server does when it compacts a block. Everything is carried over, also what this project
has no name for: unknown roots, nodes, attributes and formats, embedded objects, nulls.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from heapsyncd.document.replica import Replica, new_client_id
from heapsyncd.document.updates import apply, contained, new_doc
from heapsyncd.document.xml import nodes
from heapsyncd.errors import UnreadableDocument

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
        UnreadableDocument: the old one can't be loaded, or holds what pycrdt can't make or read.
    """
    state = Replica.load(updates).state()
    # Each root is read from a copy of its own: reading one as the wrong kind spoils it for good.
    old = _load(state)
    new = new_doc(new_client_id())
    with contained(), new.transaction():
        for name in sorted(old.keys()):
            kind = _KINDS.get(name) or _kind(state, name)
            source = _load(state).get(name, type=kind)
            try:
                _fill(new.get(name, type=kind), source)
            except (AttributeError, TypeError) as e:
                # pycrdt reads more than it makes: a node of a tree in a map, or in a plain text.
                raise UnreadableDocument(f"its root {name!r} can't be made anew ({e})") from e
    return new.get_update()


def _load(state: bytes) -> Doc[Any]:
    doc = new_doc()
    apply(doc, state)
    return doc


def _kind(state: bytes, name: str) -> type:
    """What an unknown root is; updates do not say it, but its content does."""
    if len(_load(state).get(name, type=Map)):
        return Map
    # As a text it shows its strings, embedded objects and shared types, but no values of a list.
    items = [item for item, _ in _load(state).get(name, type=Text).diff()]
    if any(isinstance(item, XmlElement | XmlText | XmlFragment) for item in items):
        return XmlFragment
    return Array if all(isinstance(item, Map | Array | Text) for item in items) else Text


def _fill(target: Any, source: Any) -> None:
    """Copy everything in a shared type into an empty one of the same kind, however deep."""
    todo = [(target, source)]
    while todo:
        into, out_of = todo.pop()
        if isinstance(out_of, Map):
            todo += [p for k, v in out_of.items() if (p := _put(into, k, v)) is not None]
        elif isinstance(out_of, Array):
            # Of a root it is known that it holds no text: it would be taken for one.
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
    """The values of a list.

    Where somebody put a text into it, yrs gives its characters as values, but counts UTF-16 units:
    it searches forever for what is behind the last character.

    Raises:
        UnreadableDocument: this may be such a text.
    """
    last = len(shared) - 1
    for k in range(last + 1):
        value = shared[k]
        yield value
        if k < last and isinstance(value, str) and len(value) == 1 and value > "\uffff":
            raise UnreadableDocument("it has a list that can't be read behind a lone emoji")


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


def _fill_text(into: Any, out_of: Any) -> list[tuple[Any, Any]]:
    """Copy a text; the shared types in it go in empty, and come back with their sources."""
    at, found = 0, []
    for value, formats in out_of.diff():
        attrs: Mapping[str, Any] | None = formats or None
        if isinstance(value, str):
            into.insert(at, value, attrs)
            at += len(value.encode())  # offsets are UTF-8 bytes here
            continue
        blank = _blank(value)
        into.insert_embed(at, value if blank is None else blank, attrs)
        at += 1
        if blank is not None:
            found.append((blank, value))
    return found
