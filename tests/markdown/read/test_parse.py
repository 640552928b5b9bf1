"""Reading: golden cases, and laws over specification, random and hostile text."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heapsyncd.markdown.events import normalise_lone_cr
from heapsyncd.markdown.links import NO_LINKS, _NoLinks
from heapsyncd.markdown.patch.link_definitions import link_definitions
from heapsyncd.markdown.read.blocks import read
from heapsyncd.markdown.read.fast_blocks import read_without_spans
from heapsyncd.markdown.read.parse import MAX_DEPTH, Sections, parse
from heapsyncd.markdown.read.sections import MIN_CHARS, sections
from heapsyncd.model import LineBreaks
from heapsyncd.tree import Atom, Block, Text
from tests.markdown.rig import outline
from tests.steps import steps

if TYPE_CHECKING:
    from tests.markdown.conftest import Heap

Golden = Callable[[str], list[list[str]]]


def test_golden_cases(golden: Golden, heap: "Heap") -> None:
    """Every construct of the mapping reads as the tree that the data file shows."""
    for title, source, tree in golden("reading.txt"):
        assert "\n".join(outline(parse(source, heap))) == tree.rstrip("\n"), title


def test_golden_cases_of_line_breaks(golden: Golden, heap: "Heap") -> None:
    """Where every line end is a break, lines read as the data file shows."""
    for title, source, tree in golden("reading-breaks.txt"):
        assert "\n".join(outline(parse(source, heap, "break"))) == tree.rstrip("\n"), title


modes: st.SearchStrategy[LineBreaks] = st.sampled_from(["space", "break"])


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
    kept += "\n".join(data[s.start : s.end].decode() for s in link_definitions(data, tree))
    # Style that a tree leaves to the file: numbers of items, what follows a fence's language.
    plain = re.sub(r"(?m)^(?:[ >\t]|[-*+] )*\d+[.)]|(?:`{3,}|~{3,}).*$", " ", source)
    plain = re.sub(r"\\.|&#?\w+;?|</?u>|<br ?/?>", " ", plain)
    return [w for w in re.findall(r"[^\W_]{2,}", plain) if w.lower() not in kept.lower()]


def test_no_word_of_the_specification_is_lost(spec: list[str]) -> None:
    """Every word of every example stands in the tree or in a definition."""
    for source in spec:
        # One destination is written with escapes inside a word.
        missing = [w for w in lost_words(source, read(source, NO_LINKS)) if "\\" not in source]
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
                "[!note] ",
                "k:: v",
                "%%",
                "$",
                "$$",
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


LINES = st.sampled_from(
    """
|a|b *c|# h|- a|-|- ```|  x|    y|      z|```|```js|````| ```|  ```|   ```|    ```|~~~| ~~~|> q
> ```|>|1. a|1) b|10. c|   ```sh|***|---|- - -|===|<div>|</div>|<span>|<b>x</b>|<!-- c -->|<!--|-->
  <!--|  -->|<pre>|</pre>| <pre>|  </pre>|<pre|</script>|<?|?>|<!X|<![CDATA[|]]>|<script>x</script>
[x]|![[f]]|[[n]]|**x|- [ ] t|+ p|* s|\t- deep|  - nested|x\\|<!-->|<a|\u00a0x|\f|`|``` a`b|- > q
[x]: /u|y]: /u|[^1]|[^1]: foo|a]: b|- [ ] [x]: /u|> [x]: u|\\]: k|[x\\]: y]|1. [ ] [^1]: z|<style>
""".replace("\n", "|").split("|")
) | st.sampled_from(["|a|b|", "|-|-|", "|c|d|", "```|"])


ITEM_LINES = st.sampled_from(
    """
- a|- b|- c|- [ ] t|- [x] u|1. a|2. b|10. c|11) d||  in|  - nested|   three|    four| one|lazy
-   wide|    in wide|  ```|  text|```|- ```|  ~~~|* star|* * *|- - -|-|- -|---|+ p|14. e|  <pre>
- k:: v|  $a|  b$|  %%|> [!n] t
- <div>|<pre>|  > q|> q|- # h|- > q|\tt|- **b**|- `x|  y`|  ===|===|  1. in|  - ```|      five|# h
""".replace("\n", "|").split("|")
)


@given(sources)
def test_no_word_of_any_text_is_lost(source: str) -> None:
    """Whatever the markup around them, words arrive."""
    missing = [w for w in lost_words(source, read(source, NO_LINKS)) if w.startswith("w")]
    assert not missing


@given(sources | st.text(st.characters(exclude_categories=["Cs"])))
def test_spans_and_pieces_are_right(source: str) -> None:
    """Blocks lie inside their parents and in order; a piece's literal characters are its bytes."""
    data = source.encode()
    tree = read(source, NO_LINKS)
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


