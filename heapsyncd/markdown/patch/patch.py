"""Change a body to read as a new tree and keep every other byte (``patch`` in the laws).

The finest edits are tried first: characters inside a line, lines of one block. The result is read
back. Where it differs from the tree, blocks are edited in coarser steps, finally the whole body.
So correctness never depends on the edits being clever; only locality does.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import accumulate

from msgspec.structs import replace

from heapsyncd.diff import equal_ends
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.blocks import BlockEdits, merge_task_lists
from heapsyncd.markdown.patch.context import STEP_ESCAPE_ALL, PatchContext
from heapsyncd.markdown.patch.dirty_range import dirty_ranges
from heapsyncd.markdown.patch.edit_buffer import EditBuffer, OverlapError
from heapsyncd.markdown.patch.link_definitions import definition_lines, link_definitions
from heapsyncd.markdown.patch.verbatim import Verbatim
from heapsyncd.markdown.read.blocks import read
from heapsyncd.markdown.read.parse import Section, Sections, parse
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.style import Style
from heapsyncd.markdown.style_detection import detect_style, newline_of
from heapsyncd.markdown.write.render import render
from heapsyncd.model import LineBreaks
from heapsyncd.tree import Block, Span

_MAX_ATTEMPTS = 16
"""Attempts before the whole body is rewritten."""
_STYLE_SAMPLE = 65_536
"""How many characters of a body are read to detect its style."""


def patch(body: str, new: Block, links: Links, line_breaks: LineBreaks = "space") -> str:
    """Return the body with only the lines of changed blocks changed.

    Args:
        body: the current text; ``parse(body, links, line_breaks)`` is the tree it shows.
        new: the canonical tree it must show.
        links: used for reading and writing.
        line_breaks: what a line end inside a paragraph means.

    Returns:
        A body that ``parse`` reads as ``new``, as far as ``render`` can write ``new`` at all.
        ``body`` itself if it reads so already. Link definitions are kept, whatever happens to the
        block around them.
    """
    found = Sections.of(body, links, line_breaks)
    old, wanted = found.blocks(), new.children
    first, last = equal_ends(old, wanted)
    if first == len(old) == len(wanted):
        return body
    body_style = cache(lambda: _style_of(found, body, links, line_breaks))
    work = partial(_Patch, links=links, line_breaks=line_breaks, body_style=body_style)
    for part in dirty_ranges(found, old, wanted, (first, last)):
        if part.end - part.start == len(body):
            break
        piece = body[part.start : part.end]
        patched = work(piece, part.wanted, at_start=not part.start).run()
        text = body[: part.start] + patched + body[part.end :]
        if _is_as_wanted(parse(text, links, line_breaks).children, wanted, old, first, last):
            return text
    return work(body, wanted, at_start=True).run()


def _style_of(found: Sections, body: str, links: Links, line_breaks: LineBreaks) -> Style:
    """Return the style in which a body is written."""
    hints = (s.style_hints(links) for s in _sample(found.found, _STYLE_SAMPLE))
    return replace(detect_style(body, hints), line_breaks=line_breaks)


def _sample(found: Sequence[Section], most: int) -> Iterator[Section]:
    """Yield the sections that begin within the first ``most`` characters of a body."""
    at = 0
    for section in found:
        if at > most:
            return
        yield section
        at += len(section.text)


def _is_as_wanted(
    blocks: Sequence[Block],
    wanted: Sequence[Block],
    old: Sequence[Block],
    first: int,
    last: int,
) -> bool:
    """Return whether a text was read as the blocks wanted.

    The first ``first`` and the last ``last`` blocks equal those of ``old``. Cached sections yield
    the very same objects for them, which makes the comparison fast.
    """
    if len(blocks) != len(wanted):
        return False
    known = [*old[:first], *wanted[first : len(wanted) - last], *old[len(old) - last :]]
    return all(b is k or b == w for b, k, w in zip(blocks, known, wanted, strict=True))


class _Patch:
    """Patches one range.

    Each attempt is judged by reading the result back. Where it is wrong, the next is coarser.
    """

    def __init__(
        self,
        body: str,
        wanted: Sequence[Block],
        *,
        links: Links,
        line_breaks: LineBreaks,
        body_style: Callable[[], Style],
        at_start: bool,
    ) -> None:
        self._trace = Trace()
        self._body = body
        self._data = body.encode()
        self._old = read(body, links, self._trace, line_breaks)
        self._trace.formulas.sort(key=lambda f: f.start)
        self._trace.mark_ranges.sort(key=lambda w: (w.outer.start, -w.outer.end))
        self._new = Block("doc", (), tuple(wanted))
        self._parse = partial(parse, links=links, line_breaks=line_breaks)
        self._links = links
        self._line_breaks = line_breaks
        self._body_style = body_style
        self._newline = newline_of(body)
        self._at_start = at_start
        self._definitions = link_definitions(self._data, self._old)
        self._merged_counts = [n for _, n in merge_task_lists(self._new.children)]
        self._steps: dict[int, int] = {}

    def run(self) -> str:
        """Return the patched range."""
        for _ in range(_MAX_ATTEMPTS):
            text = self._try()
            if text is None:
                self._raise_steps(range(len(self._merged_counts)))
                continue
            found = self._parse(text)
            if found == self._new and not self._became_front_matter(text):
                return text
            if not self._escalate(found):
                break
        return self._rewrite_all()

    def _try(self) -> str | None:
        """Return the body after one set of edits, None if they overlap."""
        buffer = EditBuffer(self._data, self._newline.encode())
        definitions = "".join(f"\n\n{definition_lines(self._data, d)}" for d in self._definitions)
        verbatim = Verbatim(buffer, self._old, self._trace, self._parse, definitions)
        context = PatchContext(
            buffer,
            self._links,
            self._parse,
            self._body_style,
            self._trace,
            definitions,
            verbatim,
        )
        BlockEdits(context).document(self._old, self._new, self._steps)
        try:
            text = buffer.result().decode()
        except OverlapError:
            return None
        overwritten = [
            d
            for d in self._definitions
            if any(e.start <= d.start and d.end <= e.end for e in buffer.edits)
        ]
        return text + self._trailing_definitions(text, overwritten)

    # Link definitions

    def _trailing_definitions(self, text: str, definitions: Iterable[Span]) -> str:
        """Return definitions to append to a text because what held them was rewritten."""
        newline = self._newline
        texts = (definition_lines(self._data, d) for d in definitions)
        lines = [text.replace("\n", newline) + newline for text in texts]
        if not lines or not text:
            return "".join(lines)
        end = "" if text.endswith("\n") else newline
        gap = "" if text.endswith(newline * 2) else newline
        return end + gap + "".join(lines)

    def _became_front_matter(self, text: str) -> bool:
        """Return whether the start of the body would now be read as front matter."""
        if not self._at_start or not text.startswith("---"):
            return False
        at_start = bool(frontmatter.split(text)[0].raw)
        return at_start and not frontmatter.split(self._body)[0].raw

    # Widening

    def _escalate(self, found: Block) -> bool:
        """Raise the steps where the text reads wrong, then around it.

        Returns False if none can rise.
        """
        first, last = equal_ends(self._new.children, found.children)
        end = max(len(self._new.children) - last, first + 1)
        inside, at = [], 0
        for k, width in enumerate(self._merged_counts):
            if at < end and at + width > first:
                inside.append(k)
            at += width
        if len(found.children) < len(self._new.children):
            # A block was read as part of the one before it. The later one must be separated.
            second = self._merged_index(first + 1)
            if second > inside[0] and not self._steps.get(second) and self._raise_steps([second]):
                return True
            merged = [k for k in (*inside[1:], inside[-1] + 1) if not self._steps.get(k)]
            if self._raise_steps(merged if len(inside) > 1 else merged[-1:]):
                return True
        around = range(
            min(inside, default=len(self._merged_counts)) - 1, max(inside, default=-1) + 2
        )
        return self._raise_steps(inside) or self._raise_steps(around)

    def _merged_index(self, child: int) -> int:
        """Return the index in ``merge_task_lists`` of the block that holds a child."""
        ends = list(accumulate(self._merged_counts))
        return bisect_right(ends, child)

    def _raise_steps(self, which: Iterable[int]) -> bool:
        """Raise the step of these top-level blocks by one.

        Returns False if all are at the last.
        """
        raised = False
        for k in which:
            step = self._steps.get(k, 0)
            if 0 <= k < len(self._merged_counts) and step < STEP_ESCAPE_ALL:
                self._steps[k] = step + 1
                raised = True
        return raised

    def _rewrite_all(self) -> str:
        """Return the whole body rewritten, with the definitions at the end."""
        text = ""
        for style in (self._body_style(), Style(newline=self._newline)):
            tail = self._trailing_definitions(
                "x" + style.newline if self._new.children else "", self._definitions
            )
            text = render(self._new, self._links, style, self._line_breaks, tail=tail)
            if self._parse(text) == self._new:
                break
        return text
