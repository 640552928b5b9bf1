"""Patching: the result reads as the new tree, and only the lines of what changed differ."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.blocks import read
from heapsyncd.markdown.read.parse import clear_cache, parse
from heapsyncd.markdown.style import Style
from heapsyncd.markdown.write.render import render
from heapsyncd.model import LineBreaks
from heapsyncd.tree import Block, Text
from tests.markdown.rig import changed_lines, leaves, one_word_changed, put
from tests.steps import steps

if TYPE_CHECKING:
    from tests.markdown.conftest import Heap

Golden = Callable[[str], list[list[str]]]
Edited = Callable[[st.DataObject, Block], Block]


def test_golden_cases(golden: Golden, heap: "Heap") -> None:
    """Each edit changes the source as the data file shows."""
    for title, source, target, patched in golden("patching.txt"):
        wanted = parse(target, heap)
        assert patch(source, wanted, heap) == patched, title
        assert parse(patched, heap) == wanted, title


def test_golden_cases_of_line_breaks(golden: Golden, heap: "Heap") -> None:
    """Where every line end is a break, each edit changes the source as the data file shows."""
    for title, source, target, patched in golden("patching-breaks.txt"):
        wanted = parse(target, heap, "break")
        assert patch(source, wanted, heap, "break") == patched, title
        assert parse(patched, heap, "break") == wanted, title


def lines_of(source: str, block: Block) -> range:
    assert block.span is not None
    data = source.encode()
    first, last = (data.count(b"\n", 0, at) for at in (block.span.start, block.span.end))
    return range(first, last + 1)


NOTE = """\
Intro with *two*
wrapped lines and a [ref][x].

* bullets, __odd__ style
* [ ] a task
    with a lazy indent

  second paragraph

  > quote in item
> lazy
next

1) one
1) two

Setext
======
```` py title="x"
code  \n
  more
````

| a   |  b |
|:----|---:|
| one | `x` |

[x]: http://x.y "T"
<!-- heapsyncd: embed 0a1b2c -->
![[plan.pdf]]

