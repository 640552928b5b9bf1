"""Convert items of the wire to values, and values to what the cache stores. Pure."""

import re
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from heapsyncd.items.kinds import KINDS
from heapsyncd.items.values import Attachment, Item, ItemType, Reminder
from heapsyncd.wire.oneheap import items as wire

_SNAKE: Final = re.compile(r"(?<=[a-z])([A-Z])")
_ATTRIBUTES: Final = frozenset(Item.__struct_fields__) - {"id", "type"}


LACKS_TEXT: Final = "the service's answer lacks its text"


def is_known(found: wire.Item) -> bool:
    """Tell whether an item's type is one that is mirrored."""
    return found.type in wire.KINDS


def lacks_text(found: wire.Item) -> bool:
    """Tell whether an answer does not say the text of an item of a known type.

    Shown without it, it could be overwritten.
    """
    is_shown = found.type != "box"
    return is_shown and KINDS[cast("ItemType", found.type)].text in found.missing


def item_of(found: wire.Item, last: Item | None) -> Item:
    """Return an item as a value.

    Args:
        found: of a known type.
        last: the item as last seen, for the fields that the answer lacks.
    """
    values: dict[str, Any] = {}
    missing = {_SNAKE.sub(lambda m: f"_{m[1].lower()}", name) for name in found.missing}
    for name in _ATTRIBUTES:
        if name in missing and last is not None:
            values[name] = getattr(last, name)
        elif hasattr(found, name) and name not in missing:
            values[name] = _value(name, getattr(found, name))
    return Item(found.id, cast("ItemType", found.type), **values)


def _value(name: str, value: Any) -> Any:
    if name == "files":
        return tuple(
            Attachment(f.id, f.name, f.filename, f.size or 0, f.mime_type, f.modified)
            for f in value
        )
    if name == "reminders":
        return tuple(
            Reminder(r.date, r.type, r.description, r.id) for r in value if r.date is not None
        )
    if name == "tags":
        return tuple(dict.fromkeys(value))
    if name in {"image", "owner_id"}:
        return value if isinstance(value, str) else ""
    if name in {"progress", "priority"}:
        return value or None
    if name == "size":
        return value or 0
    return value


def content_of(item: Item) -> Item:
    """Return an item without what changes although nobody edited it.

    Two states of an item with the same content need no merge. Attachments are compared apart.
    """
    return replace(
        item, owner_id="", favorite=False, created=None, modified=None, files=(), size=0,
        mime_type="",
    )  # fmt: skip


def state_of(item: Item) -> Item:
    """Return what of an item its blocks may depend on: its content and its attachments."""
    return replace(item, owner_id="", favorite=False, created=None)


def encode(item: Item) -> bytes:
    """Encode an item for the cache."""
    return msgspec.json.encode(item)


def decode(data: bytes) -> Item | None:
    """Decode an item from the cache; None for a block that stands for no item."""
    return msgspec.json.decode(data, type=Item) if data else None