@pytest.mark.slow
@given(
    sources
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.lists(LINES | ITEM_LINES, max_size=14).map("\n".join),
    modes,
)
@settings(max_examples=400)
@example("`a\0b` a\0b\n\n- a\0b\n- `a\nb\0`\n", "space")
@example("- &#10;\n- a&#13;b\n\n`x`&#10;`y`\n", "space")
@example("1. [ ] x\n\n- [x] y\n- [ ]  \n- \n", "break")
@example("> [!a] b\n> k:: v\n- %%c\n  d%% $e\\\n  f$\n", "space")
@example(
    "".join(f"{'> ' * n}- x\n\n***\n\n" for n in range(MAX_DEPTH - 3, MAX_DEPTH + 2)), "space"
)
def test_reading_without_places_reads_the_same(source: str, line_breaks: LineBreaks) -> None:
    """It finds the same blocks, and knows of none where it stands."""
    text = normalise_lone_cr(source)
    found = Block("doc", children=read_without_spans(text, NO_LINKS, line_breaks))
    assert found.children == read(text, NO_LINKS, None, line_breaks).children
    for block in found.walk():
        assert block.span is None
        for item in block.inline:
            assert not item.pieces if isinstance(item, Text) else item.span is None


@given(sources, modes)
def test_line_ends_make_no_difference(source: str, line_breaks: LineBreaks) -> None:
    """CRLF, LF and lone CR read the same."""
    unix = source.replace("\r\n", "\n")
    tree = parse(unix, NO_LINKS, line_breaks)
    assert parse(unix.replace("\n", "\r\n"), NO_LINKS, line_breaks) == tree
    assert parse(unix.replace("\n", "\r"), NO_LINKS, line_breaks) == tree


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


@pytest.mark.slow
def test_a_table_that_is_mostly_padding_is_text() -> None:
    """Six hundred columns by six hundred rows of one cell are no third of a million cells."""
    source = "|a" * 600 + "\n" + "|-" * 600 + "\n" + "|x\n" * 600
    tree = parse(source, NO_LINKS)
    assert sum(1 for _ in tree.walk()) < 10_000
    assert everything(tree).count("|x") == 600


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        "word ",
        "word *x* ",
        "line of text\n",
        "text\n\n",
        "- item\n",
        "|x|y|\n\0|a|b|\n|-|-|\n",
        "[",
        "<u>",
        "`a` ",
        "a<br>",
        "[[",
        "[^1]: x\n",
        "$a ",
        "$a$ *b* $",
        "$$ ",
        "a:: b\n",
        "%%\n",
    ],
    ids=lambda s: repr(s[:12]),
)
def test_size_costs_no_more_than_its_share(unit: str) -> None:
    """Four times the text takes about four times the work: nothing in reading is quadratic."""
    unit, head = unit.split("\0") if "\0" in unit else (unit, "")

    def cost(n: int) -> int:
        return steps(lambda: read(head + unit * n, NO_LINKS))

    assert cost(1_200) < 5 * cost(300)


@given(st.lists(LINES, max_size=14), st.sampled_from(["\n", "\r\n"]))
def test_a_text_reads_as_its_sections_do(lines: list[str], newline: str) -> None:
    """Wherever a text is cut, both sides read alone as they do together."""
    text = normalise_lone_cr(newline.join(lines))
    parts = Sections.of(text, NO_LINKS, min_chars=1)
    assert "".join(s.text for s in parts.found) == text
    assert parts.blocks() == list(read(text, NO_LINKS).children)


@given(st.lists(ITEM_LINES, max_size=20), st.sampled_from(["\n", "\r\n"]), st.integers(1, 9))
@settings(max_examples=400)
def test_a_list_reads_as_its_parts_do(lines: list[str], newline: str, min_chars: int) -> None:
    """Wherever a list is cut, its parts put together are the list."""
    text = newline.join(lines)
    parts = Sections.of(text, NO_LINKS, min_chars=min_chars)
    assert "".join(s.text for s in parts.found) == text
    assert parts.blocks() == list(read(text, NO_LINKS).children)


def test_long_texts_are_cut() -> None:
    """Prose, code and lists with text between them come in sections, each of bounded length."""
    unit = "# Head\n\n" + "Some words.\n\n" * 40 + "```\ncode\n\nmore\n```\n\n- a\n\n- b\n\n"
    assert max(len(part.text) for part in sections(unit * 20)) < 3 * MIN_CHARS


class _Renamed(_NoLinks):
    def block_of(self, name: str) -> str | None:
        return "01ARZ3NDEKTSV4RRFFQ69G5FAV" if name == "Boat" else None


def test_what_is_remembered_follows_the_names() -> None:
    """A text is read anew when a name in it has come to mean something."""
    before = parse("See [[Boat]].\n", NO_LINKS)
    after = parse("See [[Boat]].\n", _Renamed())
    assert before != after
    assert any(isinstance(i, Atom) for i in after.children[0].inline)
    assert parse("See [[Boat]].\n", NO_LINKS) == before


@pytest.mark.slow
@pytest.mark.parametrize("size", [300, 600, 1000])
def test_a_ragged_table_is_text(size: int) -> None:
    """A few kilobytes must not become a million cells, wherever the parser gives up."""
    source = "|a" * size + "|\n" + "|-" * size + "|\n" + "|x|\n" * size
    (block,) = parse(source, NO_LINKS).children
    assert block.kind == "paragraph"
    assert lost_words(source, block) == []
