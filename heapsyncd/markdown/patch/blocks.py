"""Edits that turn one list of blocks into another, block by block and line by line."""

import re
from collections.abc import Sequence
from dataclasses import replace

from heapsyncd.markdown.patch.context import WHOLE, PatchContext, groups
from heapsyncd.markdown.patch.edit_buffer import span_of
from heapsyncd.markdown.patch.leaves import edit_code, edit_files, edit_leaf
from heapsyncd.markdown.patch.lists import ListEdit
from heapsyncd.markdown.patch.tables import edit_table
from heapsyncd.tree import Block

_FREE_START = re.compile(rb"[-*+#>|<]|\d{1,9}[.)]|`{3}|~{3}")
"""Lines that begin a block whatever stands before them."""
_TASKABLE = frozenset({"bullet_list", "todo_list"})

Blocks = Sequence[Block]


def as_families(blocks: Blocks) -> list[tuple[Block, int]]:
    """Blocks with neighbouring plain and task lists as one, each with how many it stands for.

    One source list may hold both kinds of items; so a box added to an item changes one line.
    """
    out: list[tuple[Block, int]] = []
    last = ""
    for block in blocks:
        if block.kind not in _TASKABLE:
            out.append((block, 1))
        elif last in _TASKABLE and last != block.kind:
            one, count = out[-1]
            span = replace(one.span, end=span_of(block)[1]) if one.span and block.span else None
            children = (*one.children, *block.children)
            out[-1] = (replace(one, children=children, span=span), count + 1)
        else:
            out.append((replace(block, kind="bullet_list"), 1))
        last = block.kind
    return out


