"""Front matter as raw lines: cut and joined exactly, normalised after a merge."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heapsyncd.diff import lines_of
from heapsyncd.markdown.front_lines import Keys, OurKeys, Owner, cut, join, normalise, user_chunks
from heapsyncd.markdown.frontmatter import split
from heapsyncd.model import Lines, Source
from tests.doubling import doubling

ID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"
ID_LINE = f"id: {ID}"
LINES = st.sampled_from(
    [
        "a: 1", "a: 2", "b:", "  - x", "- y", "  deep: 1", "c: |", "  text", "", "  ", "# note",
        "  # deep", "tags: [x, 'y z']", "tags:", "no key", "d: [", "e: *x", "f: &x 1", '"q": 1',
        "g : 2", "http://x.y/z", "? odd", "{x: 1}", "'", "title: Mine", "id: my-own", "h: \u2028x",
        "i: \x85", "---x", "...", "%TAG", "\tj: 1", "key: with: colons", "é: 日本", "#", "- k: 1",
        ID_LINE, f"id: '{ID}' # mine", f"heaper_id: {ID}", "heaper_title: T",
    ]
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n"])
FENCES = st.sampled_from(["---", "---", "---  "])


def own(raw: str, title: str | None = None) -> Keys:
    return cut(raw, Owner(lambda value: value == ID, title))


def again(raw: str, ours: OurKeys | None = None, title: str | None = None) -> str:
    """Cut a block and join it again for its note."""
    keys = own(raw, title)
    says = ours or OurKeys(keys.id or ID, keys.title, split(raw)[0].tags or ())
    return join(Source("", keys.front, keys.order, keys.fences), says, "\n")


@example(["a: 1", ID_LINE, "# end"], ["\n"], "---", "---")
@example(["a: 1", f"id: '{ID}' # mine", "b:"], ["\n"], "---", "---")
@example(["# above", ID_LINE, "title: Mine"], ["\r\n"], "---  ", "---")
@example(["a: 1", "a: 1", ID_LINE], ["\n"], "---", "---")
@example(["d: [", "a: 1", ID_LINE], ["\n"], "---", "---")
@given(st.lists(LINES, max_size=9), st.lists(ENDS, min_size=1), FENCES, FENCES)
def test_any_block_comes_back_byte_for_byte(
    lines: Sequence[str], ends: Sequence[str], opening: str, closing: str
) -> None:
    """With our id anywhere in it, whatever the user wrote; without, only our id is added."""
    end = ends[0]
    inner = "".join(line + ends[k % len(ends)] for k, line in enumerate(lines))
    raw = f"{opening}{end}{inner}{closing}{end}"
    if split(raw)[0].raw != raw:
        return
    written = again(raw)
    assert again(written) == written
    is_broken = (split(raw)[0].problem or "").startswith("front matter")
    if own(raw).id is not None or is_broken:
        assert written == raw
    else:
        left = [line for line in lines_of(written) if ID not in line]
        assert left == [line for line in lines_of(raw) if ID not in line]


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("a", "a: 1\n", "a: 1\n"),
        ("a", "# c\na: 1\na: 2\n", "# c\na: 2\n"),
        ("a", "a: 1\n# c\na: 2\n", "# c\na: 2\n"),
        ("a", "  - x\n", "a:\n  - x\n"),
        ("a", "# c\n  - x\n", "# c\na:\n  - x\n"),
        ("a", "# c\n", "# c\n"),
        ("a", "a: [x]\n  - y\n", "a: [x]\n"),
        ("a", "a: |\na: >\n  text\n", "a: >\n  text\n"),
        ("a", "a: 1", "a: 1\n"),
        ("a", "b: 1\n", "a:\nb: 1\n"),
        ("#end", "# c\n\n", "# c\n\n"),
    ],
)
def test_a_merged_chunk_is_normalised(name: str, text: str, read: str) -> None:
    """Of two first lines the last counts, a lost one is restored, comments are kept."""
    assert normalise(name, text) == read


@given(st.lists(LINES, max_size=6).map(lambda v: "".join(f"{line}\n" for line in v)))
def test_normalising_twice_changes_nothing(text: str) -> None:
    """All readers get the same lines, however often they were written."""
    once = normalise("a", text)
    assert normalise("a", once) == once


def test_a_users_own_id_and_title_are_kept() -> None:
    """An unknown id is the user's; ours are written under other names, or not at all."""
    raw = "---\nid: my-zettel\ntitle: Mine\n---\n"
    assert own(raw).id is None
    assert set(own(raw).front) == {"id", "title"}
    written = again(raw, OurKeys(ID, "Our/title", ()))
    assert written == (
        f"---\nheaper_id: {ID}\nheaper_title: Our/title\nid: my-zettel\ntitle: Mine\n---\n"
    )
    found = own(written, "heaper_title")
    assert (found.id, found.title, found.order) == (ID, "Our/title", ("id", "title"))
    full = "---\nid: a\nheaper_id: b\n---\n"
    assert again(full) == full


