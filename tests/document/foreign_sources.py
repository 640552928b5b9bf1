"""Roots under the source's name that no heapsyncd has written."""

from collections.abc import Callable
from typing import Any

from pycrdt import Array, Doc, Map, Text, XmlFragment

from heapsyncd.document.source import ROOT

MOST = 1 << 20


def foreign(fill: Callable[[Map[Any]], object]) -> bytes:
    """An update with a map under the root's name, filled by a client that is not ours."""
    doc: Doc[Any] = Doc()
    root: Map[Any] = doc.get(ROOT, type=Map)
    with doc.transaction():
        fill(root)
    return doc.get_update()


def other_root(kind: type, fill: Callable[[Any], object]) -> bytes:
    """An update with a root of another type under that name."""
    doc: Doc[Any] = Doc()
    fill(doc.get(ROOT, type=kind))
    return doc.get_update()


def with_key(key: str, value: Any) -> bytes:
    """An update with a valid body, and one more key."""

    def fill(root: Map[Any]) -> None:
        root["body"] = Text("x")
        root[key] = value

    return foreign(fill)


BAD = {
    "a root text": other_root(Text, lambda text: text.insert(0, "x")),
    "a root list": other_root(Array, lambda array: array.append("x")),
    "a tree": other_root(XmlFragment, lambda root: root.children.append("x")),
    "a string for its body": foreign(lambda root: root.update({"body": "x"})),
    "a list for its body": foreign(lambda root: root.update({"body": Array(["x"])})),
    "a map for its body": foreign(lambda root: root.update({"body": Map({"x": 1})})),
    "no body": foreign(lambda root: root.update({"order": Text("x\n")})),
    "a number of lines": with_key("front:a", 5.0),
    "a list of lines": with_key("front:a", Array(["a: 1\n"])),
    "a map of lines": with_key("front:a", Map({"a": "1"})),
    "a line that is a fence": with_key("front:a", Text("---\n")),
    "a fence among lines": with_key("front:a", "a: 1\n---\nb\n"),
    "a NUL": with_key("front:a", Text("\0")),
    "a list for its order": with_key("order", Array(["a"])),
    "a word for its fences": with_key("fences", "---"),
    "one fence that is none": with_key("fences", ["---\n", "x\n"]),
    "a fence of two lines": with_key("fences", ["---\n", "---\n---\n"]),
    "too long": foreign(lambda root: root.update({"body": Text("x" * 2 * MOST)})),
}
