"""Notes in which no word stands twice, and people who edit them: what is lost or doubled shows."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.document.inline.visible_text import cut
from heapsyncd.tree import Atom, Block, BlockType, Inline, Mark, Text, attrs, inline, marks

Path = tuple[int, ...]

EXAMPLES = int(os.environ.get("HEAPSYNCD_EXAMPLES", "60"))
"""More of them are for a run by hand."""
PLAY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
RANDOMS = st.randoms(use_true_random=False)

_WORD = re.compile(r"[A-Z][a-z]{3,6}\d+")
_EDGE = re.compile(r"(?<=\w)(?!\w)|\b(?=\w)")
_MARKS = [(), (), (), marks(Mark("bold")), marks(Mark("italic")), marks(Mark("link", "/u"))]
_LISTS: list[BlockType] = ["bullet_list", "ordered_list", "todo_list"]


@dataclass(slots=True)
class Writer:
    """Somebody whose words begin with a letter of their own."""

    name: str
    random: Random
    count: int = 0

    def word(self) -> str:
        """A word that nobody has written yet."""
        self.count += 1
        letters = Random(f"{self.name}{self.count}").choices("abcdefghijklmnoprstuvw", k=7)
        return f"{self.name}{''.join(letters[: 3 + self.count % 4])}{self.count}"

    def words(self, most: int = 6) -> str:
        return " ".join(self.word() for _ in range(self.random.randint(1, most)))

    def note(self) -> Block:
        """A note of a few blocks of any kind."""
        return Block("doc", children=self._some(self.block, 5))

    def block(self, depth: int = 0) -> Block:
        """A block; below two others one that holds no blocks."""
        if depth > 1 or self.random.random() > 0.3:
            return self._leaf()
        kind = self.random.choice([*_LISTS, "quote", "table"])
        if kind == "quote":
            return Block("quote", children=self._some(lambda: self.block(depth + 1), 2))
        if kind == "table":
            width = self.random.randint(1, 3)
            return Block("table", children=self._some(lambda: self._row(width), 3))
        checked = attrs(checked=False) if kind == "todo_list" else ()
        values = attrs(start=1) if kind == "ordered_list" else ()
        items = self._some(lambda: Block("item", checked, self._item(depth + 1)), 3)
        return Block(kind, values, items)

    def _some(self, make: Callable[[], Block], most: int) -> tuple[Block, ...]:
        return tuple(make() for _ in range(self.random.randint(1, most)))

    def _row(self, width: int) -> Block:
        cells = (Block("cell", inline=(Text(self.words(3)),)) for _ in range(width))
        return Block("row", children=tuple(cells))

    def _item(self, depth: int) -> tuple[Block, ...]:
        more = [self.block(depth)] if self.random.random() < 0.25 else []
        return (Block("paragraph", inline=self._content()), *more)

    def _leaf(self) -> Block:
        kind = self.random.choice([*["paragraph"] * 4, "heading", "code"])
        if kind == "heading":
            return Block("heading", attrs(level=1), inline=(Text(self.words()),))
        if kind == "code":
            return Block("code", attrs(info=""), text=f"{self.words(3)}\n{self.words(3)}")
        return Block("paragraph", inline=self._content())

    def _content(self) -> tuple[Inline, ...]:
        items: list[Inline] = []
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            items.append(Text(self.words() + " ", self.random.choice(_MARKS)))
            items += [Atom("break")] if self.random.random() < 0.12 else []
        return inline(items)

    def edited(self, tree: Block, kinds: Sequence[str], most: int = 3) -> Block:
        """The note after a few edits of these kinds."""
        for _ in range(self.random.randint(1, most)):
            kind = self.random.choice(kinds)
            tree = _EDITS[kind](self, tree)
        return tree


WRITING = ["type", "type", "type", "erase", "mark", "insert"]
"""Edits that leave every block where it is."""

BUILDING = ["delete", "move", "join", "split", "retype", "wrap", "unwrap", "indent"]
"""Edits that a document can only hold as deletions and copies."""


def words_of(tree: Block) -> Counter[str]:
    """How often each word stands in a note."""
    return Counter(_WORD.findall(tree.words()))


def _all(tree: Block, *kinds: str) -> list[tuple[Path, Block]]:
    def walk(block: Block, path: Path) -> Iterator[tuple[Path, Block]]:
        yield path, block
        for k, child in enumerate(block.children):
            yield from walk(child, (*path, k))

    return [(p, b) for p, b in walk(tree, ()) if b.kind in kinds]


def _put(tree: Block, path: Path, *blocks: Block) -> Block:
    """The tree with other blocks in a block's place."""
    if not path:
        return blocks[0]
    k = path[0]
    new = blocks if len(path) == 1 else (_put(tree.children[k], path[1:], *blocks),)
    return tree.with_children([*tree.children[:k], *new, *tree.children[k + 1 :]])


def _pick(who: Writer, tree: Block, *kinds: str) -> tuple[Path, Block] | None:
    found = _all(tree, *kinds)
    return who.random.choice(found) if found else None


def _edges(block: Block) -> list[int]:
    flat = "".join(i.text if isinstance(i, Text) else " " for i in block.inline)
    return [m.start() for m in _EDGE.finditer(flat)]


def _spliced(block: Block, start: int, end: int, *new: Inline) -> Block:
    items = [*cut(block.inline, 0, start), *new, *cut(block.inline, end, 1 << 20)]
    return replace(block, inline=inline(items))


