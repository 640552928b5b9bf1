"""What to send for the difference between two items, and the three-way merge of a list."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from heapsyncd.items.kinds import FIELDS, KINDS
from heapsyncd.items.notation import date_text
from heapsyncd.items.values import Item, Reminder

_T = TypeVar("_T", bound=Hashable)

_PLAIN: Final = {
    "name": "name",
    "body": "body",
    "description": "description",
    "tags": "tags",
    "box_id": "boxId",
    "image": "image",
    "filename": "filename",
} | {f.attribute: f.argument for f in FIELDS.values() if f.notation in {"text", "number", "date"}}
"""The attributes that are single arguments of a request, with the argument's name."""
_KEYS: Final = {f.attribute: f.key for f in FIELDS.values()}


class Changes(Struct, frozen=True):
    """What to send so that an item becomes another one. Empty parts need no request.

    ``arguments``: of one POST to the item; None clears. ``parent``: the parent task before and
    after, if it changes. ``refused``: keys and attributes that no request takes.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    remove_reminders: tuple[Reminder, ...] = ()
    add_reminders: tuple[Reminder, ...] = ()
    parent: tuple[str | None, str | None] | None = None
    archived: bool | None = None
    refused: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Changes(refused=self.refused)


class Creation(Struct, frozen=True):
    """How to make an item: ``arguments`` of the POST to its collection, and what to send ``then``,
    once it has an id.
    """

    arguments: Mapping[str, Any]
    then: Changes


def changes(before: Item, after: Item) -> Changes:
    """Return what to send so that ``before``, as the server has it, becomes ``after``.

    What only the server sets, such as ``modified`` and ``files``, is not compared.
    """
    kind = KINDS[before.type]
    arguments: dict[str, Any] = {}
    refused: list[str] = []
    for attribute, argument in _PLAIN.items():
        old, new = getattr(before, attribute), getattr(after, attribute)
        if old == new:
            continue
        if argument in kind.update:
            arguments[argument] = _argument(new)
        else:
            refused.append(_KEYS.get(attribute, attribute))
    if "priority" in arguments and "priotity" in kind.update:
        arguments["priotity"] = arguments["priority"]
    gone = tuple(r for r in before.reminders if r not in after.reminders)
    new = tuple(r for r in after.reminders if r not in before.reminders)
    if (gone or new) and "reminders" not in kind.routes:
        refused, gone, new = [*refused, "reminders"], (), ()
    parent = None
    if before.parent_id != after.parent_id:
        if "parent" in kind.routes:
            parent = before.parent_id, after.parent_id
        else:
            refused.append("parent")
    if before.target_id != after.target_id:
        refused.append("replyTo")
    if before.type != after.type:
        refused.append("type")
    archived = after.archived if after.archived != before.archived else None
    return Changes(arguments, gone, new, parent, archived, tuple(refused))


def creation(item: Item) -> Creation:
    """Return how to create an item, also one that was deleted on the server.

    A file's content (``data``) is not in the arguments.
    """
    kind = KINDS[item.type]
    given = {
        attribute: getattr(item, attribute)
        for attribute, argument in (
            *_PLAIN.items(),
            ("parent_id", "parentId"),
            ("target_id", "targetId"),
        )
        if argument in kind.create and getattr(item, attribute) not in {None, "", ()}
    }
    names = _PLAIN | {"parent_id": "parentId", "target_id": "targetId"}
    arguments = {names[a]: _argument(v) for a, v in given.items()}
    arguments.setdefault("name", item.name)
    made = Item(item.id, item.type, **given)
    # The creation takes one reminder, a mere date.
    alone = [r for r in item.reminders if not r.description and r.type in {"", "fixed"}]
    if "reminder" in kind.create and alone:
        arguments["reminder"] = date_text(alone[0].date)
        made = replace(made, reminders=(alone[0],))
    return Creation(arguments, changes(made, item))


def reminder_arguments(item: Item, reminder: Reminder) -> dict[str, str]:
    """Return the arguments of ``POST …/Reminders/``; an appointment's take no type."""
    arguments = {"date": date_text(reminder.date), "description": reminder.description}
    if item.type == "task":
        arguments["type"] = reminder.type or "fixed"
    return {key: text for key, text in arguments.items() if text}


def _argument(value: Any) -> Any:
    if isinstance(value, datetime):
        return date_text(value)
    return list(value) if isinstance(value, tuple) else value


def merge_lists(base: Sequence[_T], ours: Sequence[_T], theirs: Sequence[_T]) -> tuple[_T, ...]:
    """Merge two edits of a list without twins: what either added or removed is added or removed.

    The order is that of the side that changed it, ours if both did. What the other side added
    stands behind the entry that it follows there.
    """
    known = set(base)
    moved = [_moved(base, side) for side in (ours, theirs)]
    frame, other = (theirs, ours) if moved == [False, True] else (ours, theirs)
    others = set(other)
    kept = [v for v in frame if v in others or v not in known]
    places = {value: k for k, value in enumerate(kept, 1)}
    out = [[], *([v] for v in kept)]
    at = 0
    for value in other:
        if value in places:
            at = places[value]
        elif value not in known:
            out[at].append(value)
    return tuple(chain.from_iterable(out))


def _moved(base: Sequence[_T], side: Sequence[_T]) -> bool:
    """Tell whether an edit changed the order of what it left."""
    before, after = set(base), set(side)
    return [v for v in side if v in before] != [v for v in base if v in after]
