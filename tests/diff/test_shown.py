"""A difference as lines for people."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.diff.shown import MOST, Line, shown


def plain(lines: list[Line]) -> list[str]:
    """As git's word diff."""
    marks = {"=": "{}", "-": "[-{}-]", "+": "{{+{}+}}", "@": "@@ {} @@"}
    return ["".join(marks[sign].format(text) for sign, text in line) for line in lines]


CASES = [
    pytest.param("a b c\n", "a x c\n", ["a [-b-]{+x+} c"], id="a word"),
    pytest.param("one two\n", "ones two\n", ["[-one-]{+ones+} two"], id="words are shown whole"),
    pytest.param("a\n", "a\nb\n", ["a", "{+b+}"], id="a new line"),
    pytest.param("a\nb\nc\n", "a\nc\n", ["a", "[-b-]", "c"], id="a removed line"),
    pytest.param("a\n", "a\n\n", ["a", "{++}"], id="an empty line"),
    pytest.param("", "x\n", ["{+x+}"], id="a new text"),
    pytest.param("a\r\nb\r\n", "a\nb\n", [], id="line ends only"),
    pytest.param(
        "1\n2\n3\n4\n5\n6\nred\n",
        "1\n2\n3\n4\n5\n6\nblue\n",
        ["@@ 5 @@", "5", "6", "[-red-]", "{+blue+}"],
        id="with context, and where it is",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_the_changed_words_are_marked(old: str, new: str, expected: list[str]) -> None:
    assert plain(shown(old, new)) == expected


WORDS = st.text(st.sampled_from("ab \n"), max_size=40)


@given(WORDS, WORDS)
def test_the_marks_say_both_texts(old: str, new: str) -> None:
    """What is kept and added is the new text, what is kept and removed the old one."""
    lines = shown(old, new)
    for gone, text in (("-+", old), ("+-", new)):
        told = ["".join(t for sign, t in line if sign in {"=", gone[0]}) for line in lines]
        words = [word for line in told for word in line.split()]
        assert [w for w in words if w in text.split()] == words
    assert bool(lines) == (old != new)
    assert json.loads(json.dumps(lines)) == [[list(part) for part in line] for line in lines]


def test_a_very_large_difference_is_cut() -> None:
    assert len(shown("", "x\n" * (MOST + 50))) == MOST + 1
