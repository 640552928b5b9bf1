"""Three-way merges of texts: nothing lost, nothing doubled, and contested lines are named."""

import itertools
import re
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heapsyncd.diff import lines_of
from heapsyncd.diff.three import Contested, Merged, merge_texts, without_edit
from tests.diff.rig import ANY, LINES
from tests.doubling import doubling
from tests.steps import steps

TEXTS = LINES | ANY


@st.composite
def edits(draw: st.DrawFn, kinds: str = "====-+~~~") -> tuple[str, str, str]:
    """A base of distinct words, and two edits of it whose new words name their author.

    ``kinds``: what happens to a line: it is kept, deleted, gets another one below it, is edited.
    """
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    number = itertools.count()
    base = [[f"w{next(number)}" for _ in range(size)] for size in sizes]
    return _text(base), _text(draw(_edit(base, "a", kinds))), _text(draw(_edit(base, "b", kinds)))


def _edit(base: list[list[str]], author: str, kinds: str) -> st.SearchStrategy[list[list[str]]]:
    @st.composite
    def made(draw: st.DrawFn) -> list[list[str]]:
        number = itertools.count()
        out: list[list[str]] = []
        for line in base:
            match draw(st.sampled_from(kinds)):
                case "=":
                    out.append(line)
                case "+":
                    out += [line, [f"{author}{next(number)}"]]
                case "~":
                    at = draw(st.integers(0, len(line)))
                    gone = draw(st.integers(0, 1))
                    new = [f"{author}{next(number)}"] * draw(st.integers(0, 1))
                    out.append([*line[:at], *new, *line[at + gone :]])
        return out

    return made()


def _text(lines: list[list[str]]) -> str:
    return "".join(" ".join(line) + "\n" for line in lines)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@given(edits())
def test_no_word_is_lost_and_none_comes_back(texts: tuple[str, str, str]) -> None:
    """What either wrote stands, what nobody deleted stands; a word that one deleted is gone unless
    the other edited its line too."""
    base, first, second = texts
    merged = merge_texts(base, first, second)
    found = words(merged.text)
    own = (words(first) | words(second)) - words(base)
    assert own <= found
    assert words(first) & words(second) <= found
    lines = set(lines_of(base))
    edited = {w for v in (*lines_of(first), *lines_of(second)) if v not in lines for w in words(v)}
    contested = {w for c in merged.contested for w in words(c.first + c.second)}
    assert found - edited - contested <= words(first) & words(second)


@given(edits())
def test_only_contested_lines_stand_twice(texts: tuple[str, str, str]) -> None:
    """Without a contested line every word stands once."""
    merged = merge_texts(*texts)
    if not merged.contested:
        counts = Counter(re.findall(r"\w+", merged.text))
        assert set(counts.values()) <= {1}


@given(TEXTS, TEXTS)
def test_an_unchanged_side_yields(base: str, text: str) -> None:
    """To the byte; so do two equal edits."""
    assert merge_texts(base, base, text) == Merged(text)
    assert merge_texts(base, text, base) == Merged(text)
    assert merge_texts(base, text, text) == Merged(text)


@given(edits())
def test_the_order_of_authors_is_the_order_of_lines_only(texts: tuple[str, str, str]) -> None:
    """Exchanged authors get the same lines, with the contested ones exchanged."""
    base, first, second = texts
    one, other = merge_texts(base, first, second), merge_texts(base, second, first)
    assert Counter(lines_of(one.text)) == Counter(lines_of(other.text))
    assert [(c.line, c.first, c.second) for c in one.contested] == [
        (c.line, c.second, c.first) for c in other.contested
    ]


@given(edits("====~~~"))
def test_merging_again_changes_nothing(texts: tuple[str, str, str]) -> None:
    """When the answer to a write was lost, the server's text already has one's own edits.

    Beside inserted, deleted or contested lines one may stand twice; nothing is lost then either.
    """
    base, first, second = texts
    merged = merge_texts(base, first, second)
    assume(not merged.contested)
    assert merge_texts(base, merged.text, second).text == merged.text
    assert merge_texts(base, first, merged.text).text == merged.text


