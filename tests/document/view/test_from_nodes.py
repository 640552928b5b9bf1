"""The markdown view of documents: what shows, what hides, what stands as opaque."""

import tracemalloc
from typing import Any

import pytest

from heapsyncd.document.replica import Replica
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.write.render import render
from heapsyncd.tree import MOST_EMPTY_CELLS, Atom, Block, Inline, Mark, Piece, Text, attrs, marks
from tests.document.worlds import KEY, KEY_2, ULID, ULID_2, build


def view(*body: Any) -> tuple[Block, ...]:
    return Replica.load([build(body)]).view().children


def p(*runs: Any, **values: Any) -> Any:
    """A paragraph of texts and nodes; a string is an unformatted text."""
    kids = [[(r, {})] if isinstance(r, str) else r for r in runs]
    return ("paragraph", values, kids)


def para(*items: Inline | str) -> Block:
    return Block("paragraph", inline=tuple(Text(i) if isinstance(i, str) else i for i in items))


BOLD = marks(Mark("bold"))
BR: Any = ("hardBreak", {}, [])
CELL: Any = ("tableCell", {}, [p("a")])


def table(*rows: Any) -> Any:
    return ("table", {}, [("tableRow", {}, list(r)) for r in rows])


def cells(*texts: str) -> Block:
    made = tuple(Block("cell", inline=(Text(t),) if t else ()) for t in texts)
    return Block("row", children=made)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        pytest.param([p("text")], [para("text")], id="paragraph"),
        pytest.param([p(), p("x"), p()], [para("x")], id="empty paragraphs hide"),
        pytest.param([p("  \0"), ("bulletList", {}, [])], [], id="blank ones and empty lists too"),
        pytest.param([p(" a "), p("b\t")], [para("a"), para("b")], id="edge whitespace hides"),
        pytest.param(
            [p("a\nb\r\nc")], [para("a", Atom("break"), "b", Atom("break"), "c")], id="\\n"
        ),
        pytest.param([p("a", BR, "b")], [para("a", Atom("break"), "b")], id="hardBreak"),
        pytest.param([p("a\0b")], [para("ab")], id="NUL hides"),
        pytest.param(
            [p([("a ", {"bold": {}}), ("b", {})])], [para(Text("a", BOLD), " b")], id="mark edge"
        ),
        pytest.param(
            [p([("a", {"bold--AbCdEf12": {}})])], [para(Text("a", BOLD))], id="hashed mark"
        ),
        pytest.param([p([("a", {"bold": True})])], [para(Text("a", BOLD))], id="mark valued true"),
        pytest.param(
            [p([("a", {"textStyle": {"color": "red"}}), ("b", {})])], [para("ab")], id="colour"
        ),
        pytest.param(
            [p([("a", {"link": {"href": "/u", "title": "T", "target": None}})])],
            [para(Text("a", marks(Mark("link", "/u", "T"))))],
            id="link",
        ),
        pytest.param([p([("a", {"link": {"href": None}})])], [para("a")], id="link to nowhere"),
        pytest.param(
            [("heading", {"level": n}, [[("h", {})]]) for n in (2, 0, 9, "x")],
            [Block("heading", attrs(level=n), inline=(Text("h"),)) for n in (2, 1, 6, 1)],
            id="levels are clamped",
        ),
        pytest.param(
            [("heading", {}, [])], [Block("heading", attrs(level=1))], id="empty heading shows"
        ),
        pytest.param(
            [("codeBlock", {"language": "c++ x"}, [[(" a\r\nb\0\n", {"bold": {}})]])],
            [Block("code", attrs(info="c++"), text=" a\nb\n")],
            id="code is exact",
        ),
        pytest.param([("codeBlock", {}, [])], [Block("code", attrs(info=""))], id="empty code"),
        pytest.param([("blockquote", {}, [p()])], [Block("quote")], id="empty quote"),
        pytest.param(
            [("orderedList", {"start": 5}, [("listItem", {}, [p(), ("horizontalRule", {}, [])])])],
            [
                Block(
                    "ordered_list",
                    attrs(start=5),
                    (Block("item", children=(Block("rule"),)),),
                )
            ],
            id="an item's empty first paragraph hides",
        ),
        pytest.param(
            [
                (t, {}, [(i, {"checked": c}, [p("x")])])
                for t, i, c in (("todo_list", "todo_item", True), ("taskList", "taskItem", None))
            ],
            [
                Block("todo_list", children=(Block("item", attrs(checked=c), (para("x"),)),))
                for c in (True, False)
            ],
            id="both spellings of tasks",
        ),
        pytest.param(
            [table([("tableHeader", {}, [p("a")])], [CELL, ("tableCell", {}, [p("b"), p("c")])])],
            [
                Block(
                    "table",
                    children=(
                        cells("a", ""),
                        Block(
                            "row",
                            children=(
                                Block("cell", inline=(Text("a"),)),
                                Block(
                                    "cell",
                                    inline=(Text("b"), Atom("break"), Atom("break"), Text("c")),
                                ),
                            ),
                        ),
                    ),
                )
            ],
            id="ragged rows are padded, paragraphs of a cell parted by breaks",
        ),
        pytest.param(
            [("file", {"files": [KEY, {"k": KEY_2}]}, [])],
            [Block("files", attrs(keys=f"{KEY}\n{KEY_2}"))],
            id="files",
        ),
        pytest.param(
            [
                p(
                    ("pagelink", {"blockKey": ULID}, []),
                    ("reference", {"id": ULID_2, "label": "A\nB"}, []),
                )
            ],
            [
                para(
                    Atom("mention", attrs(id=ULID, label=None)),
                    Atom("mention", attrs(id=ULID_2, label="A B")),
                )
            ],
            id="mentions",
        ),
        pytest.param(
            [("image", {"src": "a\nb", "alt": None}, [])],
            [para(Atom("image", attrs(src="a%0Ab", alt="", title="")))],
            id="an image among blocks is a paragraph",
        ),
    ],
)
def test_what_shows(body: list[Any], shown: list[Block]) -> None:
    """Each construct shows as markdown can say it."""
    assert view(*body) == tuple(shown)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(("chartEmbed", {"zoom": 1.5}, []), id="unknown node"),
        pytest.param(("file", {"files": []}, []), id="file node without a key"),
        pytest.param(("codeBlock", {}, [BR]), id="code with a node in it"),
        pytest.param(
            ("bulletList", {}, [("todo_item", {}, [p("x")])]), id="list with foreign items"
        ),
        pytest.param(table([("tableCell", {"colspan": 2}, [p("a")])]), id="colspan"),
        pytest.param(table([("tableCell", {}, [("codeBlock", {}, [])])]), id="code in a cell"),
        pytest.param(("table", {}, []), id="table without rows"),
    ],
)
def test_what_markdown_cannot_say_is_opaque(block: Any) -> None:
    """It stands as one block with its name and a digest."""
    (found,) = view(block)
    assert found.kind == "opaque"
    assert str(found.get("label")).startswith(block[0])


