"""The markdown view: one kind of tree for a parsed file and for a document.

``P(text)`` (markdown.parse) and ``V(document)`` (document.tree) both yield it, so that they can
be compared: a file shows a document's state if and only if the two trees are equal. Equality
and hash look only at what markdown can say; where a node came from (``path``, ``span``,
``pieces``) is carried along and never compared.

Block kinds and what they hold:

=============  =============================  ==========================================
kind           attrs                          content
=============  =============================  ==========================================
doc            -                              children: blocks
paragraph      -                              inline
heading        level 1..6                     inline
code           info (language, '' when none)  text, exact, without the last line's newline
quote          -                              children: blocks
bullet_list    -                              children: item
ordered_list   start 0..999999999             children: item
todo_list      -                              children: item
item           checked (todo_list only)       children: blocks
rule           -                              -
table          -                              children: row; first row is the header
row            -                              children: cell, as many in each row
cell           -                              inline
files          -                              attr ``keys``: files_v0 keys, a line each, not empty
opaque         label, digest (6 hex)          -  (a node markdown can't say)
=============  =============================  ==========================================

Canonical form (``inline`` makes it, both sides use it): adjacent runs with equal marks are one;
no empty run; no whitespace at a mark's edge, at either end of the block or beside a break; a
paragraph without inline is left out. Runs marked ``code`` are exact: their whitespace is text. So
are NBSP and the other Unicode spaces everywhere. Text holds no newline, CR or NUL; an opaque's
label is as ``opaque_label`` leaves it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

BlockType = Literal[
    "doc",
    "paragraph",
    "heading",
    "code",
    "quote",
    "bullet_list",
    "ordered_list",
    "todo_list",
    "item",
    "rule",
    "table",
    "row",
    "cell",
    "files",
    "opaque",
]
MarkType = Literal["bold", "italic", "strike", "underline", "code", "link"]
AtomType = Literal["break", "image", "mention", "opaque"]
Scalar = str | int | bool | None
Attrs = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A mark markdown can say; ``href`` and ``title`` belong to ``link``."""

    kind: MarkType
    href: str = ""
    title: str = ""


Marks = tuple[Mark, ...]
"""Sorted, without repetition."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Where part of a run came from: what follows ``at`` stands at ``offset`` in ``path``.

    For a document: ``path`` are the child indexes from the root fragment to the XmlText,
    ``offset`` is in UTF-8 bytes. For a file: ``path`` is empty, ``offset`` is in bytes of the
    source, and a character written otherwise than it reads (an entity, a wrapped line's newline)
    is a piece of its own. A run has one piece per stretch without anything hidden (an escape, a
    hidden character, another XmlText) in between.
    """

    at: int
    path: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of source bytes."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text with the same marks."""

    text: str
    marks: Marks = ()
    pieces: tuple[Piece, ...] = field(default=(), compare=False, repr=False)

    def cut(self, start: int, end: int) -> "Text":
        """The characters ``start`` to ``end``, pieces moved along."""
        pieces = []
        for k, p in enumerate(self.pieces):
            stop = self.pieces[k + 1].at if k + 1 < len(self.pieces) else len(self.text)
            first, last = max(p.at, start), min(stop, end)
            if first < last:
                skipped = len(self.text[p.at : first].encode("utf-8", "surrogatepass"))
                pieces.append(Piece(first - start, p.path, p.offset + skipped))
        return Text(self.text[start:end], self.marks, tuple(pieces))

    def join(self, other: "Text") -> "Text":
        """This run followed by another, under this one's marks."""
        n = len(self.text)
        more = tuple(Piece(p.at + n, p.path, p.offset) for p in other.pieces)
        return Text(self.text + other.text, self.marks, self.pieces + more)


@dataclass(frozen=True, slots=True)
class Atom:
    """An inline thing that is not text.

    ``break``: no attrs. ``image``: src, alt, title. ``mention``: id (block), label (None: the
    note's own name). ``opaque``: label, digest.
    """

    kind: AtomType
    attrs: Attrs = ()
    path: tuple[int, ...] | None = field(default=None, compare=False, repr=False)
    span: Span | None = field(default=None, compare=False, repr=False)

    def get(self, name: str) -> Scalar:
        """The attribute's value, None when absent."""
        return dict(self.attrs).get(name)


