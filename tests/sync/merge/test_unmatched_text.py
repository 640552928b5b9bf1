"""Text that stands elsewhere on the other side, as laws."""

import re

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.sync.merge.unmatched_text import (
    UnmatchedSpan,
    by_word,
    is_extended_by,
    matching_spans,
)
from heapsyncd.tree import Block
from tests.diff.rig import apply

WORDS = ["harbour", "harbours", "harbourmaster", "sea", "season", "é", "a", "tulips", "lantern"]
TEXTS = st.lists(st.sampled_from([*WORDS, " ", " ", ", "]), max_size=12).map("".join)
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8, unique=True).map(" ".join)


def spans(texts: list[str]) -> list[UnmatchedSpan]:
    return [UnmatchedSpan(Block("paragraph"), text, at=3, position=0) for text in texts]


@given(TEXTS, TEXTS)
def test_what_differs_by_words_is_the_difference(old: str, new: str) -> None:
    """Carried out, the hunks make the new text of the old one; they are in order and apart."""
    hunks = by_word(old, new)
    assert apply(old, hunks) == new
    ends = [at for hunk in hunks for at in (hunk.start, hunk.end)]
    assert ends == sorted(ends)


@given(st.sampled_from(WORDS), st.sampled_from(WORDS))
def test_a_word_goes_on_in_a_longer_one(word: str, other: str) -> None:
    """In itself always; else only a word that is longer and holds it at an end."""
    assert is_extended_by(word, word)
    if word != other and is_extended_by(word, other):
        assert len(word) < len(other)
        assert word in other


@given(st.lists(SENTENCES, max_size=4), st.lists(SENTENCES, max_size=4))
def test_each_word_counts_once(ours: list[str], theirs: list[str]) -> None:
    """What meets lies in theirs, no two stretches overlap, and ours has its words as often."""
    strays = spans(theirs)
    found: dict[int, list[tuple[int, int]]] = {}
    met = ""
    for block, start, end in matching_spans(spans(ours), strays):
        (number,) = (k for k, stray in enumerate(strays) if stray.block is block)
        assert 3 <= start < end <= 3 + len(theirs[number])
        found.setdefault(number, []).append((start, end))
        met += theirs[number][start - 3 : end - 3]
    for stretches in found.values():
        assert all(
            a[1] <= b[0] for a, b in zip(sorted(stretches), sorted(stretches)[1:], strict=False)
        )
    letters = "".join(re.findall(r"\w", met))
    assert len(letters) <= sum(len(re.findall(r"\w", text)) for text in ours)
    assert set(letters) <= set("".join(ours))


@given(st.permutations(range(18)), st.integers(1, 3))
def test_a_text_that_stands_elsewhere_is_found(numbers: list[int], size: int) -> None:
    """Whole texts that only stand in another order all meet, to the last word."""
    words = [f"harbour{n:x}" for n in numbers]
    texts = [" ".join(words[k : k + 2 * size]) for k in range(0, len(words), 2 * size)]
    strays = spans(texts)
    met = sum(
        len(re.findall(r"\w", stray.text[start - 3 : end - 3]))
        for block, start, end in matching_spans(spans(texts[::-1]), strays)
        for stray in strays
        if stray.block is block
    )
    assert met == sum(len(re.findall(r"\w", text)) for text in texts)
