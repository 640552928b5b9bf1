"""Write a tree as a body (``R`` in the laws of ``README.md``) and verify the result.

Everything is first written as plainly as looks safe. What cannot be misread (``safe_text``) needs
no check. The rest is parsed, and where it does not read as the tree, the blocks concerned are
written at higher escape levels.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from heapsyncd.diff import equal_ends
from heapsyncd.markdown.escaping import ESCAPE_LEVELS
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.style import DEFAULT, Style
from heapsyncd.markdown.write.blocks import Writer, WrittenBlock
from heapsyncd.model import LineBreaks
from heapsyncd.tree import Block

__all__ = ["DEFAULT", "Style", "is_rendering", "render"]


def render(
    tree: Block,
    links: Links,
    style: Style = DEFAULT,
    line_breaks: LineBreaks = "space",
    *,
    tail: str = "",
) -> str:
    """Write a tree as a body.

    Args:
        tree: a canonical document.
        links: for mentions and files.
        style: the notation.
        line_breaks: what a line end inside a paragraph means.
        tail: link definitions to append unchanged.

    Returns:
        The body, ending with one newline; '' for an empty tree. ``parse`` reads it as the same
        tree for every canonical tree that is at most ``MAX_DEPTH`` containers deep.
    """
    style = replace(style, line_breaks=line_breaks)
    writer = Writer(links, style)
    text = ""
    for attempt in range(ESCAPE_LEVELS + 3):
        lines = [line + style.newline for line in writer.blocks(tree.children)]
        text = "".join(lines) + tail
        if not tail and _reads_back(lines, writer.written, tree, links, line_breaks):
            break
        read = parse(text, links, line_breaks)
        if read == tree:
            break
        _escalate(writer, tree, read, attempt)
    return text


def is_rendering(body: str, tree: Block, links: Links) -> bool:
    """Return whether a body is what ``render`` writes by default.

    Most other bodies differ in their first blocks, so that the rest need not be written. False may
    be wrong where a later block can be misread: then ``render`` writes all blocks with more care.
    """
    writer, at = Writer(links, DEFAULT), 0
    for lines in writer.each(tree.children):
        text = "".join(line + DEFAULT.newline for line in lines)
        if not writer.written[-1].is_safe:
            return render(tree, links) == body
        if not body.startswith(text, at):
            return False
        at += len(text)
    return at == len(body)


def _reads_back(
    lines: Sequence[str],
    written: Sequence[WrittenBlock],
    tree: Block,
    links: Links,
    line_breaks: LineBreaks,
) -> bool:
    """Return whether lines read as their blocks. Only blocks that can be misread are parsed.

    Each is parsed with the blocks before and after it. Those cannot be misread and so stop an
    error from reaching further.
    """
    start = 0
    while start < len(written):
        if written[start].is_safe:
            start += 1
            continue
        stop = start + 1
        while stop < len(written) and not (written[stop].is_safe and written[stop - 1].is_safe):
            stop += 1
        first = max(start - 1, 0)
        end = written[stop].line if stop < len(written) else len(lines)
        part = "".join(lines[written[first].line : end])
        if parse(part, links, line_breaks).children != tree.children[first:stop]:
            return False
        start = stop
    return True


def _escalate(writer: Writer, tree: Block, read: Block, attempt: int) -> None:
    """Choose what to write differently on the next attempt.

    The first time, check each leaf. Then raise the escape level where the result differs.
    """
    if not writer.checked:
        writer.checked = True
        return
    wanted, got = tree.children, read.children
    first, last = equal_ends(wanted, got)
    writer.fill_empty_items = writer.fill_empty_items or (attempt > 1 and len(wanted) != len(got))
    # The first block that differs may have been read as part of the one before.
    for k in range(max(first - 1, 0), len(wanted) - last):
        same_place = got[k] if len(got) == len(wanted) else None
        for leaf, is_alone in _differing(wanted[k], same_place):
            writer.require_escape_level(leaf, attempt)
            writer.fill_empty_items = writer.fill_empty_items or (attempt > 1 and not is_alone)


def _differing(wanted: Block, got: Block | None) -> Iterator[tuple[Block, bool]]:
    """Yield the leaves that are read wrongly, with True if everything around the leaf is right."""
    todo = [(wanted, got)]
    while todo:
        a, b = todo.pop()
        if a == b:
            continue
        if b is None or a.kind != b.kind or len(a.children) != len(b.children):
            yield from ((leaf, False) for leaf in a.walk() if not leaf.children)
        elif a.children:
            todo += zip(a.children, b.children, strict=True)
        else:
            yield a, True