@given(edits(), st.sampled_from(["\n", "\r\n", "\r"]), st.tuples(*[st.booleans()] * 3))
def test_line_ends_are_kept(
    texts: tuple[str, str, str], newline: str, is_open: tuple[bool, bool, bool]
) -> None:
    """Every kind of line end, and a missing last one, where nobody changed them."""
    plain = merge_texts(*texts).text
    ended = [t.replace("\n", newline) for t in texts]
    assert merge_texts(*ended).text == plain.replace("\n", newline)
    merged = merge_texts(
        *(t.removesuffix(newline) if o else t for t, o in zip(ended, is_open, strict=True))
    ).text
    assert words(merged) == words(plain)
    kinds = set(re.findall(r"\r\n|\r|\n", merged))
    assert kinds <= {newline} or not any(newline in t[:-2] for t in ended)


@given(TEXTS, TEXTS, TEXTS)
def test_new_words_of_any_texts_stand(base: str, first: str, second: str) -> None:
    """Also of texts that have little in common."""
    found = words(merge_texts(base, first, second).text)
    assert (words(first) | words(second)) - words(base) <= found


GOLDEN = [
    pytest.param("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n", (), id="other lines"),
    pytest.param("a\nb\n", "A\nb\n", "a\nB\n", "A\nB\n", (), id="adjacent lines"),
    pytest.param(
        "one two three\n", "ONE two three\n", "one two THREE\n", "ONE two THREE\n", (), id="words"
    ),
    pytest.param(
        "buy milk\n",
        "buy soy milk today\n",
        "buy oat milk\n",
        "buy soy milk today\nbuy oat milk\n",
        (Contested(1, "buy soy milk today\n", "buy oat milk\n"),),
        id="the same words",
    ),
    pytest.param("a\n", "a\nb\n", "a\nc\n", "a\nb\nc\n", (), id="both append"),
    pytest.param("a", "a\nb", "a\nc", "a\nb\nc", (), id="both append, no last line end"),
    pytest.param("", "b", "c", "b\nc", (), id="from nothing"),
    pytest.param("a\n", "a\nx\ny\n", "a\nx\nz\n", "a\nx\ny\nz\n", (), id="partly the same"),
    pytest.param(
        "top\nx\nend\n",
        "top\nend\n",
        "top\nx edited\nend\n",
        "top\nx edited\nend\n",
        (Contested(2, "", "x edited\n"),),
        id="an edit wins over a deletion",
    ),
    pytest.param(
        "p\nq\nr\n", "", "p\nq edited\nr\n", "q edited\n", (Contested(1, "", "q edited\n"),),
        id="only the edited line of a deleted paragraph stays",
    ),
    pytest.param("a b\nc\n", "a b\r\nc\r\n", "a B\nc\n", "a B\r\nc\r\n", (), id="to CR LF"),
    pytest.param("a\r\nb\nc\n", "A\r\nb\nc\n", "a\r\nb\nC\n", "A\r\nb\nC\n", (), id="mixed"),
    pytest.param("a\nb\n", "a\nb", "A\nb\n", "A\nb", (), id="the last line end removed"),
    pytest.param("x fox\n", "x foxes\n", "x box\n", "x foxes\nx box\n",
        (Contested(1, "x foxes\n", "x box\n"),), id="letters of one word are not mixed"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "first", "second", "text", "contested"), GOLDEN)
def test_merges_are_what_a_person_would_make(
    base: str, first: str, second: str, text: str, contested: tuple[Contested, ...]
) -> None:
    """Words merge where they do not touch; else both lines stand, and are named."""
    assert merge_texts(base, first, second) == Merged(text, contested)


UNITED = [
    pytest.param("a\nb\n", "a\nb\n", "a\nb\n", (), id="equal"),
    pytest.param("", "b\n", "b\n", (), id="one is empty"),
    pytest.param("a\nb\nc\n", "b\n", "a\nb\nc\n", (), id="one has more"),
    pytest.param(
        "top\none\nend\n", "top\ntwo\nend\nmore\n", "top\none\ntwo\nend\nmore\n",
        (Contested(2, "one\n", "two\n"),), id="other lines at one place",
    ),
    pytest.param("a\n\nb\n", "a\nx\nb\n", "a\n\nx\nb\n", (), id="a blank line is no version"),
    pytest.param("a\r\nb", "a\nb\nc\n", "a\r\nb\r\nc", (), id="line ends are no difference"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "text", "contested"), UNITED)
