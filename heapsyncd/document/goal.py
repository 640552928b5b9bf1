"""A goal made fit for one document: canonical, and naming only unknown nodes that it has."""

from collections.abc import Iterable
from dataclasses import replace

from heapsyncd.document.tree import DEEPEST
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Atom, Block, Inline, Text, attrs, inline

_DEEPEST = DEEPEST - 6
"""Room for what blocks consist of below their own level (a table's rows, cells, paragraphs)."""

_Name = tuple[object, ...]


def settled(goal: Block, base: Block, *, keep_unknown: bool = False) -> Block:
    """The goal as this document can show it.

    An unknown node may stand once; repetitions are left out. One the document does not have is
    literal text, unless ``keep_unknown``.

    Raises:
        InvalidEdit: nested deeper than is shown.
    """
    _check_depth(goal)
    if keep_unknown:
        return goal
    free = set(_names(base))
    wanted = list(_names(goal))
    if all(n in free for n in wanted) and len(set(wanted)) == len(wanted):
        return goal
    return _Settler(free).block(goal)


def _check_depth(goal: Block) -> None:
    level, depth = [goal], 0
    while level:
        level = [c for b in level for c in b.children]
        depth += 1
        if depth > _DEEPEST:
            raise InvalidEdit("lists or quotes are nested too deeply")


def _names(tree: Block) -> Iterable[_Name]:
    for block in tree.walk():
        if block.kind == "opaque":
            yield ("block", block.attrs)
        for item in block.inline:
            if isinstance(item, Atom) and item.kind == "opaque":
                yield ("inline", item.attrs)


class _Settler:
    def __init__(self, free: set[_Name]) -> None:
        self._known = set(free)
        self._free = free

    def block(self, block: Block) -> Block:
        children = [self._child(c) for c in block.children]
        items = self._inline(block.inline)
        return replace(block, children=tuple(c for c in children if c is not None), inline=items)

    def _child(self, block: Block) -> Block | None:
        if block.kind != "opaque":
            made = self.block(block)
            return made if made.inline or made.kind != "paragraph" else None
        name = ("block", block.attrs)
        if name not in self._known:
            text = f"<!-- heapsyncd: {block.get('label')} {block.get('digest')} -->"
            return Block("paragraph", inline=(Text(text),))
        if name not in self._free:
            return None
        self._free.remove(name)
        return replace(block, attrs=attrs(**dict(block.attrs)))

    def _inline(self, items: tuple[Inline, ...]) -> tuple[Inline, ...]:
        out: list[Inline] = []
        for item in items:
            name = ("inline", item.attrs) if isinstance(item, Atom) else None
            if not isinstance(item, Atom) or item.kind != "opaque":
                out.append(item)
            elif name not in self._known:
                out.append(Text(f"<!--{item.get('label')}:{item.get('digest')}-->"))
            elif name in self._free:
                self._free.remove(name)
                out.append(item)
        return tuple(out) if len(out) == len(items) and out == list(items) else inline(out)
