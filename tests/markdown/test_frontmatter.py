"""Front matter: found at the start alone, read as YAML, edited by line."""

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heapsyncd.markdown.frontmatter import NONE, Front, key_line, split, with_tags
from tests.doubling import doubling

ID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"


def test_the_block_and_the_body_are_the_text() -> None:
    """The raw block with its fences, and the body behind it, exactly."""
    front, body = split(f"---\nid: {ID}\ntags: [Research, Client A]\n---\n\nText\n")
    assert front == Front((ID,), ("Research", "Client A"), front.raw, None)
    assert front.raw + body == f"---\nid: {ID}\ntags: [Research, Client A]\n---\n\nText\n"
    assert body == "\nText\n"


@pytest.mark.parametrize(
    ("inner", "found"),
    [
        (f"id: {ID}", (ID,)),
        (f"id: '{ID}'  # ours", (ID,)),
        (f"id: my-own\nheaper_id: {ID}", (ID,)),
        (f"id: {ID[:-1]}W\nheaper_id: {ID}", (f"{ID[:-1]}W", ID)),
        (f"id: {ID}\na: [", (ID,)),
        ("id: my-own", ()),
        ("id: 202411301200", ()),
        ("id:\n  - a", ()),
        ("a: b", ()),
    ],
)
def test_the_ids_in_it(inner: str, found: tuple[str, ...]) -> None:
    """A block's id is a ULID; another ``id`` is the user's. Broken YAML says whose it is, too."""
    assert split(f"---\n{inner}\n---\n")[0].ids == found


@pytest.mark.parametrize(
    "text",
    [
        "text\n\n---\na: 1\n---\n",
        "---\nno mapping\n\n---\nmore\n",
        "---\nid: X\n",
        " ---\nid: X\n---\n",
        "---x\nid: X\n---\n",
        "----\nid: X\n----\n",
        "***\n---\n",
        "---\n- a\n- b\n---\n",
        "",
    ],
)
def test_other_rules_are_no_front_matter(text: str) -> None:
    """Only a closed block of keys at the very start is front matter."""
    assert split(text) == (NONE, text)


@pytest.mark.parametrize(
    ("inner", "tags"),
    [
        ("tags: [a, b]", ("a", "b")),
        ("tags:\n  - a\n  - 'b c'", ("a", "b c")),
        ("tags:\n- a", ("a",)),
        ("tags: a, b c", ("a", "b c")),
        ("tags: []", ()),
        ("tags:", ()),
        ("tags: [a, a, '']", ("a",)),
        ("tags: [2024, yes]", ("2024", "yes")),
        ("other: 1", None),
    ],
)
def test_tags_in_every_notation(inner: str, tags: tuple[str, ...] | None) -> None:
    """Lists in both notations and words with commas are tags; all are strings."""
    assert split(f"---\n{inner}\n---\n")[0].tags == tags


@pytest.mark.parametrize(
    "inner",
    ["a: [", "a: b: c", "a: 'x", "tags: {a: b}", "tags: [[a]]", "a: &x [*y]", "\tb: 1\na: 2"],
)
def test_a_block_that_cannot_be_read_is_kept(inner: str) -> None:
    """Broken YAML and odd tags are a problem to show, and nothing of the block is touched."""
    front, body = split(f"---\n{inner}\n---\nbody")
    assert front.problem
    assert body == "body"
    assert with_tags(front, ["x"]) == front.raw


@pytest.mark.parametrize(
    "inner", ["[" * 5000, "a: " + "[" * 5000, "- " * 5000, "a: " + "{" * 3000]
)
def test_deep_nesting_does_no_harm(inner: str) -> None:
    """A hostile block ends in a problem or is text, never in an exception."""
    front, body = split(f"---\n{inner}\n---\nbody")
    assert front.raw + body == f"---\n{inner}\n---\nbody"


@pytest.mark.parametrize(
    ("before", "tags", "after"),
    [
        ("", ["a b", "c: d"], '---\ntags: [a b, "c: d"]\n---\n'),
        ("", [], ""),
        ("", ["2024", "1e3"], '---\ntags: ["2024", "1e3"]\n---\n'),
        ("---\na: 1 # x\n---\n", ["t"], "---\na: 1 # x\ntags: [t]\n---\n"),
        ("---\ntags: [b, a]\n---\n", ["a", "b"], "---\ntags: [b, a]\n---\n"),
        ("---\nz: 1\ntags: [a, b] # t\n---\n", ["a"], "---\nz: 1\ntags: [a]\n---\n"),
        (
            "---\ntags:\n  - a # one\n  - 'b'\n  - c\nz: 1\n---\n",
            ["a", "c", "new"],
            "---\ntags:\n  - a # one\n  - c\n  - new\nz: 1\n---\n",
        ),
        ("---\ntags: [a]\n---\n", [], "---\ntags: []\n---\n"),
        ("---\ntags:\n---\n", [], "---\ntags:\n---\n"),
        ("---\r\nb: 1\r\n---\r\n", ["t"], "---\r\nb: 1\r\ntags: [t]\r\n---\r\n"),
    ],
)
def test_other_tags_touch_only_their_lines(before: str, tags: list[str], after: str) -> None:
    """They are added, changed and emptied; comments, order, quoting and other keys stay."""
    assert with_tags(split(before)[0], tags) == after


