"""Map tags, marks and attributes of the Yjs document to kinds of the view (PROTOCOL §8).

To add a node: its tag here, one branch in ``view.from_nodes`` to show it, one in ``make`` to
create it.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct

from heapsyncd.document.xml.nodes import Elem, Formats
from heapsyncd.tree import BlockType, Mark, Marks, MarkType, destination, one_spaced

ITEMS = {
    "bulletList": "listItem",
    "orderedList": "listItem",
    "todo_list": "todo_item",
    "taskList": "taskItem",
}
"""The item tag that belongs to each list tag."""

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
"""Every tag of the contract, and the second spelling of task lists."""

MARKS: tuple[MarkType, ...] = ("bold", "code", "italic", "link", "strike", "underline")
"""The marks that markdown can express; documents use the same names."""

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
FILE_KEY = re.compile(rf"(?P<hash>{SHA256.pattern})(?::(?P<size>\d{{1,15}}))?", re.ASCII)
"""A key of ``files_v0``: a SHA-256 hash, optionally with the size in bytes."""

_VALUE_LEVELS = 100
"""Values are compared directly down to this depth, by digest below it."""

_HASHED = re.compile(r"(.+)--[A-Za-z0-9+/=]{8}")
"""The name y-prosemirror gives a mark that may overlap itself: ``mark--hash``."""


class Vocabulary(Struct, frozen=True):
    """The spellings a document uses where schemas differ; PROTOCOL §8's where it uses none.

    An editor deletes, for everybody, a spelling that its own schema does not know.
    """

    todo_list: str = "todo_list"
    block_images: bool = False
    """Whether images stand among blocks instead of inside paragraphs."""

    @property
    def todo_item(self) -> str:
        """The item tag that belongs to ``todo_list``."""
        return ITEMS[self.todo_list]

    @classmethod
    def of(cls, body: Elem) -> "Vocabulary":
        """Return the spellings that a document uses.

        A document that uses both spellings of something counts as using none.
        """
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


class DocumentVocabulary:
    """The vocabulary of one document, learned on first access: most edits need none."""

    def __init__(self, body: Elem) -> None:
        self._body = body

    @cached_property
    def names(self) -> Vocabulary:
        """The learned vocabulary."""
        return Vocabulary.of(self._body)


def marks_of(formats: Formats) -> Marks:
    """Return the marks among a run's formats that markdown can express, sorted."""
    if not formats:
        return ()
    if len(formats) == 1:
        ((key, value),) = formats.items()
        mark = _mark(key, value)
        return () if mark is None else (mark,)
    return tuple(sorted(set(visible_marks(formats).values())))


def visible_marks(formats: Formats) -> dict[str, Mark]:
    """Map each format key that markdown can express to its mark.

    Only the first of several links, by key, is visible.
    """
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
    """Tell whether a format is a link that markdown can express, visible or not."""
    mark = _mark(key, value)
    return mark is not None and mark.kind == "link"


def mark_value(mark: Mark, old: Any = None) -> dict[str, Any]:
    """Return the value to store for a mark.

    Args:
        mark: the mark.
        old: the value it replaces; other attributes of an old link (``target``, for one) are kept.
    """
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
    """Return an attribute as an integer within the bounds; the default when it is no number."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return max(low, min(high, int(value)))


def text_of(value: Any) -> str:
    """Return an attribute that is text, '' for anything else."""
    return value if isinstance(value, str) else ""


def canonical(value: Any, levels: int = _VALUE_LEVELS) -> Any:
    """Return a stored value in a form that compares as JavaScript would.

    Booleans are never numbers, integral floats equal integers, NaN equals itself. What lies deeper
    than ``levels`` becomes a digest, because values may nest deeper than Python can compare.
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
    """Hash a value of any depth; equal values have equal hashes. Iterative."""
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


def js_equal(a: Any, b: Any) -> bool:
    """Tell whether two stored values are equal to JavaScript."""
    return bool(canonical(a) == canonical(b))