The end\\
of it.
"""


def test_one_word_changes_one_line(heap: "Heap") -> None:
    """In a note full of unusual style, a changed word changes its own line and no other byte."""
    tree = read(NOTE, heap)
    places = list(leaves(tree))
    assert len(places) > 12
    for path, block in places:
        wanted = put(tree, path, one_word_changed(block))
        after = patch(NOTE, wanted, heap)
        assert parse(after, heap) == wanted
        lines = changed_lines(NOTE, after)
        assert len(lines) == 1, (block, after)
        assert lines[0] in lines_of(NOTE, block)


def test_one_word_stays_in_its_block_throughout_the_specification(spec: list[str]) -> None:
    """A changed word touches its own block's lines alone, in every example.

    All others are code or HTML that can't stay what it is with that word, and paragraphs whose
    lines only continue them by their indentation.
    """
    wide = total = 0
    for source in spec:
        tree = read(source, NO_LINKS)
        for path, block in leaves(tree):
            changed = one_word_changed(block)
            wanted = put(tree, path, changed)
            after = patch(source, wanted, NO_LINKS)
            assert parse(after, NO_LINKS) == wanted, source
            if changed == block or block.span is None:
                continue
            total += 1
            wide += not set(changed_lines(source, after)) <= set(lines_of(source, block))
    assert total > 700
    assert wide <= 12


def test_blocks_come_go_and_change_beside_others_that_stay(spec: list[str]) -> None:
    """Inserting, replacing or deleting a block leaves the source of all others as it was."""
    new = Block("paragraph", inline=(Text("A new paragraph."),))
    moved: dict[str, int] = {"insert": 0, "replace": 0, "delete": 0}
    for source in spec:
        tree = read(source, NO_LINKS)
        blocks = tree.children
        for k in range(len(blocks) + 1 if len(blocks) > 1 else 0):
            for name, come, gone in (
                ("insert", [new], 0),
                ("replace", [new], 1),
                ("delete", [], 1),
            ):
                if k + gone > len(blocks):
                    continue
                wanted = tree.with_children([*blocks[:k], *come, *blocks[k + gone :]])
                after = patch(source, wanted, NO_LINKS)
                assert parse(after, NO_LINKS) == wanted, source
                kept = [*blocks[:k], *blocks[k + gone :]]
                moved[name] += not all_stand(source, kept, after)
    # Deletions that bring two lists, or text and indented code, side by side; what comes before
    # the first block of a footnote without text, or in the place of HTML that ended what follows.
    assert moved == {"insert": 2, "replace": 3, "delete": 6}


def all_stand(source: str, blocks: list[Block], after: str) -> bool:
    data, result, at = source.encode(), after.encode(), 0
    for block in blocks:
        assert block.span is not None
        raw = data[block.span.start : block.span.end]
        at = result.find(raw, at)
        if at < 0:
            return False
        at += len(raw)
    return True


parts = st.sampled_from(
    [
        *(
            "\n",
            "\n\n",
            "\n- ",
            "\n* ",
            "\n> ",
            "\n1. ",
            "\n    ",
            "\n- [ ] ",
            "\n\n  ",
            "word",
            "two words",
        ),
        *(
            "*",
            "**",
            "_",
            "`",
            "\n```\n",
            "[",
            "]",
            "](u)",
            "![",
            "[[Boat]]",
            "![[plan.pdf]]",
            "\n---\n",
        ),
        *(
            "<b>",
            "<u>",
            "</u>",
            "\n<div>\n",
            "&amp;",
            "\n# ",
            "\n===\n",
            "\n|a|b|\n|-|-|\n|c|",
            "[^1]",
        ),
        *("\n[a]: /u\n", "[a]", "\\", "  \n", "\t", "é", "<br>", "\n[^1]: "),
        *("\n> [!note] ", "\nk:: v", "%%", "$", "$$", "$x*y$", "\n[^2]:\n    "),
    ]
)
sources = st.lists(parts, max_size=20).map("".join)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    data=st.data(),
    source=sources,
    windows=st.booleans(),
    line_breaks=st.sampled_from(["space", "break"]),
)
def test_any_edit_of_any_source(
    data: st.DataObject,
    source: str,
    windows: bool,
    line_breaks: LineBreaks,
    edited: Edited,
    heap: "Heap",
) -> None:
    """Whatever the source and the edit, the patched text reads as the edited tree."""
    source = source.replace("\n", "\r\n") if windows else source
    tree = read(source, heap, None, line_breaks)
    assert patch(source, tree, heap, line_breaks) == source
    wanted = edited(data, tree)
    if parse(render(wanted, heap, line_breaks=line_breaks), heap, line_breaks) == wanted:
        after = patch(source, wanted, heap, line_breaks)
        assert parse(after, heap, line_breaks) == wanted
        assert patch(after, wanted, heap, line_breaks) == after


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_edit_of_any_tree(
    data: st.DataObject, trees: st.SearchStrategy[Block], edited: Edited, heap: "Heap"
) -> None:
    """Hostile trees in unusual style, edited anywhere, read as edited."""
    tree = data.draw(trees)
    style = data.draw(
        st.builds(Style, st.sampled_from("-*+"), st.sampled_from(".)"), st.sampled_from("`~"))
    )
    line_breaks: LineBreaks = data.draw(st.sampled_from(["space", "break"]))
    source = render(tree, heap, style, line_breaks)
    wanted = edited(data, tree)
    assert parse(patch(source, wanted, heap, line_breaks), heap, line_breaks) == wanted


def test_the_same_tree_is_the_same_text(spec: list[str]) -> None:
    """A tree that the text already shows changes no byte."""
    for source in spec:
        assert patch(source, parse(source, NO_LINKS), NO_LINKS) == source


@pytest.mark.parametrize(
    ("source", "target", "after"),
    [
        ("a\r\nb\r\n\r\nc\r\n", "a x\n\nnew\n\nc", "a\r\nx\r\n\r\nnew\r\n\r\nc\r\n"),
        (
            "a\r\n\r\n```\r\nx\r\n```\r\n",
            "a\n\n```\nx\ny\n```",
            "a\r\n\r\n```\r\nx\r\ny\r\n```\r\n",
        ),
        ("a\n\nb", "a\n\nc", "a\n\nc"),
        ("a\n\nb", "a\n\nb\n\nc", "a\n\nb\n\nc"),
        ("- a\n- b", "- a\n- b\n- c", "- a\n- b\n- c"),
        ("|a|\n|-|\n|b|", "|a|\n|-|\n|b|\n|c|", "|a|\n|-|\n|b|\n|c|"),
        ("a\n", "a", "a\n"),
        ("    a\n    b", "```\na\nc\nd\n```", "    a\n    c\n    d"),
        ("    a", "```\na\nb\n```", "    a\n    b"),
        ("a\rb\r", "a c", "a\rc\r"),
    ],
)
def test_line_ends_stay_what_they_are(source: str, target: str, after: str) -> None:
    """CRLF, lone CR and a missing last newline stay; new lines end like most."""
    assert patch(source, parse(target, NO_LINKS), NO_LINKS) == after


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("> [a]: /u\n> [a]: /v\n\n[a]\n", "x"),
        ("- one\n\n  [b]: /u\n  'title'\n- two\n", "- two"),
        ("[foo]: /one\n[foo]: /two\n\ntext\n", ""),
        ("x\n\n[q]: <a b>\n\n> y\n", "z"),
    ],
)
def test_no_definition_is_ever_lost(source: str, target: str) -> None:
    """Link definitions survive whatever happens to the blocks around them, also idle ones."""
    after = patch(source, parse(target, NO_LINKS), NO_LINKS)
    for line in re.findall(r"\[\w+\]: .*", source):
        assert line in after


def test_new_text_is_never_front_matter() -> None:
    """Deleting what stood before a rule does not make a body's start front matter."""
    source = "a\n\n---\nb: 1\n\n---\n\nc\n"
    tree = parse(source, NO_LINKS)
    after = patch(source, tree.with_children(tree.children[1:]), NO_LINKS)
    assert parse(after, NO_LINKS) == tree.with_children(tree.children[1:])
    assert not after.startswith("---")


