"""Merged files of items: an unchanged side yields, and nothing that either side wrote is lost."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.diff import lines_of
from heapsyncd.errors import UnreadableFile
from heapsyncd.items.kinds import FIELDS, KINDS
from heapsyncd.items.notation import Around, Links
from heapsyncd.items.values import Item
from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.item_file import read_file, write_file
from heapsyncd.markdown.item_merge import merge_files
from heapsyncd.model import MergedFile
from tests.diff.rig import LINES
from tests.doubling import doubling
from tests.items.rig import ITEMS

BASE = b"""\
---
type: task
# where it lies
location: home
tags: [boat, spring]
progress: 50
mine: 1
---
Two coats.
Sand first.
"""
FRONT_LINES = st.sampled_from(
    [
        "a: 1", "a: 2", "b:", "  - x", "- y", "c: |", "  text", "", "# note", "  # deep", "tags:",
        "tags: [x, 'y z']", "tags: [z]", "tags: {a: 1}", "tags: #q", "no key", "d: [", "e: *x",
        "f: &x 1", '"q": 1', "- k: 1", "@a: 1", "progress: 50", "progress: 050", "progress:",
        "location: #7", "location: home # near", "completed: true", "h: [&a [*a], *a]", "i: \x85",
        "dateEnd: 2026-12-01", "dateEnd: 2026-12-01T00:00:00Z", "parent: [[P]]", "%TAG", "...",
    ]
)  # fmt: skip
BODIES = st.sampled_from(
    ["", "text", "text\n", "one\ntwo\n", "one\nTWO\n", "ONE\ntwo\n", "two\n",
     "---\na: 1\n---\nb\n", "---\n", "\ufeff\n", "\n", "a b\n"]
)  # fmt: skip


@st.composite
def files(draw: st.DrawFn, bodies: st.SearchStrategy[str] = BODIES) -> bytes:
    """A file that a user may have written, with and without front matter."""
    lines = draw(st.lists(FRONT_LINES, max_size=6))
    has_front = bool(lines) or draw(st.booleans())
    front = ["---", *lines, "---"] if has_front else []
    text = "".join(f"{line}\n" for line in front) + draw(bodies)
    end = draw(st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"]))
    bom = draw(st.sampled_from(["", "", "\ufeff"]))
    return (bom + text.replace("\n", end)).encode()


ANY = files() | st.text(max_size=40).filter(lambda t: "\0" not in t).map(str.encode)


def edited(base: bytes, edits: str) -> bytes:
    """The base with edits ``old -> new``, divided by ``|``."""
    text = base.decode()
    for edit in filter(None, edits.split("|")):
        old, _, new = (part.replace("\\n", "\n") for part in edit.partition(" -> "))
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text.encode()


@given(ANY, ANY)
def test_an_unchanged_side_yields(base: bytes, other: bytes) -> None:
    """To the byte, and without a notice; so do two equal edits."""
    assert merge_files(base, base, other) == MergedFile(other)
    assert merge_files(base, other, base) == MergedFile(other)
    assert merge_files(base, other, other) == MergedFile(other)


@given(ANY | st.just(b""), ANY, ANY)
def test_any_texts_are_merged(base: bytes, ours: bytes, theirs: bytes) -> None:
    """Also broken front matter and texts that look like it; every new word of a text stands, and
    nothing of front matter becomes text."""
    found = merge_files(base, ours, theirs).data
    (_, was), (front, body), (our_front, our), (their_front, their) = (
        parts(data) for data in (base, found, ours, theirs)
    )
    new = (set(words(our)) | set(words(their))) - set(words(was))
    assert new <= set(words(body))
    known = {*words(was), *words(our), *words(their)}
    assert set(words(body)) <= known
    assert set(words(front)) <= {*words(our_front), *words(their_front)}


def parts(data: bytes) -> tuple[str, str]:
    front, body = split(data.decode().removeprefix("\ufeff"))
    return front.raw, body


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def is_free(item: Item) -> bool:
    """Whether all fields of its type can be changed."""
    return item.type not in {"sticky", "comment"}


@st.composite
def edited_items(draw: st.DrawFn) -> tuple[Item, Item, Item]:
    """An item and two edits of it."""
    base, ours, theirs = (draw(ITEMS.filter(is_free)) for _ in range(3))
    kind = KINDS[base.type]
    out = [base]
    for side in (ours, theirs):
        attributes = [FIELDS[k].attribute for k in kind.keys if k != "tags"]
        taken = [a for a in attributes if draw(st.booleans())]
        made = {a: getattr(side, a) for a in taken}
        tags = draw(st.permutations([*base.tags, *side.tags]))
        made["tags"] = tuple(dict.fromkeys(tags))[: draw(st.integers(0, 8))]
        out.append(replace(base, **made))
    return out[0], out[1], out[2]


LINKS = Links.of({"p1": "Paint", "p2": "Two [words]"})


@pytest.mark.slow
@given(edited_items())
def test_fields_are_merged_as_values(items: tuple[Item, Item, Item]) -> None:
    """A field that one side changed has its value, one that both changed has ours, unless we
    cleared it; tags are an ordered set; what was overruled is named."""
    base, ours, theirs = items
    where = Around("N", default_type=base.type, links=LINKS)
    named = [replace(item, id="", name="N") for item in items]
    found = merge_files(*(write_file(item, where) for item in named))
    item = read_file(found.data, Item("", base.type, "N"), where).item
    overruled = set()
    for key in KINDS[base.type].keys:
        was, our, their, now = (
            getattr(i, FIELDS[key].attribute) for i in (base, ours, theirs, item)
        )
        if key == "tags":
            kept = set(was) & set(our) & set(their)
            assert set(now) == kept | (set(our) - set(was)) | (set(their) - set(was))
        elif our == was or their in {was, our}:
            assert now == (their if our == was else our)
        else:
            assert now == (their if our in {None, "", ()} else our)
            overruled.add(key)
    assert {notice.split("`")[1] for notice in found.notices} == overruled


@given(st.lists(st.sampled_from("=-+~"), min_size=1, max_size=6), st.data())
def test_the_order_of_sides_is_the_order_of_lines_only(
    kinds: Sequence[str], data: st.DataObject
) -> None:
    """Exchanged sides have the same lines of text."""
    sides = [
        "".join(_line(n, data.draw(st.sampled_from("==-+~")), author) for n in range(len(kinds)))
        for author in ("o", "t")
    ]
    base = "".join(f"w{n} x y\n" for n in range(len(kinds)))
    one = merge_files(*(text.encode() for text in (base, *sides)))
    other = merge_files(*(text.encode() for text in (base, *sides[::-1])))
    assert Counter(lines_of(one.data.decode())) == Counter(lines_of(other.data.decode()))
    assert len(one.notices) == len(other.notices)


def _line(number: int, kind: str, author: str) -> str:
    line = f"w{number} x y\n"
    return {"=": line, "-": "", "+": f"{line}{author}{number}\n", "~": f"{author}{number} x y\n"}[
        kind
    ]


def is_regular(data: bytes) -> bool:
    """Whether a file's front matter is read as such, with keys only, none of them twice."""
    front, body = parts(data)
    keys = re.findall(r"(?<=[\r\n])[^\s#:]+ ?:", front)
    has_comments = re.search(r"(?<=[\r\n])[ ]*(?:[\r\n]|#)", front.replace("\r\n", "\n"))
    return words(body) == ["text"] and len(keys) == len(set(keys)) and not has_comments


