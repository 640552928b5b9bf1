"""What two texts written at one place begin and end with alike, as laws."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.diff.ends import common_ends

TEXTS = st.lists(st.sampled_from(["boat", "boats", "a", " ", " ", ", ", "é"]), max_size=6).map(
    "".join
)


def in_a_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


@given(TEXTS, TEXTS, TEXTS)
def test_what_is_common_is_equal_and_stands_once(a: str, b: str, old: str) -> None:
    """Both ends are equal in the two texts and do not overlap in either."""
    head, tail = common_ends(a, b, old)
    assert head + tail <= min(len(a), len(b))
    assert a[:head] == b[:head]
    assert a[len(a) - tail :] == b[len(b) - tail :]


@given(TEXTS, TEXTS, TEXTS)
def test_the_order_of_the_sides_does_not_matter(a: str, b: str, old: str) -> None:
    """Two devices that merge the same edits find the same."""
    assert common_ends(a, b, old) == common_ends(b, a, old)


@given(TEXTS, TEXTS)
def test_no_word_is_cut(a: str, b: str) -> None:
    """What is common ends where a word does, in both."""
    head, tail = common_ends(a, b, "")
    for text in (a, b):
        assert not in_a_word(text, head)
        assert not in_a_word(text, len(text) - tail)


@given(TEXTS, TEXTS)
def test_one_text_twice_stands_once(text: str, old: str) -> None:
    """Equal texts have everything in common."""
    assert common_ends(text, text, old) == (len(text), 0)
