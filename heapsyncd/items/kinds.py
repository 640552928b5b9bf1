"""The table of fields: which ones a type of item has, and which requests take them."""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from heapsyncd.items.values import ItemType

Notation = Literal["text", "number", "date", "tags", "reminders", "parent", "reply"]


class Field(Struct, frozen=True):
    """A field that front matter shows.

    ``key``: in the front matter. ``attribute``: of ``Item``. ``argument``: of a request.
    """

    key: str
    attribute: str
    argument: str
    notation: Notation


class Kind(Struct, frozen=True):
    """What is particular to a type of item.

    ``collection``: the first part of its requests' paths. ``text``: the attribute that is the text
    below the front matter. ``keys``: what the front matter shows, in this order. ``create``,
    ``update``: the arguments of the two requests. ``routes``: the keys whose changes have requests
    of their own.
    """

    collection: str
    text: Literal["body", "description"]
    keys: tuple[str, ...]
    create: frozenset[str]
    update: frozenset[str]
    routes: frozenset[str] = frozenset()


def _fields() -> dict[str, Field]:
    rows: tuple[tuple[str, str, str, Notation], ...] = (
        ("tags", "tags", "tags", "tags"),
        ("description", "description", "description", "text"),
        ("location", "location", "location", "text"),
        ("progress", "progress", "progress", "number"),
        ("completed", "completed", "completed", "date"),
        ("dateBegin", "date_begin", "dateBegin", "date"),
        ("dateEnd", "date_end", "dateEnd", "date"),
        ("date", "date", "date", "date"),
        ("priority", "priority", "priority", "number"),
        ("reminders", "reminders", "reminder", "reminders"),
        ("color", "color", "color", "text"),
        ("parent", "parent_id", "parentId", "parent"),
        ("replyTo", "target_id", "targetId", "reply"),
    )
    return {row[0]: Field(*row) for row in rows}


FIELDS: Final[Mapping[str, Field]] = _fields()

_TIMES: Final = ("dateBegin", "dateEnd", "priority", "reminders")
_TEXT: Final = frozenset({"name", "description", "tags"})
_NOTE: Final = _TEXT | {"body", "boxId", "image"}
_PLANNED: Final = _TEXT | {
    "location", "progress", "dateBegin", "dateEnd", "boxId", "priority", "image",
}  # fmt: skip
_DAY: Final = _TEXT | {"date"}
_FILE: Final = _TEXT | {"filename", "data", "boxId"}
_BOX: Final = _TEXT | {"image"}
_REMINDERS: Final = frozenset({"reminders"})

KINDS: Final[Mapping[ItemType, Kind]] = {
    "note": Kind("Notes", "body", ("tags", "description"), _NOTE, _NOTE),
    "task": Kind(
        "Tasks",
        "body",
        ("tags", "description", "location", "progress", "completed", *_TIMES, "parent"),
        _PLANNED | {"body", "reminder"},
        # The documentation spells the update's argument ``priotity``: both spellings are sent.
        _PLANNED | {"body", "completed", "priotity"},
        _REMINDERS | {"parent"},
    ),
    "appointment": Kind(
        "Appointments",
        "description",
        ("tags", "location", "progress", *_TIMES),
        _PLANNED | {"reminder"},
        _PLANNED,
        _REMINDERS,
    ),
    "day": Kind("Days", "description", ("tags", "date"), _DAY, _DAY | {"boxId", "image"}),
    "file": Kind("Files", "description", ("tags",), _FILE, _FILE),
    "sticky": Kind(
        "Stickies",
        "body",
        ("tags", "description", "color", "parent"),
        frozenset({"name", "body", "parentId", "color"}),
        frozenset({"name", "body", "color"}),
    ),
    "comment": Kind(
        "Comments",
        "body",
        ("tags", "description", "replyTo"),
        frozenset({"name", "body", "targetId"}),
        frozenset({"name", "body"}),
    ),
    "box": Kind("Boxes", "description", (), _BOX, _BOX),
}

NEW_TYPES: Final[tuple[ItemType, ...]] = ("appointment", "day", "note", "sticky", "task")
"""What a new file's ``type`` may say. Comments, files and boxes are told by their places."""


def is_writable(kind: Kind, field: Field, *, is_new: bool) -> bool:
    """Tell whether a request takes a field of an item that is new, or exists."""
    return (
        field.argument in kind.update
        or field.key in kind.routes
        or (is_new and field.argument in kind.create)
    )
