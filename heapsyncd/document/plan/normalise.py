"""Make a goal fit a document: canonical, and with only those unknown nodes that it has."""

import re
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from heapsyncd.diff import equal_ends
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import DEEPEST, Atom, Attrs, Block, Inline, Text, inline

_DEEPEST = DEEPEST + 4
"""The most levels of blocks: the root, the containers, and below them a table's rows and cells."""

_MANY = 50
"""Containers with fewer children are compared as a whole first."""

_COMMENT = re.compile(r"<!--[^<>]*?-->")
_DIGEST = re.compile(r"\b[0-9a-f]{6}\b")

_Name = tuple[str, object]
"""Where an unknown node is (among blocks or inline), and its digest. The label is not part of it,
since users may edit it.
"""


def normalise(
    goal: Block, base: Block, *, all_known: bool = False, keep_unknown: bool = False
) -> Block:
    """Return the goal as this document can show it.

    Blocks that equal the base's are replaced by the base's own objects. An unknown node may appear
    once; repetitions are left out. One that the document does not have becomes literal text.

    Args:
        goal: the wanted view.
        base: the document's view.
        all_known: the base has no unknown node.
        keep_unknown: keep unknown nodes that the document does not have.

    Raises:
        InvalidEdit: the goal is nested deeper than a view shows.
    """
    goal = _grafted(goal, base)
    if goal is base:
        return goal
    new = _not_of(goal, base)
    if keep_unknown or (all_known and not any(any(_unknown_of(b)) for b in new)):
        return goal
    known = dict(_unknown(base))
    wanted = list(_unknown(goal))
    names = [name for name, _ in wanted]
    is_met = all(known.get(n) == a for n, a in wanted) and len(set(names)) == len(names)
    if is_met and (set(names) == set(known) or not _has_comments(goal)):
        return goal
    return _Normaliser(known, set(names)).block(goal)


def _not_of(goal: Block, base: Block) -> list[Block]:
    """Return the blocks of a grafted goal that are not the base's own objects.

    Raises:
        InvalidEdit: they are nested too deeply.
    """
    out: list[Block] = []
    level, olds = [goal], [base]
    depth = 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise InvalidEdit("lists or quotes are nested too deeply")
        own = {id(c): c for b in olds for c in b.children}
        children = [c for b in level for c in b.children]
        level = [c for c in children if own.pop(id(c), None) is None]
        olds = list(own.values())
        out += level
    return out


def _grafted(goal: Block, base: Block) -> Block:
    """Return the goal with the base's own objects where it equals them, to compare by identity."""
    new, old = goal.children, base.children
    if len(new) == len(old):
        children = [_graft(a, b) for a, b in zip(new, old, strict=True)]
        if children and all(a is b for a, b in zip(children, old, strict=True)) and goal == base:
            return base
        return goal.with_children(children) if children else goal
    head, tail = equal_ends(new, old)
    middle = new[head : len(new) - tail]
    return goal.with_children([*old[:head], *middle, *old[len(old) - tail :]])


def _graft(new: Block, old: Block) -> Block:
    # A long list is not compared as a whole before each of its items is.
    if len(new.children) < _MANY and new == old:
        return old
    return _grafted(new, old) if new.kind == old.kind else new


def _unknown(tree: Block) -> Iterator[tuple[_Name, Attrs]]:
    """Yield the unknown nodes of a tree by name, with their attributes."""
    for block in tree.walk():
        yield from _unknown_of(block)


def _unknown_of(block: Block) -> Iterator[tuple[_Name, Attrs]]:
    """Yield the block itself, or what is in its text, if unknown."""
    if block.kind == "opaque":
        yield ("block", block.get("digest")), block.attrs
    for item in block.inline:
        if isinstance(item, Atom) and item.kind == "opaque":
            yield ("inline", item.get("digest")), item.attrs


def _has_comments(goal: Block) -> bool:
    """Tell whether a text may be an unknown node's comment into which a user wrote words."""
    return any(isinstance(i, Text) and "<!--" in i.text for b in goal.walk() for i in b.inline)


class _Normaliser:
    """Rewrites one goal; each unknown node is used once."""

    def __init__(self, known: Mapping[_Name, Attrs], wanted: set[_Name]) -> None:
        self._known = known
        self._wanted = wanted
        """The names of the unknown nodes that the goal contains as such."""
        self._free = set(known)

    def block(self, block: Block) -> Block:
        children = [self._child(c) for c in block.children]
        items = self._inline(block.inline)
        return replace(block, children=tuple(c for c in children if c is not None), inline=items)

    def _child(self, block: Block) -> Block | None:
        if block.kind != "opaque":
            named = self._named_by(block)
            if named is not None:
                return named
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

    def _named_by(self, block: Block) -> Block | None:
        """Return the unknown node whose comment a paragraph is, with words written behind its
        digest.
        """
        only = block.inline[0] if len(block.inline) == 1 else None
        if block.kind != "paragraph" or not isinstance(only, Text):
            return None
        name = self._name("block", only.text) if _COMMENT.fullmatch(only.text) else None
        if name is None:
            return None
        self._free.remove(name)
        return Block("opaque", self._known[name])

    def _name(self, where: str, comment: str) -> _Name | None:
        """Return the node that a comment names, if the goal does not contain it elsewhere."""
        names = [(where, digest) for digest in _DIGEST.findall(comment)]
        free = [n for n in names if n in self._free and n not in self._wanted]
        return free[0] if free else None

    def _commented(self, item: Text) -> Iterator[Inline]:
        """Yield a text with unknown nodes in place of the comments that name them."""
        at = 0
        for found in _COMMENT.finditer(item.text):
            name = self._name("inline", found[0])
            if name is not None:
                self._free.remove(name)
                yield from (item.cut(at, found.start()), Atom("opaque", self._known[name]))
                at = found.end()
        yield item.cut(at, len(item.text))

    def _inline(self, items: tuple[Inline, ...]) -> tuple[Inline, ...]:
        if not any("<!--" in i.text if isinstance(i, Text) else i.kind == "opaque" for i in items):
            return items
        out: list[Inline] = []
        for item in items:
            if isinstance(item, Text):
                is_code = any(m.kind == "code" for m in item.marks)
                out += [item] if is_code else self._commented(item)
                continue
            if item.kind != "opaque":
                out.append(item)
                continue
            name = ("inline", item.get("digest"))
            if name not in self._known:
                out.append(Text(f"<!--{item.get('label')}:{item.get('digest')}-->"))
            elif name in self._free:
                self._free.remove(name)
                out.append(replace(item, attrs=self._known[name]))
        return inline(out)
