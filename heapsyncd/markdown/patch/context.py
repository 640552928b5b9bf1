"""The state that the parts of one patch attempt share, and how much it may rewrite."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.diff import align
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.edit_buffer import EditBuffer, span_of
from heapsyncd.markdown.patch.verbatim import Verbatim
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.style import Style
from heapsyncd.markdown.write.blocks import Writer
from heapsyncd.tree import LISTS, Block

STEP_BLOCK = 3
STEP_ESCAPE_ALL = 4
"""How coarsely a block is edited, its *step*.

0: inside its lines. 1: whole leaves. 2: whole leaves with more escapes. 3 (``STEP_BLOCK``): the
whole top-level block. 4 (``STEP_ESCAPE_ALL``): the whole block with every punctuation character
escaped.
"""
_MIN_ESCAPE_LEVELS = (0, 0, 1, 0, 2)
"""The lowest escape level for new text, by step.

At steps 0 and 3, a block that exists somewhere in the source is copied from there.
"""
_BULLETS = "-*+"
_DELIMITERS = ".)"

Group = tuple[range, range, tuple[int, int] | None]
"""Removed indexes, added indexes, and the pair of indexes that follows them and stays."""


class PatchContext(Struct):
    """One attempt at a patch.

    ``buffer``: the source and its edits. ``links``: names and ids. ``parse``: reads a text as the
    source is read. ``body_style``: returns the
    body's style; detecting it reads much of the body. ``trace``: of the old tree. ``definitions``:
    link definitions needed to read a part of the text. ``verbatim``: finds the source of old
    blocks. ``step``: of the block being edited, see ``STEP_ESCAPE_ALL``.
    """

    buffer: EditBuffer
    links: Links
    parse: Callable[[str], Block]
    body_style: Callable[[], Style]
    trace: Trace
    definitions: str
    verbatim: Verbatim
    step: int = 0

    def line_prefix(self, block: Block, prefix: bytes) -> bytes:
        """Return what each line of a block begins with, without a code block's own indentation.

        Args:
            block: a block that begins its own line.
            prefix: the container's prefix. It is used for blocks in a footnote once finer steps
                failed.
        """
        start, line_prefix = span_of(block)[0], self.buffer.indent(block)
        is_code, is_in_footnote = (
            start in self.trace.indented_code,
            start in self.trace.in_footnote,
        )
        if (is_code and not is_in_footnote) or (is_in_footnote and self.step >= STEP_BLOCK):
            return prefix
        return line_prefix.removesuffix(b"    ") if is_code else line_prefix

    def list_style(self, before: Block | None, after: Block | None) -> tuple[str, str]:
        """Return a bullet and a number delimiter that neither neighbouring list uses."""
        style = self.body_style()
        near = [b for b in (before, after) if b is not None and b.kind.endswith("_list")]
        marks = {self.buffer.marker(b.children[0]).decode()[-1] for b in near}
        bullets = [c for c in style.bullet + _BULLETS if c not in marks]
        ends = [c for c in style.delimiter + _DELIMITERS if c not in marks]
        return bullets[0], ends[0] if ends else style.delimiter

    def writer_between(
        self, before: Block | None, added: Sequence[Block], after: Block | None
    ) -> Writer:
        """Return a writer for added blocks whose lists do not continue a neighbouring list."""
        return self.writer(
            before if added[0].kind in LISTS else None, after if added[-1].kind in LISTS else None
        )

    def writer(self, before: Block | None = None, after: Block | None = None) -> Writer:
        """Return a writer whose lists use other markers than the given neighbours."""
        bullet, delimiter = self.list_style(before, after)
        width = None if self.step else self.body_style().width
        style = replace(self.body_style(), bullet=bullet, delimiter=delimiter, width=width)
        if self.step == STEP_ESCAPE_ALL:
            style = replace(style, indent="")
        if self.step not in {0, STEP_BLOCK}:
            return Writer(
                self.links, style, checked=True, min_escape_level=_MIN_ESCAPE_LEVELS[self.step]
            )
        return Writer(self.links, style, checked=True, verbatim=self.verbatim.lines)


def groups(old: Sequence[Block], new: Sequence[Block]) -> Iterator[Group]:
    """Pair blocks and yield what is removed, what is added and the pair that stays.

    Blocks in a gap are also paired if both sides have the same kinds in the same order, however
    little they have in common: an edit keeps more of the source than a rewrite.
    """
    i = j = 0
    pairs: list[tuple[Any, Any]] = [p for p in align(old, new) if None not in p]
    for a, b in [*pairs, (len(old), len(new))]:
        if [x.kind for x in old[i:a]] == [x.kind for x in new[j:b]]:
            for k, m in zip(range(i, a), range(j, b), strict=True):
                yield range(k, k), range(m, m), (k, m)
            i, j = a, b
        yield range(i, a), range(j, b), (a, b) if a < len(old) else None
        i, j = a + 1, b + 1
