"""Edit blocks that hold text: paragraphs, headings, cells, code, attached files."""

import re
from typing import NamedTuple

from heapsyncd.diff.sequences import Gap, gaps_between, matches
from heapsyncd.markdown import escaping as esc
from heapsyncd.markdown.attached_files import file_line
from heapsyncd.markdown.patch.context import PatchContext
from heapsyncd.markdown.patch.edit_buffer import Edit, EditBuffer, span_of
from heapsyncd.markdown.patch.splice import LeafDiff
from heapsyncd.markdown.patch.verbatim import without_prefix
from heapsyncd.tree import Atom, Block, Inline

_MAX_CHARS = 50_000
"""A longer leaf is not read back on its own; the whole result is read back anyway."""
_INFO = re.compile(rb"(`{3,}+|~{3,}+)([ \t]*)([^ \t\r\n]*)")
_PREFIX = re.compile(rb"[ \t>]*")
_HASHES = re.compile(rb"#{1,6}(?=[ \t]|\r?\n|\Z)")
_UNDERLINE = re.compile(rb"\n[ \t>]*(=+|-+)[ \t]*\Z")


_ATTEMPTS = [(0, False), (1, False), (0, True), (1, True)]
"""Escape levels to try, and whether the marks beside a change are rewritten with it."""
_ATTEMPTS += [(escape_level, False) for escape_level in range(2, esc.ESCAPE_LEVELS)]
"""Rungs for changes alone, or with the marks beside them (True): plain notation first."""


def edit_leaf(context: PatchContext, old: Block, new: Block, prefix: bytes) -> bool:
    """Edit inline content inside its lines. Returns False if the result would not read right."""
    buffer = context.buffer
    more = buffer.indent(old) if buffer.has_own_line(old) else prefix
    level = None if old.attrs == new.attrs else _level_edit(buffer, old, new)
    if old.attrs != new.attrs and level is None:
        return False
    edits = _leaf_edits(context, old, new, more.decode())
    if edits is None:
        return False
    for edit in edits:
        buffer.replace(edit.start, edit.end, edit.text.replace(b"\n", buffer.newline + more))
    buffer.edits += [level] if level else []
    return True


def _level_edit(buffer: EditBuffer, old: Block, new: Block) -> Edit | None:
    """Return the edit that changes a heading's level, None if its notation lacks the new level."""
    (start, end), level = span_of(old), int(new.get("level") or 1)
    hashes = _HASHES.match(buffer.data, start, end)
    if hashes:
        return Edit(start, hashes.end(), b"#" * level)
    line = _UNDERLINE.search(buffer.data, start, end)
    if line is None or level > 2:
        return None
    return Edit(line.start(1), line.end(1), (b"=", b"-")[level - 1] * len(line[1]))


def _leaf_edits(context: PatchContext, old: Block, new: Block, prefix: str) -> list[Edit] | None:
    if context.step:
        return None
    splice = LeafDiff(context.buffer.data, old, new.inline, context.trace)
    breaks = [i for i in new.inline if isinstance(i, Atom) and i.kind == "break"]
    if breaks and old.kind == "paragraph":
        # A line end may be a break by itself, but only what was read back can tell.
        edits = splice.edits(context.links, context.body_style, 0, bare_breaks=True)
        if edits is not None and _reads_alone_as(context, old, new, edits, prefix):
            return edits
    for escape_level, with_marks in _ATTEMPTS:
        edits = splice.edits(
            context.links, context.body_style, escape_level, with_marks=with_marks
        )
        if edits is not None and (
            _reads_alone_as(context, old, new, edits, prefix)
            or not _can_read_alone(context, old, prefix)
        ):
            return edits
    return None


def _edited(context: PatchContext, old: Block, edits: list[Edit]) -> str:
    """Return the leaf's source with these edits applied."""
    start, end = span_of(old)
    part = EditBuffer(context.buffer.data[start:end], b"\n")
    for edit in edits:
        part.replace(edit.start - start, edit.end - start, edit.text)
    return part.result().decode()


def _reads_alone_as(
    context: PatchContext, old: Block, new: Block, edits: list[Edit], prefix: str
) -> bool:
    """Return whether the edited leaf, read alone, is the new one."""
    text = _edited(context, old, edits)
    return len(text) <= _MAX_CHARS and _read_alone(context, old.kind, text, prefix) == (
        old.kind,
        new.inline,
    )


def _can_read_alone(context: PatchContext, old: Block, prefix: str) -> bool:
    """Return whether a leaf can be judged by reading it alone.

    If not (a lazy line, text after a task's box, a long leaf), the whole result tells: it is read
    back at the end.
    """
    text = _edited(context, old, [])
    return len(text) <= _MAX_CHARS and _read_alone(context, old.kind, text, prefix) == (
        old.kind,
        old.inline,
    )


def _read_alone(
    context: PatchContext, kind: str, text: str, prefix: str
) -> tuple[str, tuple[Inline, ...]] | None:
    """Return the kind and content of a leaf's source read alone, None if it is not one leaf."""
    if kind == "cell":
        text = f"|x|\n|-|\n|{text}|"
    elif "\n" in text:
        first, *rest = text.split("\n")
        text = "\n".join([first, *(without_prefix(line, prefix) for line in rest)])
    if "[" in text:
        text += context.definitions
    found = context.parse(text).children
    if len(found) != 1:
        return None
    leaf = found[0].children[-1].children[0] if kind == "cell" else found[0]
    return leaf.kind, leaf.inline


