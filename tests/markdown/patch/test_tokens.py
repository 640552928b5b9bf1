"""A leaf's characters and their bytes, as laws over any text."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.tokens import TokenRow, new_row, source_row
from heapsyncd.markdown.read.blocks import read
from heapsyncd.markdown.source import Trace
from heapsyncd.tree import Atom, Inline, Text

SOURCES = st.lists(
    st.sampled_from(
        ["word", "é", "日", " ", "**b**", "*i*", "`c`", "&amp;", "\\*", "![a](b)", "\n", "[l](u)"]
    ),
    max_size=10,
).map("".join)

OTHERWISE = {
    " ": re.compile(r"\n *"),
    "\ufffc": re.compile(r"!\[a\]\(b\)|  +\n *"),
}
"""What is not written as itself: a line's end, an image, a hard break. The spaces that the next
line begins with belong to its end."""


def shown(_atom: Atom) -> str:
    return "\ufffc"


def items_of(row: TokenRow, a: int, b: int) -> list[tuple[str, Inline]]:
    return [(text, item) for _, text, item in row.parts(a, b)]


@given(SOURCES)
@example("word  \n word")
def test_every_character_has_its_bytes(source: str) -> None:
    """Characters lie in the source in their order, each found again by its first byte; one that
    is written as itself is that very text there.
    """
    trace = Trace()
    data = source.encode()
    for leaf in read(source, NO_LINKS, trace).walk():
        row = source_row(data, leaf.inline, trace, shown)
        if row is None:
            continue
        at = 0
        for k in range(len(row)):
            assert at <= row.start(k) < row.end(k) <= len(data)
            at = row.end(k)
            assert row.index(row.start(k)) == k
            raw = data[row.start(k) : row.end(k)].decode()
            written = OTHERWISE.get(row.chars[k])
            assert raw == row.chars[k] or (written is not None and written.fullmatch(raw))


@given(SOURCES, st.data())
def test_a_row_is_its_items(source: str, data: st.DataObject) -> None:
    """Any part of a row shows the characters, the marks and the items of the content there."""
    leaves = [b for b in read(source, NO_LINKS).walk() if b.inline]
    for leaf in leaves:
        row = new_row(leaf.inline, shown)
        texts = [i.text if isinstance(i, Text) else "\ufffc" for i in leaf.inline]
        assert row.chars == "".join(texts)
        marks = [
            i.marks if isinstance(i, Text) else ()
            for i, text in zip(leaf.inline, texts, strict=True)
            for _ in text
        ]
        assert [row.marks(k) for k in range(len(row))] == marks
        a = data.draw(st.integers(0, len(row)))
        b = data.draw(st.integers(a, len(row)))
        assert "".join(text for text, _ in items_of(row, a, b)) == row.chars[a:b]
        assert items_of(row, 0, len(row)) == list(zip(texts, leaf.inline, strict=True))
        assert all(k < row.stretch_end(k) <= len(row) for k in range(len(row)))