def test_equal_unknown_nodes_have_different_digests_and_stable_ones() -> None:
    """The digest follows the content, tells repetitions apart and does not depend on history."""
    chart: Any = ("chartEmbed", {"zoom": 1.5}, [])
    first, second = view(chart, chart)
    assert first.get("digest") != second.get("digest")
    other = Replica.load([build([p("x"), chart], client_id=12345)]).view().children[1]
    assert other.get("digest") == first.get("digest")
    (changed,) = view(("chartEmbed", {"zoom": 2.0}, []))
    assert changed.get("digest") != first.get("digest")


def test_an_unknown_inline_node_keeps_its_place() -> None:
    """It is an atom between its neighbours, an embedded object too."""
    ((_, formula, _),) = [b.inline for b in view(p("a ", ("math", {"f": "x"}, []), " b"))]
    assert isinstance(formula, Atom)
    assert formula.kind == "opaque"
    assert formula.get("label") == "math"


def test_the_view_knows_where_things_stand() -> None:
    """Blocks and atoms have paths, text has the UTF-8 offset of each unbroken stretch."""
    body = [p(), ("blockquote", {}, [p([("é\0x", {}), (" y", {"bold": {}})], BR, "z")])]
    (quote,) = view(*body)
    assert quote.path == (1,)
    text, bold, line_break, last = quote.children[0].inline
    assert isinstance(text, Text)
    assert text.pieces == (
        Piece(0, (1, 0, 0), 0),
        Piece(1, (1, 0, 0), 3),
        Piece(2, (1, 0, 0), 4),
    )
    assert isinstance(bold, Text)
    assert bold.pieces == (Piece(0, (1, 0, 0), 5),)
    assert isinstance(line_break, Atom)
    assert line_break.path == (1, 0, 1)
    assert isinstance(last, Text)
    assert last.pieces == (Piece(0, (1, 0, 2), 0),)


def test_deep_nesting_costs_no_recursion_error() -> None:
    """What lies deeper than a hundred levels stands as one opaque block."""
    body: Any = p("deep")
    for _ in range(3000):
        body = ("blockquote", {}, [body])
    found = view(body)[0]
    depth = 0
    while found.children:
        found, depth = found.children[0], depth + 1
    assert found.kind == "opaque"
    assert depth == 100


def test_twenty_five_nested_lists_show_their_text() -> None:
    """No text is dropped at depths people use."""
    body: Any = p("bottom")
    for _ in range(25):
        body = ("bulletList", {}, [("listItem", {}, [p("x"), body])])
    assert "bottom" in view(body)[0].words()


@pytest.mark.slow
def test_a_ragged_table_that_would_take_all_memory_is_opaque() -> None:
    """One long row beside many short ones: nothing is filled up, the words stay in the label."""
    tracemalloc.start()
    (block,) = view(table([CELL] * 3000, *[[CELL]] * 3000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert block.kind == "opaque"
    assert str(block.get("label")).startswith("table: a a a")
    assert peak < 64 << 20


@pytest.mark.parametrize("more", [0, 1])
def test_files_and_documents_draw_the_line_of_tables_alike(more: int) -> None:
    """What a document shows as a table its file reads as one, to the last empty cell."""
    wide = 201
    short = MOST_EMPTY_CELLS // (wide - 1)
    rows = [[CELL] * wide, *[[CELL]] * short, *([[CELL] * (wide - 1)] if more else [])]
    (block,) = view(table(*rows))
    assert block.kind == ("opaque" if more else "table")
    text = "".join(
        f"|{'a|' * len(row)}\n{'|' + '-|' * wide + chr(10) if k == 0 else ''}"
        for k, row in enumerate(rows)
    )
    (read,) = parse(text, NO_LINKS).children
    assert read.kind == ("paragraph" if more else "table")
    if not more:
        assert read == block
        assert parse(render(Block("doc", children=(block,)), NO_LINKS), NO_LINKS).children == (
            block,
        )
