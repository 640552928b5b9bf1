"""Writing: what is written reads back as the tree, plainly where that is safe."""

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.style import DEFAULT, Style
from heapsyncd.markdown.write import render as render_module
from heapsyncd.markdown.write.blocks import Writer
from heapsyncd.markdown.write.render import is_rendering, render
from heapsyncd.model import LineBreaks
from heapsyncd.tree import Atom, Block, Mark, Text, attrs, inline

if TYPE_CHECKING:
    from tests.markdown.conftest import Heap

Golden = Callable[[str], list[list[str]]]


def doc(*blocks: Block) -> Block:
    return Block("doc", children=blocks)


def paragraph(*items: Text | Atom) -> Block:
    return Block("paragraph", inline=inline(items))


def test_golden_cases(golden: Golden, heap: "Heap") -> None:
    """Every construct is written as the data file shows, and reads back."""
    for title, source, written in golden("writing.txt"):
        tree = parse(source, heap)
        assert render(tree, heap) == written, title
        assert parse(written, heap) == tree, title


def test_golden_cases_of_line_breaks(golden: Golden, heap: "Heap") -> None:
    """Where every line end is a break, lines are written as the data file shows."""
    for title, source, written in golden("writing-breaks.txt"):
        tree = parse(source, heap, "break")
        assert render(tree, heap, line_breaks="break") == written, title
        assert parse(written, heap, "break") == tree, title


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_a_rendering_is_recognised(
    data: st.DataObject, trees: st.SearchStrategy[Block], heap: "Heap"
) -> None:
    """It is one of its tree; no other body is, be it longer, shorter, or another notation."""
    tree = data.draw(trees)
    body = render(tree, heap)
    assert is_rendering(body, tree, heap)
    assert not is_rendering(body + "\n", tree, heap)
    assert not body or not is_rendering(body[:-1], tree, heap)
    other = render(tree, heap, Style(bullet="*", rule="---", newline="\r\n"))
    assert is_rendering(other, tree, heap) == (other == body)


def test_what_differs_early_is_not_written_to_its_end(heap: "Heap") -> None:
    """Bodies that are no rendering are most, and found by their first blocks."""
    body = "* one\n\n" + "".join(f"paragraph {k}\n\n" for k in range(100)) + "last\n"
    tree = parse(body, heap)
    written: list[Block] = []

    class Counting(Writer):
        def leaf(self, block: Block) -> str:
            written.append(block)
            return super().leaf(block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render_module, "Writer", Counting)
        assert not is_rendering(body, tree, heap)
    assert len(written) == 1


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_tree_reads_back(
    data: st.DataObject, trees: st.SearchStrategy[Block], heap: "Heap"
) -> None:
    """Reading what was written gives the tree, for any canonical tree in any style."""
    tree = data.draw(trees)
    style = data.draw(
        st.builds(
            Style,
            st.sampled_from("-*+"),
            st.sampled_from(".)"),
            st.sampled_from("`~"),
            st.sampled_from("*_"),
            st.sampled_from("*_"),
            st.sampled_from(["\\", "  "]),
            st.sampled_from(["***", "___", "- - -"]),
            st.sampled_from([None, 20, 80]),
            st.sampled_from(["\n", "\r\n"]),
        )
    )
    line_breaks: LineBreaks = data.draw(st.sampled_from(["space", "break"]))
    text = render(tree, heap, style, line_breaks)
    assert parse(text, heap, line_breaks) == tree
    assert not split(text)[0].raw, "a body is never front matter"
    assert text.endswith("\n") or not tree.children


def test_the_specification_reads_back(spec: list[str]) -> None:
    """Every example, read and written, reads the same."""
    modes: list[LineBreaks] = ["space", "break"]
    for source, line_breaks in product(spec, modes):
        tree = parse(source, NO_LINKS, line_breaks)
        text = render(tree, NO_LINKS, line_breaks=line_breaks)
        assert parse(text, NO_LINKS, line_breaks) == tree, source


