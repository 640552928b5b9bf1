"""Simple blocks: what is known of their nodes without a look is what a look would find."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycrdt import Doc, XmlFragment

from heapsyncd.document.construct import fast_blocks
from heapsyncd.document.edit import Target, edit, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.view.from_nodes import View
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.content_model import violations
from heapsyncd.document.xml.nodes import Elem, Txt
from heapsyncd.document.xml.schema import DocumentVocabulary
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Atom, Block, Inline, Mark, Text, attrs, inline

SPOKEN = DocumentVocabulary(Elem(""))
ODD = st.sampled_from(
    ["", " x", "x ", "a\nb", "a\rb", "a\0b", "<b>", "\ufffc", "x\xa0", "a & b é"]
)
GOOD = st.text("abcé&\"'/>", min_size=1)
WORDS = st.one_of(*[GOOD] * 9, ODD)
ULID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"
MARK = st.sampled_from(
    [Mark("bold"), Mark("code"), Mark("strike"), Mark("link", "u"), Mark("link", 'u"<')]
)
ATOM = st.sampled_from([Atom("break"), Atom("mention", attrs(id=ULID, label=None))])
CONTENT = st.one_of(
    st.builds(lambda t: (Text(t),), WORDS),
    st.lists(st.builds(Text, WORDS, st.lists(MARK, max_size=1).map(tuple)) | ATOM, max_size=5).map(
        inline
    ),
)
TEXT = st.builds(lambda content: Block("paragraph", inline=content), CONTENT)
CODE = st.builds(
    lambda text, info: Block("code", attrs(info=info), text=text),
    st.one_of(WORDS, st.just(" a\n\n b \n")),
    st.sampled_from(["", "python", "c++", "<x>"]),
)


def _table(rows: list[list[tuple[Inline, ...]]]) -> Block:
    width = max(map(len, rows))
    even = [[*cells, *[()] * (width - len(cells))] for cells in rows]
    return Block(
        "table",
        children=tuple(
            Block("row", children=tuple(Block("cell", inline=c) for c in cells)) for cells in even
        ),
    )


TABLE = st.lists(st.lists(CONTENT | st.just(()), max_size=3), min_size=1, max_size=3).map(_table)
LEAF = TEXT | st.builds(
    lambda n, t: Block("heading", attrs(level=n), inline=t.inline), st.integers(1, 6), TEXT
)


def _containers(block: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    below = st.builds(lambda first, more: (first, *more), TEXT, st.lists(block, max_size=2))
    items = st.lists(
        st.builds(lambda kids: Block("item", (), kids), below), min_size=1, max_size=3
    )
    todos = st.lists(
        st.builds(lambda c, kids: Block("item", attrs(checked=c), kids), st.booleans(), below),
        min_size=1,
        max_size=3,
    )
    return st.one_of(
        st.builds(lambda kids: Block("quote", children=kids), below),
        st.builds(lambda kids: Block("bullet_list", children=tuple(kids)), items),
        st.builds(
            lambda n, kids: Block("ordered_list", attrs(start=n), tuple(kids)),
            st.integers(0, 999_999_999),
            items,
        ),
        st.builds(lambda kids: Block("todo_list", children=tuple(kids)), todos),
    )


BLOCK = st.recursive(LEAF | CODE | TABLE | st.just(Block("rule")), _containers, max_leaves=6)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(BLOCK)
def test_its_nodes_are_what_they_are_taken_for(block: Block) -> None:
    """As values they show as the block and are accepted; in a document they are these values, and
    spelled as foretold.
    """
    assume(_is_simple(block))
    made = fast_blocks.DeferredElem(block, SPOKEN)
    doc: Doc[XmlFragment] = Doc()
    with nodes.transaction(doc) as txn:
        root = nodes.fragment(doc, txn, nodes.BODY)
        fast_blocks.insert(root, 0, block, SPOKEN, txn)
        (raw,) = root.children(txn)
        assert raw.get_string(txn) == fast_blocks.spelling(block, SPOKEN)
    assert View().block(made, (0,)) == block
    assert violations(made) == []
    (read,) = nodes.read(doc, nodes.BODY).children
    assert _values(read) == _values(made)


def _is_simple(block: Block) -> bool:
    return fast_blocks.is_simple(block, lambda _: True)


def _values(node: Elem | Txt) -> object:
    if isinstance(node, Txt):
        return [(r.text, r.formats, r.embed) for r in node.runs]
    return node.tag, node.attrs, [_values(c) for c in node.children]


def _items(*items: Block) -> Block:
    return Block("bullet_list", children=items)


def _paragraph(*inline: Inline) -> Block:
    return Block("paragraph", inline=inline)


X = _paragraph(Text("x"))
CELL = Block("cell", inline=(Text("x"),))


@pytest.mark.parametrize(
    "block",
    [
        _paragraph(),
        _paragraph(Text("x "), Text("y")),
        _paragraph(Text("x ")),
        _paragraph(Text("a\nb")),
        _paragraph(Text("</paragraph><paragraph>")),
        Block("quote"),
        _items(),
        _items(Block("item")),
        _items(Block("item", children=(Block("rule"),))),
        _items(Block("item", attrs(checked=True), (X,))),
        Block("todo_list", children=(Block("item", (), (X,)),)),
        Block("code", text="x"),
        Block("code", attrs(info="x y"), text="x"),
        Block("code", attrs(info=""), text="</codeBlock><codeBlock>"),
        _paragraph(Text("x"), Text("y")),
        _paragraph(Text("x"), Text("y\nz", (Mark("bold"),))),
        _paragraph(Text("x ", (Mark("bold"),)), Text("y")),
        _paragraph(Text("x"), Text("y", (Mark("bold"), Mark("italic")))),
        _paragraph(Text("x", (Mark("link", "u", "title"),))),
        _paragraph(Text("x", (Mark("link", '"><a b="'),))),
        _paragraph(Text("x "), Atom("break"), Text("y")),
        _paragraph(Atom("image", attrs(src="a", alt="", title=""))),
        _paragraph(Atom("mention", attrs(id=ULID, label="x"))),
        _paragraph(Atom("mention", attrs(id="x", label=None))),
        Block("table", children=(Block("row", children=(CELL,)), Block("row"))),
        Block("table", children=(Block("row"),)),
    ],
)
def test_what_is_not_simple(block: Block) -> None:
    """What needs a filler, hides something, or could be spelled like something else, is not."""
    assert not _is_simple(block)
    assert not _is_simple(Block("quote", children=(X, block)))


def test_a_mention_is_cloned_where_there_is_one() -> None:
    """A node that shows the same is copied with what the view does not show."""
    mention = _paragraph(Atom("mention", attrs(id=ULID, label=None)))
    doc: Doc[XmlFragment] = Doc()
    with nodes.transaction(doc) as txn:
        root = nodes.fragment(doc, txn, nodes.BODY)
        paragraph = root.insert_element_prelim(txn, 0, "paragraph")
        node = paragraph.insert_element_prelim(txn, 0, "pagelink")
        node.insert_attribute(txn, "blockKey", ULID)
        node.insert_attribute(txn, "color", "red")
    live = Replica.load([doc.get_update()])
    edit(live, Target(body=Block("doc", (), (mention, X, mention))))
    last = nodes.read(live.doc, nodes.BODY).children[2]
    assert _values(last) == (
        "paragraph",
        {},
        [("pagelink", {"blockKey": ULID, "color": "red"}, [])],
    )


def test_simple_and_other_blocks_in_one_list() -> None:
    """A list that is not simple holds items that are."""
    code = Block("item", (), (X, Block("code", attrs(info=""), text="y")))
    body = Block("doc", (), (_items(Block("item", (), (X,)), code, Block("item", (), (X,))),))
    update = express([], Target(body=body)).update
    assert update is not None
    assert Replica.load([update]).view() == body


def test_what_came_out_otherwise_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is read back: when it is something else, there is no edit."""
    plant = fast_blocks.insert

    def wrong(raw: XmlFragment, index: int, block: Block, *more: object) -> None:
        plant(raw, index, _paragraph(Text("y")), *more)  # type: ignore[arg-type]

    monkeypatch.setattr(fast_blocks, "insert", wrong)
    with pytest.raises(InvalidEdit, match="planned"):
        express([], Target(body=Block("doc", (), (X,))))
