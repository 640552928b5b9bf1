"""Reading: golden cases, and laws over specification, random and hostile text."""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.parse import MAX_DEPTH, parse
from heapsyncd.markdown.residue import residue
from heapsyncd.tree import Atom, Block, Inline, Text

if TYPE_CHECKING:
    from tests.markdown.conftest import Heap

Golden = Callable[[str], list[list[str]]]


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


def test_golden_cases(golden: Golden, heap: "Heap") -> None:
    """Every construct of the mapping reads as the tree that the data file shows."""
    for title, source, tree in golden("reading.txt"):
        assert "\n".join(outline(parse(source, heap))) == tree.rstrip("\n"), title


def everything(tree: Block) -> str:
    """All that a tree says, as one text."""
    out: list[str] = []
    for block in tree.walk():
        out += [block.text, *(str(v) for _, v in block.attrs)]
        for item in block.inline:
            if isinstance(item, Text):
                out += [item.text, *(f"{m.href} {m.title}" for m in item.marks)]
            else:
                out += [str(v) for _, v in item.attrs]
    return "\n".join(out)


def lost_words(source: str, tree: Block) -> list[str]:
    """Words of a source that stand neither in the tree nor in its definitions."""
    data = source.encode()
    kept = everything(tree) + "\n"
    kept += "\n".join(data[s.start : s.end].decode() for s in residue(data, tree))
    # Style that a tree leaves to the file: numbers of items, what follows a fence's language.
    plain = re.sub(r"(?m)^(?:[ >\t]|[-*+] )*\d+[.)]|(?:`{3,}|~{3,}).*$", " ", source)
    plain = re.sub(r"\\.|&#?\w+;?|</?u>|<br ?/?>", " ", plain)
    return [w for w in re.findall(r"[^\W_]{2,}", plain) if w.lower() not in kept.lower()]


def test_no_word_of_the_specification_is_lost(spec: list[str]) -> None:
    """Every word of every example stands in the tree or in a definition."""
    for source in spec:
        # One destination is written with escapes inside a word.
        missing = [w for w in lost_words(source, parse(source, NO_LINKS)) if "\\" not in source]
        assert not missing, source


PARTS = st.one_of(
    st.sampled_from(
        [
            *(
                "\n",
                "\n\n",
                "\n- ",
                "\n> ",
                "\n1. ",
                "\n    ",
                "\n- [ ] ",
                "\t",
                " ",
                "  \n",
                "\r\n",
            ),
            *(
                "*",
                "**",
                "_",
                "`",
                "```",
                "~~~",
                "~~",
                "[",
                "]",
                "(",
                ")",
                "![",
                "[[",
                "]]",
                "|",
                "\\",
            ),
            *(
                "<b>",
                "<u>",
                "</u>",
                "<!--",
                "-->",
                "<div>",
                "&amp;",
                "#",
                "===",
                "---",
                "|-|-|",
                "[^1]",
            ),
            *(
                "[^1]:",
                "[a]:",
                "![[",
                "<br>",
                "<!---->",
                "\u00a0",
                "é",
                "\x0c",
                "\u2028",
                "\ufeff",
            ),
        ]
    ),
    st.integers(100, 999).map(lambda n: f"w{n}"),
)
sources = st.lists(PARTS, max_size=30).map("".join)


@given(sources)
def test_no_word_of_any_text_is_lost(source: str) -> None:
    """Whatever the markup around them, words arrive."""
    missing = [w for w in lost_words(source, parse(source, NO_LINKS)) if w.startswith("w")]
    assert not missing