quiet = st.sampled_from(
    [
        *(
            "foo",
            "bar.",
            "(x)",
            "end! ",
            "!",
            "→",
            "🚀",
            "é",
            "don't",
            '"q"',
            "$ ^ {x}",
            "5$",
            "k:: ",
            "%%",
            ": ",
            "; ",
        ),
        *(
            "=",
            "-",
            "+",
            "1. ",
            "日本",
            "\u00a0",
            "\u2003",
            "²",
            "\u0661",
            " ",
            "42",
            "a  b",
            "/",
            "%",
        ),
    ]
)
risky = st.sampled_from(
    """[[Other]]
[[Boat]]|[[Boat¦b]]|[[a¦b]]|[[|[|]|[ ]|[x] |[ ] |![|![[plan.pdf]]|](|]:|[^1]|#|¦|`|<
>|&|&amp;|&#35;|_|a_b|__|~|~~|*|**|\\|[a]|[!tip]|[a]:|1)|2.|$a|b$|$$|$x*y$""".replace(
        "\n", "|"
    ).split("|")
).map(lambda t: t.replace("¦", "|"))
quiet_runs = st.builds(
    Text,
    st.lists(quiet, min_size=1, max_size=3).map("".join)
    | st.lists(quiet | risky, min_size=1, max_size=4).map("".join),
    st.sampled_from([(), (), (), (Mark("bold"),), (Mark("italic"),), (Mark("code"),)])
    | st.sampled_from([(Mark("link", u),) for u in ("http://x.y/z", "mailto:a@b.c")]),
) | st.builds(
    lambda block, label: Atom("mention", attrs(id=block, label=label)),
    st.sampled_from([f"01J8XYZ0ABCDEFGHJKMNPQRST{c}" for c in "VWX"]),
    st.sampled_from([None, None, "the boat", "a|b", "x]"]),
)


def quiet_cells(width: int) -> st.SearchStrategy[Block]:
    cell = st.lists(quiet_runs, max_size=3).map(inline).map(lambda c: Block("cell", inline=c))
    cells = st.lists(cell, min_size=width, max_size=width)
    return cells.map(lambda c: Block("row", children=tuple(c)))


quiet_leaves = st.one_of(
    st.lists(quiet_runs, min_size=1, max_size=5)
    .map(inline)
    .filter(bool)
    .map(lambda c: Block("paragraph", inline=c)),
    st.lists(quiet_runs, max_size=3)
    .map(inline)
    .map(lambda c: Block("heading", attrs(level=2), inline=c)),
    st.sampled_from(["a\n\n  b", "", "```", "    ", "\tx"]).map(
        lambda t: Block("code", attrs(info="py"), text=t)
    ),
    st.just(Block("rule")),
    st.integers(1, 3).flatmap(
        lambda width: st.lists(quiet_cells(width), min_size=1, max_size=3).map(
            lambda rows: Block("table", children=tuple(rows))
        )
    ),
)


def quiet_containers(inner: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    item = st.builds(
        lambda c, more: Block(
            "item", children=(Block("paragraph", inline=(Text("t"),)), c, *more)
        ),
        inner,
        st.lists(inner, max_size=1),
    )
    items = st.lists(item, min_size=1, max_size=2).map(tuple)
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda c: Block("quote", children=tuple(c))),
        items.map(lambda c: Block("bullet_list", children=c)),
        items.map(lambda c: Block("ordered_list", attrs(start=9), c)),
        items.map(
            lambda c: Block(
                "todo_list", children=tuple(replace(i, attrs=attrs(checked=True)) for i in c)
            )
        ),
    )


quiet_blocks = st.recursive(quiet_leaves, quiet_containers, max_leaves=6)


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(blocks=st.lists(quiet_blocks, min_size=1, max_size=4))
def test_what_is_not_read_back_need_not_be(blocks: list[Block], heap: "Heap") -> None:
    """The short cut for plain text is right: what the writer is sure of reads as the tree."""
    writer = Writer(heap, DEFAULT)
    lines = writer.blocks(blocks)
    if writer.is_safe:
        assert parse("\n".join(lines) + "\n", heap) == doc(*blocks)


