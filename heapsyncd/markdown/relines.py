"""Edits that turn one list of blocks into another, block by block and line by line."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from heapsyncd.diff import align
from heapsyncd.diff.sequences import gaps_between, matches
from heapsyncd.markdown import escape as esc
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.parse import parse
from heapsyncd.markdown.writer import Writer, is_tight
from heapsyncd.markdown.sheet import Edit, Sheet, span_of
from heapsyncd.markdown.splice import Splice
from heapsyncd.markdown.style import Style
from heapsyncd.tree import Block, inline

if TYPE_CHECKING:
    from heapsyncd.markdown.links import Links

_BULLETS = "-*+"
_FREE_START = re.compile(rb"[-*+#>|<]|\d{1,9}[.)]|`{3}|~{3}")
"""Lines that begin a block whatever stands before them."""
_BOX = re.compile(rb"(?:[-*+]|\d{1,9}[.)])[ \t]+(\[[ xX]\])")


def as_families(blocks: Sequence[Block]) -> list[tuple[Block, int]]:
    """Blocks with neighbouring plain and task lists as one, each with how many it stands for.

    One source list may hold both kinds of items; so a box added to an item changes one line.
    """
    out: list[tuple[Block, int]] = []
    last = ""
    for block in blocks:
        if block.kind in {"bullet_list", "todo_list"}:
            joins = last in {"bullet_list", "todo_list"} and last != block.kind
            last = block.kind
            if joins:
                one, count = out[-1]
                span = one.span
                if span and block.span:
                    span = replace(span, end=block.span.end)
                one = replace(one, children=(*one.children, *block.children), span=span)
                out[-1] = (one, count + 1)
                continue
            block = replace(block, kind="bullet_list")
        else:
            last = ""
        out.append((block, 1))
    return out


class Relines:
    """Collects the edits for a tree on a sheet.

    Args:
        sheet: the source and the edits.
        links: names and ids.
        style: for what is written anew.
        trace: of the old tree.
        notes: link definitions to read a part of the text with.
    """

    WHOLE = 3
    """Steps: 0 inside lines, 1 and 2 whole leaves with more escapes, 3 whole top-level blocks."""

    def __init__(
        self, sheet: Sheet, links: "Links", style: Style, trace: Trace, notes: str
    ) -> None:
        self._sheet = sheet
        self._links = links
        self._style = style
        self._trace = trace
        self._notes = notes
        self._level = 0

    def document(self, old: Block, new: Block, levels: dict[int, int]) -> None:
        """Edit the whole document; ``levels`` are the steps by index of ``as_families(new)``."""
        self._siblings(old.children, new.children, b"", levels)

    # Siblings

    def _siblings(
        self,
        old_blocks: Sequence[Block],
        new_blocks: Sequence[Block],
        prefix: bytes,
        levels: dict[int, int] | None = None,
    ) -> None:
        old = [b for b, _ in as_families(old_blocks)]
        new = [b for b, _ in as_families(new_blocks)]
        outer = self._level
        for gone, come, pair in _groups(old, new):
            self._level = max([outer, *((levels or {}).get(j, 0) for j in come)])
            if gone or come:
                self._gap(old, gone, [new[j] for j in come], prefix)
            if pair is not None:
                i, j = pair
                self._level = max(outer, (levels or {}).get(j, 0))
                if self._level >= self.WHOLE and levels is not None:
                    if old[i] != new[j] or self._level > 0:
                        self._rewrite(old, i, [new[j]], prefix)
                elif old[i] != new[j]:
                    self._change(old, i, new[j], prefix)
            self._level = outer

    def _gap(self, old: list[Block], gone: range, come: list[Block], prefix: bytes) -> None:
        """Between two blocks that stay, some go and some come."""
        if gone and come:
            self._rewrite(old, gone.start, come, prefix)
            gone = range(gone.start + 1, gone.stop)
            if gone:
                self._delete(old, gone, prefix)
        elif gone:
            self._delete(old, gone, prefix)
        else:
            self._insert(old, gone.start, come, prefix)

    def _writer(self, before: Block | None = None, after: Block | None = None) -> Writer:
        """A writer whose lists don't run into those of the neighbours."""
        near = [b for b in (before, after) if b is not None and b.kind.endswith("_list")]
        marks = {self._sheet.marker(b.children[0]).decode()[-1] for b in near}
        bullets = [c for c in self._style.bullet + _BULLETS if c not in marks]
        ends = [c for c in self._style.delimiter + ".)" if c not in marks]
        style = replace(
            self._style,
            bullet=bullets[0],
            delimiter=ends[0] if ends else ".",
            width=None if self._level else self._style.width,
        )
        return Writer(self._links, style, checked=True, floor=min(self._level, 2))

    def _rewrite(self, old: list[Block], i: int, come: list[Block], prefix: bytes) -> None:
        """Write blocks where an old one stood."""
        sheet, block = self._sheet, old[i]
        before = old[i - 1] if i else None
        after = old[i + 1] if i + 1 < len(old) else None
        lines = self._writer(before, after).blocks(come)
        start, end = span_of(block)
        if sheet.has_own_line(block):
            is_indented = block.kind == "code" and sheet.data[start : start + 1] not in b"`~"
            own = prefix if is_indented or not sheet.indent(block).strip(b" ") else None
            prefix = sheet.indent(block) if own is None else own
            start = sheet.line_start(start)
            text = prefix + sheet.join(lines, prefix)
            if self._level and start and not sheet.is_blank(sheet.line_start(start - 1)):
                text = prefix.rstrip() + sheet.newline + text
        else:
            text = sheet.join(lines, prefix)
        below = sheet.next_line(end)
        if self._level and after is not None and not sheet.is_blank(below):
            # What could follow the old block at once may run into the new one.
            text += sheet.newline + prefix.rstrip()
        sheet.replace(start, end, text)

    def _insert(self, old: list[Block], i: int, come: list[Block], prefix: bytes) -> None:
        """Write blocks before the ``i``-th, between blank lines."""
        sheet = self._sheet
        before = old[i - 1] if i else None
        after = old[i] if i < len(old) else None
        lines = self._writer(before, after).blocks(come)
        text = sheet.join(lines, prefix)
        blank = prefix.rstrip() + sheet.newline
        if before is not None:
            self._insert_after(span_of(before)[1], text, prefix, blank, has_next=after is not None)
        elif after is not None and sheet.has_own_line(after):
            at = sheet.line_start(span_of(after)[0])
            sheet.replace(at, at, prefix + text + sheet.newline + blank)
        elif after is not None:
            at = span_of(after)[0]
            sheet.replace(at, at, text + sheet.newline + blank + prefix)
        else:
            self._append(text)

    def _append(self, text: bytes) -> None:
        """Into a body without blocks: behind what it holds."""
        data = self._sheet.data
        lead = b"" if not data or data.endswith(b"\n") else self._sheet.newline
        if data.strip():
            lead += self._sheet.newline
        self._sheet.replace(len(data), len(data), lead + text + self._sheet.newline)

    def _insert_after(
        self, end: int, text: bytes, prefix: bytes, blank: bytes, *, has_next: bool
    ) -> None:
        sheet = self._sheet
        at = sheet.next_line(end)
        if at == len(sheet.data) and not sheet.data.endswith(b"\n"):
            # The file's last line has no newline: it stays so.
            sheet.replace(at, at, sheet.newline + blank + prefix + text)
            return
        follows = at < len(sheet.data) and not sheet.is_blank(at)
        free = _FREE_START.match(sheet.data[at : sheet.next_line(at)].lstrip(b" \t>"))
        guard = blank if follows and (has_next or not free) else b""
        sheet.replace(at, at, blank + prefix + text + sheet.newline + guard)

    def _delete(self, old: list[Block], gone: range, prefix: bytes) -> None:
        """Take blocks out with the smaller of the gaps around them."""
        sheet = self._sheet
        first, last = old[gone.start], old[gone.stop - 1]
        start, end = span_of(first)[0], span_of(last)[1]
        survives = gone.stop < len(old)
        if not sheet.has_own_line(first):
            stop = span_of(old[gone.stop])[0] if survives else end
            sheet.replace(start, stop, b"")
            return
        if len(gone) == len(old) and prefix:
            # A container's only content: its own markers stay.
            sheet.replace(start, end, b"")
            return
        depth = prefix.count(b">")
        top, bottom = sheet.line_start(start), sheet.next_line(end)
        above, below = self._blank_above(top, depth), self._blank_below(bottom, depth)
        if gone.start == 0 or (survives and bottom + below <= bottom + above):
            bottom += below
        else:
            top -= above
        for block, following in zip(
            (old[k] for k in gone), [*(old[k] for k in gone[1:]), None], strict=True
        ):
            low = top if block is first else sheet.line_start(span_of(block)[0])
            high = bottom if following is None else sheet.next_line(span_of(block)[1])
            if following is not None:
                high += self._blank_below(high, depth)
            sheet.replace(low, high, b"")

    def _blank_below(self, at: int, depth: int) -> int:
        """How many bytes of blank lines of a container follow."""
        sheet, stop = self._sheet, at
        while stop < len(sheet.data) and sheet.is_blank(stop):
            line = sheet.data[stop : sheet.next_line(stop)]
            if line.count(b">") != depth:
                break
            stop = sheet.next_line(stop)
        return stop - at

    def _blank_above(self, at: int, depth: int) -> int:
        sheet, top = self._sheet, at
        while top > 0:
            line = sheet.line_start(top - 1)
            if not sheet.is_blank(line) or sheet.data[line:top].count(b">") != depth:
                break
            top = line
        return at - top

    # One block

    def _change(self, old: list[Block], i: int, new: Block, prefix: bytes) -> None:
        """Edit a block into another of its kind."""
        a = old[i]
        done = False
        if a.kind in {"paragraph", "heading"}:
            done = a.attrs == new.attrs and self._leaf(a, new, prefix)
        elif a.kind == "code":
            done = self._code(a, new)
        elif a.kind == "quote":
            done = self._quote(a, new, prefix)
        elif a.kind.endswith("_list"):
            done = self._list(a, new, prefix)
        elif a.kind == "table":
            done = self._table(a, new, prefix)
        elif a.kind == "files":
            done = self._files(a, new)
        if not done:
            self._rewrite(old, i, [new], prefix)

    def _quote(self, old: Block, new: Block, prefix: bytes) -> bool:
        inner = self._sheet.quote_prefix(old, prefix)
        if old.children:
            self._siblings(old.children, new.children, inner)
            return True
        if new.children:
            at = span_of(old)[0] + 1
            text = self._sheet.join(self._writer().blocks(new.children), inner)
            self._sheet.replace(at, at, b" " + text)
        return True

    # Leaves

    def _leaf(self, old: Block, new: Block, prefix: bytes) -> bool:
        """Edit inside the lines, if the result reads right on its own."""
        if self._level:
            return False
        sheet = self._sheet
        more = sheet.indent(old) if sheet.has_own_line(old) else prefix
        splice = Splice(sheet.data, old, new.inline, self._trace)
        for rung in range(esc.RUNGS - 1):
            edits = splice.edits(self._links, self._style, rung)
            if edits is None:
                return False
            if self._reads_as(old, new, edits):
                newline = sheet.newline + more
                for edit in edits:
                    sheet.replace(edit.start, edit.end, edit.text.replace(b"\n", newline))
                return True
        return False

    def _reads_as(self, old: Block, new: Block, edits: list[Edit]) -> bool:
        start, end = span_of(old)
        part = Sheet(self._sheet.data[start:end], b"\n")
        for edit in edits:
            part.replace(edit.start - start, edit.end - start, edit.text)
        text = part.result().decode()
        if old.kind == "cell":
            text = f"|x|\n|-|\n|{text}|"
        elif "\n" in text:
            first, *rest = text.split("\n")
            text = "\n".join([first, *(line.lstrip(" \t>") for line in rest)])
        if "[" in text:
            text += self._notes
        found = parse(text, self._links).children
        if old.kind == "cell":
            return len(found) == 1 and found[0].children[-1].children[0].inline == new.inline
        return len(found) == 1 and (found[0].kind, found[0].inline) == (old.kind, new.inline)

    def _code(self, old: Block, new: Block) -> bool:
        """Edit the changed lines of fenced code."""
        sheet = self._sheet
        start, end = span_of(old)
        if self._level or sheet.data[start : start + 1] not in (b"`", b"~"):
            return False
        if old.attrs != new.attrs and not self._info(old, new):
            return False
        before = old.text.split("\n") if old.text else []
        after = new.text.split("\n") if new.text else []
        rows: list[tuple[int, int]] = []
        at = sheet.next_line(start)
        for line in before:
            stop = at + len(sheet.data[at : sheet.next_line(at)].rstrip(b"\r\n"))
            raw = line.encode()
            if not sheet.data[at:stop].endswith(raw) or stop > end:
                return False
            rows.append((stop - len(raw), stop))
            at = sheet.next_line(at)
        if at > end or not rows:
            return False
        for i1, i2, j1, j2 in gaps_between(matches(before, after), len(before), len(after)):
            self._code_lines(rows, after, (i1, i2, j1, j2))
        return True

    def _code_lines(
        self, rows: list[tuple[int, int]], after: list[str], gap: tuple[int, int, int, int]
    ) -> None:
        sheet = self._sheet
        i1, i2, j1, j2 = gap
        model = rows[min(i1, len(rows) - 1)][0]
        prefix = sheet.data[sheet.line_start(model) : model]
        text = b"".join(
            (prefix + line.encode() if line else prefix.rstrip()) + sheet.newline
            for line in after[j1:j2]
        )
        ends = rows[-1][1]
        low = sheet.line_start(rows[i1][0]) if i1 < len(rows) else sheet.next_line(ends)
        high = sheet.line_start(rows[i2][0]) if i2 < len(rows) else sheet.next_line(ends)
        sheet.replace(low, max(low, high), text)

    def _info(self, old: Block, new: Block) -> bool:
        """Change the language; what follows it on the fence stays."""
        start = span_of(old)[0]
        match = re.compile(rb"(`{3,}|~{3,})([ \t]*)([^ \t\r\n]*)").match(self._sheet.data, start)
        info = esc.info_string(str(new.get("info") or ""))
        if match is None or not info or "`" in info:
            return False
        self._sheet.replace(match.start(3), match.end(3), info.encode())
        return True

    def _files(self, old: Block, new: Block) -> bool:
        """Edit the lines of files that came or went."""
        sheet = self._sheet
        start, end = span_of(old)
        lines = sheet.data[start:end].split(b"\n")
        before, after = (str(b.get("keys")).split("\n") for b in (old, new))
        if len(lines) != len(before) or self._level:
            return False
        indent = b"" if len(lines) == 1 else re.match(rb"[ \t>]*", lines[1])[0]  # type: ignore[index]
        if len(lines) == 1:
            return False
        bare = [lines[0], *(line[len(indent) :] for line in lines[1:])]
        out: list[bytes] = []
        i = j = 0
        writer = self._writer()
        for i2, j2, n in [*matches(before, after), (len(before), len(after), 0)]:
            out += [writer.file_line(k).encode() for k in after[j:j2]]
            out += [line.rstrip() for line in bare[i2 : i2 + n]]
            i, j = i2 + n, j2 + n
        assert i == len(before)
        sheet.replace(start, end, (sheet.newline + indent).join(out))
        return True

    # Lists

    def _list(self, old: Block, new: Block, prefix: bytes) -> bool:
        if old.attrs != new.attrs and not self._number(old, new):
            return False
        items = list(old.children)
        loose = self._is_loose(items)
        for gone, come, pair in _groups(items, list(new.children)):
            fresh = [new.children[j] for j in come]
            if gone and fresh:
                self._put_items(items, gone.start, fresh, prefix, loose=loose, instead=True)
                gone = range(gone.start + 1, gone.stop)
            elif fresh:
                self._put_items(items, gone.start, fresh, prefix, loose=loose)
            if gone:
                self._delete(items, gone, prefix)
            if pair is not None and items[pair[0]] != new.children[pair[1]]:
                self._item(items, pair[0], new.children[pair[1]], prefix, loose=loose)
        return True

    def _is_loose(self, items: list[Block]) -> bool:
        """Whether blank lines stand between the items."""
        for a in items[:-1]:
            return self._blank_below(self._sheet.next_line(span_of(a)[1]), 0) > 0 or (
                self._sheet.is_blank(self._sheet.next_line(span_of(a)[1]))
            )
        return not is_tight(Block("bullet_list", children=tuple(items)))

    def _number(self, old: Block, new: Block) -> bool:
        """Change the first item's number, if its lines keep their indentation."""
        if old.kind != "ordered_list":
            return True
        first = old.children[0]
        mark = self._sheet.marker(first)
        text = str(new.get("start")).encode()
        if new.children and first not in new.children and len(new.children) != len(old.children):
            return False
        if len(text) != len(mark) - 1:
            return False
        start = span_of(first)[0]
        self._sheet.replace(start, start + len(text), text)
        return True

    def _head(self, items: list[Block], i: int, k: int) -> str:
        """The marker for the ``k``-th new item before the ``i``-th."""
        mark = self._sheet.marker(items[i - 1 if i else 0]).decode()
        if not mark[:-1]:
            return mark
        numbers = [int(self._sheet.marker(item)[:-1]) for item in items[:3]]
        if len(numbers) > 1 and len(set(numbers)) == 1:
            return mark
        return f"{min(int(mark[:-1]) + (k + 1 if i else k), 999_999_999)}{mark[-1]}"

    def _put_items(
        self,
        items: list[Block],
        i: int,
        fresh: list[Block],
        prefix: bytes,
        *,
        loose: bool,
        instead: bool = False,
    ) -> None:
        """Write items before the ``i``-th, or in its place."""
        sheet = self._sheet
        near = items[i] if instead or not i else items[i - 1]
        own = sheet.has_own_line(near)
        lead = sheet.indent(near) if own else prefix
        writer = self._writer()
        lines: list[str] = []
        for k, item in enumerate(fresh):
            head = sheet.marker(near).decode() if instead and not k else self._head(items, i, k)
            if lines and loose:
                lines.append("")
            lines += writer.item(item, head, tight=not loose)
        text = sheet.join(lines, lead)
        blank = lead.rstrip() + sheet.newline
        gap = blank if loose else b""
        if instead:
            sheet.replace(*span_of(near), text)
        elif i:
            at = sheet.next_line(span_of(near)[1])
            if at == len(sheet.data) and not sheet.data.endswith(b"\n"):
                sheet.replace(at, at, sheet.newline + gap + lead + text)
            else:
                sheet.replace(at, at, gap + lead + text + sheet.newline)
        elif own:
            at = sheet.line_start(span_of(near)[0])
            sheet.replace(at, at, lead + text + sheet.newline + gap)
        else:
            at = span_of(near)[0]
            sheet.replace(at, at, text + sheet.newline + gap + lead)

    def _item(self, items: list[Block], i: int, new: Block, prefix: bytes, *, loose: bool) -> None:
        old = items[i]
        if self._level < 2 and self._box(old, new):
            inner = self._sheet.item_prefix(old, prefix)
            if old.children:
                self._siblings(old.children, new.children, inner)
                return
            if not new.children:
                return
            if old.attrs == new.attrs and old.get("checked") is None:
                text = self._sheet.join(self._writer().blocks(new.children), inner)
                self._sheet.replace(span_of(old)[1], span_of(old)[1], b" " + text)
                return
        self._sheet.edits = [e for e in self._sheet.edits if not _inside(e, old)]
        self._put_items(items, i, [new], prefix, loose=loose, instead=True)

    def _box(self, old: Block, new: Block) -> bool:
        """Tick, put or take away a task's box."""
        was, now = old.get("checked"), new.get("checked")
        if was is now:
            return True
        start = span_of(old)[0]
        box = b"[x]" if now else b"[ ]"
        match = _BOX.match(self._sheet.data, start)
        if was is not None and now is not None and match:
            self._sheet.replace(match.start(1), match.end(1), box)
            return True
        first = old.children[0] if old.children else None
        if first is None or first.kind != "paragraph" or old.children[0] != new.children[:1]:
            if first is None or first.kind != "paragraph" or not new.children:
                return False
            if new.children[0].kind != "paragraph":
                return False
        at = span_of(first)[0]
        if was is None and "\n" not in self._sheet.data[start:at].decode():
            self._sheet.replace(at, at, box + b" ")
            return True
        if match and now is None:
            self._sheet.replace(match.start(1), at, b"")
            return True
        return False

    # Tables

    def _table(self, old: Block, new: Block, prefix: bytes) -> bool:
        columns = {len(r.children) for r in (*old.children, *new.children)}
        if len(columns) != 1 or not new.children or self._level:
            return False
        rows = list(old.children)
        self._row(rows[0], new.children[0])
        writer = self._writer()
        lead = self._sheet.indent(rows[0]) if self._sheet.has_own_line(rows[0]) else prefix
        for gone, come, pair in _groups(rows[1:], list(new.children[1:])):
            fresh = [writer.row(new.children[j + 1]).encode() for j in come]
            if fresh:
                end = span_of(rows[gone.start])[1]
                at = self._sheet.next_line(end)
                if gone.start == 0:
                    # Behind the header and its rule.
                    at = self._sheet.next_line(at)
                text = b"".join(lead + line + self._sheet.newline for line in fresh)
                if not self._sheet.data.endswith(b"\n") and at == len(self._sheet.data):
                    text = self._sheet.newline + text.removesuffix(self._sheet.newline)
                self._sheet.replace(at, at, text)
            for k in gone:
                start, end = span_of(rows[k + 1])
                stop = self._sheet.next_line(end)
                self._sheet.replace(self._sheet.line_start(start), stop, b"")
            if pair is not None:
                self._row(rows[pair[0] + 1], new.children[pair[1] + 1])
        return True

    def _row(self, old: Block, new: Block) -> None:
        """Edit the changed cells of a row."""
        if old == new:
            return
        edits: list[tuple[Block, Block]] = []
        for a, b in zip(old.children, new.children, strict=True):
            if a != b:
                edits.append((a, b))
        if any(a.span is None or a.span.start == a.span.end for a, _ in edits):
            self._sheet.replace(*span_of(old), self._writer().row(new).encode())
            return
        for a, b in edits:
            self._cell(a, b)

    def _cell(self, old: Block, new: Block) -> None:
        if old.inline and new.inline and self._leaf(old, new, b""):
            return
        start, end = span_of(old)
        raw = self._sheet.data[start:end]
        text = self._writer().leaf(Block("cell", inline=new.inline)).encode()
        # The pipes of an aligned table stay where they are, as far as the text allows.
        room = len(raw.decode()) - 1 - len(text.decode())
        self._sheet.replace(start, end, b" " + text + b" " * max(room, 1))


def _inside(edit: Edit, block: Block) -> bool:
    start, end = span_of(block)
    return start <= edit.start and edit.end <= end


Group = tuple[range, range, tuple[int, int] | None]


def _groups(old: Sequence[Block], new: Sequence[Block]) -> Iterator[Group]:
    """Old indexes that go, new ones that come, and then a pair that stays."""
    i = j = 0
    pairs: list[tuple[Any, Any]] = [p for p in align(old, new) if None not in p]
    for a, b in pairs:
        yield range(i, a), range(j, b), (a, b)
        i, j = a + 1, b + 1
    yield range(i, len(old)), range(j, len(new)), None


__all__ = ["Relines", "as_families", "inline"]
