"""Convert fields between their values and the strings, lists and mappings of front matter.

Every scalar of the front matter is a string here, so that ``location: 007`` stays what it is.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from msgspec import Struct, field

from heapsyncd.items.kinds import Field
from heapsyncd.items.values import Item, ItemType, Reminder

Written = str | list[str] | list[dict[str, str]]
"""A value as front matter has it."""

_DAY_ONLY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LINK: Final = re.compile(r"\[\[([^\[\]|]+)(?:\|[^\[\]]*)?\]\]")
_MOST: Final = 100
EXAMPLE: Final = "2026-12-01T14:00:00+0100"


class Links(Struct, frozen=True):
    """How items are named in links. Made by ``of``."""

    names: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Mapping[str, str]) -> Self:
        """Make links from each item's name; a name of several items is not used."""
        count: dict[str, int] = {}
        for name in names.values():
            count[name] = count.get(name, 0) + 1
        own = {i: n for i, n in names.items() if count[n] == 1 and _LINK.fullmatch(f"[[{n}]]")}
        return cls(names, {name: i for i, name in own.items()})

    def written(self, item_id: str) -> str:
        """Return an item's link, or its id where no link would be read back."""
        name = self.names.get(item_id)
        return f"[[{name}]]" if name is not None and self.ids.get(name) == item_id else item_id


class Around(Struct, frozen=True):
    """What the surroundings of a file say about its item."""

    named: str | None = None
    """The name that the file's own name says; None: it says none (a nameless item)."""
    owns_title: bool = False
    """Whether a ``title`` in the file is the item's name: we wrote it, or the file has the name
    that is made from it. Otherwise it is the user's."""
    default_type: ItemType = "note"
    """What a file without ``type`` is: in ``X.comments`` a comment."""
    owner_id: str | None = None
    """The item whose ``X.comments`` has the file: a comment about it shows no ``replyTo``."""
    links: Links = field(default_factory=Links)
    now: datetime | None = None
    """The server's time, for ``completed: true``."""


def date_text(date: datetime) -> str:
    """Return a date as the service and files write it, in UTC and whole seconds."""
    return f"{date.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}+0000"


def read_date(text: str) -> datetime:
    """Read the service's form, RFC 3339, or a day alone (its first second in UTC).

    Raises:
        ValueError: it is none of these, or lacks a time zone.
    """
    try:
        date = datetime.fromisoformat(text.strip())
        if date.tzinfo is None and _DAY_ONLY.fullmatch(text.strip()):
            date = date.replace(tzinfo=UTC)
        if date.tzinfo is not None:
            return date.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ValueError(f"is no date; write it as {EXAMPLE}") from None
    raise ValueError(f"has no time zone; write it as {EXAMPLE}")


def written(field: Field, item: Item, around: Around) -> Written | None:
    """Return a field as front matter has it; None if it is not shown."""
    value = getattr(item, field.attribute)
    match field.notation:
        case "text":
            return value or None
        case "number":
            return None if value is None else str(value)
        case "date":
            return None if value is None else date_text(value)
        case "tags":
            return list(value) or None
        case "reminders":
            return _written_reminders(value)
        case "parent":
            return None if value is None else around.links.written(value)
        case "reply":
            return None if value in {None, around.owner_id} else value


def _written_reminders(reminders: tuple[Reminder, ...]) -> Written | None:
    if not any(r.type or r.description for r in reminders):
        return [date_text(r.date) for r in reminders] or None
    rows = [
        {"date": date_text(r.date), "type": r.type, "description": r.description}
        for r in reminders
    ]
    return [{key: text for key, text in row.items() if text} for row in rows]


def read(field: Field, value: object, known: Item, around: Around) -> Any:
    """Return the value of a field from what front matter has.

    Args:
        field: the field.
        value: strings, lists and dicts; '' for an absent key.
        known: the item that the file showed.
        around: the file's surroundings.

    Raises:
        ValueError: it cannot be understood. The message goes behind "`key` ".
    """
    match field.notation:
        case "text":
            return _string(value)
        case "number":
            return _number(value)
        case "date":
            return _date(field, value, known, around)
        case "tags":
            return _tags(value)
        case "reminders":
            return _reminders(value)
        case "parent":
            return _parent(value, known, around)
        case "reply":
            text = _string(value).strip()
            return around.owner_id if text in _NOTHING else text


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be one text: put it in quotes")  # noqa: TRY004 - about a file
    return value


def _number(value: object) -> int | None:
    text = _string(value).strip()
    if text in _NOTHING:
        return None
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > _MOST:
        raise ValueError(f"must be a whole number from 0 to {_MOST}")
    return int(text) or None


def _date(field: Field, value: object, known: Item, around: Around) -> datetime | None:
    text = _string(value).strip()
    if field.key == "completed" and text.lower() in {"true", "yes", "false", "no"}:
        if text.lower() in {"false", "no"}:
            return None
        if known.completed is None and around.now is None:
            raise ValueError(f"must be a date; write it as {EXAMPLE}")
        return known.completed or around.now
    return None if text in _NOTHING else read_date(text)


def _tags(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",")] if value not in _NOTHING else []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError("must be a list of words, as in [one, two]")
    return tuple(dict.fromkeys(word for word in value if word.strip()))


def _reminders(value: object) -> tuple[Reminder, ...]:
    if isinstance(value, str):
        value = [value] if value.strip() not in _NOTHING else []
    if not isinstance(value, list):
        raise ValueError("must be a list of dates")  # noqa: TRY004 - about a file
    return tuple(dict.fromkeys(map(_reminder, value)))


def _reminder(value: object) -> Reminder:
    row = {"date": value} if isinstance(value, str) else value
    if not isinstance(row, dict) or "date" not in row:
        raise ValueError("has an entry without `date`")
    unknown = sorted(map(str, row.keys() - {"date", "type", "description"}))
    if unknown:
        raise ValueError(f"has an entry with `{unknown[0]}`; it takes date, type, description")
    return Reminder(
        read_date(_string(row["date"])),
        _string(row.get("type", "")),
        _string(row.get("description", "")),
    )


def _parent(value: object, known: Item, around: Around) -> str | None:
    match value:
        case [[str(name)]]:  # the quotes are missing
            value = f"[[{name}]]"
    text = _string(value).strip()
    if text in _NOTHING:
        return None
    link = _LINK.fullmatch(text)
    found = around.links.ids.get((link[1] if link else text).strip())
    if found is not None:
        return found
    if link is None and (text in around.links.names or text == known.parent_id):
        return text
    raise ValueError(f"names no item: {text}")
