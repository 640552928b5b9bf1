"""A small heap of names, the specification's examples, golden cases, random canonical trees."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from heapsyncd.tree import Atom, Block, Inline, Mark, Marks, Text, attrs, inline, marks

DATA = Path(__file__).parents[1] / "data" / "markdown"
BOAT, NOTE, LOST = (f"01J8XYZ0ABCDEFGHJKMNPQRST{c}" for c in "VWX")
PLAN, PHOTO, BARE = "a" * 64 + ":12", "b" * 64, "c" * 64


def examples() -> list[str]:
    """The sources of all examples."""
    files = [json.loads((DATA / name).read_text()) for name in ("commonmark.json", "gfm.json")]
    return [example["markdown"] for file in files for example in file["examples"]]


class Heap:
    """Links of a heap with two notes and two files."""

    def __init__(self) -> None:
        self.notes = {BOAT: "Boat", NOTE: "My note"}
        self.files = {PLAN: "plan.pdf", PHOTO: "photo.png"}

    def name_of(self, block_id: str) -> str | None:
        return self.notes.get(block_id)

    def block_of(self, name: str) -> str | None:
        return next((k for k, v in self.notes.items() if v == name), None)

    def file_name(self, key: str) -> str | None:
        return self.files.get(key)

    def file_key(self, name: str) -> str | None:
        return next((k for k, v in self.files.items() if v == name), None)


@pytest.fixture(scope="session")
def heap() -> Heap:
    return Heap()


@pytest.fixture(scope="session")
def spec() -> list[str]:
    """The sources of the examples of CommonMark and of GitHub's extensions."""
    return examples()


@pytest.fixture(scope="session")
def golden() -> Callable[[str], list[list[str]]]:
    """The cases of a data file: title, then its parts."""

    def read(name: str) -> list[list[str]]:
        parts = (DATA / name).read_text().split("\n.\n")
        assert parts[-1].strip() == ""
        size = 4 if name.startswith("patching") else 3
        cases = [parts[i : i + size] for i in range(0, len(parts) - 1, size)]
        return [[case[0].strip(), *(p + "\n" if p else "" for p in case[1:])] for case in cases]

    return read


# Random trees

HOSTILE = [
    *"*_`[]()<>&~|\\#+-=!:.\"'/",
    *(
        "**",
        "__",
        "``",
        "![",
        "[[",
        "]]",
        "~~",
        "1.",
        "2)",
        "---",
        "***",
        "```",
        "~~~",
        "[ ]",
        "[x]",
    ),
    *(
        "[^1]",
        "[^1]: ",
        "[a]: /u",
        "[[x]]",
        "![[y]]",
        "<b>",
        "</b>",
        "<u>",
        "</u>",
        "<br>",
        "<!--",
    ),
    *(
        "-->",
        "<!---->",
        "<div>",
        "<http://a.b>",
        "http://x.y",
        "&amp;",
        "&#35;",
        "\\*",
        "[[Boat]]",
    ),
    *(
        "é",
        "日本",
        "👨‍👩‍👧",
        "\u0301",
        "\u00a0",
        "\u2003",
        "\u200b",
        "\ufeff",
        "\u2028",
        "\x85",
        "\x0b",
        "\x0c",
    ),
    *(
        "\t",
        "  ",
        "\x7f",
        "x_y",
        "i*b",
        "5",
        "10.",
        "|a|",
        "![[plan.pdf]]",
        "---\na: b\n---".replace("\n", " "),
    ),
    *(
        "<kbd>x</kbd>",
        "</div>",
        "<!-- c -->",
        "[!note] ",
        "[!tip]- ",
        "key:: ",
        "k::",
        "%%",
        "%% x",
        "$",
        "$$",
        "$a*b$",
        "$x_1$",
        "\\$",
        "5$",
    ),
]
words = st.one_of(st.sampled_from(["word", "foo bar", "a", "b c"]), st.sampled_from(HOSTILE))
texts = st.lists(words, min_size=1, max_size=4).map(" ".join) | st.lists(
    words, min_size=1, max_size=5
).map("".join)
any_text = texts | st.text(
    st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1, max_size=8
)
links = st.sampled_from(
    [Mark("link", "http://x.y/z"), Mark("link", "a b(", 't "q" \\'), Mark("link", "")]
)
simple = [Mark("bold"), Mark("italic"), Mark("strike"), Mark("underline"), Mark("code")]


@st.composite
def mark_sets(draw: st.DrawFn) -> Marks:
    chosen = [m for m in simple if draw(st.integers(0, 4)) == 0]
    return marks(*chosen, *([draw(links)] if draw(st.integers(0, 5)) == 0 else []))


labels = st.sampled_from([None, "lab", "l *x* ]]", "a|b", "x", "[a", "<b>&amp;`\\", "![x](y)"])
atoms = st.one_of(
    st.just(Atom("break")),
    st.builds(
        lambda src, alt, title: Atom("image", attrs(src=src, alt=alt, title=title)),
        st.sampled_from(
            ["x.png", "a b.png", "", "http://q/(a)", "plan.pdf", "d/photo.png", "a\\b|c&amp;<d>"]
        ),
        st.sampled_from(["", "alt", "a *b* [c]", "plan ]", "\\"]),
        st.sampled_from(["", "t", 'q"\\\\ &amp;']),
    ),
    st.builds(
        lambda i, label: Atom("mention", attrs(id=i, label=label)),
        st.sampled_from([BOAT, NOTE, LOST]),
        labels,
    ),
    st.just(Atom("opaque", attrs(label="embed", digest="abc123"))),
)
runs: st.SearchStrategy[Inline] = st.builds(Text, any_text, mark_sets()) | atoms
contents = st.lists(runs, max_size=5).map(inline)
some_contents = contents.filter(bool)

