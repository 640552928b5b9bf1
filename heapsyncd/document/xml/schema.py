"""Names: which Yjs nodes, marks and attributes stand for which kind of the view (PROTOCOL §8).

A new node: its name here, one branch in ``view.from_nodes`` to show it and one in ``make`` to make
it.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from heapsyncd.document.xml.nodes import Elem, Formats
from heapsyncd.tree import BlockType, Mark, Marks, MarkType, destination, one_spaced

ITEMS = {
    "bulletList": "listItem",
    "orderedList": "listItem",
    "todo_list": "todo_item",
    "taskList": "taskItem",
}
"""Each list's own kind of item."""

LISTS: dict[str, BlockType] = {
    "bulletList": "bullet_list",
    "orderedList": "ordered_list",
    "todo_list": "todo_list",
    "taskList": "todo_list",
}
TEXTBLOCKS = {"paragraph": "paragraph", "heading": "heading"}
LEAVES = frozenset({"horizontalRule", "hardBreak", "pagelink", "reference", "image", "file"})
CELLS = frozenset({"tableCell", "tableHeader"})
INLINE = frozenset({"hardBreak", "pagelink", "reference", "image"})
BLOCKS = frozenset(
    {*TEXTBLOCKS, *LISTS, "codeBlock", "blockquote", "horizontalRule", "file", "table"}
)
NAMES = BLOCKS | INLINE | CELLS | {"listItem", "todo_item", "taskItem", "tableRow"}
"""Every node the contract lists, and the second spelling of task lists."""

MARKS: tuple[MarkType, ...] = ("bold", "code", "italic", "link", "strike", "underline")
"""Marks markdown can say; a document calls them the same."""

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
FILE_KEY = re.compile(rf"(?P<hash>{SHA256.pattern})(?::(?P<size>\d{{1,15}}))?", re.ASCII)
"""A key of ``files_v0``."""

_VALUE_LEVELS = 100
"""So deep values are compared as they are."""

_HASHED = re.compile(r"(.+)--[A-Za-z0-9+/=]{8}")
"""How y-prosemirror names a mark that may overlap itself."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Which of several names a document uses, those of PROTOCOL §8 where it says nothing; what an
    editor doesn't know it deletes for everybody.
    """

    todo_list: str = "todo_list"
    block_images: bool = False
    """Images stand among blocks, not inside paragraphs."""

    @property
    def todo_item(self) -> str:
        """The item of ``todo_list``."""
        return ITEMS[self.todo_list]

    @classmethod
    def of(cls, body: Elem) -> "Vocabulary":
        """What a document uses; one that uses both spellings says nothing."""
        todo, places = set(), set()
        stack = [body]
        while stack:
            elem = stack.pop()
            for child in elem.children:
                if isinstance(child, Elem):
                    stack.append(child)
                    if LISTS.get(child.tag) == "todo_list":
                        todo.add(child.tag)
                    elif child.tag == "image":
                        places.add(elem.tag not in TEXTBLOCKS)
        known = cls()
        return cls(
            todo.pop() if len(todo) == 1 else known.todo_list,
            places.pop() if len(places) == 1 else known.block_images,
        )


class Spoken:
    """The vocabulary of a document, learned when first asked for: most edits need none."""

    def __init__(self, body: Elem) -> None:
        self._body = body

    @cached_property
    def words(self) -> Vocabulary:
        """The names."""
        return Vocabulary.of(self._body)


def marks_of(formats: Formats) -> Marks:
    """The marks markdown can say among a run's formats."""
    if not formats:
        return ()
    if len(formats) == 1:
        ((key, value),) = formats.items()
        mark = _mark(key, value)
        return () if mark is None else (mark,)
    return tuple(sorted(set(shown(formats).values())))


def shown(formats: Formats) -> dict[str, Mark]:
    """Key by key, the formats that markdown can say. Of several links the first by key counts."""
    out: dict[str, Mark] = {}
    linked = False
    for key in sorted(formats):
        mark = _mark(key, formats[key])
        if mark is None or (mark.kind == "link" and linked):
            continue
        linked = linked or mark.kind == "link"
        out[key] = mark
    return out


def _mark(key: str, value: Any) -> Mark | None:
    hashed = None if key in MARKS else _HASHED.fullmatch(key)
    name = hashed[1] if hashed else key
    if value is None or name not in MARKS:
        return None
    if name != "link":
        return Mark(name)
    href = value.get("href") if isinstance(value, Mapping) else None
    if not isinstance(href, str):
        return None
    title = value.get("title")
    return Mark("link", destination(href), one_spaced(title) if isinstance(title, str) else "")


def is_link(key: str, value: Any) -> bool:
    """Whether a format is a link markdown can say (a second one on a run is hidden)."""
    mark = _mark(key, value)
    return mark is not None and mark.kind == "link"


def mark_value(mark: Mark, old: Any = None) -> dict[str, Any]:
    """The value a mark is stored with; an older link's other attributes (target, say) are kept."""
    if mark.kind != "link":
        return {}
    value = dict(old) if isinstance(old, Mapping) else {}
    value["href"] = mark.href
    if mark.title:
        value["title"] = mark.title
    elif value.get("title"):
        value["title"] = None
    return value


def number(value: Any, low: int, high: int, default: int) -> int:
    """An attribute as an integer within bounds; the default when it is none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return max(low, min(high, int(value)))


def text_of(value: Any) -> str:
    """An attribute as text; '' when it is none."""
    return value if isinstance(value, str) else ""


def canonical(value: Any, levels: int = _VALUE_LEVELS) -> Any:
    """A stored value in the one form that compares as JavaScript would.

    Booleans are never numbers, integral floats are integers, NaN equals itself. What lies deeper
    than ``levels`` is a digest: values may be nested deeper than Python compares.
    """
    if not levels:
        return ("deep", _digest(value))
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        if math.isnan(value):
            return ("number", "nan")
        return ("number", int(value) if math.isfinite(value) and value == int(value) else value)
    if isinstance(value, Mapping):
        return ("object", tuple(sorted((k, canonical(v, levels - 1)) for k, v in value.items())))
    if isinstance(value, bytes | bytearray):
        return ("bytes", bytes(value))
    if isinstance(value, Iterable):
        return ("array", tuple(canonical(v, levels - 1) for v in value))
    return ("shared", type(value).__name__)


def _digest(value: Any) -> str:
    """A hash of a value, however deep, that is equal for equal ones."""
    digest = hashlib.sha256()
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, Mapping):
            keys = sorted(item)
            todo += [item[k] for k in keys]
            digest.update(f"{{{keys!r}".encode("utf-8", "surrogatepass"))
        elif isinstance(item, Iterable) and not isinstance(item, str | bytes | bytearray):
            items = list(item)
            todo += items
            digest.update(f"[{len(items)}".encode())
        else:
            digest.update(repr(canonical(item)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def same(a: Any, b: Any) -> bool:
    """Whether two stored values are the same to JavaScript."""
    return bool(canonical(a) == canonical(b))
