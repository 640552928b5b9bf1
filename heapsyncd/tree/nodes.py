"""Define the values of a view: marks, runs, atoms, blocks, and their positions in the source.

Only the reader that makes them changes them. So none is ever in a cycle, and Python's collector
need not visit them (``gc=False``): a note consists of some hundreds.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

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

LISTS = frozenset({"bullet_list", "ordered_list", "todo_list"})
"""The kinds of lists."""
LEAVES = frozenset({"paragraph", "heading", "code", "cell"})
"""Kinds whose content is inline (a code block's is one text)."""
CONTAINERS = LISTS | {"quote", "item", "table", "row"}
"""Kinds that say nothing when nothing is in them."""

DEEPEST = 100
"""The most containers (quotes, lists, items) nested in one another, in files and in documents."""
MOST_EMPTY_CELLS = 20_000
"""A table with more empty cells, once its rows are padded, is not shown as one: a long row beside
many short ones would take all memory. Files and documents use the same limit, or one could not
show the other.
"""


class Mark(Struct, frozen=True, order=True, gc=False):
    """A mark that markdown can express; ``href`` and ``title`` belong to ``link``."""

    kind: MarkType
    href: str = ""
    title: str = ""


Marks = tuple[Mark, ...]
"""Marks in order, without repetition."""


class Piece(Struct, frozen=True, gc=False):
    """The source position of part of a run: what follows ``at`` is at ``offset`` in ``path``.

    For a document, ``path`` is the child indexes from the root fragment to the XmlText, and
    ``offset`` counts UTF-8 bytes in it. For a file, ``path`` is empty and ``offset`` counts bytes
    of the source; a character that is written otherwise than it reads (an entity, the newline of a
    wrapped line) is a piece of its own. A run has one piece for each stretch without anything
    hidden in between (an escape, a hidden character, another XmlText).
    """

    at: int
    path: tuple[int, ...]
    offset: int


class Span(Struct, frozen=True, gc=False):
    """A half-open range of source bytes."""

    start: int
    end: int


class Text(Struct, eq=False, gc=False):
    """A run of text with the same marks, compared without its pieces."""

    text: str
    marks: Marks = ()
    pieces: tuple[Piece, ...] = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not Text:
            return NotImplemented
        return self.text == other.text and self.marks == other.marks

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.text, self.marks))

    def cut(self, start: int, end: int) -> "Text":
        """Return the characters ``start`` to ``end``, with their pieces."""
        pieces = []
        for k, p in enumerate(self.pieces):
            stop = self.pieces[k + 1].at if k + 1 < len(self.pieces) else len(self.text)
            first, last = max(p.at, start), min(stop, end)
            if first < last:
                skipped = len(self.text[p.at : first].encode("utf-8", "surrogatepass"))
                pieces.append(Piece(first - start, p.path, p.offset + skipped))
        return Text(self.text[start:end], self.marks, tuple(pieces))

    def join(self, other: "Text") -> "Text":
        """Return this run followed by another, with this one's marks."""
        n = len(self.text)
        more = tuple(Piece(p.at + n, p.path, p.offset) for p in other.pieces)
        return Text(self.text + other.text, self.marks, self.pieces + more)


class Atom(Struct, eq=False, gc=False):
    """An inline item that is not text, compared without its position.

    ``break``: no attrs. ``image``: src, alt, title. ``mention``: id (of the block), label (None:
    the note's own name). ``opaque``: label, digest.
    """

    kind: AtomType
    attrs: Attrs = ()
    path: tuple[int, ...] | None = None
    span: Span | None = None

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not Atom:
            return NotImplemented
        return self.kind == other.kind and self.attrs == other.attrs

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.kind, self.attrs))

    def get(self, name: str) -> Scalar:
        """Return the attribute's value; None when absent."""
        for key, value in self.attrs:
            if key == name:
                return value
        return None


Inline = Text | Atom