Inline = Text | Atom


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """A block node, compared by kind, attrs and content.

    ``path`` and ``span`` say where it came from: child indexes from the document's root; the bytes
    of the source from the block's first to the end of its last line, without that line's newline.
    """

    kind: BlockType
    attrs: Attrs = ()
    children: tuple["Block", ...] = ()
    inline: tuple[Inline, ...] = ()
    text: str = ""
    path: tuple[int, ...] | None = field(default=None, repr=False)
    span: Span | None = field(default=None, repr=False)
    cached_hash: int = field(init=False, repr=False, default=0)

    def __hash__(self) -> int:
        # Computed when first asked for, from the leaves up: no recursion, trees may be deeper than
        # Python's stack.
        todo = [self] if not self.cached_hash else []
        while todo:
            block = todo[-1]
            wanting = [c for c in block.children if not c.cached_hash]
            if wanting:
                todo += wanting
                continue
            key = hash((block.kind, block.attrs, block.children, block.inline, block.text))
            object.__setattr__(block, "cached_hash", key or 1)
            todo.pop()
        return self.cached_hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Block):
            return False
        pairs = [(self, other)]
        while pairs:
            a, b = pairs.pop()
            if a is b:
                continue
            if not a._is_like(b):
                return False
            pairs += zip(a.children, b.children, strict=True)
        return True

    def _is_like(self, other: "Block") -> bool:
        """Whether the two are equal when their children are."""
        return (
            self.kind == other.kind
            and (
                not self.cached_hash
                or not other.cached_hash
                or self.cached_hash == other.cached_hash
            )
            and self.text == other.text
            and len(self.children) == len(other.children)
            and self.attrs == other.attrs
            # bool equals int in Python: True must not pass for 1.
            and [type(v) for _, v in self.attrs] == [type(v) for _, v in other.attrs]
            and self.inline == other.inline
        )

    def get(self, name: str) -> Scalar:
        """The attribute's value, None when absent."""
        return dict(self.attrs).get(name)

    def with_children(self, children: Sequence["Block"]) -> "Block":
        """The same node with other children."""
        return replace(self, children=tuple(children))

    def walk(self) -> Iterator["Block"]:
        """This block and everything below it, in document order."""
        todo = [self]
        while todo:
            block = todo.pop()
            yield block
            todo += reversed(block.children)

    def words(self) -> str:
        """All text below this block, blocks separated by newlines; for similarity and search."""
        texts = (
            b.text if b.kind == "code" else "".join(plain(i) for i in b.inline)
            for b in self.walk()
        )
        return "\n".join(t for t in texts if t)


def attrs(**values: Scalar) -> Attrs:
    """Attributes in their canonical order (by name)."""
    return tuple(sorted(values.items()))


def marks(*items: Mark) -> Marks:
    """Marks in their canonical order."""
    return tuple(sorted(set(items)))


def plain(item: Inline) -> str:
    """An inline item as text: a break is a newline, an image its alt, a mention its label."""
    if isinstance(item, Text):
        return item.text
    if item.kind == "break":
        return "\n"
    return str(item.get({"image": "alt", "mention": "label"}.get(item.kind, "")) or "")


def opaque_label(text: str) -> str:
    """The canonical form of an opaque's label: what an HTML comment on one line can carry.

    Single spaces, no run of hyphens, no ``<`` or ``>``, not empty, at most 80 characters.
    """
    words = re.sub(r"[<>\x00-\x1f\x7f]", " ", text)
    words = re.sub(r"-(?=-)", "- ", " ".join(words.split(" "))).strip(" -:")
    words = re.sub(r" +", " ", words)[:80].strip(" -:")
    return words or "node"


_BLANK = " \t\n\r\f\v"
"""What markdown strips at edges; NBSP and other Unicode spaces are text."""


