"""Edits of one text, applied to another."""

import pytest
from hypothesis import given

from heapsyncd.diff.transplant import transplant
from tests.diff.rig import ANY, LINES


@pytest.mark.parametrize(
    ("seen", "saved", "onto", "made"),
    [
        ("a b", "a X b", "a b", "a X b"),
        ("a typed b\n", "a typed b X\n", "a b\n", "a b X\n"),
        ("a b\n", "X a b\n", "a gone b\n", "X a gone b\n"),
        ("one\n\ntwo\n", "one\n\nNEW\n\ntwo\n", "__one__\n\ntwo\n", "__one__\n\nNEW\n\ntwo\n"),
        ("one\ntwo\nthree\n", "one\nthree\n", "one\nthree\n", "one\nthree\n"),
        ("a typed b\n", "a typXed b\n", "a b\n", "a typXed b\n"),
        ("one\n", "", "one\n\ngone\n", "\ngone\n"),
    ],
)
def test_edits_are_made_in_another_text(seen: str, saved: str, onto: str, made: str) -> None:
    """They are made beside the differences; where both overlap, the saved text wins."""
    assert transplant(seen, saved, onto) == made


@given(LINES | ANY, LINES | ANY, LINES | ANY)
def test_transplanting_nothing_or_onto_the_seen_text(seen: str, saved: str, onto: str) -> None:
    """Without an edit nothing changes; onto the seen text the result is the saved text."""
    assert transplant(seen, seen, onto) == onto
    assert transplant(seen, saved, seen) == saved
    assert transplant(seen, onto, onto) == onto or seen == onto
