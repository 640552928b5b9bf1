"""Which changes of two sides meet, so that a person should look at the result."""

import pytest

from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.merge.overlaps import overlaps


@pytest.mark.parametrize(
    ("before", "ours", "theirs", "merged", "met"),
    [
        pytest.param("one", "one two", "one three", "one two three", True, id="one place"),
        pytest.param("the red sail", "the blue sail", "the green sail", "the bluegreen sail",
                     True, id="the same word"),
        pytest.param("a red sail", "a blue sail", "a red boat", "a blue boat", False, id="apart"),
        pytest.param("a\n\nb", "a one\n\nb", "a\n\nb two", "a one\n\nb two", False, id="blocks"),
        pytest.param("one", "one two", "one two", "one two", False, id="the same edit"),
        pytest.param("a\n\nthe red sail", "a", "a\n\nthe red sail!", "a\n\nthe red sail!",
                     True, id="deleted here"),
        pytest.param("a\n\nthe red sail", "a\n\nthe red sail!", "a", "a\n\n!",
                     True, id="deleted there"),
    ],
)  # fmt: skip
def test_what_meets(before: str, ours: str, theirs: str, merged: str, met: bool) -> None:
    """Changes at one place, of the same words or of a deleted block meet; others do not."""
    trees = [parse(f"{text}\n", NO_LINKS) for text in (before, ours, theirs, merged)]
    assert bool(overlaps(*trees)) == met
