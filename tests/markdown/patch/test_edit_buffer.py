"""Edits of a text collected before any is made, as laws."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.markdown.patch.edit_buffer import EditBuffer, OverlapError, columns

DATA = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b" ", b"> ", b"\t"]), max_size=20).map(
    b"".join
)


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """A text and edits of it that touch no byte twice."""
    data = draw(DATA)
    edges = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    found = [(a, b, draw(st.sampled_from([b"", b"X", b"YZ"]))) for a, b in pairwise(edges)]
    return data, found[::2]


@given(edited(), st.randoms(use_true_random=False))
def test_edits_are_made_at_once(
    given_edits: tuple[bytes, list[tuple[int, int, bytes]]], random: object
) -> None:
    """Whatever the order in which edits of different places were wished, each is made, and every
    other byte stays.
    """
    data, edits = given_edits
    distinct = list({(start, end): edit for edit in edits for start, end in [edit[:2]]}.values())
    wanted = data
    for start, end, text in reversed(distinct):
        wanted = wanted[:start] + text + wanted[end:]
    random.shuffle(distinct)  # type: ignore[attr-defined]  # hypothesis's own Random
    buffer = EditBuffer(data, b"\n")
    for edit in distinct:
        buffer.replace(*edit)
    assert buffer.result() == wanted


@given(st.binary(min_size=2, max_size=9), st.data())
def test_no_byte_is_edited_twice(data: bytes, draw: st.DataObject) -> None:
    """Two edits of one byte are an error, never half of each."""
    at = draw.draw(st.integers(0, len(data) - 1))
    ranges = [
        (draw.draw(st.integers(0, at)), draw.draw(st.integers(at + 1, len(data))))
        for _ in range(2)
    ]
    buffer = EditBuffer(data, b"\n")
    for start, end in ranges:
        buffer.replace(start, end, b"")
    with pytest.raises(OverlapError):
        buffer.result()


@given(DATA)
def test_lines_follow_one_another(data: bytes) -> None:
    """From each byte, its line's start and the next line's bound it; lines make up the text."""
    buffer = EditBuffer(data, b"\n")
    for at in range(len(data)):
        start, end = buffer.line_start(at), buffer.next_line(at)
        assert start <= at < end
        assert data[start:end] in data.splitlines(keepends=True) or b"\r" in data[start:end]
        assert data[start:end].count(b"\n") <= 1
        assert buffer.is_blank(start) == (not data[start:end].strip(b" \t>\r\n"))


@given(DATA, DATA)
def test_a_tab_goes_to_the_next_stop(lead: bytes, more: bytes) -> None:
    """What is longer is never narrower; a tab ends at a multiple of four."""
    assert columns(lead) <= columns(lead + more)
    assert columns(lead + b"\t") % 4 == 0
    assert columns(lead) < columns(lead + b"\t") <= columns(lead) + 4
