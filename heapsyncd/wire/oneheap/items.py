"""Define every assumed shape of an item in this one place (ONEHEAP §4). Pure.

Reading is tolerant: what is not known is kept in ``rest``, and of a page with an unreadable item
the others are used. Writing is strict: only arguments that a route documents are sent.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from heapsyncd.errors import ProtocolError
from heapsyncd.wire.oneheap.dates import format_date, parse_date
from heapsyncd.wire.oneheap.envelope import Envelope
from heapsyncd.wire.oneheap.routes import is_id

_T = TypeVar("_T")
_REFERENCES: Final = frozenset({"boxId", "ownerId", "parentId", "targetId"})
_DATES: Final = frozenset({"created", "modified", "completed", "dateBegin", "dateEnd", "date"})
_OURS: Final = frozenset({"rest", "missing"})


class FileInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An attachment, as its owner lists it."""

    id: str
    name: str = ""
    filename: str = ""
    size: int | None = None
    mime_type: str = ""
    modified: datetime | None = None


class Reminder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A reminder of a task or an appointment."""

    id: str
    date: datetime | None = None
    type: str = ""
    description: str = ""


class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every item has, and an item of a type that this version does not know."""

    id: str
    type: str = ""
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    """In the server's order."""
    box_id: str | None = None
    image: Any = None
    files: tuple[FileInfo, ...] = ()
    archived: bool = False
    favorite: bool = False
    owner_id: str | None = None
    created: datetime | None = None
    modified: datetime | None = None
    rest: dict[str, Any] = msgspec.field(default_factory=dict)
    """The fields that this version does not know, as received."""
    missing: frozenset[str] = frozenset()
    """The known fields that the answer lacked, by the API's names: their values are unknown."""


class Box(Item, frozen=True, kw_only=True, rename="camel"):
    """A box, which holds items."""


class Note(Item, frozen=True, kw_only=True, rename="camel"):
    """A note."""

    body: str = ""


class Task(Item, frozen=True, kw_only=True, rename="camel"):
    """A task; ``progress`` and ``priority`` are 0 to 100."""

    body: str = ""
    location: str = ""
    progress: int | None = None
    completed: datetime | None = None
    date_begin: datetime | None = None
    date_end: datetime | None = None
    priority: int | None = None
    reminders: tuple[Reminder, ...] = ()
    parent_id: str | None = None


class Appointment(Item, frozen=True, kw_only=True, rename="camel"):
    """An appointment; its text is ``description``."""

    location: str = ""
    progress: int | None = None
    date_begin: datetime | None = None
    date_end: datetime | None = None
    priority: int | None = None
    reminders: tuple[Reminder, ...] = ()
    users: Any = None


class Day(Item, frozen=True, kw_only=True, rename="camel"):
    """A day; its text is ``description``."""

    date: datetime | None = None


class File(Item, frozen=True, kw_only=True, rename="camel"):
    """A file; with ``parent_id`` it is an attachment. Its content is never part of this value."""

    filename: str = ""
    size: int | None = None
    mime_type: str = ""
    parent_id: str | None = None


class Sticky(Item, frozen=True, kw_only=True, rename="camel"):
    """A sticky note on another item."""

    body: str = ""
    color: str = ""
    parent_id: str | None = None


class Comment(Item, frozen=True, kw_only=True, rename="camel"):
    """A comment on an item, or a reply to another comment."""

    body: str = ""
    target_id: str | None = None


class Kind(Struct, frozen=True):
    """A type of item: its collection and the value it is read as."""

    name: str
    collection: str
    shape: type[Item]
    is_listed: bool = False
    """Whether the collection has a route that lists it."""
    is_readable: bool = True
    """Whether a route reads one item and nothing else; if not, it is searched for its id."""
    detaches: bool = True
    """Whether a route removes an attachment from its owner."""


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("note", "Notes", Note, is_listed=True),
        Kind("task", "Tasks", Task, is_listed=True),
        Kind("appointment", "Appointments", Appointment, is_listed=True),
        Kind("box", "Boxes", Box, is_listed=True),
        Kind("day", "Days", Day, detaches=False),
        # The route that reads a file answers its whole content as well.
        Kind("file", "Files", File, is_readable=False),
        Kind("sticky", "Stickies", Sticky),
        Kind("comment", "Comments", Comment, is_readable=False),
    )
}
"""By the name that ``type`` and the ``types`` of a search use."""


