"""A body changed to read as a new tree, everything else of it byte for byte as it was: ``F'``.

First the finest edits are tried: characters inside a line, lines of one block. The result is read
back; where it is not the tree, the blocks there are written in coarser steps, at last the whole
body. Correctness never rests on the edits being clever, only locality does.
"""

from typing import TYPE_CHECKING

from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.events import definitions, newlines
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.learn import learn
from heapsyncd.markdown.parse import parse, read
from heapsyncd.markdown.relines import Relines, as_families
from heapsyncd.markdown.render import render
from heapsyncd.markdown.sheet import OverlapError, Sheet
from heapsyncd.markdown.style import Style
from heapsyncd.tree import Block, Span

if TYPE_CHECKING:
    from heapsyncd.markdown.links import Links

_TRIES = 12


def patch(body: str, new: Block, links: "Links") -> str:
    """The body with the lines of changed blocks changed.

    Args:
        body: the text as it is; ``parse(body, links)`` is the tree it shows.
        new: the tree it is to show, canonical.
        links: for both.

    Returns:
        A body that ``parse`` reads as ``new``; ``body`` itself when it does already. Link
        definitions are kept, whatever becomes of the block they stand in.
    """
    trace = Trace()
    old = read(body, links, trace)
    if old == new:
        return body
    job = _Job(body, old, new, links, trace)
    return job.run()


class _Job:
    """One patch: tries, judged by reading back, each coarser where the last one was wrong."""

    def __init__(self, body: str, old: Block, new: Block, links: "Links", trace: Trace) -> None:
        self._body = body
        self._data = body.encode()
        self._old = old
        self._new = new
        self._links = links
        self._trace = trace
        self._style = learn(self._data, old, trace)
        self._definitions = definitions(body) if "]:" in body else []
        self._widths = [n for _, n in as_families(new.children)]
        self._levels: dict[int, int] = {}

    def run(self) -> str:
        for _ in range(_TRIES):
            text = self._try()
            if text is not None:
                found = parse(text, self._links)
                if found == self._new and not self._opens_front(text):
                    return text
                if not self._widen(found):
                    break
            else:
                self._raise(range(len(self._widths)))
        return self._whole()

    def _try(self) -> str | None:
        sheet = Sheet(self._data, self._style.newline.encode())
        work = Relines(sheet, self._links, self._style, self._trace, self._notes())
        work.document(self._old, self._new, self._levels)
        try:
            data = sheet.result()
        except OverlapError:
            return None
        lost = [
            d
            for d in self._definitions
            if any(e.start <= d.start and d.end <= e.end for e in sheet.edits)
        ]
        return data.decode() + self._tail(data.decode(), lost)

    def _notes(self) -> str:
        """All link definitions, which decide what brackets in a part of the text mean."""
        texts = (self._data[d.start : d.end].decode() for d in self._definitions)
        return "".join(f"\n\n{_bare(t)}" for t in texts)

    def _tail(self, before: str, lost: list[Span]) -> str:
        """Definitions that stood in what was rewritten, for the end of the text."""
        if not lost:
            return ""
        newline = self._style.newline
        texts = (_bare(self._data[d.start : d.end].decode()) for d in lost)
        lines = "".join(text.replace("\n", newline) + newline for text in texts)
        gap = "" if not before or before.endswith(newline * 2) else newline
        return ("" if not before or before.endswith("\n") else newline) + gap + lines

    def _opens_front(self, text: str) -> bool:
        """Whether the body would now be taken for front matter."""
        opens = text.startswith("---") and bool(frontmatter.split(text)[0].raw)
        return opens and not frontmatter.split(self._body)[0].raw

    # Widening

    def _widen(self, found: Block) -> bool:
        """Coarser steps around the first to the last block that reads wrong; False: no more."""
        wanted, got = self._new.children, found.children
        first = 0
        while first < min(len(wanted), len(got)) and wanted[first] == got[first]:
            first += 1
        last = 0
        while last < min(len(wanted), len(got)) - first and wanted[-1 - last] == got[-1 - last]:
            last += 1
        end = len(wanted) - last
        inside, at = [], 0
        for k, width in enumerate(self._widths):
            if at < max(end, first + 1) and at + width > first:
                inside.append(k)
            at += width
        around = range(min(inside, default=len(self._widths)) - 1, max(inside, default=-1) + 2)
        changed = [k for k in inside if 0 <= self._levels.get(k, -1) < Relines.WHOLE]
        return self._raise(changed or inside) or self._raise(around)

    def _raise(self, which: "list[int] | range") -> bool:
        raised = False
        for k in which:
            level = self._levels.get(k, 0)
            if 0 <= k < len(self._widths) and level < Relines.WHOLE:
                self._levels[k] = level + 1
                raised = True
        return raised

    def _whole(self) -> str:
        """Everything written anew."""
        tail = self._notes().replace("\n", self._style.newline)
        for style in (self._style, Style(newline=self._style.newline)):
            text = render(self._new, self._links, style, tail=tail)
            if parse(text, self._links) == self._new:
                break
        return text


def _bare(definition: str) -> str:
    """A definition's lines without the prefix of the container it stood in."""
    first, *rest = newlines(definition).replace("\r\n", "\n").strip().split("\n")
    return "\n".join([first, *(line.lstrip(" \t>") for line in rest)])