@given(sources | st.text(st.characters(exclude_categories=["Cs"])))
def test_spans_and_pieces_are_right(source: str) -> None:
    """Blocks lie inside their parents and in order; a piece's literal characters are its bytes."""
    data = source.encode()
    tree = parse(source, NO_LINKS)
    for block in tree.walk():
        at = block.span.start if block.span else 0
        for child in block.children:
            if child.span is None or block.kind == "row":
                continue
            assert at <= child.span.start <= child.span.end <= len(data)
            at = child.span.start
        for item in block.inline:
            if isinstance(item, Text):
                assert item.pieces
                assert all(0 <= p.offset <= len(data) for p in item.pieces)
                first = item.pieces[0]
                assert first.at == 0
                data[first.offset :].decode()


@given(sources)
def test_line_ends_make_no_difference(source: str) -> None:
    """CRLF, LF and lone CR read the same."""
    unix = source.replace("\r\n", "\n")
    tree = parse(unix, NO_LINKS)
    assert parse(unix.replace("\n", "\r\n"), NO_LINKS) == tree
    assert parse(unix.replace("\n", "\r"), NO_LINKS) == tree


def test_nul_is_no_text() -> None:
    """NUL is left out of the tree, wherever it stands."""
    for source in ("a\0b `c\0d`", "```\na\0b\n```", "![a\0b](c)", "<div>\0x", "# \0"):
        assert "\0" not in everything(parse(source, NO_LINKS)).replace("(c)", "")
        assert "a" in everything(parse(source, NO_LINKS)) or "a" not in source


def test_bom_inside_is_text() -> None:
    """U+FEFF that is no byte order mark is a character like others."""
    (block,) = parse("\ufeff# h\n", NO_LINKS).children
    assert block.inline == (Text("\ufeff# h"),)


@pytest.mark.parametrize(
    "source",
    [
        ">" * 200 + " bottom",
        "- " * 200 + "bottom",
        "".join("  " * i + "- x\n" for i in range(200)) + "  " * 200 + "bottom",
        "> - " * 5000 + "bottom",
        "*" * 3000 + "bottom" + "*" * 3000,
        "![" * 3000 + "bottom" + "](u)" * 3000,
    ],
)
def test_depth_is_bounded_and_loses_nothing(source: str) -> None:
    """However deep the nesting, the text at the bottom is there and the tree's depth bounded."""
    tree = parse(source, NO_LINKS)
    assert "bottom" in everything(tree)
    depth, level = 0, [tree]
    while level:
        level = [c for b in level for c in b.children]
        depth += 1
    assert depth <= 2 * MAX_DEPTH + 10


def test_twenty_five_levels_are_plain_lists() -> None:
    """Nesting as deep as anybody writes stays structure."""
    tree = parse("".join("  " * i + "- x\n" for i in range(25)), NO_LINKS)
    assert sum(1 for b in tree.walk() if b.kind == "item") == 25


def test_a_table_that_is_mostly_padding_is_text() -> None:
    """Six hundred columns by six hundred rows of one cell are no third of a million cells."""
    source = "|a" * 600 + "\n" + "|-" * 600 + "\n" + "|x\n" * 600
    tree = parse(source, NO_LINKS)
    assert sum(1 for _ in tree.walk()) < 10_000
    assert everything(tree).count("|x") == 600


@pytest.mark.parametrize(
    "source",
    [
        "word " * 200_000,
        "word *x* " * 10_000,
        "line of text\n" * 50_000,
        "text\n\n" * 20_000,
        "- item\n" * 20_000,
        "|a|b|\n|-|-|\n" + "|x|y|\n" * 10_000,
        "[" * 50_000,
        "<u>" * 50_000,
        "`a` " * 20_000,
        "a<br>" * 20_000,
        "[[" * 50_000,
        "[^1]: x\n" * 10_000,
    ],
    ids=lambda s: repr(s[:12]),
)
def test_size_costs_no_more_than_its_share(source: str) -> None:
    """Twice the text takes about twice the time: nothing in reading is quadratic."""

    def seconds(text: str) -> float:
        start = time.process_time()
        parse(text, NO_LINKS)
        return time.process_time() - start

    half = min(seconds(source[: len(source) // 2]) for _ in range(2))
    assert seconds(source) < 5 * half + 0.2