def test_plain_notes_take_the_short_cut() -> None:
    """Ordinary prose with single marks, lists and code is written without being read back."""
    tree = parse(
        "# Title\n\nSome *text* with **bold**, `code` and [a link](https://example.org/x?y=1).\n\n"
        "- [ ] task\n- [x] done\n\n1. one\n2. two\n   - nested\n\n> quote\n\n```py\nx = 1\n```\n",
        NO_LINKS,
    )
    writer = Writer(NO_LINKS, DEFAULT)
    writer.blocks(tree.children)
    assert writer.is_safe


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([Text("(a)", (Mark("bold"),)), Text("b")], "**(a)**<!---->b\n"),
        ([Text("「概念」", (Mark("bold"),)), Text("是")], "**「概念」**<!---->是\n"),
        ([Text("a", (Mark("bold"),)), Text("b", (Mark("italic"),))], "**a**<!---->*b*\n"),
        ([Text("\u2003a", (Mark("bold"),))], "**&#8195;a**\n"),
        ([Text("a!"), Text("b", (Mark("link", "http://x.y"),))], "a\\![b](http://x.y)\n"),
        ([Text("a`b", (Mark("code"),))], "``a`b``\n"),
        ([Text(" a ", (Mark("code"),))], "`  a  `\n"),
        ([Text("  ", (Mark("code"),))], "`  `\n"),
        ([Text("1. a")], "1\\. a\n"),
        ([Text("\ufeffa")], "&#xFEFF;a\n"),
        ([Text("a"), Atom("break")], "a<br>\n"),
        ([Atom("break"), Text("a")], "\\\na\n"),
        ([Text("a*b"), Text("c", (Mark("italic"),))], "a\\*b*c*\n"),
    ],
)
def test_the_ladder_goes_no_higher_than_it_must(items: list[Text | Atom], text: str) -> None:
    """Delimiters and characters that would be misread get the mildest help that works."""
    assert render(doc(paragraph(*items)), NO_LINKS) == text


def test_the_first_line_is_never_front_matter() -> None:
    """A rule, or text like one, at the start of a body is not written as three hyphens."""
    code = Block("code", attrs(info=""), text="x")
    for first in (Block("rule"), paragraph(Text("---"))):
        text = render(doc(first, paragraph(Text("a: 1")), Block("rule"), code), NO_LINKS)
        assert not text.startswith("---")


def test_names_that_cannot_be_written_fall_back_to_ids(heap: "Heap") -> None:
    """A name that can't stand in brackets, or means another note, gives way to the id."""
    boat, key = "01J8XYZ0ABCDEFGHJKMNPQRSTV", "a" * 64 + ":12"
    odd = type(heap)()
    odd.notes[boat], odd.files[key] = "a|b", "x]y.pdf"
    mention = paragraph(Atom("mention", attrs(id=boat, label=None)))
    tree = doc(mention, Block("files", attrs(keys=key)))
    assert render(tree, odd) == f"[[{boat}]]\n\n![[{key}]]\n"
    odd.notes = {boat: "Boat", "other": "Boat"}
    odd.notes = {"other": "Boat", boat: "Boat"}
    assert render(doc(mention), odd) == f"[[{boat}]]\n"


def test_wrapping_leaves_no_blank_line() -> None:
    """Other whitespace beside a space stays in its line, where it can not end the paragraph."""
    tree = Block("doc", children=(Block("paragraph", inline=(Text("some words \t some words"),)),))
    assert parse(render(tree, NO_LINKS, Style(width=12)), NO_LINKS) == tree


def test_an_empty_tree_is_an_empty_body() -> None:
    """Nothing is written as nothing."""
    assert render(doc(), NO_LINKS) == ""


def test_trees_deeper_than_can_be_read_keep_their_words() -> None:
    """A document nested beyond all measure is written without an exception, words included."""
    block = paragraph(Text("bottom"))
    for _ in range(3000):
        block = Block("quote", children=(block,))
    assert "bottom" in render(doc(block), NO_LINKS)
