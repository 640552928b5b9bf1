"""Hunks: exact, small, of whole characters."""

import itertools

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.diff import (
    Hunk,
    line_hunks,
    lines_of,
    text_hunks,
    with_hunks,
    without_convergent,
)
from tests.diff.rig import ANY, FAMILY, FAMILY_2, LINES, WORDS, apply


@given(ANY, ANY)
def test_hunks_turn_old_into_new(old: str, new: str) -> None:
    """Applying the hunks to the old text gives the new text, and they ascend without touching."""
    hunks = text_hunks(old, new)
    assert apply(old, hunks) == new
    assert all(a.end < b.start for a, b in itertools.pairwise(hunks))
    assert all(h.text or h.end > h.start for h in hunks)


@given(WORDS, WORDS)
def test_hunks_never_split_a_grapheme(old: str, new: str) -> None:
    """Every edge of a hunk is a grapheme boundary of the old text."""
    edges = {0} | {m.end() for m in regex.finditer(r"\X", old)}
    assert all({h.start, h.end} <= edges for h in text_hunks(old, new))


@pytest.mark.parametrize(
    ("old", "new", "hunks"),
    [
        ("the fox", "the foxes", [Hunk(7, 7, "es")]),
        ("I like ships a lot", "I like boats a lot", [Hunk(7, 12, "boats")]),
        ("teh end", "the end", [Hunk(1, 1, "h"), Hunk(2, 3, "")]),
        (f"a {FAMILY} b", f"a {FAMILY_2} b", [Hunk(2, 7, FAMILY_2)]),
        ("one two three", "one", [Hunk(3, 13, "")]),
        ("a3 g2 h3", "N6 a3 N2 g2 h3", [Hunk(0, 0, "N6 "), Hunk(3, 3, "N2 ")]),
        ("ox mountain", "ox", [Hunk(2, 11, "")]),
        ("x word word", "x word word word", [Hunk(7, 7, "word ")]),
        ("a birch larch b", "a larch T b", [Hunk(2, 8, ""), Hunk(14, 14, "T ")]),
        ("", "x", [Hunk(0, 0, "x")]),
        ("alpha beta", "something else entirely", [Hunk(0, 10, "something else entirely")]),
    ],
)
def test_hunks_are_what_a_person_would_mark(old: str, new: str, hunks: list[Hunk]) -> None:
    """Small edits are small hunks; a rewritten text is one."""
    assert text_hunks(old, new) == hunks


def test_convergent_hunks_are_dropped() -> None:
    """A correction the live text already has is not made a second time, another one is."""
    base = "teh quick brown fox"
    local = text_hunks(base, "the quick red fox")
    live = text_hunks(base, "the quick brown foxes")
    assert apply(base, without_convergent(local, live)) == "teh quick red fox"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("x\n" * 9000, "y\n" + "x\n" * 9000 + "z", id="equal lines"),
        pytest.param(
            " ".join(str(n) for n in range(15_000)),
            " ".join(str(n) for n in range(15_000) if n % 999),
            id="edits all over",
        ),
        pytest.param("ab " * 30_000, "ba " * 30_000, id="rewritten"),
    ],
)
def test_long_texts_are_compared_exactly(old: str, new: str) -> None:
    """Also where the short ways for long texts are taken, the hunks give the new text."""
    assert apply(old, text_hunks(old, new)) == new


@given(LINES | ANY, LINES | ANY, st.booleans())
def test_line_hunks_turn_old_into_new(old: str, new: str, whole: bool) -> None:
    """They are in order; with ``whole`` they never cut a line."""
    hunks = line_hunks(old, new, whole=whole)
    assert with_hunks(old, hunks) == new
    assert all(a.end <= b.start for a, b in itertools.pairwise(hunks))
    if whole:
        edges = {*itertools.accumulate(map(len, lines_of(old)), initial=0)}
        assert {at for h in hunks for at in (h.start, h.end)} <= edges


def test_lines_end_as_files_do() -> None:
    """LF, CR LF and CR end a line; other separators are text."""
    assert lines_of("a\nb\r\nc\rd\u2028e\x0bf") == ["a\n", "b\r\n", "c\r", "d\u2028e\x0bf"]
    assert lines_of("") == []


def test_a_line_is_not_made_of_letters_of_an_unrelated_one() -> None:
    """A line that takes the place of another is inserted whole; an edited line keeps its words."""
    old, new = "[word][ref]\n\ntext\n", "[ref]: http://example.org/\n\ntext\n"
    assert line_hunks(old, new) == [Hunk(0, 12, "[ref]: http://example.org/\n")]
    assert line_hunks("a word\n", "a new word\n") == [Hunk(2, 2, "new ")]