def _type(who: Writer, tree: Block) -> Block:
    found = _pick(who, tree, "paragraph", "heading", "cell", "code")
    if found is None:
        return tree
    path, block = found
    if block.kind == "code":
        return _put(tree, path, replace(block, text=f"{block.text} {who.word()}"))
    at = who.random.choice(_edges(block) or [0])
    return _put(tree, path, _spliced(block, at, at, Text(f" {who.word()} ")))


def _stretch(who: Writer, tree: Block) -> tuple[Path, Block, int, int] | None:
    found = _pick(who, tree, "paragraph", "heading", "cell")
    edges = _edges(found[1]) if found else []
    if found is None or len(edges) < 2:
        return None
    first = who.random.randrange(len(edges) - 1)
    last = min(len(edges) - 1, first + who.random.randint(1, 4))
    return (*found, edges[first], edges[last])


def _erase(who: Writer, tree: Block) -> Block:
    found = _stretch(who, tree)
    if found is None:
        return tree
    path, block, start, end = found
    left = _spliced(block, start, end, Text(" "))
    return tree if block.kind == "paragraph" and not left.inline else _put(tree, path, left)


def _mark(who: Writer, tree: Block) -> Block:
    found = _stretch(who, tree)
    if found is None:
        return tree
    path, block, start, end = found
    given = who.random.choice(_MARKS)
    marked = [
        replace(i, marks=given) if isinstance(i, Text) else i
        for i in cut(block.inline, start, end)
    ]
    return _put(tree, path, _spliced(block, start, end, *marked))


def _insert(who: Writer, tree: Block) -> Block:
    path, block = who.random.choice(_all(tree, "doc", "quote", "item"))
    at = who.random.randint(1 if block.kind == "item" else 0, max(1, len(block.children)))
    new = [*block.children[:at], who.block(1), *block.children[at:]]
    return _put(tree, path, block.with_children(new))


def _child(who: Writer, tree: Block) -> tuple[Path, Block] | None:
    """A block that stands freely."""
    parents = _all(tree, "doc", "quote", "item")
    found = [((*p, k), c) for p, b in parents for k, c in enumerate(b.children)]
    return who.random.choice(found) if found else None


def _delete(who: Writer, tree: Block) -> Block:
    found = _child(who, tree)
    return tree if found is None else _put(tree, found[0])


def _move(who: Writer, tree: Block) -> Block:
    found = _child(who, tree)
    if found is None:
        return tree
    left = _put(tree, found[0])
    path, block = who.random.choice(_all(left, "doc", "quote", "item"))
    at = who.random.randint(0, len(block.children))
    new = [*block.children[:at], found[1], *block.children[at:]]
    return _put(left, path, block.with_children(new))


def _join(who: Writer, tree: Block) -> Block:
    found = _child(who, tree)
    if found is None:
        return tree
    path, block = found
    parent = tree
    for k in path[:-1]:
        parent = parent.children[k]
    after = parent.children[path[-1] + 1 : path[-1] + 2]
    if not after or {block.kind, after[0].kind} != {"paragraph"}:
        return tree
    both = replace(block, inline=inline([*block.inline, Text(" "), *after[0].inline]))
    return _put(_put(tree, (*path[:-1], path[-1] + 1)), path, both)


def _split(who: Writer, tree: Block) -> Block:
    found = _pick(who, tree, "paragraph")
    if found is None:
        return tree
    path, block = found
    at = who.random.choice(_edges(block) or [0])
    halves = [_spliced(block, at, 1 << 20), _spliced(block, 0, at)]
    return _put(tree, path, *halves) if all(h.inline for h in halves) else tree


def _retype(who: Writer, tree: Block) -> Block:
    found = _pick(who, tree, "paragraph", "heading")
    if found is None or not found[1].inline:
        return tree
    path, block = found
    if block.kind == "paragraph":
        return _put(tree, path, Block("heading", attrs(level=2), inline=block.inline))
    return _put(tree, path, Block("paragraph", inline=block.inline))


def _wrap(who: Writer, tree: Block) -> Block:
    found = _child(who, tree)
    if found is None or found[1].kind != "paragraph":
        return tree
    path, block = found
    listed = Block("bullet_list", children=(Block("item", children=(block,)),))
    return _put(tree, path, who.random.choice([Block("quote", children=(block,)), listed]))


def _unwrap(who: Writer, tree: Block) -> Block:
    found = _pick(who, tree, "quote", "bullet_list")
    if found is None:
        return tree
    path, block = found
    inner = (
        block.children
        if block.kind == "quote"
        else [c for i in block.children for c in i.children]
    )
    return _put(tree, path, *inner)


def _indent(who: Writer, tree: Block) -> Block:
    found = _pick(who, tree, *_LISTS)
    if found is None or len(found[1].children) < 2:
        return tree
    path, block = found
    k = who.random.randrange(1, len(block.children))
    above, item = block.children[k - 1 : k + 1]
    deeper = above.with_children([*above.children, Block(block.kind, block.attrs, (item,))])
    new = [*block.children[: k - 1], deeper, *block.children[k + 1 :]]
    return _put(tree, path, block.with_children(new))


_EDITS: dict[str, Callable[[Writer, Block], Block]] = {
    "type": _type,
    "erase": _erase,
    "mark": _mark,
    "insert": _insert,
    "delete": _delete,
    "move": _move,
    "join": _join,
    "split": _split,
    "retype": _retype,
    "wrap": _wrap,
    "unwrap": _unwrap,
    "indent": _indent,
}
