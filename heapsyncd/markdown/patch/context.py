"""What the parts of a patch share, and how much it may rewrite just now."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
"""Steps: 0 inside lines, 1 whole leaves, 2 with more escapes, 3 whole top-level blocks, 4 with
every punctuation character escaped.
"""
_MIN_ESCAPE_LEVELS = (0, 0, 1, 0, 2)
"""The least rung for what is written anew, by step; with 0 and 3, what stood somewhere already is
written as it stood there.
"""
_BULLETS = "-*+"
_DELIMITERS = ".)"

Group = tuple[range, range, tuple[int, int] | None]


@dataclass(slots=True)
class PatchContext:
    """One try of a patch.

    ``sheet``: the source and the edits. ``links``: names and ids. ``learned``: the style for what
    is written anew; to learn it means to read much of the body. ``trace``: of the old tree.
    ``notes``: link definitions to read a part of the text with. ``standing``: the old blocks.
    ``step``: see ``WHOLE``.
    """

    buffer: EditBuffer
    links: Links
    body_style: Callable[[], Style]
    trace: Trace
    definitions: str
    verbatim: Verbatim
    step: int = 0

    def line_prefix(self, block: Block, prefix: bytes) -> bytes:
        """What the lines of a block that has its own begin with, the indentation of code aside;
        ``prefix`` is its container's, which one in a footnote gets when all else failed.
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
        """A bullet and a number delimiter that no list beside has."""
        style = self.body_style()
        near = [b for b in (before, after) if b is not None and b.kind.endswith("_list")]
        marks = {self.buffer.marker(b.children[0]).decode()[-1] for b in near}
        bullets = [c for c in style.bullet + _BULLETS if c not in marks]
        ends = [c for c in style.delimiter + _DELIMITERS if c not in marks]
        return bullets[0], ends[0] if ends else style.delimiter

    def writer_between(
        self, before: Block | None, added: Sequence[Block], after: Block | None
    ) -> Writer:
        """A writer for new blocks: a list at either end of them is none with the neighbour's."""
        return self.writer(
            before if added[0].kind in LISTS else None, after if added[-1].kind in LISTS else None
        )

    def writer(self, before: Block | None = None, after: Block | None = None) -> Writer:
        """A writer whose lists don't run into those of the neighbours."""
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
    """Old indexes that go, new ones that come, and then a pair that stays.

    As many blocks of the same kinds in one gap are pairs, too, however little they have in common:
    an edit keeps more of the source than writing anew.
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