codes = st.lists(
    st.sampled_from(["", "a", "    ", "```", "~~~", "\tx", "  > c", "- x", "````", "é"]),
    max_size=4,
).map("\n".join)
leaves = st.one_of(
    some_contents.map(lambda c: Block("paragraph", inline=c)),
    some_contents.map(lambda c: Block("paragraph", inline=c)),
    st.builds(
        lambda n, c: Block("heading", attrs(level=n), inline=c), st.integers(1, 6), contents
    ),
    st.builds(
        lambda i, c: Block("code", attrs(info=i), text=c),
        st.sampled_from(["", "py", "a`b", "c.d", "~x", "&amp;", "\\*"]),
        codes,
    ),
    st.just(Block("rule")),
    st.just(Block("opaque", attrs(label="embed", digest="0a1b2c"))),
    st.lists(st.sampled_from([PLAN, PHOTO, BARE]), min_size=1, max_size=3).map(
        lambda k: Block("files", attrs(keys="\n".join(k)))
    ),
)


@st.composite
def tables(draw: st.DrawFn) -> Block:
    columns, rows = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    cell = contents.map(lambda c: Block("cell", inline=c))
    return Block(
        "table",
        children=tuple(
            Block("row", children=tuple(draw(cell) for _ in range(columns))) for _ in range(rows)
        ),
    )


def containers(inner: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    some = st.lists(inner, max_size=3).map(tuple)
    items = st.lists(some.map(lambda c: Block("item", children=c)), min_size=1, max_size=3)
    tasks = st.lists(
        st.builds(lambda t, c: Block("item", attrs(checked=t), c), st.booleans(), some),
        min_size=1,
        max_size=3,
    )
    return st.one_of(
        some.map(lambda c: Block("quote", children=c)),
        items.map(lambda c: Block("bullet_list", children=tuple(c))),
        tasks.map(lambda c: Block("todo_list", children=tuple(c))),
        st.builds(
            lambda n, c: Block("ordered_list", attrs(start=n), tuple(c)),
            st.sampled_from([0, 1, 7, 123, 999_999_999]),
            items,
        ),
    )


blocks = st.recursive(leaves | tables(), containers, max_leaves=8)
documents = st.lists(blocks, max_size=5).map(lambda c: Block("doc", children=tuple(c)))


@pytest.fixture(scope="session")
def trees() -> st.SearchStrategy[Block]:
    """Canonical documents over everything the tree can say, hostile text throughout."""
    return documents


@pytest.fixture(scope="session")
def parts() -> dict[str, st.SearchStrategy[Any]]:
    """Strategies for blocks and inline content, for edits."""
    return {"block": blocks, "content": some_contents}


@pytest.fixture(scope="session")
def edited(parts: dict[str, st.SearchStrategy[Any]]) -> Callable[[st.DataObject, Block], Block]:
    """A tree with one random change somewhere in it."""
    return _edited


def _edited(data: st.DataObject, block: Block) -> Block:
    """Descend at random, then insert, take away or change."""
    if block.inline or block.kind in {"paragraph", "heading", "cell"}:
        return _with_inline(block, _changed(data, block.inline))
    if block.kind == "code":
        return Block("code", block.attrs, text=data.draw(codes))
    children = list(block.children)
    can_go = block.kind in {"doc", "quote", "item"} or len(children) > 1
    k = data.draw(st.integers(0, max(len(children) - 1, 0)))
    kinds = ["descend"] * 3 if children else []
    if block.kind in {"doc", "quote", "item"}:
        kinds.append("insert")
    if children and can_go and block.kind != "row":
        kinds.append("delete")
    match data.draw(st.sampled_from(kinds or ["stay"])):
        case "insert":
            children.insert(k, data.draw(blocks))
        case "delete":
            del children[k]
        case "descend":
            children[k] = _edited(data, children[k])
            if children[k].kind == "paragraph" and not children[k].inline:
                del children[k]
    return block.with_children(children)


def _changed(data: st.DataObject, items: tuple[Inline, ...]) -> tuple[Inline, ...]:
    k = data.draw(st.integers(0, len(items)))
    more = list(data.draw(contents))
    if k < len(items) and isinstance(items[k], Text):
        run = items[k]
        assert isinstance(run, Text)
        at = data.draw(st.integers(0, len(run.text)))
        new = data.draw(st.sampled_from(["", "x", " new ", "*"]))
        cut = Text(run.text[:at] + new + run.text[at + 1 :], run.marks)
        return inline([*items[:k], cut, *items[k + 1 :]])
    return inline([*items[:k], *more, *items[k + 1 :]])


def _with_inline(block: Block, items: tuple[Inline, ...]) -> Block:
    return Block(block.kind, block.attrs, inline=items)
