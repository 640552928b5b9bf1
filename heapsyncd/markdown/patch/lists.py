"""Edit a list: add, remove, tick and change items."""

import re
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from heapsyncd.markdown.patch.context import STEP_BLOCK, Group, PatchContext, groups
from heapsyncd.markdown.patch.edit_buffer import columns, span_of
from heapsyncd.markdown.style_detection import marker_gap
from heapsyncd.markdown.write.list_tightness import is_tight
from heapsyncd.tree import Block

_BOX = re.compile(rb"(?:[-*+]|\d{1,9}[.)])[ \t]+(\[[ xX]\])")
_MAX_NUMBER = 999_999_999


class SiblingEditor(Protocol):
    """Edits the blocks inside items. ``BlockEdits`` implements it."""

    def edit(
        self, old: Sequence[Block], new: Sequence[Block], prefix: bytes, *, tight: bool
    ) -> None:
        """Edit one sequence of blocks into another. ``tight``: a list follows text directly."""

    def delete(self, old: Sequence[Block], removed: range, prefix: bytes) -> None:
        """Remove blocks."""


class ListEdit(Struct):
    """Edits one source list. ``prefix`` is that of its container's lines."""

    context: PatchContext
    siblings: SiblingEditor
    items: tuple[Block, ...]
    prefix: bytes
    loose: bool = False

    def run(self, old: Block, new: Block) -> bool:
        """Edit the list. Returns False if its numbers would not come out right."""
        found = list(groups(self.items, new.children))
        if old.kind == "ordered_list" and not self._number(found[0], new):
            return False
        self.loose = self._is_loose()
        for removed, added, pair in found:
            fresh = [new.children[j] for j in added]
            heads = [self._head(removed.start, k, new) for k in range(len(fresh))]
            if removed and fresh:
                self._replace(removed.start, fresh, heads)
                removed = range(removed.start + 1, removed.stop)  # noqa: PLW2901 - one was replaced
            elif fresh:
                self._insert(removed.start, fresh, heads)
            if removed:
                self.siblings.delete(self.items, removed, self.prefix)
            if pair is not None and self.items[pair[0]] != new.children[pair[1]]:
                self._item(pair[0], new.children[pair[1]])
        return True

    def _is_loose(self) -> bool:
        """Return whether blank lines separate the items."""
        buffer = self.context.buffer
        if len(self.items) > 1:
            return buffer.is_blank(buffer.next_line(span_of(self.items[0])[1]))
        return not is_tight(Block("bullet_list", children=self.items))

    def _number(self, first: Group, new: Block) -> bool:
        """Give the list's number to the item that becomes the first.

        Returns False if that would change the indentation of its other lines.
        """
        _, added, pair = first
        if added or pair is None:
            return True
        buffer, item = self.context.buffer, self.items[pair[0]]
        start, end = span_of(item)
        mark, number = buffer.marker(item), str(new.get("start")).encode()
        if int(mark[:-1]) == new.get("start"):
            return True
        spaces = len(mark) - 1 - len(number)
        if b"\n" in buffer.data[start:end] and (spaces < 0 or spaces > 1):
            return False
        wide = b"\n" in buffer.data[start:end] and spaces
        text = number + mark[-1:] + b" " * wide
        buffer.replace(start, start + len(mark), text)
        return True

    # Items that come

    def _head(self, i: int, k: int, new: Block) -> str:
        """Return marker and gap for the ``k``-th new item at the place of the ``i``-th."""
        buffer, near = self.context.buffer, self.items[i - 1 if i else 0]
        mark, gap = buffer.marker(near).decode(), self._gap(near)
        if not mark[:-1]:
            return mark + gap
        numbers = [int(buffer.marker(item)[:-1]) for item in self.items[:3]]
        if len(numbers) > 1 and len(set(numbers)) == 1:
            # Some authors write `1.` before every item. Keep it.
            k = -1 if i else 0
        first = int(mark[:-1]) + 1 if i else int(new.get("start") or 0)
        return f"{min(first + k, _MAX_NUMBER)}{mark[-1]}{gap}"

    def _gap(self, item: Block) -> str:
        """Return the gap after the marker of an existing item."""
        start, end = span_of(item)
        return " " if self.context.step else marker_gap(self.context.buffer.data[start:end])

    def _lines(self, fresh: list[Block], heads: list[str]) -> list[str]:
        """Return the lines of new items."""
        writer = self.context.writer()
        lines: list[str] = []
        for item, head in zip(fresh, heads, strict=True):
            if lines and self.loose:
                lines.append("")
            lines += writer.item(item, head, tight=self._takes_tight(item))
        return lines

    def _takes_tight(self, item: Block) -> bool:
        """Return whether an item can be written without blank lines here."""
        return not self.loose and is_tight(Block("bullet_list", children=(item,)))

    def _lead(self, item: Block) -> bytes:
        buffer = self.context.buffer
        return buffer.indent(item) if buffer.has_own_line(item) else self.prefix

    def _replace(self, i: int, fresh: list[Block], heads: list[str]) -> None:
        """Write items in place of the ``i``-th."""
        buffer, near = self.context.buffer, self.items[i]
        text = buffer.join(self._lines(fresh, heads), self._lead(near))
        buffer.replace(*span_of(near), text)

    def _insert(self, i: int, fresh: list[Block], heads: list[str]) -> None:
        """Write items before the ``i``-th."""
        buffer, near = self.context.buffer, self.items[max(i - 1, 0)]
        lead = self._lead(near)
        text = buffer.join(self._lines(fresh, heads), lead)
        gap = lead.rstrip() + buffer.newline if self.loose else b""
        if i:
            at = buffer.next_line(span_of(near)[1])
            if at == len(buffer.data) and not buffer.data.endswith(b"\n"):
                buffer.replace(at, at, buffer.newline + gap + lead + text)
            else:
                buffer.replace(at, at, gap + lead + text + buffer.newline)
        elif buffer.has_own_line(near):
            at = buffer.line_start(span_of(near)[0])
            buffer.replace(at, at, lead + text + buffer.newline + gap)
        else:
            at = span_of(near)[0]
            buffer.replace(at, at, text + buffer.newline + gap + lead)

    # Items that stay

    def _item(self, i: int, new: Block) -> None:
        """Edit one item that stays."""
        old, buffer = self.items[i], self.context.buffer
        if self.context.step < STEP_BLOCK - 1 and self._box(old, new):
            inner = self._inner(old, new)
            if old.children:
                tight = self._takes_tight(new)
                self.siblings.edit(old.children, new.children, inner, tight=tight)
                return
            if not new.children:
                return
            if new.get("checked") is None:
                text = buffer.join(self.context.writer().blocks(new.children), inner)
                buffer.replace(span_of(old)[1], span_of(old)[1], b" " + text)
                return
        start, end = span_of(old)
        buffer.edits = [e for e in buffer.edits if not (start <= e.start and e.end <= end)]
        self._replace(i, [new], [buffer.marker(old).decode() + self._gap(old)])

    def _inner(self, old: Block, new: Block) -> bytes:
        """Return the prefix of an item's further lines.

        It is taken from its present further blocks, else from the body's style.
        """
        buffer, lead = self.context.buffer, self._lead(old)
        for child in old.children[1:]:
            inner = buffer.indent(child)
            is_plain = span_of(child)[0] not in self.context.trace.indented_code
            if is_plain and buffer.has_own_line(child) and inner.startswith(lead):
                return inner
        inner = buffer.item_prefix(old, self.prefix)
        if len(new.children) <= len(old.children):
            return inner
        habit = lead + self.context.body_style().indent.encode()
        return habit if len(lead) < len(habit) and columns(habit) >= columns(inner) else inner

    def _box(self, old: Block, new: Block) -> bool:
        """Tick, add or remove a task's box. Returns False if the item must be rewritten."""
        was, now = old.get("checked"), new.get("checked")
        if was is now:
            return True
        buffer = self.context.buffer
        box = b"[x]" if now else b"[ ]"
        match = _BOX.match(buffer.data, span_of(old)[0])
        if was is not None and now is not None and match:
            buffer.replace(match.start(1), match.end(1), box)
            return True
        if not all(b.children and b.children[0].kind == "paragraph" for b in (old, new)):
            return False
        at = span_of(old.children[0])[0]
        if was is None and b"\n" not in buffer.data[span_of(old)[0] : at]:
            buffer.replace(at, at, box + b" ")
        elif match and now is None:
            buffer.replace(match.start(1), at, b"")
        else:
            return False
        return True
