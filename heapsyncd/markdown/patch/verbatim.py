"""Blocks that are in the source already, to be written elsewhere just as they stand there."""

from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.edit_buffer import EditBuffer, span_of
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.source import Trace
from heapsyncd.tree import Block

_KINDS = frozenset({"paragraph", "heading", "code", "table", "quote"})
_MAX_CHARS = 50_000


class Verbatim:
    """The old tree's blocks by what they are.

    Args:
        sheet: the source.
        tree: its tree.
        trace: of the tree.
        links: names and ids.
        notes: link definitions to read a part of the text with.
    """

    def __init__(
        self, buffer: EditBuffer, tree: Block, trace: Trace, links: Links, definitions: str
    ) -> None:
        self._buffer = buffer
        self._tree = tree
        self._trace = trace
        self._links = links
        self._definitions = definitions
        self._found: dict[Block, Block] | None = None

    def lines(self, block: Block) -> list[str] | None:
        """A block's lines as they stand, without their container's prefix; None when there is no
        such block, or its lines alone are not it.
        """
        if block.kind not in _KINDS:
            return None
        if self._found is None:
            blocks = [b for b in self._tree.walk() if b.kind in _KINDS]
            self._found = {b: b for b in reversed(blocks)}
        old = self._found.get(block)
        text = None if old is None else self._text(old)
        # A definition stays where it is, or goes to the end: it would stand twice.
        if text is None or len(text) > _MAX_CHARS or "]:" in text:
            return None
        definitions = self._definitions if "[" in text else ""
        is_it = parse(text + definitions, self._links).children == (block,)
        return text.split("\n") if is_it else None

    def _text(self, old: Block) -> str | None:
        start, end = span_of(old)
        first, *rest = self._buffer.data[start:end].decode().replace("\r\n", "\n").split("\n")
        if start in self._trace.indented_code:
            return None
        if not rest:
            return first
        if self._buffer.has_own_line(old):
            prefix = self._buffer.indent(old).decode()
            bare = [without_prefix(line, prefix) for line in rest]
        elif old.kind == "paragraph":
            bare = [line.lstrip(" \t>") for line in rest]
        else:
            return None
        return "\n".join([first, *bare])


def without_prefix(line: str, prefix: str) -> str:
    """A line without its container's prefix, which a lazy one lacks."""
    if line.startswith(prefix):
        return line.removeprefix(prefix)
    return line.lstrip(" \t>" if prefix.strip() else " \t")
