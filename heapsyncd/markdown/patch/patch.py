"""A body changed to read as a new tree, everything else of it byte for byte as it was: ``F'``.

First the finest edits are tried: characters inside a line, lines of one block. The result is read
back; where it is not the tree, the blocks there are written in coarser steps, at last the whole
body. Correctness never rests on the edits being clever, only locality does.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate

from heapsyncd.diff import equal_ends
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.blocks import Relines, as_families
from heapsyncd.markdown.patch.context import LAST, PatchContext
from heapsyncd.markdown.patch.dirty_range import parts
from heapsyncd.markdown.patch.edit_buffer import EditBuffer, OverlapError
from heapsyncd.markdown.patch.link_definitions import definition_lines, residue
from heapsyncd.markdown.patch.verbatim import Verbatim
from heapsyncd.markdown.read.blocks import read
from heapsyncd.markdown.read.parse import Section, Sections, parse
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.style import Style
from heapsyncd.markdown.style_detection import learn, newline_of
from heapsyncd.markdown.write.render import render
from heapsyncd.tree import Block, Span

_TRIES = 16
_STUDIED = 65_536
"""Characters: so much of a body shows its style."""


def patch(body: str, new: Block, links: Links) -> str:
    """The body with the lines of changed blocks changed.

    Args:
        body: the text as it is; ``parse(body, links)`` is the tree it shows.
        new: the tree it is to show, canonical.
        links: for both.

    Returns:
        A body that ``parse`` reads as ``new`` (as far as ``render`` can write it at all); ``body``
        itself when it does already. Link definitions are kept, whatever becomes of the block they
        stand in.
    """
    found = Sections.of(body, links)
    old, wanted = found.blocks(), new.children
    first, last = equal_ends(old, wanted)
    if first == len(old) == len(wanted):
        return body
    learned = cache(lambda: learn(body, (s.style(links) for s in _first(found.found, _STUDIED))))
    for part in parts(found, old, wanted, (first, last)):
        if part.end - part.start == len(body):
            break
        piece = body[part.start : part.end]
        work = _Job(piece, part.wanted, links, learned, opens=not part.start)
        text = body[: part.start] + work.run() + body[part.end :]
        if _reads(text, wanted, links, old, first, last):
            return text
    return _Job(body, wanted, links, learned, opens=True).run()


def _first(found: Sequence[Section], most: int) -> Iterator[Section]:
    """The sections that begin within the first characters of a body."""
    at = 0
    for section in found:
        if at > most:
            return
        yield section
        at += len(section.text)


def _reads(
    text: str,
    wanted: Sequence[Block],
    links: Links,
    old: Sequence[Block],
    first: int,
    last: int,
) -> bool:
    """Whether a text reads as wanted; ``old`` has ``first`` and ``last`` blocks in common with it,
    and what is read of them now is mostly those very blocks.
    """
    blocks = parse(text, links).children
    if len(blocks) != len(wanted):
        return False
    known = [*old[:first], *wanted[first : len(wanted) - last], *old[len(old) - last :]]
    return all(b is k or b == w for b, k, w in zip(blocks, known, wanted, strict=True))


class _Job:
    """One patch: tries, judged by reading back, each coarser where the last one was wrong."""

    def __init__(
        self,
        body: str,
        wanted: Sequence[Block],
        links: Links,
        learned: Callable[[], Style],
        *,
        opens: bool,
    ) -> None:
        self._trace = Trace()
        self._body = body
        self._data = body.encode()
        self._old = read(body, links, self._trace)
        self._trace.wraps.sort(key=lambda w: (w.outer.start, -w.outer.end))
        self._new = Block("doc", (), tuple(wanted))
        self._links = links
        self._learned = learned
        self._newline = newline_of(body)
        self._opens = opens
        self._definitions = residue(self._data, self._old)
        self._widths = [n for _, n in as_families(self._new.children)]
        self._steps: dict[int, int] = {}

    def run(self) -> str:
        for _ in range(_TRIES):
            text = self._try()
            if text is None:
                self._coarser(range(len(self._widths)))
                continue
            found = parse(text, self._links)
            if found == self._new and not self._opens_front(text):
                return text
            if not self._widen(found):
                break
        return self._whole()

    def _try(self) -> str | None:
        """The body after one set of edits; None when they overlap."""
        sheet = EditBuffer(self._data, self._newline.encode())
        notes = "".join(f"\n\n{definition_lines(self._data, d)}" for d in self._definitions)
        standing = Verbatim(sheet, self._old, self._trace, self._links, notes)
        bench = PatchContext(sheet, self._links, self._learned, self._trace, notes, standing)
        Relines(bench).document(self._old, self._new, self._steps)
        try:
            text = sheet.result().decode()
        except OverlapError:
            return None
        lost = [
            d
            for d in self._definitions
            if any(e.start <= d.start and d.end <= e.end for e in sheet.edits)
        ]
        return text + self._tail(text, lost)

    # Link definitions

    def _tail(self, text: str, definitions: Iterable[Span]) -> str:
        """Definitions for the end of a text, that stood in what was rewritten."""
        newline = self._newline
        texts = (definition_lines(self._data, d) for d in definitions)
        lines = [text.replace("\n", newline) + newline for text in texts]
        if not lines or not text:
            return "".join(lines)
        end = "" if text.endswith("\n") else newline
        gap = "" if text.endswith(newline * 2) else newline
        return end + gap + "".join(lines)

    def _opens_front(self, text: str) -> bool:
        """Whether the body would now be taken for front matter."""
        if not self._opens or not text.startswith("---"):
            return False
        opens = bool(frontmatter.split(text)[0].raw)
        return opens and not frontmatter.split(self._body)[0].raw

    # Widening

    def _widen(self, found: Block) -> bool:
        """Coarser steps where it reads wrong, then around there; False when there are none."""
        first, last = equal_ends(self._new.children, found.children)
        end = max(len(self._new.children) - last, first + 1)
        inside, at = [], 0
        for k, width in enumerate(self._widths):
            if at < end and at + width > first:
                inside.append(k)
            at += width
        if len(found.children) < len(self._new.children):
            # Something ran into the block before it: it is the second that must be set apart.
            second = self._family(first + 1)
            if second > inside[0] and not self._steps.get(second) and self._coarser([second]):
                return True
            merged = [k for k in (*inside[1:], inside[-1] + 1) if not self._steps.get(k)]
            if self._coarser(merged if len(inside) > 1 else merged[-1:]):
                return True
        around = range(min(inside, default=len(self._widths)) - 1, max(inside, default=-1) + 2)
        return self._coarser(inside) or self._coarser(around)

    def _family(self, child: int) -> int:
        """The index among ``as_families`` of the one that holds a child."""
        ends = list(accumulate(self._widths))
        return bisect_right(ends, child)

    def _coarser(self, which: Iterable[int]) -> bool:
        """One step more for these top-level blocks; False when all are whole already."""
        raised = False
        for k in which:
            step = self._steps.get(k, 0)
            if 0 <= k < len(self._widths) and step < LAST:
                self._steps[k] = step + 1
                raised = True
        return raised

    def _whole(self) -> str:
        """Everything written anew, definitions at the end."""
        text = ""
        for style in (self._learned(), Style(newline=self._newline)):
            tail = self._tail("x" + style.newline if self._new.children else "", self._definitions)
            text = render(self._new, self._links, style, tail=tail)
            if parse(text, self._links) == self._new:
                break
        return text