FRONTS = files(st.just("text\n")).filter(is_regular)


@given(FRONTS | st.just(b""), FRONTS, FRONTS)
def test_merging_fronts_again_changes_nothing(base: bytes, ours: bytes, theirs: bytes) -> None:
    """When the answer to a write was lost, the server's file already has our edits."""
    found = merge_files(base, ours, theirs).data
    assert merge_files(base, found, theirs).data == found
    assert merge_files(base, ours, found).data == found


TEXTS = LINES.map(lambda text: text.replace("\r", "") + "\n")


@given(TEXTS, TEXTS)
def test_without_a_base_every_line_stands(ours: str, theirs: str) -> None:
    """As often as each side has it; merging again changes nothing."""
    found = merge_files(b"", ours.encode(), theirs.encode()).data
    lines = Counter(found.decode().split("\n"))
    for side in (ours, theirs):
        assert Counter(line for line in side.split("\n") if line) <= lines
    assert merge_files(b"", found, theirs.encode()).data == found
    assert merge_files(b"", ours.encode(), found).data == found


BOTH = "changed both here and on the server; "


@pytest.mark.parametrize(
    ("ours", "theirs", "edits", "notices"),
    [
        pytest.param(
            "home -> work|Two -> Three", "50 -> 60|first -> well",
            "home -> work|Two -> Three|50 -> 60|first -> well", (), id="other keys and lines",
        ),
        pytest.param(
            "home -> here", "home -> there", "home -> here",
            (f'`location`: {BOTH}yours stands, the server has: "there"',), id="the same key",
        ),
        pytest.param(
            "mine: 1 -> mine: [2]", "mine: 1 -> mine:\\n  - 3", "mine: 1 -> mine: [2]",
            (f'`mine`: {BOTH}yours stands, the server has: "- 3"',), id="a list",
        ),
        pytest.param(
            "[boat, spring] -> [boat, mine]", "[boat, spring] -> [new, boat, spring]",
            "[boat, spring] -> [new, boat, mine]", (), id="tags",
        ),
        pytest.param(
            "[boat, spring] -> \\n  - boat\\n  # why\\n  - mine", "spring] -> spring, new]",
            "tags: [boat, spring] ->   # why\\ntags: [boat, new, mine]", (),
            id="tags in rows keep their comments",
        ),
        pytest.param(
            "tags: [boat, spring]\\n -> ", "spring] -> spring, new]",
            "boat, spring -> new", (), id="tags cleared",
        ),
        pytest.param(
            "tags: [boat -> tags: {boat: 1}#", "spring] -> spring, new]",
            "tags: [boat -> tags: {boat: 1}#",
            (f'`tags`: {BOTH}yours stands, the server has: "[boat, spring, new]"',),
            id="tags that cannot be read",
        ),
        pytest.param(
            "progress: 50\\n -> ", "50 -> 60", "50 -> 60",
            ("`progress`: removed here and changed on the server; the server's stands",),
            id="removed here",
        ),
        pytest.param(
            "50 -> 60", "progress: 50\\n -> ", "50 -> 60",
            ("`progress`: removed on the server and changed here; yours stands",),
            id="removed there",
        ),
        pytest.param("50 -> '50'", "50 -> 60", "50 -> 60", (), id="other quotes are no change"),
        pytest.param("50 -> '50'", "progress: 50\\n -> ", "progress: 50\\n -> ", (),
            id="nor do they keep a key"),
        pytest.param("50 -> '50'", '50 -> "50"', "50 -> '50'", (), id="both wrote other quotes"),
        pytest.param(
            "home -> #7", "home -> work", "home -> #7",
            (f'`location`: {BOTH}yours stands, the server has: "work"',),
            id="what YAML takes for a comment is not removed",
        ),
        pytest.param(
            "mine: 1 -> mine: 1\\n# ours", "mine: 1 -> mine: 1\\n# theirs",
            "mine: 1 -> mine: 1\\n# theirs\\n# ours", (), id="comments at the end",
        ),
        pytest.param(
            "50 -> 50 # half", "50 -> 60", "50 -> 60",
            ('`progress`: changed on the server; you had written: "progress: 50 # half"',),
            id="a comment that goes is named",
        ),
        pytest.param(
            "it lies -> it is", "home -> work", "it lies -> it is|home -> work", (),
            id="comments above",
        ),
        pytest.param(
            "it lies -> it is", "# where it lies\\nlocation: home\\n -> ",
            "it lies\\nlocation: home -> it is", (), id="a comment of a key that goes",
        ),
        pytest.param(
            "type: task\\n -> |mine: -> type: task\\nmine:", "50 -> 60|mine: -> new: 2\\nmine:",
            "type: task\\n -> |50 -> 60|mine: -> new: 2\\ntype: task\\nmine:", (), id="our order",
        ),
        pytest.param(
            "Two coats -> Two thin coats", "Two coats -> Two thick coats",
            "Two coats. -> Two thick coats.\\nTwo thin coats.",
            (f"lines 9 to 10: {BOTH}both versions stand, the server's first",), id="contested",
        ),
        pytest.param(
            "Two coats.\\n -> |home -> home\\nnew: 1", "coats -> layers",
            "home -> home\\nnew: 1|coats -> layers",
            ("line 10: removed here and changed on the server; the server's change stands",),
            id="a line removed here",
        ),
        pytest.param(
            "coats -> layers", "Two coats.\\n -> ", "coats -> layers",
            ("line 9: removed on the server and changed here; your change stands",),
            id="a line removed there",
        ),
        pytest.param(
            "home -> [home", "50 -> 60|Two -> Three", "home -> [home|50 -> 60|Two -> Three", (),
            id="broken YAML",
        ),
    ],
)  # fmt: skip
def test_merges_are_what_a_person_would_make(
    ours: str, theirs: str, edits: str, notices: tuple[str, ...]
) -> None:
    """By keys and lines; what somebody should review is named."""
    found = merge_files(BASE, edited(BASE, ours), edited(BASE, theirs))
    assert found.data.decode() == edited(BASE, edits).decode()
    assert found.notices == notices


