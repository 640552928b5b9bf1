"""Front matter: found at the start alone, read as YAML, edited by line."""

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heapsyncd.markdown.frontmatter import NONE, Front, split, update
from tests.doubling import doubling

ID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"


def test_the_block_and_the_body_are_the_text() -> None:
    """The raw block with its fences, and the body behind it, exactly."""
    front, body = split("---\nid: X\ntags: [Research, Client A]\n---\n\nText\n")
    assert front == Front("X", None, ("Research", "Client A"), front.raw, None)
    assert front.raw + body == "---\nid: X\ntags: [Research, Client A]\n---\n\nText\n"
    assert body == "\nText\n"


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
    assert update(front, id=ID, title="t", tags=["x"]) == front.raw


@pytest.mark.parametrize(
    "inner", ["[" * 5000, "a: " + "[" * 5000, "- " * 5000, "a: " + "{" * 3000]
)
def test_deep_nesting_does_no_harm(inner: str) -> None:
    """A hostile block ends in a problem or is text, never in an exception."""
    front, body = split(f"---\n{inner}\n---\nbody")
    assert front.raw + body == f"---\n{inner}\n---\nbody"


@pytest.mark.parametrize(
    ("before", "target", "after"),
    [
        ("", {"id": ID}, f"---\nid: {ID}\n---\n"),
        ("", {"id": ID, "tags": ["a b", "c: d"]}, f'---\nid: {ID}\ntags: [a b, "c: d"]\n---\n'),
        ("", {}, ""),
        ("", {"tags": []}, ""),
        ("---\na: 1 # x\n---\n", {"id": ID}, f"---\nid: {ID}\na: 1 # x\n---\n"),
        ("---\nid: X  # mine\nb: 2\n---\n", {"id": ID}, f"---\nid: {ID}  # mine\nb: 2\n---\n"),
        ("---\nid: X\n# c\n\n---\n", {"id": "X"}, "---\nid: X\n# c\n\n---\n"),
        ("---\nid:   'X'\n---\n", {"id": "X"}, "---\nid:   'X'\n---\n"),
        (
            "",
            {"title": "yes", "tags": ["2024", "1e3"]},
            '---\ntitle: "yes"\ntags: ["2024", "1e3"]\n---\n',
        ),
        ("---\nid:\na: b\n---\n", {"id": "X"}, "---\nid: X\na: b\n---\n"),
        ("---\nid: X\n---\n", {"id": "X", "title": "a/b?"}, '---\nid: X\ntitle: "a/b?"\n---\n'),
        ("---\nid: X\ntitle: t\nz: 1\n---\n", {"id": "X"}, "---\nid: X\nz: 1\n---\n"),
        (
            "---\ntitle: >\n  a\n  b\nid: X\n---\n",
            {"id": "X", "title": "c"},
            "---\ntitle: c\nid: X\n---\n",
        ),
        (
            "---\nid: X\ntags: [b, a]\n---\n",
            {"id": "X", "tags": ["a", "b"]},
            "---\nid: X\ntags: [b, a]\n---\n",
        ),
        (
            "---\nid: X\ntags: [a, b] # t\n---\n",
            {"id": "X", "tags": ["a"]},
            "---\nid: X\ntags: [a]\n---\n",
        ),
        (
            "---\ntags:\n  - a # one\n  - 'b'\n  - c\nid: X\n---\n",
            {"id": "X", "tags": ["a", "c", "new"]},
            "---\ntags:\n  - a # one\n  - c\n  - new\nid: X\n---\n",
        ),
        ("---\nid: X\ntags: [a]\n---\n", {"id": "X", "tags": []}, "---\nid: X\ntags: []\n---\n"),
        ("---\nid: X\ntags:\n- a\n---\n", {"id": "X"}, "---\nid: X\n---\n"),
        ("---\r\nid: X\r\n---\r\n", {"id": "Q"}, "---\r\nid: Q\r\n---\r\n"),
        ("---\r\nb: 1\r\n---\r\n", {"id": "Q"}, "---\r\nid: Q\r\nb: 1\r\n---\r\n"),
        ("---\nid: X\n---", {"id": "Q"}, "---\nid: Q\n---"),
        ("---\ntitle: t\n---\n", {}, ""),
    ],
)
def test_update_touches_only_its_own_lines(
    before: str, target: dict[str, object], after: str
) -> None:
    """Keys are added, changed and removed; comments, order, quoting and other keys stay."""
    front, _ = split(before)
    values = {"id": None, "title": None, "tags": None, **target}
    assert update(front, **values) == after  # type: ignore[arg-type]


def test_a_notation_without_room_for_lines_is_left_alone() -> None:
    """A flow mapping can't be edited by line and stays as it is."""
    front, _ = split("---\n{a: 1}\n---\n")
    assert update(front, id="X", title=None, tags=None) == front.raw


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
tags = words.map(lambda w: " ".join(w.split())).filter(bool)
titles = words.map(str.strip).filter(bool)


@given(titles, st.lists(tags, max_size=4, unique=True), st.sampled_from(["\n", "\r\n"]))
def test_any_title_and_tags_read_back(title: str, names: list[str], newline: str) -> None:
    """Whatever a title or tag holds is quoted so that it reads as itself."""
    raw = update(NONE, id=ID, title=title, tags=names, newline=newline)
    front, rest = split(raw + "body")
    assert (front.id, front.title, front.tags or (), rest) == (ID, title, tuple(names), "body")
    typed = yaml.safe_load(raw.split("---")[1] if "---" not in title + "".join(names) else "{}")
    assert all(isinstance(v, str) for v in typed.get("tags", []))
    again = update(front, id=ID, title=title, tags=names)
    assert again == raw


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
        raw = update(front, id=ID, title=None, tags=new)
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
    raw = update(front, id=ID, title="x", tags=["q"])
    assert raw == front.raw or split(raw)[0].id == ID