class Block(Struct, eq=False, gc=False):
    """A block node, compared by kind, attrs and content.

    ``path`` and ``span`` are its source position: the child indexes from the document's root; the
    bytes of the source from the block's first to the end of its last line, without that line's
    newline.
    """

    kind: BlockType
    attrs: Attrs = ()
    children: tuple["Block", ...] = ()
    inline: tuple[Inline, ...] = ()
    text: str = ""
    path: tuple[int, ...] | None = None
    span: Span | None = None
    cached_hash: int = 0
    equal: object | None = None
    """A token shared by blocks that were found equal. A note's text and its document are compared
    again and again, and little of them changes.
    """

    def __post_init__(self) -> None:
        # Also called where a block is replaced: the new one has none of the former's values.
        self.cached_hash = 0
        self.equal = None

    def __hash__(self) -> int:
        # Computed on first access, from the leaves up: trees may be deeper than Python's stack.
        todo = [self] if not self.cached_hash else []
        while todo:
            block = todo[-1]
            wanting = [c for c in block.children if not c.cached_hash]
            if wanting:
                todo += wanting
                continue
            key = hash((block.kind, block.attrs, block.children, block.inline, block.text))
            block.cached_hash = key or 1
            todo.pop()
        return self.cached_hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Block):
            return NotImplemented
        pairs = [(self, other)]
        while pairs:
            a, b = pairs.pop()
            if a is b or (a.equal is not None and a.equal is b.equal):
                continue
            if not _same_but_children(a, b) or len(a.children) != len(b.children):
                return False
            if a.children:
                if a.cached_hash and b.cached_hash and a.cached_hash != b.cached_hash:
                    return False
                pairs += zip(a.children, b.children, strict=True)
            else:
                a.equal = b.equal = a.equal or object()
        self.equal = other.equal = self.equal or object()
        return True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def get(self, name: str) -> Scalar:
        """Return the attribute's value; None when absent."""
        for key, value in self.attrs:
            if key == name:
                return value
        return None

    def with_children(self, children: Sequence["Block"]) -> "Block":
        """Return the same node with other children."""
        return Block(
            self.kind,
            self.attrs,
            tuple(children),
            self.inline,
            self.text,
            self.path,
            self.span,
        )

    def walk(self) -> Iterator["Block"]:
        """Yield this block and everything below it, in document order."""
        todo = [self]
        while todo:
            block = todo.pop()
            yield block
            todo += reversed(block.children)

    def words(self) -> str:
        """Return all text below this block, blocks separated by newlines; for similarity and
        search.
        """
        if not self.children:
            return _own_words(self)
        return _words_of(self.walk())

    def all_words(self) -> str:
        """Return ``words`` and the words in the labels of nodes that markdown cannot express."""
        blocks = list(self.walk())
        unsaid = [
            words
            for block in blocks
            for item in (block, *block.inline)
            if (words := _unsaid_words(item))
        ]
        return "\n".join([_words_of(blocks), *unsaid])


def _words_of(blocks: Iterable[Block]) -> str:
    return "\n".join([t for t in map(_own_words, blocks) if t])


def _own_words(block: Block) -> str:
    return block.text if block.kind == "code" else "".join([plain(i) for i in block.inline])


def _unsaid_words(item: Block | Inline) -> str:
    """Return the words in an opaque node's label, which follow the node's name."""
    if isinstance(item, Text) or item.kind != "opaque":
        return ""
    return str(item.get("label")).partition(" ")[2]


def _same_but_children(a: Block, b: Block) -> bool:
    if a.kind != b.kind or a.text != b.text or len(a.inline) != len(b.inline):
        return False
    if (a.attrs or b.attrs) and (a.attrs != b.attrs or _types(a) != _types(b)):
        return False
    # Equals ``a.inline == b.inline``, without a call for each run, since it runs for every text.
    for x, y in zip(a.inline, b.inline, strict=True):
        if x.__class__ is Text and y.__class__ is Text:
            if x.text != y.text or x.marks != y.marks:
                return False
        elif x != y:
            return False
    return True


def _types(block: Block) -> list[type]:
    """Return the types of the attributes: True equals 1 but must not compare as equal."""
    return [type(value) for _, value in block.attrs]


def attrs(**values: Scalar) -> Attrs:
    """Make attributes in canonical order (by name)."""
    return tuple(sorted(values.items()) if len(values) > 1 else values.items())


def marks(*items: Mark) -> Marks:
    """Make marks in canonical order."""
    return tuple(sorted(set(items))) if len(items) > 1 else items


def plain(item: Inline) -> str:
    """Return an item as text: a break is a newline, an image its alt, a mention its label."""
    if isinstance(item, Text):
        return item.text
    if item.kind == "break":
        return "\n"
    return str(item.get({"image": "alt", "mention": "label"}.get(item.kind, "")) or "")