def test_without_a_base_nothing_is_lost() -> None:
    """Keys are united, and lines that both share stand once."""
    ours = b"---\ntags: [a, b]\nlocation: home\nmine: 1\n---\ntop\nours\nend\n"
    theirs = b"---\ntype: task\ntags: [b, c]\nlocation: work\n---\ntop\ntheirs\nend\nmore\n"
    found = merge_files(b"", ours, theirs)
    assert found.data == (
        b"---\ntype: task\ntags: [a, b, c]\nlocation: home\nmine: 1\n---\n"
        b"top\ntheirs\nours\nend\nmore\n"
    )
    how = "different here and on the server, with no earlier version to compare; "
    assert found.notices == (
        f'`location`: {how}yours stands, the server has: "work"',
        f"lines 8 to 9: {how}both versions stand, the server's first",
    )


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "found"),
    [
        pytest.param(b"a\nb\n", b"a\r\nb\r\n", b"A\nb\n", b"A\r\nb\r\n", id="CR LF here"),
        pytest.param(b"a\nb\n", b"A\nb\n", b"a\r\nb\r\n", b"A\r\nb\r\n", id="CR LF there"),
        pytest.param(b"a\nb\n", b"A\r\nb\r\n", b"a\rB\r", b"A\r\nB\r\n", id="both"),
        pytest.param(
            b"---\na: 1\n---\nx\n", b"---\r\na: 1\r\n---\r\nx\r\n", b"---\na: 2\n---\nx\n",
            b"---\r\na: 2\r\n---\r\nx\r\n", id="also of front matter",
        ),
        pytest.param(b"", b"a\r\nb\r\n", b"a\nb\nc\n", b"a\r\nb\r\nc\r\n", id="no base"),
        pytest.param(b"a\n", b"\xef\xbb\xbfa\n", b"A\n", b"\xef\xbb\xbfA\n", id="a mark added"),
        pytest.param(b"\xef\xbb\xbfa\n", b"A\n", b"\xef\xbb\xbfa\n1\n", b"A\n1\n", id="removed"),
        pytest.param(b"\xef\xbb\xbfa\n", b"\xef\xbb\xbfA\n", b"a\n1\n", b"A\n1\n", id="there"),
        pytest.param(
            b"---\na: 1\n---\n", b"--- \na: 1\n---\n", b"---\na: 2\n---\n", b"--- \na: 2\n---\n",
            id="fences",
        ),
        pytest.param(
            b"x\n", b"---\na: 1\n---\nx\n", b"X\n", b"---\na: 1\n---\nX\n", id="front matter"
        ),
        pytest.param(
            b"---\na: 1\n---", b"---\na: 2\n---", b"---\na: 1\n---\nx", b"---\na: 2\n---\nx",
            id="a last fence without line end",
        ),
    ],
)  # fmt: skip
def test_the_form_of_a_file_is_that_of_the_side_that_changed_it(
    base: bytes, ours: bytes, theirs: bytes, found: bytes
) -> None:
    """Line ends, the byte order mark, the fences; ours if both changed them."""
    assert merge_files(base, ours, theirs) == MergedFile(found)