class Relines:
    """Collects the edits on a workbench's sheet."""

    def __init__(self, bench: PatchContext) -> None:
        self._bench = bench
        self._sheet = bench.sheet
        self._guarded: set[int] = set()
        """Starts of lines that got a blank line before them."""
        self._lost: set[int] = set()
        """Of the siblings at hand, those that go."""

    def document(self, old: Block, new: Block, steps: dict[int, int]) -> None:
        """Edit the whole document; ``steps`` by index of ``as_families(new.children)``."""
        self.edit(old.children, new.children, b"", steps)

    def edit(
        self,
        old: Blocks,
        new: Blocks,
        prefix: bytes,
        steps: dict[int, int] | None = None,
        *,
        tight: bool = False,
    ) -> None:
        """Turn one list of siblings into another; ``prefix`` begins their container's lines, and
        in a ``tight`` one a list follows text at once.
        """
        before = [b for b, _ in as_families(old)]
        after = [b for b, _ in as_families(new)]
        outer, lost = self._bench.step, self._lost
        found = list(groups(before, after))
        self._lost = {i for gone, come, _ in found for i in (gone[1:] if come else gone)}
        for gone, come, pair in found:
            if gone or come:
                self._bench.step = max([outer, *((steps or {}).get(j, 0) for j in come)])
                self._gap(before, gone, [after[j] for j in come], prefix, tight=tight)
            if pair is not None:
                step = (steps or {}).get(pair[1], 0)
                self._bench.step = max(outer, step)
                same = before[pair[0]] == after[pair[1]]
                if same and step == 1 and self._remark(before, pair[0]):
                    pass
                elif step >= WHOLE or (same and step):
                    self._rewrite(before, pair[0], [after[pair[1]]], prefix)
                elif not same:
                    self._change(before, pair[0], after[pair[1]], prefix)
            self._bench.step = outer
        self._lost = lost

    def _gap(
        self, old: Blocks, gone: range, come: list[Block], prefix: bytes, *, tight: bool
    ) -> None:
        """Between two blocks that stay, some go and some come."""
        if gone and come:
            self._rewrite(old, gone.start, come, prefix)
            if len(gone) > 1:
                self.delete(old, range(gone.start + 1, gone.stop), prefix)
        elif gone:
            self.delete(old, gone, prefix)
        else:
            self._insert(old, gone.start, come, prefix, tight=tight)

    def _neighbours(self, old: Blocks, i: int, j: int) -> tuple[Block | None, Block | None]:
        """The blocks that stay, nearest before the ``i``-th and from the ``j``-th on."""
        i -= 1
        while i in self._lost:
            i -= 1
        while j in self._lost:
            j += 1
        return (old[i] if i >= 0 else None), (old[j] if j < len(old) else None)

    # Writing

    def _rewrite(self, old: Blocks, i: int, come: list[Block], prefix: bytes) -> None:
        """Write blocks where an old one stood."""
        sheet, block = self._sheet, old[i]
        before, after = self._neighbours(old, i, i + 1)
        lines = self._bench.writer_between(before, come, after).blocks(come)
        guards = self._bench.step or [b.kind for b in come] != [block.kind]
        start, end = span_of(block)
        if not sheet.has_own_line(block):
            text = sheet.join(lines, prefix)
        else:
            prefix = self._bench.lead(block, prefix)
            start = sheet.line_start(start)
            text = prefix + sheet.join(lines, prefix)
            above = sheet.line_start(start - 1) if start else 0
            if guards and start not in self._guarded and start and not sheet.is_blank(above):
                text = prefix.rstrip() + sheet.newline + text
        below = sheet.next_line(end)
        if guards and after is not None and not sheet.is_blank(below):
            # What could follow the old block at once may run into the new one.
            text += sheet.newline + prefix.rstrip()
            self._guarded.add(below)
        sheet.replace(start, end, text)

    def _remark(self, old: Blocks, i: int) -> bool:
        """Give a list other markers than its neighbours'; False when it is no list."""
        block, (before, after) = old[i], self._neighbours(old, i, i + 1)
        if not block.kind.endswith("_list"):
            return False
        char = self._bench.list_style(before, after)[block.kind == "ordered_list"].encode()
        for item in block.children:
            marker = self._sheet.marker(item)
            at = span_of(item)[0] + len(marker) - 1
            self._sheet.replace(at, at + 1, char)
        return True

    def _insert(
        self, old: Blocks, i: int, come: list[Block], prefix: bytes, *, tight: bool
    ) -> None:
        """Write blocks before the ``i``-th, between blank lines."""
        sheet = self._sheet
        before, after = self._neighbours(old, i, i)
        if after is not None and span_of(after)[0] in self._bench.trace.noted:
            # Inside a footnote.
            prefix = self._bench.lead(after, prefix) if sheet.has_own_line(after) else prefix
        text = sheet.join(self._bench.writer_between(before, come, after).blocks(come), prefix)
        blank = prefix.rstrip() + sheet.newline
        if before is not None:
            gap = b"" if tight and not self._bench.step and before.kind == "paragraph" else blank
            self._insert_after(before, text, prefix, gap, has_next=after is not None)
        elif after is None:
            self._append(text)
        elif sheet.has_own_line(after):
            at = sheet.line_start(span_of(after)[0])
            sheet.replace(at, at, prefix + text + sheet.newline + blank)
        else:
            at = span_of(after)[0]
            sheet.replace(at, at, text + sheet.newline + blank + prefix)

    def _append(self, text: bytes) -> None:
        """Into a body without blocks: behind what it holds."""
        data = self._sheet.data
        lead = b"" if not data or data.endswith(b"\n") else self._sheet.newline
        if data.strip():
            lead += self._sheet.newline
        self._sheet.replace(len(data), len(data), lead + text + self._sheet.newline)

    def _insert_after(
        self, before: Block, text: bytes, prefix: bytes, gap: bytes, *, has_next: bool
    ) -> None:
        sheet = self._sheet
        blank = prefix.rstrip() + sheet.newline
        at = sheet.next_line(span_of(before)[1])
        if at == len(sheet.data) and not sheet.data.endswith(b"\n"):
            # The file's last line has no newline: it stays so.
            sheet.replace(at, at, sheet.newline + gap + prefix + text)
            return
        follows = at < len(sheet.data) and not sheet.is_blank(at)
        guard = blank if follows and (has_next or not self._begins_freely(at)) else b""
        sheet.replace(at, at, gap + prefix + text + sheet.newline + guard)

    def _begins_freely(self, at: int) -> bool:
        """Whether the line at ``at`` begins a block whatever stands before it."""
        line = self._sheet.data[at : self._sheet.next_line(at)].lstrip(b" \t>")
        return _FREE_START.match(line) is not None

    # Deleting

    def delete(self, old: Blocks, gone: range, prefix: bytes) -> None:
        """Take blocks out, with the smaller of the gaps around them."""
        sheet = self._sheet
        first, last = old[gone.start], old[gone.stop - 1]
        start, end = span_of(first)[0], span_of(last)[1]
        survives = gone.stop < len(old)
        if not sheet.has_own_line(first):
            # Its line belongs to the container's marker, which the next block gets behind.
            stop = span_of(old[gone.stop])[0] if survives else end
            sheet.replace(start, stop, b"")
        elif len(gone) == len(old) and prefix:
            # A container's only content: its own markers stay.
            sheet.replace(start, end, b"")
        else:
            following = old[gone.stop] if survives else None
            self._delete_lines([old[k] for k in gone], prefix, gone.start == 0, following)

    def _delete_lines(
        self, blocks: list[Block], prefix: bytes, is_first: bool, after: Block | None
    ) -> None:
        """Whole lines, and of the gaps in between what is blank: the rest is nobody's."""
        sheet, depth = self._sheet, prefix.count(b">")
        top = sheet.line_start(span_of(blocks[0])[0])
        bottom = sheet.next_line(span_of(blocks[-1])[1])
        above, below = self._blank_above(top, depth), self._blank_below(bottom, depth)
        guard = b""
        if after is not None and above == top and below == bottom and not is_first:
            # Nothing stood between; without the deleted lines something must.
            free = after.kind == "item" or self._begins_freely(bottom)
            guard = b"" if free else prefix.rstrip() + sheet.newline
        if is_first or (after is not None and below - bottom <= top - above):
            bottom = below
        else:
            top = above
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            high = bottom
            if following is not None:
                high = self._blank_below(sheet.next_line(span_of(block)[1]), depth)
            sheet.replace(top, high, guard if following is None else b"")
            if following is not None:
                top = sheet.line_start(span_of(following)[0])

    def _blank_below(self, at: int, depth: int) -> int:
        """Where a container's blank lines from ``at`` on end."""
        sheet = self._sheet
        while at < len(sheet.data) and sheet.is_blank(at):
            stop = sheet.next_line(at)
            if sheet.data.count(b">", at, stop) != depth:
                break
            at = stop
        return at

    def _blank_above(self, at: int, depth: int) -> int:
        """Where a container's blank lines before ``at`` begin."""
        sheet = self._sheet
        while at > 0:
            line = sheet.line_start(at - 1)
            if not sheet.is_blank(line) or sheet.data.count(b">", line, at) != depth:
                break
            at = line
        return at

    # One block

    def _change(self, old: Blocks, i: int, new: Block, prefix: bytes) -> None:
        """Edit a block into another of its kind."""
        if not self._edit(old[i], new, prefix):
            self._rewrite(old, i, [new], prefix)

    def _edit(self, old: Block, new: Block, prefix: bytes) -> bool:
        match old.kind:
            case "paragraph" | "heading":
                return edit_leaf(self._bench, old, new, prefix)
            case "code":
                return edit_code(self._bench, old, new)
            case "quote":
                return self._quote(old, new, prefix)
            case "bullet_list" | "ordered_list" | "todo_list":
                return ListEdit(self._bench, self, old.children, prefix).run(old, new)
            case "table":
                return edit_table(self._bench, old, new, prefix)
            case "files":
                return edit_files(self._bench, old, new)
            case _:
                return False

    def _quote(self, old: Block, new: Block, prefix: bytes) -> bool:
        inner = self._sheet.quote_prefix(old, prefix)
        if old.children:
            self.edit(old.children, new.children, inner)
        elif new.children:
            at = span_of(old)[0] + 1
            text = self._sheet.join(self._bench.writer().blocks(new.children), inner)
            self._sheet.replace(at, at, b" " + text)
        return True
