"""What is escaped reads back, as laws over any text."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.markdown.escaping import (
    ESCAPE_LEVELS,
    code_span,
    destination,
    escape,
    escape_closing_hashes,
    escape_edges,
    escape_line_start,
    escape_pipes,
    unescape,
)
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.tree import Mark, Text, inline
from heapsyncd.tree.canonical import one_spaced

BITS = [
    "a",
    "é",
    " ",
    "*",
    "_",
    "`",
    "``",
    "[",
    "](",
    "<b>",
    "&amp;",
    "&",
    "\\",
    "#",
    "|",
    "1.",
    "!",
]
TEXTS = st.lists(st.sampled_from(BITS), max_size=10).map("".join) | st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12
)
LINES = TEXTS.map(lambda text: "".join(text.split("\n")))


def only_text(markdown: str) -> Text:
    (paragraph,) = parse(markdown, NO_LINKS).children
    assert paragraph.kind == "paragraph"
    (item,) = paragraph.inline
    assert isinstance(item, Text)
    return item


@given(TEXTS, st.integers(2, ESCAPE_LEVELS - 1))
def test_strong_escapes_are_undone(text: str, escape_level: int) -> None:
    """Where all punctuation is escaped, undoing that gives the very text."""
    assert unescape(escape(text, escape_level)) == text


@given(LINES.filter(str.strip))
def test_a_line_of_escapes_is_a_text(text: str) -> None:
    """With its edges as entities it reads as one paragraph that says just that."""
    markdown = escape_line_start(escape_edges(escape(text, 3), left=True, right=True), 3)
    assert (only_text(markdown),) == inline([Text(text)])


@given(LINES.filter(bool))
def test_code_of_any_text(text: str) -> None:
    """However many backticks it holds."""
    assert only_text(code_span(text)) == Text(text, (Mark("code"),))


@given(LINES, LINES)
def test_a_link_to_anywhere(url: str, title: str) -> None:
    """Address and title read back as they are, whatever they hold."""
    item = only_text(f"[x]({destination(url, title)})")
    (link,) = item.marks
    assert (link.href, link.title) == (url, one_spaced(title))


@given(st.integers(0, ESCAPE_LEVELS - 1), LINES)
def test_a_line_that_means_nothing_is_left_alone(escape_level: int, text: str) -> None:
    """A start and an end are escaped where they would count, and never more than once."""
    for escaped in (
        escape_line_start(text, escape_level),
        escape_closing_hashes(text, escape_level),
    ):
        assert escaped.replace("\\", "") == text.replace("\\", "")
        assert len(escaped) <= len(text) + 1
    assert escape_pipes(text).count("\\|") >= text.count("|")
