"""The diff module: exact, small, ordered."""

import itertools

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from heapsyncd.diff import (
    Hunk,
    align,
    line_hunks,
    lines_of,
    similarity,
    text_hunks,
    with_hunks,
    without_convergent,
)
from heapsyncd.diff.blocks import Scores
from heapsyncd.diff.sequences import _few_edits, matches
from heapsyncd.diff.transplant import transplanted
from heapsyncd.tree import Block, Text, attrs

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FAMILY_2 = "\U0001f468\u200d\U0001f469\u200d\U0001f466"
WORDS = st.lists(
    st.sampled_from(
        ["the", "fox", "foxes", " ", " ", "\n", "é", "e\u0301", FAMILY, FAMILY_2, "."]
    ),
    max_size=30,
).map("".join)
ANY = WORDS | st.text(max_size=30)


def para(text: str, kind: str = "paragraph") -> Block:
    return Block(kind, inline=(Text(text),) if text else ())  # type: ignore[arg-type]


def apply(old: str, hunks: list[Hunk]) -> str:
    for h in reversed(hunks):
        old = old[: h.start] + h.text + old[h.end :]
    return old


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


TEXTS = st.lists(
    st.sampled_from(
        ["one two\n", "one two three\n", "* four\n", "\n", "[a][b]\r\n", "\r", "é👋\n", "x"]
    ),
    max_size=12,
).map("".join)


@given(TEXTS | ANY, TEXTS | ANY, st.booleans())
def test_line_hunks_turn_old_into_new(old: str, new: str, whole: bool) -> None:
    """In order, and never a part of a line where lines are replaced as a whole."""
    hunks = line_hunks(old, new, whole=whole)
    assert with_hunks(old, hunks) == new
    assert all(a.end <= b.start for a, b in itertools.pairwise(hunks))
    if whole:
        edges = {*itertools.accumulate(map(len, lines_of(old)), initial=0)}
        assert {at for h in hunks for at in (h.start, h.end)} <= edges


def test_lines_end_as_files_do() -> None:
    """With LF, CR LF or CR; other separators are text."""
    assert lines_of("a\nb\r\nc\rd\u2028e\x0bf") == ["a\n", "b\r\n", "c\r", "d\u2028e\x0bf"]
    assert lines_of("") == []


def test_no_letters_of_a_line_are_taken_for_another() -> None:
    """What is put in the place of a line that went is not made of its letters."""
    old, new = "[word][ref]\n\ntext\n", "[ref]: http://example.org/\n\ntext\n"
    assert line_hunks(old, new) == [Hunk(0, 12, "[ref]: http://example.org/\n")]
    assert line_hunks("a word\n", "a new word\n") == [Hunk(2, 2, "new ")]


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
    """Beside what that one has otherwise; where they meet it becomes as the author left it."""
    assert transplanted(seen, saved, onto) == made


@given(TEXTS | ANY, TEXTS | ANY, TEXTS | ANY)
def test_transplanting_is_exact_at_its_ends(seen: str, saved: str, onto: str) -> None:
    """No edit changes nothing; onto what was seen it is the saved text."""
    assert transplanted(seen, seen, onto) == onto
    assert transplanted(seen, saved, seen) == saved
    assert transplanted(seen, onto, onto) == onto or seen == onto