def test_a_notation_without_room_for_lines_is_left_alone() -> None:
    """A flow mapping can't be edited by line and stays as it is."""
    front, _ = split("---\n{a: 1}\n---\n")
    assert with_tags(front, ["x"]) == front.raw


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
tags = words.map(lambda w: " ".join(w.split())).filter(bool)


@given(st.lists(tags, max_size=4, unique=True), st.sampled_from(["\n", "\r\n"]))
@example(["\ufffe", "a\uffffb"], "\n")
def test_any_tags_read_back(names: list[str], newline: str) -> None:
    """Whatever a tag holds is quoted so that it reads as itself."""
    raw = with_tags(NONE, names, newline)
    front, rest = split(raw + "body")
    assert (front.tags or (), rest) == (tuple(names), "body")
    typed = yaml.safe_load(raw.split("---")[1] if names and "---" not in "".join(names) else "{}")
    assert all(isinstance(v, str) for v in typed.get("tags", []))
    assert with_tags(front, names) == raw


@given(words.map(str.strip).filter(bool))
def test_any_value_reads_back(value: str) -> None:
    """Whatever a value holds is quoted so that it reads as itself, and as a string."""
    line = key_line("title", value)
    assert yaml.safe_load(line) == {"title": value}


simple = st.text("ab é:#'\"[]{},-!&*", min_size=1, max_size=6).map(str.strip).filter(bool)
some = st.lists(simple.map(lambda w: " ".join(w.split())), max_size=4, unique=True)


@given(some, some)
def test_tags_change_to_any_others(old: list[str], new: list[str]) -> None:
    """From any tags to any others, in both notations, the block says the new ones."""
    quoted = [json.dumps(tag, ensure_ascii=False) for tag in old]
    flow = f"tags: [{', '.join(quoted)}]"
    rows = "tags:\n" + "".join(f"  - {tag}\n" for tag in quoted)
    for lines in (flow, rows.rstrip("\n")):
        front, _ = split(f"---\nid: {ID}\n{lines}\nz: 1\n---\n")
        assert front.tags == tuple(old)
        raw = with_tags(front, new)
        assert set(split(raw)[0].tags or ()) == set(new)
        assert raw.endswith("z: 1\n---\n")


@pytest.mark.parametrize("line", ["hello\r\n", "\r", "\n", "--\r\n", "---x\n", "--- \t\r\nx\r\n"])
def test_a_note_that_begins_with_a_rule_is_read_in_linear_time(line: str) -> None:
    """Lines of any ends that no rule closes: twice as many take twice as long."""
    assert doubling(lambda size: lambda: split("---\r\n" + line * size), 1 << 18) < 3


pumps = st.text("-#:a0 \t\r\n?[]{}\"'&*|>!,%\\é", min_size=1, max_size=4)


@settings(max_examples=60)
@given(pumps, pumps, pumps, st.sampled_from(["", "a: b\n", "# ", "a: ", "- ", "a: ["]))
@example("x", "# ", "\t]\n", "")
@example("a: &a [x]\n", "b: [*a,*a]\n", "", "")
@example("", "- ", "", "a: ")
def test_any_block_is_read_in_linear_time(first: str, pump: str, end: str, opening: str) -> None:
    """Comments, anchors, nesting, quotes: a larger block takes its share, or is not read."""

    def work(size: int) -> Callable[[], object]:
        text = f"---\n{opening}{first}{pump * size}{end}\n---\n"
        return lambda: split(text)

    assert doubling(work, 1 << 14) < 3.5


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([*"-#:a ?[{}]\"'&*|>!,%@`\t\n\r~é\u2028\ufeff", "a: "]), max_size=14)
)
@example(list("a: >#'}"))
def test_any_block_can_be_edited_or_stays(inner: list[str]) -> None:
    """Where the exact reader takes less than the quick one, the block stays as it is."""
    front, _ = split(f"---\n{''.join(inner)}\n---\n")
    raw = with_tags(front, ["q"])
    assert raw == front.raw or split(raw)[0].tags == ("q",)


@pytest.mark.parametrize("broken", ["", "d: [\n"])
def test_ids_that_are_no_ulids(broken: str) -> None:
    """All values under the keys of an id are kept, quoted or not, also beside broken lines."""
    front, _ = split(f'---\nid: "4e07408562"\nheaper_id: {ID}\n{broken}---\n')
    assert (front.ids, front.id_values) == ((ID,), ("4e07408562", ID))
