"""Partial updates and creations of items, and three-way merges of lists."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.items.changes import (
    Changes,
    changes,
    creation,
    merge_lists,
    reminder_arguments,
)
from heapsyncd.items.kinds import KINDS
from heapsyncd.items.values import Item, Reminder
from tests.doubling import doubling
from tests.items.rig import ITEMS

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
TASK = Item("t", "task", "Paint", "text\n", tags=("a", "b"), box_id="x", priority=3)


@given(ITEMS)
def test_equal_items_need_nothing(item: Item) -> None:
    """What only the server sets is no difference."""
    assert not changes(item, item)
    assert not changes(item, replace(item, modified=NOON, favorite=True))


@given(ITEMS)
def test_requests_have_only_arguments_that_they_take(item: Item) -> None:
    """A creation and what follows it name documented arguments, and leave nothing out but what no
    request takes."""
    made = creation(item)
    kind = KINDS[item.type]
    assert made.arguments.keys() <= kind.create
    assert made.then.arguments.keys() <= kind.update
    sent = {*made.arguments, *made.then.arguments}
    if item.body and kind.text == "body":
        assert "body" in sent
    if item.tags:
        assert "tags" in sent or "tags" in made.then.refused


@pytest.mark.parametrize(
    ("after", "sent"),
    [
        (replace(TASK, name="New"), Changes({"name": "New"})),
        (replace(TASK, box_id=None), Changes({"boxId": None})),
        (replace(TASK, tags=("b",)), Changes({"tags": ["b"]})),
        (replace(TASK, priority=None), Changes({"priority": None, "priotity": None})),
        (replace(TASK, completed=NOON), Changes({"completed": "2026-12-01T12:00:00+0000"})),
        (replace(TASK, parent_id="p"), Changes(parent=(None, "p"))),
        (replace(TASK, archived=True), Changes(archived=True)),
        (replace(TASK, reminders=(Reminder(NOON),)), Changes(add_reminders=(Reminder(NOON),))),
        (replace(TASK, color="red"), Changes(refused=("color",))),
    ],
)
def test_only_what_changed_is_sent(after: Item, sent: Changes) -> None:
    """In the arguments of the one request, or by the request that a field has of its own."""
    assert changes(TASK, after) == sent


def test_creation_sends_later_what_it_does_not_take() -> None:
    """A task's completion, its parent, further reminders; a day's box."""
    second = Reminder(NOON, "diff", "soon")
    task = replace(TASK, completed=NOON, parent_id="p", reminders=(Reminder(NOON), second))
    made = creation(task)
    assert made.arguments["reminder"] == "2026-12-01T12:00:00+0000"
    assert made.then == Changes(
        {"completed": "2026-12-01T12:00:00+0000"},
        add_reminders=(second,),
        parent=(None, "p"),
    )
    day = creation(Item("", "day", date=NOON, box_id="x"))
    assert (day.arguments["date"], day.then.arguments) == (
        "2026-12-01T12:00:00+0000",
        {"boxId": "x"},
    )


def test_a_sticky_is_made_below_its_parent_and_not_moved() -> None:
    """No request moves one, and none takes its tags."""
    sticky = Item("s", "sticky", body="text", parent_id="p")
    assert creation(sticky).arguments == {"name": "", "body": "text", "parentId": "p"}
    moved = replace(sticky, parent_id="q", tags=("a",))
    assert changes(sticky, moved) == Changes(refused=("tags", "parent"))


def test_reminders_of_appointments_have_no_type() -> None:
    """A task's have."""
    reminder = Reminder(NOON, "", "soon")
    sent = {"date": "2026-12-01T12:00:00+0000", "description": "soon"}
    assert reminder_arguments(Item("", "appointment"), reminder) == sent
    assert reminder_arguments(TASK, reminder) == sent | {"type": "fixed"}


LISTS = st.lists(st.sampled_from("abcdef"), max_size=6, unique=True)


@given(LISTS, LISTS, LISTS)
def test_lists_merge_as_ordered_sets(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> None:
    """What either added stands, what either removed is gone, each stands once."""
    merged = merge_lists(base, ours, theirs)
    kept = set(base) & set(ours) & set(theirs)
    assert set(merged) == kept | (set(ours) - set(base)) | (set(theirs) - set(base))
    assert len(merged) == len(set(merged))
    assert merge_lists(base, base, theirs) == tuple(theirs)
    assert merge_lists(base, ours, base) == tuple(ours)
    assert merge_lists(base, ours, ours) == tuple(ours)


def test_what_the_other_side_added_stands_behind_what_it_follows_there() -> None:
    """The order is that of the side that changed it, ours if both did."""
    assert merge_lists("abc", "abxc", "yabz") == tuple("yabzx")
    assert merge_lists("abc", "abcx", "cba") == tuple("cxba")
    assert merge_lists("abc", "bacx", "cba") == tuple("bacx")


def test_long_lists_take_linear_time() -> None:
    """Also where each side added, and the order is another."""

    def work(size: int) -> Callable[[], object]:
        base, ours, theirs = range(size), range(size // 2, size * 2), range(size, -size, -1)
        return lambda: merge_lists(base, ours, theirs)

    assert doubling(work, 40_000) < 3