def test_our_title_is_not_a_line_of_the_user() -> None:
    """A title is ours only where we wrote it."""
    written = again("", OurKeys(ID, "A: b", ()))
    assert own(written, "title").title == "A: b"
    assert own(written, "title").front == {}
    assert own(written).front.keys() == {"title"}


@pytest.mark.parametrize(
    ("raw", "tags", "written"),
    [
        ("tags: [b, a]", ("a", "b"), "tags: [b, a]"),
        ("tags: [b, a]", ("a",), "tags: [a]"),
        ("tags:\n- a # c", ("a", "b"), "tags:\n- a # c\n- b"),
        ("tags:", (), "tags:"),
        ("tags: a", (), "tags: []"),
        ("tags: {a: 1}", ("b",), "tags: {a: 1}"),
        ("x: 1", ("a",), "x: 1\ntags: [a]"),
        ("tags: [a]\ntags: [b]", ("b", "c"), "tags: [a]\ntags: [b, c]"),
    ],
)
def test_tags_keep_their_style(raw: str, tags: tuple[str, ...], written: str) -> None:
    """The relations say which tags there are, the lines how they are written."""
    block = f"---\n{ID_LINE}\n{raw}\n---\n"
    assert again(block, OurKeys(ID, None, tags)) == f"---\n{ID_LINE}\n{written}\n---\n"


def test_keys_missing_from_the_order_come_last() -> None:
    """Also where two authors added keys at once: nothing is lost, all devices show the same."""
    front = {key: Lines(f"{key}: 1\n") for key in "cab"} | {"#end": Lines("# end\n")}
    says = OurKeys(ID, None, ())
    written = join(Source("", front, ("none", "b", "b")), says, "\n")
    assert written == f"---\n{ID_LINE}\nb: 1\na: 1\nc: 1\n# end\n---\n"


def test_only_the_merged_chunks_of_a_source_are_normalised() -> None:
    """The others stay byte for byte."""
    front = {
        "a": Lines("a: 1\na: 2\n"),
        "b": Lines("b: [1,  2]\n"),
        "c": Lines("c: [", is_exact=True),
    }
    assert user_chunks(Source("", front)) == {"a": "a: 2\n", "b": "b: [1,  2]\n", "c": "c: ["}


def test_long_front_matter_takes_its_length() -> None:
    """Cutting, normalising and joining take linear time."""

    def work(size: int) -> Callable[[], object]:
        raw = "---\n" + "".join(f"key{k}: v\n# c\n" for k in range(size)) + "---\n"
        return lambda: again(raw)

    assert doubling(work, 4000) < 3


def test_merged_lines_stay_front_matter() -> None:
    """A block that does not begin with a key would be text: our key is written first."""
    front = {"@a": Lines("@a: 1\n"), "b": Lines("b: [\n")}
    written = join(Source("", front, ("@a", "b")), OurKeys(ID, None, ()), "\n")
    assert written == f"---\n{ID_LINE}\n@a: 1\nb: [\n---\n"
    assert split(written)[0].raw == written
