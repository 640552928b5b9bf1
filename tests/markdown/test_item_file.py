"""Items as files: every field comes back, texts to the byte, and nothing of the user's is lost."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.items.kinds import FIELDS, KINDS, is_writable
from heapsyncd.items.notation import Around, Links
from heapsyncd.items.values import Item, Reminder
from heapsyncd.markdown.item_file import Remark, file_id, read_file, write_file
from tests.doubling import doubling
from tests.items.rig import ITEMS

LINKS = Links.of({"p1": "Paint", "p2": "Two [words]"})
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
TASK = Item(
    "t1", "task", "Paint the boat", "Two coats.\n",
    tags=("boat", "spring"), location="007", progress=50, date_end=NOON, parent_id="p1",
    reminders=(Reminder(NOON, id="r1"),),
)  # fmt: skip
TASK_FILE = b"""\
---
id: t1
type: task
tags: [boat, spring]
location: "007"
progress: 50
dateEnd: 2026-12-01T12:00:00+0000
reminders:
  - 2026-12-01T12:00:00+0000
parent: "[[Paint]]"
---
Two coats.
"""


def around(item: Item, named: str | None = None) -> Around:
    if not item.name.strip():
        return Around(links=LINKS, now=NOW)
    named = item.name if named is None else named
    return Around(named, owns_title=named != item.name, links=LINKS, now=NOW)


def emptied(item: Item) -> Item:
    """The item without what its file shows."""
    attributes = [FIELDS[k].attribute for k in KINDS[item.type].keys]
    blank = Item(item.id, item.type)
    return replace(item, **{a: getattr(blank, a) for a in (*attributes, "body", "description")})


@given(ITEMS, st.sampled_from([None, "Another", ""]))
def test_an_item_comes_back_from_its_file(item: Item, named: str | None) -> None:
    """Every type, any values, the text to the byte, also where the file's name is another."""
    where = around(item, named)
    data = write_file(item, where)
    found = read_file(data, item, where)
    assert found.item == item
    assert found.remarks == ()
    assert file_id(data, lambda value: value == item.id) == item.id
    # The fields are in the file, not only taken from the known item.
    if item.type not in {"sticky", "comment"}:
        assert read_file(data, emptied(item), where).item == item


@given(ITEMS, ITEMS)
def test_a_file_is_edited_to_show_any_other_item(item: Item, other: Item) -> None:
    """Written onto a file, an item comes back too; written twice, nothing changes."""
    if other.type != item.type:
        return
    # What no request changes stays as it is, and so do a user's lines about it.
    kind = KINDS[item.type]
    fixed = [FIELDS[k] for k in kind.keys if not is_writable(kind, FIELDS[k], is_new=False)]
    other = replace(other, id=item.id, **{f.attribute: getattr(item, f.attribute) for f in fixed})
    data = write_file(item, around(item, ""))
    onto = replace(around(other, ""), owns_title=around(item, "").owns_title)
    edited = write_file(other, onto, data)
    found = read_file(edited, other, around(other, ""))
    assert found.item == other
    assert found.remarks == ()
    assert write_file(other, around(other, ""), edited) == edited
    assert write_file(item, around(item, ""), data) == data


def test_what_a_task_looks_like() -> None:
    """Fields under the service's names, empty ones left out, the title in the file's name."""
    assert write_file(TASK, around(TASK)).decode() == TASK_FILE.decode()


USERS = b"""\
---
# mine
aliases: [Boot]
progress: 50 # half
tags:
  - boat
  - spring
dateEnd: 2026-12-01T13:00:00+01:00
title: My own
---
Two coats."""


def test_a_users_lines_stay() -> None:
    """Comments, order, spelling, unknown keys, a title of his own, a missing last line end."""
    item = replace(TASK, location="", parent_id=None, reminders=(), type="task")
    onto = USERS.replace(b"# mine\n", b"# mine\nid: t1\ntype: task\n")
    assert write_file(item, around(item), onto) == onto
    changed = write_file(replace(item, progress=60), around(item), onto)
    assert changed == onto.replace(b"progress: 50 # half", b"progress: 60")
    found = read_file(onto, item, around(item))
    assert found.item == item
    assert [(r.key, r.line, r.is_unknown) for r in found.remarks] == [
        ("aliases", 5, True),
        ("title", 11, True),
    ]


def test_a_new_file_gets_its_id_only() -> None:
    """Everything else stays to the byte, also the line ends and the byte order mark."""
    for data in (b"text", b"\xef\xbb\xbf---\r\nx: 1\r\n---\r\ntext\r\n", b"---\nid: own\n---\n"):
        item = replace(read_file(data, None, Around("N")).item, id="n1")
        written = write_file(item, Around("N"), data)
        assert item.name == "N"
        key = b"heaper_id" if b"id: own" in data else b"id"
        added = [v for v in written.splitlines() if v not in data.splitlines()]
        assert [v for v in added if b"---" not in v] == [key + b": n1"]
        assert written.startswith(b"\xef\xbb\xbf") == data.startswith(b"\xef\xbb\xbf")
        assert (b"\r\n" in written) == (b"\r\n" in data)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("progress: 300", "`progress` must be a whole number from 0 to 100"),
        ("dateEnd: tomorrow", "`dateEnd` is no date; write it as 2026-12-01T14:00:00+0100"),
        (
            "dateEnd: 2026-12-01 14:00",
            "`dateEnd` has no time zone; write it as 2026-12-01T14:00:00+0100",
        ),
        ("tags: {a: 1}", "`tags` must be a list of words, as in [one, two]"),
        ("reminders: [{type: fixed}]", "`reminders` has an entry without `date`"),
        ('parent: "[[Nobody]]"', "`parent` names no item: [[Nobody]]"),
        ("location: [a]", "`location` must be one text: put it in quotes"),
        ("location: #7", "`location` begins with #, a comment: put it in quotes"),
    ],
)
def test_a_broken_value_changes_nothing(line: str, reason: str) -> None:
    """It is named with key and line, and stays in the file."""
    key = line.partition(":")[0]
    kept = [
        v
        for v in ("tags: [boat, spring]", "location: '007'", "progress: 50",
                  "dateEnd: 2026-12-01T12:00:00Z", "reminders: [2026-12-01T12:00:00Z]",
                  "parent: p1")
        if not v.startswith(key)
    ]  # fmt: skip
    lines = ["---", "id: t1", "type: task", *kept, line, "---", "Two coats.", ""]
    data = "\n".join(lines).encode()
    found = read_file(data, TASK, around(TASK))
    assert found.item == TASK
    assert found.remarks == (Remark(key, lines.index(line) + 1, reason),)
    assert write_file(TASK, around(TASK), data) == data