class Unreadable(Struct, frozen=True):
    """An object that can't be read: trouble with this item alone."""

    id: str | None
    """None: not even that."""
    reason: str


class Page(Struct, frozen=True):
    """A part of a list."""

    items: tuple[Item, ...]
    unreadable: tuple[Unreadable, ...]
    count: int | None
    """How many there are in all; None if unsaid."""
    date_s: float | None
    """The answer's ``Date``, in seconds of the server's clock."""

    @property
    def received(self) -> int:
        """The number of objects of the answer; the next page begins after them."""
        return len(self.items) + len(self.unreadable)


def decode_page(envelope: Envelope, kind: str | None = None) -> Page:
    """Decode a list; ``kind`` is the type of objects that don't name one."""
    items: list[Item] = []
    unreadable: list[Unreadable] = []
    for found in envelope.objects:
        try:
            items.append(decode_item(found, kind))
        except ProtocolError as error:
            id_ = _reference(found.get("id"))
            is_named = isinstance(id_, str) and is_id(id_)
            unreadable.append(Unreadable(id_ if is_named else None, str(error)))
    return Page(tuple(items), tuple(unreadable), envelope.count, envelope.date_s)


def decode_item(found: Mapping[str, Any], kind: str | None = None) -> Item:
    """Decode one item.

    Raises:
        ProtocolError: a known field has an unknown shape. Nothing of the item is used, because a
            text that is not shown could be overwritten.
    """
    type_ = found.get("type") or kind or ""
    known = KINDS.get(type_) if isinstance(type_, str) else None
    shape = known.shape if known is not None else Item
    names = set(shape.__struct_encode_fields__) - _OURS
    readable = {
        "type": type_,
        **{name: _readable(name, found[name]) for name in names & set(found)},
    }
    item = _converted({k: v for k, v in readable.items() if v is not None}, shape)
    if not is_id(item.id):
        raise ProtocolError(f"the server sent an item with the id {item.id[:40]!r}")
    rest = {name: value for name, value in found.items() if name not in names | {"data", "type"}}
    return msgspec.structs.replace(item, rest=rest, missing=frozenset(names - set(found)))


def encode_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Encode fields for a request: dates in the documented form, sequences as arrays."""
    return {name: _encoded(value) for name, value in fields.items()}


def decode_data(found: Mapping[str, Any]) -> bytes:
    """Decode the content of a file: base64, or a ``data:`` address of it.

    Raises:
        ProtocolError: there is none, or it is not base64.
    """
    text = found.get("data")
    if not isinstance(text, str):
        raise ProtocolError("the server's answer contains no data of the file")
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ProtocolError("the server sent the data of a file in an unknown encoding")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(
            f"the server sent data of a file that is not base64 ({error})"
        ) from error


def encode_data(content: bytes) -> str:
    """Encode the content of a file."""
    return base64.b64encode(content).decode()


def _converted(fields: dict[str, Any], shape: type[_T]) -> _T:
    try:
        return msgspec.convert(fields, shape, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ProtocolError(f"the server sent an item of an unknown shape ({error})") from error


def _readable(name: str, value: Any) -> Any:
    """Return a field as its shape expects it; None means the same as null."""
    if name == "id" or name in _REFERENCES:
        return _reference(value)
    if name in _DATES:
        return _date(value)
    if name == "tags":
        return [_tag(tag) for tag in _listed(value)]
    if name in {"files", "reminders"}:
        return [_part(part) for part in _listed(value)]
    return value


def _reference(value: Any) -> Any:
    """Return an id; a number is read as its digits, and an empty text names nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None if value == "" else value


def _date(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value:
        return None
    # What is no date stays as it is, and is refused with the field's name.
    return parse_date(value) or value


def _listed(value: Any) -> Sequence[Any]:
    """Return a list; a service may write null for an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ProtocolError("the server sent an item of an unknown shape (expected an array)")
    return value


def _tag(tag: Any) -> Any:
    return tag.get("name") if isinstance(tag, dict) else tag


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    readable = {name: _readable(name, value) for name, value in part.items()}
    return {name: value for name, value in readable.items() if value is not None}


def _encoded(value: object) -> object:
    if isinstance(value, datetime):
        return format_date(value)
    if isinstance(value, Mapping):
        return encode_fields(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_encoded(one) for one in value]
    return value