def edit_cell(context: PatchContext, old: Block, new: Block, *, is_aligned: bool) -> None:
    """Edit one table cell. ``is_aligned``: the pipes of its column line up and should stay so."""
    start, end = span_of(old)
    raw = context.buffer.data[start:end].decode()
    edits = _leaf_edits(context, old, new, "") if old.inline and new.inline else None
    fresh = f" {context.writer().leaf(new)}" if edits is None else ""
    text = fresh or _edited(context, old, edits or []).rstrip(" \t")
    # Keep the pipes of an aligned table in place if the text fits.
    space = len(raw) - len(raw.rstrip(" \t"))
    width = len(text) + (space > 0 or edits is None)
    if (is_aligned or space > 1) and context.buffer.data[end : end + 1] == b"|":
        width = max(len(raw), width)
    context.buffer.replace(start, end, text.ljust(width).encode())


class _CodeLine(NamedTuple):
    """The range of a line of code.

    The first ``inside`` spaces of its text have no bytes of their own: they are the rest of a tab
    that began in the prefix.
    """

    start: int
    end: int
    inside: int = 0


def edit_code(context: PatchContext, old: Block, new: Block) -> bool:
    """Edit the changed lines of a code block. Returns False if it must be rewritten."""
    buffer = context.buffer
    is_indented = span_of(old)[0] in context.trace.indented_code
    if context.step or (is_indented and old.attrs != new.attrs):
        return False
    before = old.text.split("\n") if old.text else []
    after = new.text.split("\n") if new.text else []
    rows = _code_rows(buffer, old, before, is_indented=is_indented)
    gaps = gaps_between(matches(before, after), len(before), len(after))
    edits = [_code_lines(buffer, rows, after, gap) for gap in gaps] if rows else [None]
    if None in edits or (old.attrs != new.attrs and not _edit_info(context, old, new)):
        return False
    buffer.edits += [edit for edit in edits if edit is not None]
    return True


def _code_rows(
    buffer: EditBuffer, old: Block, lines: list[str], *, is_indented: bool
) -> list[_CodeLine]:
    """Return the ranges of the code's lines without prefix, [] if the source is unclear."""
    start, end = span_of(old)
    rows: list[_CodeLine] = []
    at = buffer.line_start(start) if is_indented else buffer.next_line(start)
    for line in lines:
        stop = at + len(buffer.data[at : buffer.next_line(at)].rstrip(b"\r\n"))
        row = _row(buffer, at, stop, line)
        if stop > end or row is None:
            return []
        rows.append(row)
        at = buffer.next_line(at)
    return rows if is_indented or at <= end else []


def _row(buffer: EditBuffer, at: int, stop: int, line: str) -> _CodeLine | None:
    raw = line.encode()
    if buffer.data.endswith(raw, at, stop):
        return _CodeLine(stop - len(raw), stop)
    bare = raw.lstrip(b" ")
    start = stop - len(bare)
    if bare and buffer.data.endswith(b"\t" + bare, at, stop):
        return _CodeLine(start, stop, len(raw) - len(bare))
    return None


def _code_lines(
    buffer: EditBuffer, rows: list[_CodeLine], after: list[str], gap: Gap
) -> Edit | None:
    """Return the edit for one gap, None if its lines cannot follow the existing prefix."""
    i1, i2, j1, j2 = gap
    # A blank line may lack the full prefix, so take it from a line that has text.
    full = [row for row in (*rows[i1:], *reversed(rows[:i1])) if row.start < row.end]
    model = full[0] if full else rows[min(i1, len(rows) - 1)]
    prefix, inside = buffer.data[buffer.line_start(model.start) : model.start], " " * model.inside
    lines = after[j1:j2]
    if not all(line.startswith(inside) or not line for line in lines):
        return None
    text = b"".join(
        (prefix + line[len(inside) :].encode() if line else prefix.rstrip()) + buffer.newline
        for line in lines
    )
    behind = buffer.next_line(rows[-1].end)
    low = buffer.line_start(rows[i1].start) if i1 < len(rows) else behind
    high = buffer.line_start(rows[i2].start) if i2 < len(rows) else behind
    if high == len(buffer.data) and text and not buffer.data.endswith(b"\n"):
        # The file's last line has no newline: it stays so.
        text = buffer.newline * (low == high) + text.removesuffix(buffer.newline)
    return Edit(low, high, text)


def _edit_info(context: PatchContext, old: Block, new: Block) -> bool:
    """Change the language of a fence. What follows it on the line stays."""
    match = _INFO.match(context.buffer.data, span_of(old)[0])
    info = esc.info_string(str(new.get("info") or ""))
    if match is None or not info or "`" in info:
        return False
    context.buffer.replace(match.start(3), match.end(3), info.encode())
    return True


def edit_files(context: PatchContext, old: Block, new: Block) -> bool:
    """Edit the lines of attached files. Returns False if they must be rewritten."""
    buffer = context.buffer
    start, end = span_of(old)
    lines = buffer.data[start:end].split(b"\n")
    before, after = (str(b.get("keys")).split("\n") for b in (old, new))
    if len(lines) != len(before) or len(lines) == 1 or context.step:
        return False
    found = _PREFIX.match(lines[1])
    indent = found[0] if found else b""
    bare = [lines[0], *(line[len(indent) :] for line in lines[1:])]
    out: list[bytes] = []
    j = 0
    for i2, j2, n in [*matches(before, after), (len(before), len(after), 0)]:
        out += [file_line(key, context.links).encode() for key in after[j:j2]]
        out += [line.rstrip() for line in bare[i2 : i2 + n]]
        j = j2 + n
    buffer.replace(start, end, (buffer.newline + indent).join(out))
    return True
