"""A goal made fit for one document: canonical, and naming only unknown nodes that it has."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from heapsyncd.diff import equal_ends
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import DEEPEST, Atom, Attrs, Block, Inline, Text, inline

_DEEPEST = DEEPEST + 4
"""Levels: the root, the containers, and below them a table's rows and cells."""

_MANY = 50
"""Children; a container with fewer is compared as a whole first."""

_COMMENT = re.compile(r"<!--[^<>]*?-->")
_DIGEST = re.compile(r"\b[0-9a-f]{6}\b")

_Name = tuple[str, object]
"""Among blocks or inline, and the digest: a label may have been edited in the file."""


def settled(
    goal: Block, base: Block, *, is_plain: bool = False, keep_unknown: bool = False
) -> Block:
    """The goal as this document can show it; what of it is as in the base is the base's own.

    An unknown node may stand once; repetitions are left out. One the document does not have is
    literal text, unless ``keep_unknown``.

    Args:
        goal: what is wished for.
        base: the document's view.
        is_plain: the base has no unknown node.
        keep_unknown: see above.

    Raises:
        InvalidEdit: nested deeper than is shown.
    """
    goal = _grafted(goal, base)
    if goal is base:
        return goal
    new = _not_of(goal, base)
    if keep_unknown or (is_plain and not any(any(_unknown_of(b)) for b in new)):
        return goal
    known = dict(_unknown(base))
    wanted = list(_unknown(goal))
    names = [name for name, _ in wanted]
    is_met = all(known.get(n) == a for n, a in wanted) and len(set(names)) == len(names)
    if is_met and (set(names) == set(known) or not _has_comments(goal)):
        return goal
    return _Settler(known, set(names)).block(goal)


def _not_of(goal: Block, base: Block) -> list[Block]:
    """The blocks of a grafted goal that are not the base's own; InvalidEdit when too deep."""
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
    """The goal with the base's own blocks where it equals them: those are compared by identity."""
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
    """The nodes markdown can't say, by name."""
    for block in tree.walk():
        yield from _unknown_of(block)


def _unknown_of(block: Block) -> Iterator[tuple[_Name, Attrs]]:
    """Itself, or what is in its text."""
    if block.kind == "opaque":
        yield ("block", block.get("digest")), block.attrs
    for item in block.inline:
        if isinstance(item, Atom) and item.kind == "opaque":
            yield ("inline", item.get("digest")), item.attrs


def _has_comments(goal: Block) -> bool:
    """Whether a text may be the comment of an unknown node, with words written into it."""
    return any(isinstance(i, Text) and "<!--" in i.text for b in goal.walk() for i in b.inline)


class _Settler:
    def __init__(self, known: Mapping[_Name, Attrs], wanted: set[_Name]) -> None:
        self._known = known
        self._wanted = wanted
        """What stands in the goal by its own name."""
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
        """The unknown node whose comment, with words written behind its digest, is a paragraph."""
        only = block.inline[0] if len(block.inline) == 1 else None
        if block.kind != "paragraph" or not isinstance(only, Text):
            return None
        name = self._name("block", only.text) if _COMMENT.fullmatch(only.text) else None
        if name is None:
            return None
        self._free.remove(name)
        return Block("opaque", self._known[name])

    def _name(self, where: str, comment: str) -> _Name | None:
        """The node that a comment names, should it not stand elsewhere."""
        names = [(where, digest) for digest in _DIGEST.findall(comment)]
        free = [n for n in names if n in self._free and n not in self._wanted]
        return free[0] if free else None

    def _commented(self, item: Text) -> Iterator[Inline]:
        """A text with the unknown nodes that comments in it name."""
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
