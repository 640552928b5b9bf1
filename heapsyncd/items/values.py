"""The value of an item, as the server stores it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from msgspec import Struct

ItemType = Literal["note", "task", "appointment", "day", "file", "sticky", "comment", "box"]


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder of a task or appointment.

    ``type``: ``fixed`` or ``diff``, '' if not stated. ``id``: '' until the server gave one;
    reminders are compared without it.
    """

    date: datetime
    type: str = ""
    description: str = ""
    id: str = field(default="", compare=False)


class Attachment(Struct, frozen=True):
    """A file attached to an item, without its content."""

    id: str
    name: str = ""
    filename: str = ""
    size: int = 0
    mime_type: str = ""
    modified: datetime | None = None


class Item(Struct, frozen=True):
    """An item of any type; the fields that its type does not have are at their defaults.

    Strings are exact and '' where the server has none. Dates have a time zone and whole seconds.
    """

    id: str
    """Opaque; '' for an item that is not on the server yet."""
    type: ItemType
    name: str = ""
    body: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    """Names, in the server's order, each once."""
    box_id: str | None = None
    archived: bool = False
    location: str = ""
    progress: int | None = None
    """1 to 100. The service does not tell 0 from none."""
    completed: datetime | None = None
    date_begin: datetime | None = None
    date_end: datetime | None = None
    date: datetime | None = None
    """Of a day."""
    priority: int | None = None
    """As ``progress``."""
    reminders: tuple[Reminder, ...] = ()
    parent_id: str | None = None
    """Of a child task; what a sticky sticks to; what a file is attached to."""
    target_id: str | None = None
    """The item, or the comment, that a comment is about."""
    color: str = ""
    filename: str = ""
    size: int = 0
    mime_type: str = ""
    image: str = ""
    """Not shown in files, and sent only when an item is created anew."""
    files: tuple[Attachment, ...] = ()
    """In the order of the attachments."""
    favorite: bool = False
    owner_id: str = ""
    created: datetime | None = None
    modified: datetime | None = None