def test_missing_or_broken_front_matter_clears_nothing() -> None:
    """A removed key does; broken YAML is named."""
    assert read_file(b"Two coats.\n", TASK, around(TASK)).item == TASK
    broken = read_file(b"---\nid: t1\nx: [\n---\nNew.\n", TASK, around(TASK))
    assert broken.item == replace(TASK, body="New.\n")
    assert [r.key for r in broken.remarks] == [""]
    cleared = read_file(b"---\nid: t1\ntype: task\n---\nTwo coats.\n", TASK, around(TASK))
    assert cleared.item == replace(emptied(TASK), body="Two coats.\n")
    assert cleared.remarks == ()


def test_a_final_line_end_is_no_change() -> None:
    """An editor that adds or drops one has changed nothing."""
    for shown, saved in (("text", "text\n"), ("text\n", "text"), ("a\r\nb", "a\r\nb\r\n")):
        note = Item("n", "note", "N", shown)
        assert read_file(f"---\nid: n\n---\n{saved}".encode(), note, around(note)).item == note
    note = Item("n", "note", "N", "text")
    assert read_file(b"---\nid: n\n---\ntext\n\n", note, around(note)).item != note


@pytest.mark.parametrize(
    ("type_", "where", "made"),
    [
        ("", "note", "note"),
        ("task", "note", "task"),
        ("comment", "note", "note"),
        ("meeting", "note", "note"),
        ("", "comment", "comment"),
        ("task", "comment", "comment"),
    ],
)
def test_type_and_place_tell_what_a_new_file_is(type_: str, where: str, made: str) -> None:
    """A word that names no type is the user's own: it stays, and is named."""
    data = f"---\ntype: {type_}\n---\n".encode() if type_ else b"x: 1\n"
    found = read_file(data, None, Around("N", default_type=where))  # type: ignore[arg-type]
    assert found.item.type == made
    assert bool(found.remarks) == (type_ not in {"", made})


def test_completed_true_is_now() -> None:
    """A completed task stays completed when it was."""
    data = b"---\nid: t1\ntype: task\ncompleted: true\n---\n"
    task = Item("t1", "task", "N")
    assert read_file(data, task, around(task)).item.completed == NOW
    done = replace(task, completed=NOON)
    assert read_file(data, done, around(task)).item.completed == NOON
    assert write_file(done, around(done), data) == data
    undone = read_file(data.replace(b"true", b"false"), done, around(done))
    assert undone.item.completed is None


def test_what_no_request_takes_is_named() -> None:
    """Tags of a sticky, another parent, another type."""
    sticky = Item("s", "sticky", "S", "text", parent_id="p1")
    data = b"---\nid: s\ntype: note\ntags: [a]\nparent: p2\nprogress: 5\n---\ntext"
    found = read_file(data, sticky, around(sticky))
    assert found.item == sticky
    assert [r.key for r in found.remarks] == ["tags", "parent", "type", "progress"]


def test_a_reply_names_its_comment() -> None:
    """A comment about the item whose directory has it names nothing."""
    where = Around("C", default_type="comment", owner_id="n1")
    comment = Item("c", "comment", "C", "text", target_id="n1")
    assert write_file(comment, where) == b"---\nid: c\n---\ntext"
    reply = replace(comment, target_id="c0")
    assert write_file(reply, where) == b"---\nid: c\nreplyTo: c0\n---\ntext"
    assert read_file(b"---\nx: 1\n---\ntext", None, where).item.target_id == "n1"
    assert read_file(b"text", None, where).item.target_id == "n1"


def test_long_fields_are_left_out_and_kept() -> None:
    """Front matter that is too long would not be read at all."""
    note = Item("n1", "note", "N", "text", description="x" * 70_000)
    data = write_file(note, around(note))
    assert data == b"---\nid: n1\n---\ntext"
    assert read_file(data, note, around(note)).item == note


def bomb(key: str) -> str:
    """A short key whose value has more entries than any memory: each list repeats the last one."""
    lists = (f"&l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))
    return f"{key}: [[[&l0 [x], {', '.join(lists)}]]]\n"


@pytest.mark.parametrize("key", KINDS["task"].keys)
def test_a_short_text_of_a_huge_value_is_refused(key: str) -> None:
    """Its length in the file is what it costs."""
    data = f"---\ntype: task\n{bomb(key)}---\n".encode()
    (remark,) = read_file(data, TASK, around(TASK)).remarks
    assert remark.key == key


def test_reading_takes_linear_time() -> None:
    """Also where every key is unknown."""

    def work(size: int) -> Callable[[], object]:
        data = ("---\n" + "".join(f"k{n}: v\n" for n in range(size)) + "---\n").encode()
        return lambda: read_file(data, TASK, around(TASK))

    assert doubling(work, 2000) < 3
