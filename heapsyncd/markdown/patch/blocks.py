"""Edit a sequence of blocks into another, block by block and line by line."""

import re
from collections.abc import Sequence

from msgspec.structs import replace

from heapsyncd.markdown.patch.context import STEP_BLOCK, PatchContext, groups
from heapsyncd.markdown.patch.edit_buffer import span_of
from heapsyncd.markdown.patch.leaves import edit_code, edit_files, edit_leaf
from heapsyncd.markdown.patch.lists import ListEdit
from heapsyncd.markdown.patch.tables import edit_table
from heapsyncd.tree import Block

_INTERRUPTING = re.compile(rb"[-*+#>|<]|\d{1,9}[.)]|`{3}|~{3}")
"""Matches lines that begin a block even directly after a paragraph."""
_TASKABLE = frozenset({"bullet_list", "todo_list"})

Blocks = Sequence[Block]


def merge_task_lists(blocks: Blocks) -> list[tuple[Block, int]]:
    """Merge neighbouring plain and task lists, each block with the number it was merged from.

    One source list may hold both kinds of items. Merged, a box added to an item changes one line.
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


class BlockEdits:
    """Collects the edits of blocks in the buffer of a patch context."""

    def __init__(self, context: PatchContext) -> None:
        self._context = context
        self._buffer = context.buffer
        self._preceded_by_blank: set[int] = set()
        """Starts of lines before which an edit already added a blank line."""
        self._removed_indexes: set[int] = set()
        """Indexes of the siblings being edited that are removed."""

    def document(self, old: Block, new: Block, steps: dict[int, int]) -> None:
        """Edit the whole document.

        Args:
            old: the tree of the source.
            new: the tree wanted.
            steps: the step of each block, by its index in ``merge_task_lists(new.children)``; 0 if
                missing.
        """
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
        """Edit one sequence of siblings into another.

        Args:
            old: the siblings in the source.
            new: the siblings wanted.
            prefix: what each line of their container begins with.
            steps: see ``document``; given for the top level only.
            tight: whether a list may follow a paragraph without a blank line.
        """
        before = [b for b, _ in merge_task_lists(old)]
        after = [b for b, _ in merge_task_lists(new)]
        outer, removed_outside = self._context.step, self._removed_indexes
        found = list(groups(before, after))
        self._removed_indexes = {
            i for removed, added, _ in found for i in (removed[1:] if added else removed)
        }
        for removed, added, pair in found:
            if removed or added:
                self._context.step = max([outer, *((steps or {}).get(j, 0) for j in added)])
                self._replace_range(
                    before, removed, [after[j] for j in added], prefix, tight=tight
                )
            if pair is not None:
                step = (steps or {}).get(pair[1], 0)
                self._context.step = max(outer, step)
                same = before[pair[0]] == after[pair[1]]
                if same and step == 1 and self._change_markers(before, pair[0]):
                    pass
                elif step >= STEP_BLOCK or (same and step):
                    self._rewrite(before, pair[0], [after[pair[1]]], prefix)
                elif not same:
                    self._change(before, pair[0], after[pair[1]], prefix)
            self._context.step = outer
        self._removed_indexes = removed_outside

    def _replace_range(
        self, old: Blocks, removed: range, added: list[Block], prefix: bytes, *, tight: bool
    ) -> None:
        """Replace the removed blocks between two that stay by the added ones."""
        if removed and added:
            self._rewrite(old, removed.start, added, prefix)
            if len(removed) > 1:
                self.delete(old, range(removed.start + 1, removed.stop), prefix)
        elif removed:
            self.delete(old, removed, prefix)
        else:
            self._insert(old, removed.start, added, prefix, tight=tight)

    def _neighbours(self, old: Blocks, i: int, j: int) -> tuple[Block | None, Block | None]:
        """Return the nearest blocks that stay, before the ``i``-th and from the ``j``-th on."""
        i -= 1
        while i in self._removed_indexes:
            i -= 1
        while j in self._removed_indexes:
            j += 1
        return (old[i] if i >= 0 else None), (old[j] if j < len(old) else None)

    # Writing

    def _rewrite(self, old: Blocks, i: int, added: list[Block], prefix: bytes) -> None:
        """Write blocks in place of an old one."""
        buffer, block = self._buffer, old[i]
        before, after = self._neighbours(old, i, i + 1)
        lines = self._context.writer_between(before, added, after).blocks(added)
        needs_blanks = self._context.step or [b.kind for b in added] != [block.kind]
        start, end = span_of(block)
        if not buffer.has_own_line(block):
            text = buffer.join(lines, prefix)
        else:
            prefix = self._context.line_prefix(block, prefix)
            start = buffer.line_start(start)
            text = prefix + buffer.join(lines, prefix)
            above = buffer.line_start(start - 1) if start else 0
            if (
                needs_blanks
                and start not in self._preceded_by_blank
                and start
                and not buffer.is_blank(above)
            ):
                text = prefix.rstrip() + buffer.newline + text
        below = buffer.next_line(end)
        if needs_blanks and after is not None and not buffer.is_blank(below):
            # What follows without a blank line might be read as part of the new block.
            text += buffer.newline + prefix.rstrip()
            self._preceded_by_blank.add(below)
        buffer.replace(start, end, text)

    def _change_markers(self, old: Blocks, i: int) -> bool:
        """Give a list markers different from its neighbours'. Returns False if it is no list."""
        block, (before, after) = old[i], self._neighbours(old, i, i + 1)
        if not block.kind.endswith("_list"):
            return False
        char = self._context.list_style(before, after)[block.kind == "ordered_list"].encode()
        for item in block.children:
            marker = self._buffer.marker(item)
            at = span_of(item)[0] + len(marker) - 1
            self._buffer.replace(at, at + 1, char)
        return True

    def _insert(
        self, old: Blocks, i: int, added: list[Block], prefix: bytes, *, tight: bool
    ) -> None:
        """Write blocks before the ``i``-th, set off by blank lines."""
        buffer = self._buffer
        before, after = self._neighbours(old, i, i)
        if after is not None and span_of(after)[0] in self._context.trace.in_footnote:
            # Inside a footnote, lines need the footnote's indentation.
            prefix = (
                self._context.line_prefix(after, prefix) if buffer.has_own_line(after) else prefix
            )
        text = buffer.join(
            self._context.writer_between(before, added, after).blocks(added), prefix
        )
        blank = prefix.rstrip() + buffer.newline
        if before is not None:
            gap = b"" if tight and not self._context.step and before.kind == "paragraph" else blank
            self._insert_after(before, text, prefix, gap, has_next=after is not None)
        elif after is None:
            self._append(text)
        elif buffer.has_own_line(after):
            at = buffer.line_start(span_of(after)[0])
            buffer.replace(at, at, prefix + text + buffer.newline + blank)
        else:
            at = span_of(after)[0]
            buffer.replace(at, at, text + buffer.newline + blank + prefix)

    def _append(self, text: bytes) -> None:
        """Write blocks into a body that has none, after whatever it holds."""
        data = self._buffer.data
        lead = b"" if not data or data.endswith(b"\n") else self._buffer.newline
        if data.strip():
            lead += self._buffer.newline
        self._buffer.replace(len(data), len(data), lead + text + self._buffer.newline)

    def _insert_after(
        self, before: Block, text: bytes, prefix: bytes, gap: bytes, *, has_next: bool
    ) -> None:
        """Write text after a block, with ``gap`` before it."""
        buffer = self._buffer
        blank = prefix.rstrip() + buffer.newline
        at = buffer.next_line(span_of(before)[1])
        if at == len(buffer.data) and not buffer.data.endswith(b"\n"):
            # The file's last line has no newline. Keep it that way.
            buffer.replace(at, at, buffer.newline + gap + prefix + text)
            return
        follows = at < len(buffer.data) and not buffer.is_blank(at)
        guard = blank if follows and (has_next or not self._interrupts_paragraph(at)) else b""
        buffer.replace(at, at, gap + prefix + text + buffer.newline + guard)

    def _interrupts_paragraph(self, at: int) -> bool:
        """Return whether the line at ``at`` begins a block even directly after a paragraph."""
        line = self._buffer.data[at : self._buffer.next_line(at)].lstrip(b" \t>")
        return _INTERRUPTING.match(line) is not None

    # Deleting

    def delete(self, old: Blocks, removed: range, prefix: bytes) -> None:
        """Remove blocks together with the smaller of the gaps around them."""
        buffer = self._buffer
        first, last = old[removed.start], old[removed.stop - 1]
        start, end = span_of(first)[0], span_of(last)[1]
        survives = removed.stop < len(old)
        if not buffer.has_own_line(first):
            # It is on the line of the container's marker. The next block moves up to the marker.
            stop = span_of(old[removed.stop])[0] if survives else end
            buffer.replace(start, stop, b"")
        elif len(removed) == len(old) and prefix:
            # It is the container's only content. The container's own markers stay.
            buffer.replace(start, end, b"")
        else:
            following = old[removed.stop] if survives else None
            self._delete_lines([old[k] for k in removed], prefix, removed.start == 0, following)

    def _delete_lines(
        self, blocks: list[Block], prefix: bytes, is_first: bool, after: Block | None
    ) -> None:
        """Remove whole lines, and only the blank lines of the gaps between.

        Other text there stays.
        """
        buffer, depth = self._buffer, prefix.count(b">")
        top = buffer.line_start(span_of(blocks[0])[0])
        bottom = buffer.next_line(span_of(blocks[-1])[1])
        above, below = self._blank_above(top, depth), self._blank_below(bottom, depth)
        guard = b""
        if after is not None and above == top and below == bottom and not is_first:
            # There were no blank lines. Without the deleted lines one is needed.
            free = after.kind == "item" or self._interrupts_paragraph(bottom)
            guard = b"" if free else prefix.rstrip() + buffer.newline
        if is_first or (after is not None and below - bottom <= top - above):
            bottom = below
        else:
            top = above
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            high = bottom
            if following is not None:
                high = self._blank_below(buffer.next_line(span_of(block)[1]), depth)
            buffer.replace(top, high, guard if following is None else b"")
            if following is not None:
                top = buffer.line_start(span_of(following)[0])

    def _blank_below(self, at: int, depth: int) -> int:
        """Return the end of the container's blank lines from ``at`` on."""
        buffer = self._buffer
        while at < len(buffer.data) and buffer.is_blank(at):
            stop = buffer.next_line(at)
            if buffer.data.count(b">", at, stop) != depth:
                break
            at = stop
        return at

    def _blank_above(self, at: int, depth: int) -> int:
        """Return the start of the container's blank lines before ``at``."""
        buffer = self._buffer
        while at > 0:
            line = buffer.line_start(at - 1)
            if not buffer.is_blank(line) or buffer.data.count(b">", line, at) != depth:
                break
            at = line
        return at

    # One block

    def _change(self, old: Blocks, i: int, new: Block, prefix: bytes) -> None:
        """Edit a block into another of its kind, or rewrite it."""
        if not self._edit(old[i], new, prefix):
            self._rewrite(old, i, [new], prefix)

    def _edit(self, old: Block, new: Block, prefix: bytes) -> bool:
        """Edit a block by its kind. Returns False if it must be rewritten."""
        match old.kind:
            case "paragraph" | "heading":
                return edit_leaf(self._context, old, new, prefix)
            case "code":
                return edit_code(self._context, old, new)
            case "quote":
                return self._quote(old, new, prefix)
            case "bullet_list" | "ordered_list" | "todo_list":
                return ListEdit(self._context, self, old.children, prefix).run(old, new)
            case "table":
                return edit_table(self._context, old, new, prefix)
            case "files":
                return edit_files(self._context, old, new)
            case _:
                return False

    def _quote(self, old: Block, new: Block, prefix: bytes) -> bool:
        inner = self._buffer.quote_prefix(old, prefix)
        if old.children:
            self.edit(old.children, new.children, inner)
        elif new.children:
            at = span_of(old)[0] + 1
            text = self._buffer.join(self._context.writer().blocks(new.children), inner)
            self._buffer.replace(at, at, b" " + text)
        return True