def is_blank(item: Inline) -> bool:
    """Whether the item is nothing but whitespace that has no meaning at an edge."""
    return isinstance(item, Text) and not item.text.strip(_BLANK) and not _is_code(item.marks)


def inline(items: Iterable[Inline]) -> tuple[Inline, ...]:
    """The canonical form of inline content (see the module's docstring), pieces kept right.

    Text must not hold newlines (the caller turns them into breaks or spaces).
    """
    given = tuple(items)
    if _is_canonical(given):
        return given
    merged: list[Inline] = []
    for item in _bare_blanks(_blanks_apart(given)):
        last = merged[-1] if merged else None
        if isinstance(item, Text) and isinstance(last, Text) and last.marks == item.marks:
            merged[-1] = last.join(item)
        else:
            merged.append(item)
    return tuple(_trim(merged))


def _is_canonical(items: tuple[Inline, ...]) -> bool:
    """Whether content is plainly canonical; False may also mean that it takes a closer look."""
    marks: Marks | None = None
    for item in items:
        if not isinstance(item, Text):
            if item.kind == "break":
                return False
            marks = None
            continue
        text = item.text
        if item.marks == marks or not text:
            return False
        if item.marks and (text[0] in _BLANK or text[-1] in _BLANK):
            return False
        marks = item.marks
    ends = (items[0], items[-1]) if items else ()
    return not any(isinstance(x, Text) and (x.text != x.text.strip(_BLANK)) for x in ends)


def _is_code(marks: Marks) -> bool:
    return any(m.kind == "code" for m in marks)


def _blanks_apart(items: Iterable[Inline]) -> list[Inline]:
    """Cut the whitespace at both ends of every marked run off into runs of its own.

    Code runs stay whole: what stands in them is exact.
    """
    flat: list[Inline] = []
    for item in items:
        if not isinstance(item, Text) or not item.marks or _is_code(item.marks):
            if not isinstance(item, Text) or item.text:
                flat.append(item)
            continue
        left = len(item.text) - len(item.text.lstrip(_BLANK))
        right = max(left, len(item.text.rstrip(_BLANK)))
        if (left, right) == (0, len(item.text)):
            flat.append(item)
        else:
            cuts = ((0, left), (left, right), (right, len(item.text)))
            flat += [item.cut(a, b) for a, b in cuts if a < b]
    return flat


def _bare_blanks(flat: list[Inline]) -> Iterator[Inline]:
    """Take off a blank run's marks, but those that the nearest words on both sides have too.

    So ``**a** **b**`` keeps its bare space, and bold text with an italic end keeps its bold one.
    An atom has no marks and so parts what stands around it.
    """
    after: list[frozenset[Mark]] = []
    seen: frozenset[Mark] = frozenset()
    for x in reversed(flat):
        after.append(seen)
        if not is_blank(x):
            seen = frozenset(x.marks) if isinstance(x, Text) else frozenset()
    seen = frozenset()
    for x, later in zip(flat, reversed(after), strict=True):
        if not is_blank(x):
            seen = frozenset(x.marks) if isinstance(x, Text) else frozenset()
        elif isinstance(x, Text) and x.marks:
            yield replace(x, marks=tuple(m for m in x.marks if m in seen and m in later))
            continue
        yield x


def _trim(items: list[Inline]) -> list[Inline]:
    """Drop whitespace at both ends and beside breaks."""
    out: list[Inline] = []
    for k, item in enumerate(items):
        if not isinstance(item, Text) or _is_code(item.marks):
            out.append(item)
            continue
        start, end = 0, len(item.text)
        if _is_edge(items, k - 1):
            start = end - len(item.text.lstrip(_BLANK))
        if _is_edge(items, k + 1):
            end = len(item.text.rstrip(_BLANK))
        if start < end:
            out.append(item if (start, end) == (0, len(item.text)) else item.cut(start, end))
    # A run that vanished may have laid bare the whitespace of its neighbour.
    return out if len(out) == len(items) else _trim(out)


def _is_edge(items: list[Inline], k: int) -> bool:
    if not 0 <= k < len(items):
        return True
    item = items[k]
    return isinstance(item, Atom) and item.kind == "break"
