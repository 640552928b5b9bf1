"""The canonical form of inline content, and what may stand for the unsayable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.tree import (
    Atom,
    Inline,
    Mark,
    Piece,
    Text,
    inline,
    marks,
    opaque_label,
    plain,
)

B, E, C = Mark("bold"), Mark("italic"), Mark("code")
BREAK = Atom("break")


@pytest.mark.parametrize(
    ("given_items", "canonical"),
    [
        ([Text("a"), Text("b")], [Text("ab")]),
        ([Text(""), Text(" a ")], [Text("a")]),
        ([Text("a "), Text(" b ", (B,)), Text("c")], [Text("a  "), Text("b", (B,)), Text(" c")]),
        ([Text("a", (B,)), Text(" ", (B,)), Text("b", (B,))], [Text("a b", (B,))]),
        (
            [Text("a", (B,)), Text(" "), Text("b", (B,))],
            [Text("a", (B,)), Text(" "), Text("b", (B,))],
        ),
        (
            [Text("a ", (B,)), Text("b", (B, E))],
            [Text("a ", (B,)), Text("b", (B, E))],
        ),
        ([Text("a ", (B,)), Text("b", (E,))], [Text("a", (B,)), Text(" "), Text("b", (E,))]),
        ([Text("a "), BREAK, Text(" b")], [Text("a"), BREAK, Text("b")]),
        ([Text(" ", (B,)), BREAK, Text("\t")], [BREAK]),
        ([Text(" a ", (C,))], [Text(" a ", (C,))]),
        ([Text("x", (B,)), Text(" ", (C,)), BREAK], [Text("x", (B,)), Text(" ", (C,)), BREAK]),
        ([Text("\u00a0a\u2003", (B,))], [Text("\u00a0a\u2003", (B,))]),
        ([Text(" \f\v "), Text("a")], [Text("a")]),
        ([Text(" ")], []),
    ],
)
def test_the_canonical_form(given_items: list[Inline], canonical: list[Inline]) -> None:
    """Runs merge, whitespace leaves edges, code and Unicode spaces are exact."""
    assert inline(given_items) == tuple(canonical)


texts = st.text("ab \t\u00a0", max_size=4)
runs = st.builds(Text, texts, st.sampled_from([(), (B,), (E,), marks(B, E), (C,), marks(B, C)]))
items = st.lists(runs | st.just(BREAK), max_size=7)


@given(items)
def test_the_canonical_form_is_stable(content: list[Inline]) -> None:
    """What is canonical stays as it is, and nothing but whitespace was lost."""
    once = inline(content)
    assert inline(once) == once
    before, after = ("".join(plain(i) for i in x if i != BREAK) for x in (content, once))
    assert "".join(before.split()) == "".join(after.split())


@given(items)
def test_pieces_follow_their_characters(content: list[Inline]) -> None:
    """After cuts and joins every piece still points at its own characters."""
    source = ""
    placed: list[Inline] = []
    for item in content:
        if isinstance(item, Text):
            placed.append(Text(item.text, item.marks, (Piece(0, (), len(source.encode())),)))
            source += item.text
        else:
            placed.append(item)
    raw = source.encode()
    for item in inline(placed):
        if isinstance(item, Text):
            ends = [p.at for p in item.pieces[1:]] + [len(item.text)]
            assert item.pieces[0].at == 0
            for piece, stop in zip(item.pieces, ends, strict=True):
                part = item.text[piece.at : stop].encode()
                assert raw[piece.offset : piece.offset + len(part)] == part


@given(st.text())
def test_an_opaque_label_fits_into_a_comment(text: str) -> None:
    """A label is one line without what could end a comment, and stays as it is."""
    label = opaque_label(text)
    assert label
    assert opaque_label(label) == label
    assert not set(label) & set("<>\n\r")
    assert "--" not in label
    assert len(label) <= 80
