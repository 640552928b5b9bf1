"""What is searched of a note's file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.cache.search import Searched
from heapsyncd.sync.merge.note_file import searched

ID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Searched("")),
        ("\ufeffA #boat\r\nb\r\n", Searched("A #boat\r\nb\r\n", tags="boat")),
        (f"---\nid: {ID}\n---\nid: x\n", Searched(f"---\n  : {ID}\n---\nid: x\n")),
        ("---\ntags:\n- a b\n- c\nx: y\n---\n", Searched("", tags="- a b - c")),
        ("---\ntag: a\nalias: B\naliases: [C]\n---\n", Searched("", "B [C]", "a")),
        ("## a#b #c/d, #2", Searched("", tags="c/d 2")),
        ("**spr**ing ~~a~~b c\\*d *e* f", Searched("", joined="spring ab cd")),
        ("x <!-- heapsyncd: callout: Mind it. 9ad148 -->", Searched("x Mind it.")),
        ("x <!--box: a b:9ad148--> y <!-- no -->", Searched("x a b y <!-- no -->")),
    ],
)
def test_what_is_searched(text: str, found: Searched) -> None:
    """The text, without our own words; and apart, names, tags, and words with markup inside."""
    made = searched(text.encode())
    parts = (made.names, made.tags, made.joined)
    wanted = (found.names, found.tags, found.joined)
    assert [p.split() for p in parts] == [p.split() for p in wanted]
    if found.text:
        assert made.text == found.text


@given(st.text(st.sampled_from("ab \n\r*~=\\#-:<!>9") | st.characters(codec="utf-8")))
def test_lines_keep_their_numbers(text: str) -> None:
    """A hit is told with the number of its line in the file."""
    assert searched(text.encode()).text.count("\n") == text.count("\n")
