"""Blocks are aligned in order, each at most once, edited ones too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapsyncd.diff import align, similarity
from heapsyncd.diff.blocks import Scores
from heapsyncd.tree import Block, attrs
from tests.diff.rig import para


@given(
    st.lists(st.sampled_from("abcdef"), max_size=9),
    st.lists(st.sampled_from("abcdef"), max_size=9),
)
def test_align_pairs_each_block_once_in_order(old: list[str], new: list[str]) -> None:
    """Every index of both lists occurs exactly once, ascending; pairs have the same kind."""
    kinds = {"a": "heading", "b": "paragraph"}
    a, b = ([para(f"text {c}", kinds.get(c, "paragraph")) for c in side] for side in (old, new))
    pairs = align(a, b)
    assert [i for i, _ in pairs if i is not None] == list(range(len(a)))
    assert [j for _, j in pairs if j is not None] == list(range(len(b)))
    assert all(a[i].kind == b[j].kind for i, j in pairs if i is not None and j is not None)


LINES = st.lists(
    st.builds(
        lambda words, kind: para(" ".join(words), kind),
        st.lists(st.sampled_from(["one", "two", "three", "four!"]), max_size=4),
        st.sampled_from(["paragraph", "paragraph", "paragraph", "heading", "item"]),
    ),
    max_size=4,
)


@pytest.mark.slow
@given(LINES, LINES)
@settings(max_examples=1000)
def test_blocks_that_plainly_stay_in_place_are_paired_as_after_trying_all(
    old: list[Block], new: list[Block]
) -> None:
    """The short way finds what the long one finds."""
    found = align(old, new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scores, "are_straight", lambda _: False)
        assert align(old, new) == found


def test_edited_blocks_stay_paired() -> None:
    """Edits at top, middle and end beside an insertion keep the identity of every block."""
    old = [para(f"This is paragraph number {n} of the note, with words.") for n in range(9)]
    new = [*old]
    new[0], new[4] = (
        para("This was paragraph number 0 of the note, with words."),
        para("This is paragraph four of the note."),
    )
    new.insert(5, para("An entirely new thought."))
    new[-1] = para("This is paragraph number 8 of the note, with more words.")
    pairs = align(old, new)
    assert [p for p in pairs if None in p] == [(None, 5)]


def test_opaque_blocks_pair_by_digest_alone() -> None:
    """A node markdown can't say is the same node only when its digest is."""
    a, b = (Block("opaque", attrs(label="chart", digest=d)) for d in ("aaaaaa", "bbbbbb"))
    assert align([a], [a]) == [(0, 0)]
    assert align([a], [b]) == [(0, None), (None, 0)]
    assert similarity(a, b) == 0.0


def test_long_lists_are_aligned_in_order() -> None:
    """Blocks that have all changed stay the blocks they were, in lists of any length."""
    old = [para(f"line {n}") for n in range(5000)]
    new = [para(f"line {n}!") for n in range(5000)]
    pairs = align(old, new)
    assert sum(1 for i, j in pairs if i == j) > 4500


def test_a_text_replaced_by_another_stays_the_same_block() -> None:
    """Texts replaced one by one are edits, not deletions; what stands elsewhere was moved."""
    same, cloud = para("same"), para("cloud")
    assert align([same, cloud], [same, para("VTKGNKU")]) == [(0, 0), (1, 1)]
    moved = align([cloud, same], [same, cloud])
    assert sum(i is not None and j is not None for i, j in moved) == 1


def test_a_text_that_grew_at_an_end_stays_the_same_block() -> None:
    """However much is written after a short text, it is an edit of it."""
    grown = para("cloud and a long afterthought that nobody foresaw")
    assert align([para("cloud"), para("b")], [grown]) == [(0, 0), (1, None)]
