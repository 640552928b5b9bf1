"""Know an item again whose creation had no answer (ONEHEAP §7). Pure.

The intent is stored before the request, and nothing in the request names it.
"""

import hashlib

import msgspec

from heapsyncd.backends.oneheap.documents import text_of
from heapsyncd.items.values import Item


class Intent(msgspec.Struct, frozen=True):
    """What is being created: enough to know it again."""

    since_s: float | None
    """The service's clock before the request; None if it was not known."""
    type: str
    name: str
    text: str
    """The digest of its text."""
    box_id: str | None
    target_id: str | None


def intent_of(item: Item, since_s: float | None) -> bytes:
    """Return the intent to create an item, encoded."""
    return msgspec.json.encode(
        Intent(since_s, item.type, item.name, _digest(item), item.box_id, item.target_id)
    )


def is_made_of(item: Item, intent: bytes) -> bool:
    """Tell whether an item that nobody knew before is what an intent was to create."""
    wanted = msgspec.json.decode(intent, type=Intent)
    if (item.type, item.name, _digest(item)) != (wanted.type, wanted.name, wanted.text):
        return False
    if item.target_id != wanted.target_id or item.box_id not in {None, wanted.box_id}:
        return False
    if wanted.since_s is None or item.created is None:
        return True
    return item.created.timestamp() >= wanted.since_s - 2.0


def _digest(item: Item) -> str:
    return hashlib.sha256(text_of(item).encode()).hexdigest()
