"""A goal made fit for one document: canonical, and naming only unknown nodes that it has."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from heapsyncd.document.tree import DEEPEST
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Atom, Attrs, Block, Inline, Text, inline

_DEEPEST = DEEPEST - 6
"""Room for what blocks consist of below their own level (a table's rows, cells, paragraphs)."""

_Name = tuple[str, object]
"""Among blocks or inline, and the digest: a label may have been edited in the file."""


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
    known = dict(_unknown(base))
    wanted = list(_unknown(goal))
    names = [name for name, _ in wanted]
    if all(known.get(n) == a for n, a in wanted) and len(set(names)) == len(names):
        return goal
    return _Settler(known).block(goal)


def _check_depth(goal: Block) -> None:
    level, depth = [goal], 0
    while level:
        level = [c for b in level for c in b.children]
        depth += 1
        if depth > _DEEPEST:
            raise InvalidEdit("lists or quotes are nested too deeply")


def _unknown(tree: Block) -> Iterator[tuple[_Name, Attrs]]:
    """The nodes markdown can't say, by name."""
    for block in tree.walk():
        if block.kind == "opaque":
            yield ("block", block.get("digest")), block.attrs
        for item in block.inline:
            if isinstance(item, Atom) and item.kind == "opaque":
                yield ("inline", item.get("digest")), item.attrs


class _Settler:
    def __init__(self, known: Mapping[_Name, Attrs]) -> None:
        self._known = known
        self._free = set(known)

    def block(self, block: Block) -> Block:
        children = [self._child(c) for c in block.children]
        items = self._inline(block.inline)
        return replace(block, children=tuple(c for c in children if c is not None), inline=items)

    def _child(self, block: Block) -> Block | None:
        if block.kind != "opaque":
            made = self.block(block)
            return made if made.inline or made.kind != "paragraph" else None
        name = ("block", block.get("digest"))
        if name not in self._known:
            text = f"<!-- heapsyncd: {block.get('label')} {block.get('digest')} -->"
            return Block("paragraph", inline=(Text(text),))
        if name not in self._free:
            return None
        self._free.remove(name)
        return replace(block, attrs=self._known[name])

    def _inline(self, items: tuple[Inline, ...]) -> tuple[Inline, ...]:
        if not any(isinstance(i, Atom) and i.kind == "opaque" for i in items):
            return items
        out: list[Inline] = []
        for item in items:
            if not isinstance(item, Atom) or item.kind != "opaque":
                out.append(item)
                continue
            name = ("inline", item.get("digest"))
            if name not in self._known:
                out.append(Text(f"<!--{item.get('label')}:{item.get('digest')}-->"))
            elif name in self._free:
                self._free.remove(name)
                out.append(replace(item, attrs=self._known[name]))
        return inline(out)