@pytest.mark.parametrize(
    "unit",
    [
        "line of some text\n",
        "a paragraph\n\n",
        "- an item\n",
        "|a cell|b|\n",
        "    code\n",
        "> q\n\n",
        "$a$ <b>c</b> %%\nd::\n",
    ],
)
def test_size_costs_no_more_than_its_share(unit: str) -> None:
    """Patching one word of a text four times as long takes about four times the work."""
    head = "|x|y|\n|-|-|\n" if unit.startswith("|") else ""

    def cost(n: int) -> int:
        source = head + unit * n
        tree = read(source, NO_LINKS)
        path, block = max(leaves(tree), key=lambda found: found[0])
        wanted = put(tree, path, one_word_changed(block))
        clear_cache()
        count = steps(lambda: patch(source, wanted, NO_LINKS))
        assert patch(source, wanted, NO_LINKS).count("changed") == 1
        return count

    assert cost(800) < 5 * cost(200)


def test_a_change_costs_itself() -> None:
    """To patch a word of a long text that is known takes far less than to read it."""
    source = "".join(f"Paragraph {n} with *some* words.\n\n" for n in range(2_000))
    tree = parse(source, NO_LINKS)
    changed = one_word_changed(tree.children[1_000])
    wanted = tree.with_children([*tree.children[:1_000], changed, *tree.children[1_001:]])
    patch(source, wanted, NO_LINKS)
    again = steps(lambda: patch(source, wanted, NO_LINKS))
    clear_cache()
    assert again < steps(lambda: parse(source, NO_LINKS)) / 5
