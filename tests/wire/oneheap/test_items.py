"""Items are read tolerantly, and nothing that is not known is dropped."""

from datetime import UTC, datetime
from typing import Any

import pytest

from heapsyncd.errors import ProtocolError
from heapsyncd.wire.oneheap.envelope import Envelope
from heapsyncd.wire.oneheap.items import (
    Comment,
    File,
    Item,
    Note,
    Task,
    decode_data,
    decode_item,
    decode_page,
    encode_fields,
)

MOMENT = datetime(2015, 2, 26, 11, 2, 40, tzinfo=UTC)
TEXT = "2015-02-26T11:02:40+0000"


def test_every_field_of_a_task() -> None:
    """The API's names become ours; dates are instants."""
    item = decode_item(
        {
            "id": "1", "type": "task", "name": "Paint", "body": "a\r\nb", "tags": ["b", "a"],
            "boxId": "2", "progress": 40, "priority": 7, "completed": TEXT, "dateBegin": None,
            "reminders": [{"id": "3", "date": TEXT, "type": "fixed", "description": "now"}],
            "parentId": "4", "modified": TEXT,
            "files": [{"id": "5", "filename": "a.png", "size": 3, "mimeType": "image/png"}],
        }
    )  # fmt: skip
    assert isinstance(item, Task)
    assert (item.body, item.tags, item.box_id, item.parent_id) == ("a\r\nb", ("b", "a"), "2", "4")
    assert (item.progress, item.priority, item.completed) == (40, 7, MOMENT)
    assert (item.reminders[0].date, item.files[0].mime_type) == (MOMENT, "image/png")
    assert item.date_begin is None
    assert not {"body", "dateBegin"} & item.missing
    assert {"description", "location"} <= item.missing


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"tags": [{"name": "x"}, "y"]}, {"tags": ("x", "y")}),
        ({"tags": None, "files": None}, {"tags": (), "files": ()}),
        ({"boxId": 12, "parentId": ""}, {"box_id": "12", "parent_id": None}),
        ({"progress": "40"}, {"progress": 40}),
        ({"modified": "2015-02-26T12:02:40+01:00"}, {"modified": MOMENT}),
        ({"completed": ""}, {"completed": None}),
        ({"name": None}, {"name": ""}),
    ],
)
def test_alternatives(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """What a service may write instead."""
    item = decode_item({"id": 7, "type": "task", **found})
    assert item.id == "7"
    assert {name: getattr(item, name) for name in expected} == expected


def test_what_is_not_known_is_kept() -> None:
    """Fields and types of later versions; the content of a file is not part of its value."""
    item = decode_item({"id": "1", "type": "note", "body": "x", "mood": {"a": 1}, "rest": 2})
    assert item.rest == {"mood": {"a": 1}, "rest": 2}
    other = decode_item({"id": "1", "type": "sketch", "strokes": []})
    assert type(other) is Item
    assert (other.type, other.rest) == ("sketch", {"strokes": []})
    assert decode_item({"id": "1", "type": "file", "data": "AAAA"}).rest == {}


def test_the_route_tells_the_type_of_objects_that_do_not() -> None:
    """An object's own type counts first."""
    assert type(decode_item({"id": "1", "body": "x"}, "note")) is Note
    assert type(decode_item({"id": "1", "type": "comment"}, "note")) is Comment


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"type": "note", "body": {"cipher": "x"}}, "body"),
        ({"type": "task", "completed": "soon"}, "completed"),
        ({"type": "note", "tags": "a"}, "array"),
        ({"type": "note", "tags": [{"label": "a"}]}, "tags"),
        ({"type": ["note"]}, "type"),
        ({"id": "..", "type": "note"}, "id"),
    ],
)
def test_an_unreadable_item_is_its_own_trouble(found: dict[str, Any], reason: str) -> None:
    """Nothing of it is used; the others of the page are."""
    bad = {"id": "1", **found}
    with pytest.raises(ProtocolError, match=reason):
        decode_item(bad)
    page = decode_page(Envelope(9, ({"id": "2", "type": "note"}, bad)))
    assert [item.id for item in page.items] == ["2"]
    assert [one.id for one in page.unreadable] == [None if bad["id"] == ".." else "1"]
    assert (page.received, page.count) == (2, 9)


def test_fields_are_written_strictly() -> None:
    """Dates in the documented form, also inside of others; null stays null."""
    fields = {"dateEnd": MOMENT, "tags": ("a", "b"), "boxId": None, "reminder": {"date": MOMENT}}
    assert encode_fields(fields) == {
        "dateEnd": TEXT, "tags": ["a", "b"], "boxId": None, "reminder": {"date": TEXT},
    }  # fmt: skip


@pytest.mark.parametrize("text", ["SGk=", "data:text/plain;base64,SGk=", "SG\r\nk="])
def test_the_content_of_a_file(text: str) -> None:
    """Plain base64, with line breaks, or as an address."""
    assert decode_data({"data": text}) == b"Hi"


@pytest.mark.parametrize("found", [{}, {"data": 3}, {"data": "S*Gk="}, {"data": "data:,Hi"}])
def test_what_is_no_content(found: dict[str, Any]) -> None:
    """Nothing is guessed."""
    with pytest.raises(ProtocolError):
        decode_data(found)


def test_a_file_without_an_owner() -> None:
    """``parent_id`` tells an attachment from a file item."""
    item = decode_item({"id": "1", "type": "file", "filename": "a.pdf", "size": "12"})
    assert isinstance(item, File)
    assert (item.parent_id, item.size) == (None, 12)
