"""Random trees as markdown sees documents.

Grown from a ``random.Random``, so that the same code serves hypothesis (``st.randoms()``, which
shrinks) and thousands of seeds in bulk. Trees are canonical (``heapsyncd.tree``) and hold what a
file can say by itself: no opaque nodes, which can only be kept.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.tree import Atom, Block, Inline, Mark, Text, attrs, inline, marks

BLOCK_IDS = [f"01HZX{tail:0>21}" for tail in ("A1", "B2", "C3")]
FILE_KEYS = [f"{letter * 64}:{size}" for letter, size in (("a", 10), ("b", 200), ("c", 0))]

WORDS = [
    *(
        "a",
        "word",
        "two words",
        "Hé",
        "naïve",
        "日本語",
        "👋🏽",
        "👩\u200d👩\u200d👧",
        "e\u0301",
        "🇩🇪",
    ),
    *("*", "_x_", "`", "[[", "]]", "#", "1.", "- ", "> ", "|", "\\", "<b>", "&amp;", "~~", "!["),
    *("\u00a0", "\u2028", "a\u200bb", "https://example.org/?a=b&c", "x" * 60, ":", "..."),
]
"""A small hostile stock, so that equal words meet."""

LINES = [*WORDS, "", "    indented", "```", "\ttab "]
HREFS = ["https://example.org/", "mailto:a@example.org", "note.md#a b", "x(y)z"]
TITLES = ["", "a title", 'say "x"']
DEEPEST = 3
MARKS = ["bold", "italic", "strike", "underline", "code", "link"]


def words(random: Random) -> str:
    """One to four words."""
    return " ".join(random.choices(WORDS, k=random.randint(1, 4)))


def grow_tree(random: Random) -> Block:
    """A whole note."""
    return Block("doc", children=_blocks(random, 0, 5, depth=0))


def _blocks(random: Random, least: int, most: int, depth: int) -> tuple[Block, ...]:
    return tuple(_block(random, depth) for _ in range(random.randint(least, most)))


def _block(random: Random, depth: int) -> Block:
    kinds = LEAVES if depth == DEEPEST else LEAVES + CONTAINERS
    return random.choice(kinds)(random, depth + 1)


def _paragraph(random: Random, depth: int) -> Block:
    return Block("paragraph", inline=_inline(random) or (Text("word"),))


def _heading(random: Random, depth: int) -> Block:
    return Block("heading", attrs(level=random.randint(1, 6)), inline=_inline(random))


def _code(random: Random, depth: int) -> Block:
    lines = random.choices(LINES, k=random.randint(0, 4))
    info = random.choice(["", "python", "c++", "mermaid"])
    return Block("code", attrs(info=info), text="\n".join(lines))


def _rule(random: Random, depth: int) -> Block:
    return Block("rule")


def _files(random: Random, depth: int) -> Block:
    keys = random.sample(FILE_KEYS, random.randint(1, 3))
    return Block("files", attrs(keys="\n".join(keys)))


def _table(random: Random, depth: int) -> Block:
    columns = random.randint(1, 3)
    rows = []
    for _ in range(random.randint(1, 3)):
        cells = (Block("cell", inline=_inline(random)) for _ in range(columns))
        rows.append(Block("row", children=tuple(cells)))
    return Block("table", children=tuple(rows))


def _quote(random: Random, depth: int) -> Block:
    return Block("quote", children=_blocks(random, 1, 3, depth))


def _bullet_list(random: Random, depth: int) -> Block:
    return Block("bullet_list", children=_items(random, depth))


def _ordered_list(random: Random, depth: int) -> Block:
    return Block("ordered_list", attrs(start=random.choice([1, 1, 0, 7])), _items(random, depth))


def _todo_list(random: Random, depth: int) -> Block:
    return Block("todo_list", children=_items(random, depth, todo=True))


LEAVES = [*[_paragraph] * 4, _heading, _code, _rule, _files, _table]
CONTAINERS = [_quote, _bullet_list, _ordered_list, _todo_list]


def _items(random: Random, depth: int, *, todo: bool = False) -> tuple[Block, ...]:
    """One to three items, empty ones too, which may begin with anything."""
    found = []
    for _ in range(random.randint(1, 3)):
        checked = attrs(checked=random.random() < 0.5) if todo else ()
        found.append(Block("item", checked, _blocks(random, 0, 3, depth)))
    return tuple(found)


def _inline(random: Random) -> tuple[Inline, ...]:
    return inline(_item(random) for _ in range(random.randint(0, 5)))


def _item(random: Random) -> Inline:
    match random.choice(["run", "run", "run", "marked", "marked", "break", "image", "mention"]):
        case "run":
            return Text(words(random))
        case "marked":
            given = random.sample(MARKS, random.randint(1, 2))
            return Text(words(random), marks(*(_mark(random, kind) for kind in given)))
        case "break":
            return Atom("break")
        case "image":
            alt = random.choice(["", "alt", "a [b]"])
            src, title = random.choice(HREFS), random.choice(TITLES)
            return Atom("image", attrs(src=src, alt=alt, title=title))
        case _:
            label = random.choice([None, "label", "two words"])
            return Atom("mention", attrs(id=random.choice(BLOCK_IDS), label=label))


def _mark(random: Random, kind: Any) -> Mark:
    if kind == "link":
        return Mark("link", random.choice(HREFS), random.choice(TITLES))
    return Mark(kind)


RANDOMS = st.randoms(use_true_random=False)
TREES = RANDOMS.map(grow_tree)


Path = tuple[int, ...]


def mutate(random: Random, tree: Block) -> Block:
    """The note after one to three edits. Opaque nodes are kept, moved or dropped, never made."""
    for _ in range(random.randint(1, 3)):
        path = random.choice(list(_paths(tree)))
        tree = _at(tree, path, lambda block: _edited(random, block))
    return tree


def _paths(tree: Block, path: Path = ()) -> Iterator[Path]:
    yield path
    for k, child in enumerate(tree.children):
        yield from _paths(child, (*path, k))


def _at(block: Block, path: Path, edit: Callable[[Block], Block]) -> Block:
    if not path:
        return edit(block)
    children = list(block.children)
    children[path[0]] = _at(children[path[0]], path[1:], edit)
    return block.with_children(children)


def _edited(random: Random, block: Block) -> Block:
    if block.kind in {"doc", "quote", "item"}:
        return block.with_children(_shuffled(random, block.children, _block(random, 2)))
    if block.kind in {"bullet_list", "ordered_list"}:
        return block.with_children(
            _shuffled(random, block.children, Block("item")) or block.children
        )
    if block.kind in {"paragraph", "heading", "cell"}:
        items = list(block.inline)
        at = random.randint(0, len(items))
        items[at : at + random.randint(0, 1)] = [_item(random)]
        return replace(block, inline=inline(items) or (Text("word"),))
    if block.kind == "code":
        return replace(block, text=block.text + random.choice(LINES))
    return block


def _shuffled(random: Random, children: tuple[Block, ...], new: Block) -> tuple[Block, ...]:
    """Some blocks with one of them gone or elsewhere, or a new one between."""
    found = list(children)
    if found and random.random() < 0.5:
        moved = found.pop(random.randrange(len(found)))
        if random.random() < 0.5:
            found.insert(random.randint(0, len(found)), moved)
    else:
        found.insert(random.randint(0, len(found)), new)
    return tuple(found)
