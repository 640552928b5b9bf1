"""Edits in lists that are long enough to be read and patched in parts."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import Sections, clear_cache, parse
from heapsyncd.markdown.read.sections import MIN_CHARS
from heapsyncd.tree import Block, Text, attrs
from tests.steps import steps

STYLES = ["- {}", "* {}", "-   {}", "- [ ] {}", "{n}. {}", "7. {}", "{n}) {}"]
COUNT = 150


def source(style: str, *, loose: bool, windows: bool, seed: int) -> str:
    """A note with a long list in a style; some items hold more than a line."""
    rng = random.Random(seed)
    lines = ["Some words before.", ""]
    for n in range(COUNT):
        head = style.format(f"item {n} and some words", n=n + 1)
        width = len(head) - len(head.lstrip("-*0123456789.) "))
        lines.append(head)
        if rng.random() < 0.2:
            more = [f"wrapped {n}", f"- nested {n}", f"\n{' ' * width}```\n{' ' * width}code {n}"]
            inside = " " * width + rng.choice(more)
            lines += [*inside.split("\n"), *([" " * width + "```"] if "```" in inside else [])]
        lines += [""] if loose else []
    text = "\n".join([*lines, "", "Some words after.", ""])
    return text.replace("\n", "\r\n") if windows else text


def item(words: str, like: Block) -> Block:
    done = attrs(checked=True) if like.attrs else ()
    return Block("item", done, (Block("paragraph", inline=(Text(words),)),))


def worded(block: Block) -> Block:
    first, *rest = block.children
    run = first.inline[0]
    assert isinstance(run, Text)
    text = run.text.replace("words", "changed")
    changed = replace(first, inline=(Text(text), *first.inline[1:]))
    return block.with_children([changed, *rest])


EDITS: dict[str, Callable[[list[Block], int], list[Block]]] = {
    "word": lambda items, k: [*items[:k], worded(items[k]), *items[k + 1 :]],
    "insert": lambda items, k: [*items[:k], item("a new one", items[k]), *items[k:]],
    "append": lambda items, _: [*items, item("a last one", items[0])],
    "delete": lambda items, k: [*items[:k], *items[k + 1 :]],
    "swap": lambda items, k: [*items[:k], *items[k : k + 2][::-1], *items[k + 2 :]],
    "first": lambda items, _: items[1:],
    "half": lambda items, k: items[: k + 1],
}


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
@given(
    st.sampled_from(sorted(EDITS)),
    st.integers(0, COUNT - 1),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_an_edit_of_a_long_list_changes_what_it_names(
    style: str, edit: str, k: int, loose: bool, windows: bool, seed: int
) -> None:
    """The text reads as wished, and no lines but those of what changed are others."""
    text = source(style, loose=loose, windows=windows, seed=seed)
    tree = parse(text, NO_LINKS)
    assert sum(Sections.of(text, NO_LINKS).continues_list) > 2
    before, the_list, after = tree.children
    items = EDITS[edit](list(the_list.children), k)
    wanted = tree.with_children([before, the_list.with_children(items), after])
    got = patch(text, wanted, NO_LINKS)
    assert parse(got, NO_LINKS) == wanted
    old = [line for line in text.split("\n") if line.strip()]
    new = set(got.split("\n"))
    lost = [line for line in old if line not in new]
    assert len(lost) <= (8 if edit != "half" else len(old))


def test_a_change_in_a_list_costs_itself() -> None:
    """To patch an item of a list that is known takes far less than to read the list."""
    text = "".join(f"- item {n} with some words\n" for n in range(4_000))
    tree = parse(text, NO_LINKS)
    (the_list,) = tree.children
    items = EDITS["word"](list(the_list.children), 2_000)
    wanted = tree.with_children([the_list.with_children(items)])
    assert patch(text, wanted, NO_LINKS).count("changed") == 1
    again = steps(lambda: patch(text, wanted, NO_LINKS))
    clear_cache()
    assert again < steps(lambda: parse(text, NO_LINKS)) * 0.45


@pytest.mark.parametrize("head", ["- {}", "- [ ] {}", "10{:02}. {}", "-   {}"])
def test_a_long_list_comes_in_parts(head: str) -> None:
    """The parts are of bounded length, whatever else is in the items."""
    lines = [head.format(n, "words " * 5) for n in range(99)]
    inside = " " * (len(head.format(1, "")) - len(head.format(1, "").lstrip("-[]0123456789. ")))
    lines[50:50] = ["", f"{inside}```", f"{inside}code", f"{inside}```", ""]
    found = Sections.of("Intro\n\n" + "\n".join(lines) + "\n\nEnd\n", NO_LINKS).found
    assert max(len(section.text) for section in found) < 3 * MIN_CHARS
