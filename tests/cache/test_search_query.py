"""Queries: any text is one, and means what the help says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.cache.search_query import Place, Query, Term, joined, parse


def word(text: str, **values: object) -> tuple[Term, ...]:
    return (Term(tuple(text.split()), **values),)  # type: ignore[arg-type]


LAST = word("b", is_prefix=True)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", Query()),
        (' "" - -"" tag: OR', Query((word("tag"),))),
        ("a b", Query((word("a"), LAST))),
        ("a* b", Query((word("a", is_prefix=True), LAST))),
        ('a "b c"', Query((word("a"), word("b c")))),
        ('a "b c', Query((word("a"), word("b c")))),
        ("red-boat's b", Query((word("red boat s"), LAST))),
        ("x:y b", Query((word("x y"), LAST))),
        ("a OR c b", Query(((*word("a"), *word("c")), LAST))),
        ("OR a OR b", Query(((*word("a"), *LAST),))),
        ("a or b", Query((word("a"), word("or"), LAST))),
        ("b -c", Query((word("b"),), word("c"))),
        ('b -"c d" -tag:e', Query((word("b"),), (*word("c d"), *word("e", field="tag")))),
        ("TAG:c b", Query((word("c", field="tag"), LAST))),
        ('title:"c d" b', Query((word("c d", field="title"), LAST))),
        ('in:"My a/x" -heap:W', Query(places=(Place("in", "My a/x"), Place("heap", "W", True)))),
        ("cafe\u0301s b", Query((word("cafés"), LAST))),
    ],
)  # fmt: skip
def test_what_a_text_means(text: str, query: Query) -> None:
    """Words, phrases, one of two, not this, fields and places."""
    assert parse(text) == query


def test_arguments_of_a_shell() -> None:
    """Values that the shell's quotes held together stay so; a single argument is a query."""
    assert joined(["tag:red boat", "deck", "-in:My Notes"]) == 'tag:"red boat" deck -in:"My Notes"'
    assert joined(["tag:red boat"]) == "tag:red boat"


@given(words=st.lists(st.from_regex(r"[a-z]{1,3}|日本", fullmatch=True), min_size=1))
def test_words_are_wanted_in_any_order(words: list[str]) -> None:
    """A query of words wants each of them."""
    assert [terms[0].words for terms in parse(" ".join(words)).wanted] == [(w,) for w in words]


@given(st.text())
def test_any_text_is_a_query(text: str) -> None:
    """And what is quoted is one phrase of the same words, nothing else."""
    whole = parse('"' + text.replace('"', " ") + '"')
    assert not whole.excluded
    assert not whole.places
    assert len(whole.wanted) <= 1
    parse(text)
