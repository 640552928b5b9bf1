"""Matches of two sequences are common to both and in order."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.diff.sequences import _few_edits, matches


@given(st.lists(st.integers(0, 4), max_size=40), st.lists(st.integers(0, 4), max_size=40))
def test_matches_are_common_and_in_order(a: list[int], b: list[int]) -> None:
    """What is matched is equal and ascends on both sides; both algorithms agree."""
    found = matches(a, b)
    assert all(a[i : i + n] == b[j : j + n] and n for i, j, n in found)
    assert all(i + n <= i2 and j + n <= j2 for (i, j, n), (i2, j2, _) in itertools.pairwise(found))
    greedy = _few_edits(a, b)
    assert greedy is not None
    assert sum(n for *_, n in greedy) == sum(n for *_, n in found)
    assert all(a[i : i + n] == b[j : j + n] for i, j, n in greedy)
