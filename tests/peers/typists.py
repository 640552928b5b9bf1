"""Random ProseMirror documents and edits, as an editor makes them; grown as ``trees`` grows."""

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.peers.trees import BLOCK_IDS, DEEPEST, FILE_KEYS, RANDOMS, words

Node = dict[str, Any]


def grow_editor_document(random: Random) -> Node:
    """ProseMirror JSON with everything of the contract and things markdown has no word for."""
    return {"type": "doc", "content": _nodes(random, 1, 5, depth=0)}


def _node(kind: str, *content: Node, **attributes: Any) -> Node:
    return {"type": kind, "attrs": attributes, "content": list(content)}


def _nodes(random: Random, least: int, most: int, depth: int) -> list[Node]:
    return [grow_node(random, depth) for _ in range(random.randint(least, most))]


def grow_node(random: Random, depth: int = DEEPEST) -> Node:
    """One block node; by default one that holds no blocks."""
    kinds = LEAVES if depth == DEEPEST else LEAVES + CONTAINERS
    return random.choice(kinds)(random, depth + 1)


def _paragraph(random: Random, depth: int) -> Node:
    return _node("paragraph", *_runs(random), anchor=random.choice([None, None, "here"]))


def _heading(random: Random, depth: int) -> Node:
    return _node("heading", *_runs(random), level=random.randint(1, 6), anchor="top")


def _code(random: Random, depth: int) -> Node:
    text = {"type": "text", "text": "x = 1\n\ty"}
    return _node("codeBlock", text, language=random.choice([None, "python"]))


def _rule(random: Random, depth: int) -> Node:
    return _node("horizontalRule")


def _whiteboard(random: Random, depth: int) -> Node:
    return _node("whiteboard", strokes=[1, [2.5, None]], zoom=2, owner={"name": "x"})


def _file(random: Random, depth: int) -> Node:
    return _node("file", files=random.sample(FILE_KEYS, 2))


def _quote(random: Random, depth: int) -> Node:
    return _node("blockquote", *_nodes(random, 1, 2, depth))


def _callout(random: Random, depth: int) -> Node:
    return _node("callout", *_nodes(random, 1, 2, depth), tone="warning")


def _bullet_list(random: Random, depth: int) -> Node:
    return _node("bulletList", *(_node("listItem", *item) for item in _items(random, depth)))


def _ordered_list(random: Random, depth: int) -> Node:
    items = (_node("listItem", *item) for item in _items(random, depth))
    return _node("orderedList", *items, start=random.choice([1, 3]))


def _todo_list(random: Random, depth: int) -> Node:
    items = _items(random, depth)
    return _node("todo_list", *(_node("todo_item", *i, checked=len(i) > 1) for i in items))


def _table(random: Random, depth: int) -> Node:
    head = (_node("tableHeader", _paragraph(random, depth)) for _ in range(2))
    body = (_node("tableCell", _paragraph(random, depth)) for _ in range(2))
    return _node("table", _node("tableRow", *head), _node("tableRow", *body))


LEAVES = [*[_paragraph] * 4, _heading, _code, _rule, _whiteboard, _file]
CONTAINERS = [_quote, _callout, _bullet_list, _ordered_list, _todo_list, _table]


def _items(random: Random, depth: int) -> list[list[Node]]:
    count = random.randint(1, 3)
    return [[_paragraph(random, depth), *_nodes(random, 0, 2, depth)] for _ in range(count)]


MARKS: list[Node] = [
    {"type": "bold"},
    {"type": "italic"},
    {"type": "underline"},
    {"type": "textStyle", "attrs": {"color": "#c00"}},
    {"type": "highlight", "attrs": {"color": "yellow"}},
    {"type": "annotation", "attrs": {"thread": 1}},
    {"type": "annotation", "attrs": {"thread": 2}},
    {"type": "link", "attrs": {"href": "https://example.org/"}},
]

ATOMS: list[Node] = [
    _node("hardBreak"),
    _node("formula", source="e=mc^2", display=False),
    _node("pagelink", blockKey=BLOCK_IDS[0]),
    _node("reference", id=BLOCK_IDS[1], label="label", type="mention"),
    _node("image", src="https://example.org/i.png", alt="alt"),
]


def _runs(random: Random) -> list[Node]:
    found = []
    for _ in range(random.randint(0, 4)):
        if random.random() < 0.25:
            found.append(random.choice(ATOMS))
        else:
            given = random.sample(MARKS, random.choice([0, 0, 1, 2]))
            found.append({"type": "text", "text": words(random), "marks": given})
    return found


def grow_edit(random: Random, text: str, kinds: Sequence[str]) -> Node:
    """One edit for edits.mjs of one of the kinds; ``text`` is what it types, should it type."""
    kind = random.choice(kinds)
    edit = {
        "do": kind,
        "block": random.randint(0, 9),
        "at": random.randint(0, 60),
        "length": random.randint(1, 8),
        "to": random.randint(0, 5),
        "item": random.randint(0, 3),
    }
    extra: dict[str, Node] = {
        "type": {"text": text, "whole": True},
        "split": {"whole": True},
        "mark": {"mark": random.choice(["bold", "italic", "strike"])},
        "unmark": {"mark": random.choice(["bold", "italic", "strike"])},
        "retype": {"to": "heading", "attrs": {"level": 2}},
        "insert": {"node": grow_node(random)},
    }
    return {**edit, **extra.get(kind, {})}


GENTLE = [*["type"] * 4, "mark", "unmark", "split", "insert", "check"]
"""Edits that take no text away."""

EDITS = [*GENTLE, "erase", "join", "retype", "remove", "move"]

EDITOR_DOCUMENTS = RANDOMS.map(grow_editor_document)