def test_without_a_base_all_lines_stand(
    first: str, second: str, text: str, contested: tuple[Contested, ...]
) -> None:
    """What both share stands once; lines of each at one place are named."""
    assert merge_texts(None, first, second) == Merged(text, contested)


def test_line_ends_that_both_changed_are_the_first_authors() -> None:
    """Also where the base has none."""
    assert merge_texts("a\nb\n", "A\r\nb\r\n", "a\rB\r") == Merged("A\r\nB\r\n")
    assert merge_texts("", "a\r\n", "b\n") == Merged("a\r\nb\r\n")


def test_a_contested_line_does_not_grow() -> None:
    """Merging the result again gives the same two lines."""
    base, first, second = "top\nbuy milk\n", "top\nbuy soy milk\n", "top\nbuy oat milk\n"
    merged = merge_texts(base, first, second).text
    assert merged == "top\nbuy soy milk\nbuy oat milk\n"
    assert merge_texts(base, merged, second).text == merged
    assert merge_texts(base, first, merged).text == merged


def test_the_lines_that_are_named_are_those_that_differ() -> None:
    """By their numbers in the merged text, also below other changes."""
    base = "".join(f"line {n}\n" for n in range(9))
    first = base.replace("line 1\n", "line 1\nnew\n").replace("line 7", "LINE seven")
    second = base.replace("line 7", "no more seven")
    merged = merge_texts(base, first, second)
    (found,) = merged.contested
    lines = lines_of(merged.text)
    assert lines[found.line - 1 : found.line + 1] == [found.first, found.second]


def _long(count: int) -> tuple[str, str, str]:
    base = [f"{n} some words on a line of a long text\n" for n in range(count)]
    first, second = list(base), list(base)
    for n in range(0, count, max(1, count // 8)):
        first[n] = f"first {n}\n"
        second[n // 2] = f"second {n}\n"
    return "".join(base), "".join(first), "".join(second)


def test_few_edits_of_a_long_text_take_few_steps() -> None:
    """A megabyte of 20,000 lines takes far less than a second; twice the text, twice the steps."""
    texts, twice = _long(20_000), _long(40_000)
    assert sum(map(len, texts)) > 2_000_000
    started = time.thread_time()
    assert len(lines_of(merge_texts(*texts).text)) >= 20_000
    assert time.thread_time() - started < 5  # 0.2 s; the wide limit is for busy machines
    assert steps(lambda: merge_texts(*twice)) < 2.2 * steps(lambda: merge_texts(*texts))


def test_many_edits_take_linear_time() -> None:
    """Edits of every tenth line, contested ones among them."""

    def work(size: int) -> Callable[[], object]:
        base = [f"{n} a line\n" for n in range(size)]
        first = "".join(f"x {n}\n" if n % 10 == 0 else v for n, v in enumerate(base))
        second = "".join(f"y {n}\n" if n % 20 == 0 else v for n, v in enumerate(base))
        return lambda: merge_texts("".join(base), first, second)

    assert doubling(work, 4000) < 3


UNDONE = [
    pytest.param("a\nb\n", "a\nb c\n", "a\nb c\n", "a\nb\n", 0, id="nothing else came"),
    pytest.param("a\nb\n", "a2\nb\n", "a2\nb\nc\n", "a\nb\nc\n", 0, id="another line came"),
    pytest.param(
        "the old boat\n", "the red boat\n", "the red boat sails\n", "the old boat sails\n", 0,
        id="another word of the line came",
    ),
    pytest.param("a\n", "a\nours\n", "a\nours\ntheirs\n", "a\ntheirs\n", 0, id="what we added"),
    pytest.param("a\ngone\n", "a\n", "a\ntheirs\n", "a\ngone\ntheirs\n", 0, id="what we removed"),
    pytest.param("red\n", "blue\n", "green\n", "green\n", 1, id="theirs stays where both changed"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "now", "expected", "contested"), UNDONE)
def test_an_edit_is_undone(
    before: str, after: str, now: str, expected: str, contested: int
) -> None:
    """What others wrote since stays."""
    undone = without_edit(before, after, now)
    assert (undone.text, len(undone.contested)) == (expected, contested)