def test_of_a_key_that_stands_twice_the_last_one_counts() -> None:
    """A second one below is a change of the value."""
    base, theirs = b"---\nlocation: home\n---\n", b"---\nlocation: work\n---\n"
    ours = b"---\nlocation: home\nlocation: here\n---\n"
    found = merge_files(base, ours, theirs)
    assert found.data == ours
    assert [notice[:11] for notice in found.notices] == ["`location`:"]


def test_front_matter_does_not_become_text() -> None:
    """Each side removed another part of what made it front matter; ours stands, and it is said."""
    base, ours = b"---\n- k: 1\na: 1\nb: 1\n---\n", b"---\n- k: 1\na: 1\n---\n"
    theirs = b"---\n- k: 1\nb: 1\n---\ntext\n"
    found = merge_files(base, ours, theirs)
    assert found.data == ours + b"text\n"
    (notice,) = found.notices
    assert notice == (
        "front matter: the changes made here and on the server do not fit together; yours stands,"
        ' the server has: "--- - k: 1 b: 1 ---"'
    )


def test_text_does_not_become_front_matter() -> None:
    """Not where the front matter above it went, and not where a merge brought it to the top."""
    base = b"one\ntwo\n---\na: 1\n---\nx\n"
    found = merge_files(base, base.removeprefix(b"one\n"), base.replace(b"two\n", b""))
    assert found.data == b"---\n---\n---\na: 1\n---\nx\n"
    base = b"---\nmine: 1\n---\n---\na: 1\n---\nx\n"
    ours = b"---\n---\n---\na: 1\n---\nx\n"
    found = merge_files(base, ours, base + b"y\n")
    assert found.data == ours + b"y\n"


def test_what_is_no_text_is_refused() -> None:
    """But what need not be merged is not read."""
    assert merge_files(b"a", b"a", b"\xff") == MergedFile(b"\xff")
    with pytest.raises(UnreadableFile):
        merge_files(b"a", b"b", b"\xff")


def test_long_files_take_linear_time() -> None:
    """Where both sides changed every key and line."""

    def work(size: int) -> Callable[[], object]:
        sides = [
            "---\n"
            + "".join(f"k{n}: {side}\n" for n in range(size))
            + "---\n"
            + "".join(f"line {n} {side}\n" for n in range(size))
            for side in "bot"
        ]
        return lambda: merge_files(*(side.encode() for side in sides))

    assert doubling(work, 1000) < 3


@pytest.mark.parametrize("key", ["tags", "parent", "reminders", "mine"])
def test_a_short_text_of_a_huge_value_is_merged_by_its_lines(key: str) -> None:
    """Its length in the file is what it costs."""
    lists = (f"&l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))
    line = f"{key}: [[[&l0 [x], {', '.join(lists)}]]]"
    sides = [f"---\n{line} # {side}\n---\n".encode() for side in "ab"]
    assert merge_files(b"---\nz: 1\n---\n", *sides).data == sides[0]
