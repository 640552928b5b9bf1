"""Trees as lines, places in trees, and which lines an edit changed."""

import difflib
import re
from collections.abc import Iterator

from heapsyncd.tree import Atom, Block, Inline, Text, inline

Path = tuple[int, ...]


def outline(block: Block, depth: int = 0) -> list[str]:
    """The tree as lines: kind, attributes, content."""
    lines: list[str] = []
    for child in block.children:
        known = "".join(f" {k}={v!r}" for k, v in child.attrs)
        line = f"{'  ' * depth}{child.kind}{known}"
        if child.kind == "code":
            line += f": {child.text!r}"
        if child.inline:
            line += ": " + " ".join(shown(i) for i in child.inline)
        lines += [line, *outline(child, depth + 1)]
    return lines


def shown(item: Inline) -> str:
    if isinstance(item, Atom):
        return "<" + " ".join([item.kind, *(f"{k}={v!r}" for k, v in item.attrs)]) + ">"
    names = [
        m.kind
        + (f"[{m.href}{' ' + repr(m.title) if m.title else ''}]" if m.kind == "link" else "")
        for m in item.marks
    ]
    return f"{'+'.join(names)}({item.text!r})" if names else repr(item.text)


def leaves(block: Block, path: Path = ()) -> Iterator[tuple[Path, Block]]:
    """All blocks with words, and where they are."""
    if re.search(r"\w", block.text + "".join(getattr(i, "text", "") for i in block.inline)):
        yield path, block
    for k, child in enumerate(block.children):
        yield from leaves(child, (*path, k))


def put(tree: Block, path: Path, block: Block) -> Block:
    if not path:
        return block
    children = list(tree.children)
    children[path[0]] = put(children[path[0]], path[1:], block)
    return tree.with_children(children)


def one_word_changed(block: Block) -> Block:
    """The block with its first word another."""
    if block.kind == "code":
        return Block("code", block.attrs, text=re.sub(r"\w+", "changed", block.text, count=1))
    items = list(block.inline)
    for k, item in enumerate(items):
        if isinstance(item, Text) and re.search(r"[^\W_]", item.text):
            items[k] = Text(re.sub(r"[^\W_]+", "changed", item.text, count=1), item.marks)
            break
    return Block(block.kind, block.attrs, inline=inline(items))


def changed_lines(old: str, new: str) -> list[int]:
    """The numbers of the old lines that are not in the new text any more, or got a neighbour."""
    matcher = difflib.SequenceMatcher(None, old.split("\n"), new.split("\n"), autojunk=False)
    found: list[int] = []
    for tag, i1, i2, _, _ in matcher.get_opcodes():
        if tag != "equal":
            found += range(i1, max(i2, i1 + 1))
    return found
