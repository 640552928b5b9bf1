"""Random documents as an editor could have made them, and random goals for them."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace
from pycrdt import Doc, XmlElement, XmlFragment, XmlText

from heapsyncd.tree import Atom, Block, Inline, Mark, Text, attrs, inline, marks

ULID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"
ULID_2 = "01J8XYZ0ABCDEFGHJKMNPQRSTW"
KEY = "a" * 64 + ":12"
KEY_2 = "b" * 64 + ":7"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

Spec = tuple[str, dict[str, Any], list[Any]]
"""(tag, attributes, children); a text is a list of (text, formats)."""

WORDS = st.lists(
    st.sampled_from(
        ["fox", "foxes", "the ", " ", "jumps", ".", "é", "e\u0301", FAMILY, "日本", "*"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
RAW_TEXT = WORDS | st.sampled_from([" lead", "trail ", "a\nb", "x\0y", "two  spaces", "\r\n", " "])

LINK = {"href": "https://example.org/a", "target": "_blank", "class": None}
FORMATS = st.sampled_from(
    [
        {},
        {},
        {"bold": {}},
        {"italic": {}, "bold": {}},
        {"code": {}},
        {"bold--AbCdEf12": {}},
        {"link": LINK},
        {"link": LINK, "bold": {}},
        {"textStyle": {"color": "#c00"}},
        {"textStyle": {"color": "#c00"}, "bold": {}},
        {"comment": {"thread": "t-1"}},
        {"strike": {}, "underline": {}},
    ]
)
RUNS = st.lists(st.tuples(RAW_TEXT, FORMATS), min_size=1, max_size=4)
EXTRA = st.sampled_from([{}, {}, {"uid": "u-7"}, {"textAlign": "left", "n": 2.0, "gone": None}])

INLINE_NODE: st.SearchStrategy[Any] = st.sampled_from(
    [
        ("hardBreak", {}, []),
        ("hardBreak", {}, []),
        ("image", {"src": "i.png", "alt": "a mast", "width": 7.0}, []),
        ("pagelink", {"blockKey": ULID}, []),
        ("reference", {"id": ULID_2, "label": "Anna Lee", "type": "mention"}, []),
        ("mathInline", {"formula": "e^x", "display": True}, []),
    ]
)


@st.composite
def _content(draw: st.DrawFn) -> list[Any]:
    """Texts, with at least one inline node between two of them."""
    out: list[Any] = []
    for node in draw(st.lists(INLINE_NODE, max_size=2)):
        if draw(st.booleans()):
            out.append(draw(RUNS))
        out.append(node)
    if draw(st.booleans()) or not out:
        out.append(draw(RUNS))
    return out


CONTENT = _content()
PARAGRAPH = st.tuples(st.just("paragraph"), EXTRA, CONTENT | st.just([]))
HEADING = st.builds(
    lambda level, extra, kids: ("heading", {"level": level, **extra}, kids),
    st.sampled_from([1, 2, 6, 9, "x"]),
    EXTRA,
    CONTENT | st.just([]),
)
CODE: st.SearchStrategy[Any] = st.builds(
    lambda lang, text: ("codeBlock", lang, [[(text, {})]] if text else []),
    st.sampled_from([{}, {"language": "python"}, {"language": None}]),
    st.sampled_from(["", "x = 1\n", "\n\ny\n", "  a\r\nb", "line\n  two\n```\n"]),
)
LEAF: st.SearchStrategy[Any] = st.sampled_from(
    [
        ("horizontalRule", {}, []),
        ("file", {"files": [KEY]}, []),
        ("file", {"files": [{"key": KEY, "w": 1.0}, {"key": KEY_2}]}, []),
        ("chartEmbed", {"series": [1.0, None, {"k": True}], "zoom": 1.25}, []),
        ("chartEmbed", {"series": [1.0, None, {"k": True}], "zoom": 1.25}, []),
        ("callout", {"kind": "tip"}, [("paragraph", {}, [[("inside", {})]])]),
        ("image", {"src": "block.png"}, []),
    ]
)


def _containers(block: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(block, min_size=1, max_size=3)
    item = st.builds(lambda p, more: [p, *more], PARAGRAPH, st.lists(block, max_size=2))
    items = st.lists(item, min_size=1, max_size=3)
    quote: st.SearchStrategy[Any] = st.builds(lambda kids: ("blockquote", {}, kids), some)
    bullets: st.SearchStrategy[Any] = st.builds(
        lambda found, extra: ("bulletList", extra, [("listItem", {}, i) for i in found]),
        items,
        st.sampled_from([{}, {"tight": True}]),
    )
    numbers: st.SearchStrategy[Any] = st.builds(
        lambda found, start: (
            "orderedList",
            {"start": start},
            [("listItem", {}, i) for i in found],
        ),
        items,
        st.sampled_from([1, 5]),
    )
    todos: st.SearchStrategy[Any] = st.builds(
        lambda found, names, done: (
            names[0],
            {},
            [(names[1], {"checked": done}, i) for i in found],
        ),
        items,
        st.sampled_from([("todo_list", "todo_item"), ("taskList", "taskItem")]),
        st.booleans(),
    )
    return quote | bullets | numbers | todos


CELL = st.builds(
    lambda tag, kids: (tag, {"colspan": 1}, kids),
    st.sampled_from(["tableCell", "tableHeader"]),
    st.lists(PARAGRAPH, min_size=1, max_size=2),
)
TABLE: st.SearchStrategy[Any] = st.builds(
    lambda rows: ("table", {}, [("tableRow", {}, r) for r in rows]),
    st.lists(st.lists(CELL, min_size=1, max_size=3), min_size=1, max_size=3),
)
BLOCK = st.recursive(PARAGRAPH | HEADING | CODE | LEAF, _containers, max_leaves=4) | TABLE
BODY = st.lists(BLOCK, max_size=5)


def build(body: Sequence[Spec], client_id: int = 7) -> bytes:
    """The update of a document with this body, made with pycrdt alone."""
    doc: Doc[Any] = Doc(client_id=client_id)
    root = doc.get("content_v0", type=XmlFragment)
    with doc.transaction():
        for spec in body:
            _grow(root.children, spec)
    return doc.get_update()


def _grow(children: Any, spec: Any) -> None:
    todo = [(children, spec)]
    while todo:
        into, item = todo.pop()
        if isinstance(item, list):
            text = XmlText("")
            into.append(text)
            for value, formats in item:
                text.insert(len(text), value, formats)
            continue
        tag, values, below = item
        element = XmlElement(tag)
        into.append(element)
        for name, value in values.items():
            element.attributes[name] = value
        todo += [(element.children, child) for child in reversed(below)]


# --- goals: what a parser can yield --------------------------------------------------------------

MARKS = st.sampled_from(
    [
        (),
        (),
        marks(Mark("bold")),
        marks(Mark("bold"), Mark("italic")),
        marks(Mark("code")),
        marks(Mark("link", "https://example.org/a")),
        marks(Mark("link", "https://other.example", "T")),
    ]
)
ITEM: st.SearchStrategy[Inline] = st.builds(Text, WORDS, MARKS) | st.sampled_from(
    [
        Atom("break"),
        Atom("image", attrs(src="i.png", alt="a mast", title="")),
        Atom("image", attrs(src="j.png", alt="", title="J")),
        Atom("mention", attrs(id=ULID, label=None)),
        Atom("mention", attrs(id=ULID, label="Bo")),
    ]
)
ITEMS = st.lists(ITEM, min_size=1, max_size=4).map(inline)
SOME_ITEMS = ITEMS.filter(bool)
A_PARAGRAPH = st.builds(lambda i: Block("paragraph", inline=i), SOME_ITEMS)
A_LEAF = st.one_of(
    A_PARAGRAPH,
    A_PARAGRAPH,
    st.builds(lambda n, i: Block("heading", attrs(level=n), inline=i), st.integers(1, 6), ITEMS),
    st.builds(
        lambda info, text: Block("code", attrs(info=info), text=text),
        st.sampled_from(["", "python"]),
        st.sampled_from(["", "x = 1\n", "é\n\n"]),
    ),
    st.just(Block("rule")),
    st.just(Block("files", attrs(keys=f"{KEY_2}\n{KEY}"))),
)


def _block_containers(block: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    some = st.lists(block, max_size=3).map(tuple)
    plain_item = st.builds(lambda kids: Block("item", children=kids), some)
    todo = st.builds(
        lambda done, kids: Block("item", attrs(checked=done), kids), st.booleans(), some
    )
    plain_items = st.lists(plain_item, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(lambda kids: Block("quote", children=kids), some),
        st.builds(lambda kids: Block("bullet_list", children=kids), plain_items),
        st.builds(
            lambda n, kids: Block("ordered_list", attrs(start=n), kids),
            st.integers(0, 9),
            plain_items,
        ),
        st.builds(
            lambda kids: Block("todo_list", children=kids),
            st.lists(todo, min_size=1, max_size=3).map(tuple),
        ),
    )


@st.composite
def _table(draw: st.DrawFn) -> Block:
    width = draw(st.integers(1, 3))
    cell = ITEMS.map(lambda i: Block("cell", inline=i)) | st.just(Block("cell"))
    row = st.lists(cell, min_size=width, max_size=width).map(
        lambda cells: Block("row", children=tuple(cells))
    )
    return Block("table", children=tuple(draw(st.lists(row, min_size=1, max_size=3))))


A_BLOCK = st.recursive(A_LEAF, _block_containers, max_leaves=4) | _table()
A_BODY = st.lists(A_BLOCK, max_size=5).map(lambda kids: Block("doc", children=tuple(kids)))


@st.composite
def edits(draw: st.DrawFn, base: Block) -> Block:
    """A goal made from a base the way people edit: a few changes anywhere in it."""
    goal = base
    for _ in range(draw(st.integers(1, 3))):
        goal = _edit(draw, goal)
    return goal


def _edit(draw: st.DrawFn, block: Block) -> Block:
    children = list(block.children)
    kind = draw(st.sampled_from(["into", "into", "into", "insert", "delete", "move", "join"]))
    if block.kind in {"table", "row"}:
        kind = "into"
    if not children:
        return _edit_leaf(draw, block)
    k = draw(st.integers(0, len(children) - 1))
    free = block.kind in {"doc", "quote", "item"}
    if kind == "into":
        children[k] = _edit(draw, children[k])
    elif kind == "insert" and free:
        children.insert(k, draw(A_BLOCK))
    elif kind == "delete" and (len(children) > 1 or free):
        del children[k]
    elif kind == "move":
        children.insert(draw(st.integers(0, len(children) - 1)), children.pop(k))
    elif kind == "join" and k + 1 < len(children):
        a, b = children[k : k + 2]
        if a.inline and b.inline and a.kind == b.kind == "paragraph":
            children[k : k + 2] = [replace(a, inline=inline([*a.inline, *b.inline]))]
    return block.with_children(c for c in children if c.kind != "paragraph" or c.inline)  # type: ignore[arg-type]


def _edit_leaf(draw: st.DrawFn, block: Block) -> Block:
    if block.kind in {"paragraph", "heading", "cell"}:
        items = list(block.inline)
        k = draw(st.integers(0, len(items)))
        kind = draw(st.sampled_from(["insert", "delete", "text", "mark", "all", "heading"]))
        if kind == "insert" or not items:
            items.insert(k, draw(ITEM))
        elif kind == "all":
            items = list(draw(ITEMS))
        elif kind == "heading" and block.kind == "paragraph":
            return Block("heading", attrs(level=2), inline=block.inline)
        else:
            k = min(k, len(items) - 1)
            item = items[k]
            if kind == "delete":
                del items[k]
            elif isinstance(item, Text) and kind == "text":
                at = draw(st.integers(0, len(item.text)))
                end = draw(st.integers(at, len(item.text)))
                items[k] = Text(item.text[:at] + draw(WORDS) + item.text[end:], item.marks)
            elif isinstance(item, Text):
                items[k] = Text(item.text, draw(MARKS))
        return replace(block, inline=inline(items))
    if block.kind == "code":
        return replace(block, text=block.text + draw(st.sampled_from(["", "z\n", "é"])))
    if block.kind == "files":
        return Block("files", attrs(keys=KEY))
    return block
