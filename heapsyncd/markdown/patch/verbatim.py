"""Find blocks that already exist in the source, to copy them unchanged."""

from collections.abc import Callable

from heapsyncd.markdown.patch.edit_buffer import EditBuffer, span_of
from heapsyncd.markdown.source import Trace
from heapsyncd.tree import Block

_KINDS = frozenset({"paragraph", "heading", "code", "table", "quote"})
_MAX_CHARS = 50_000


class Verbatim:
    """Looks up the old tree's blocks by value.

    Args:
        buffer: the source.
        tree: its tree.
        trace: of the tree.
        parse: reads a text as the source is read.
        definitions: link definitions needed to read a part of the text.
    """

    def __init__(
        self,
        buffer: EditBuffer,
        tree: Block,
        trace: Trace,
        parse: Callable[[str], Block],
        definitions: str,
    ) -> None:
        self._buffer = buffer
        self._tree = tree
        self._trace = trace
        self._parse = parse
        self._definitions = definitions
        self._found: dict[Block, Block] | None = None

    def lines(self, block: Block) -> list[str] | None:
        """Return a block's source lines without its container's prefix.

        None if there is no such block, or if its lines read alone are a different block.
        """
        if block.kind not in _KINDS:
            return None
        if self._found is None:
            blocks = [b for b in self._tree.walk() if b.kind in _KINDS]
            self._found = {b: b for b in reversed(blocks)}
        old = self._found.get(block)
        text = None if old is None else self._text(old)
        # Link definitions are kept separately. Copied here, they would be duplicated.
        if text is None or len(text) > _MAX_CHARS or "]:" in text:
            return None
        definitions = self._definitions if "[" in text else ""
        is_it = self._parse(text + definitions).children == (block,)
        return text.split("\n") if is_it else None

    def _text(self, old: Block) -> str | None:
        """Return a block's source without its container's prefix, None if that is unclear."""
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
    """Strip the container's prefix from a line. A lazy continuation line may lack it."""
    if line.startswith(prefix):
        return line.removeprefix(prefix)
    return line.lstrip(" \t>" if prefix.strip() else " \t")
