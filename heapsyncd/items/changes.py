"""What to send for the difference between two items, and the three-way merge of an item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from heapsyncd.diff.three import Contested, merge_texts
from heapsyncd.items.kinds import FIELDS, KINDS
from heapsyncd.items.notation import date_text
from heapsyncd.items.values import Item, Reminder

_T = TypeVar("_T")

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
_TEXTS: Final = ("body", "description")
_LISTS: Final = ("tags", "reminders")
_LOCAL: Final = ("archived", "parent_id", "target_id")
_KEYS: Final = {f.attribute: f.key for f in FIELDS.values()}


@dataclass(frozen=True, slots=True)
class Changes:
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


@dataclass(frozen=True, slots=True)
class Creation:
    """How to make an item: ``arguments`` of the POST to its collection, and what to send ``then``,
    once it has an id.
    """

    arguments: Mapping[str, Any]
    then: Changes


@dataclass(frozen=True, slots=True)
class Overruled:
    """A field that both sides changed: ours is kept, ``theirs`` is to be shown by ``status``."""

    key: str
    ours: Any
    theirs: Any


@dataclass(frozen=True, slots=True)
class MergedItem:
    """A merged item, the contested lines of its text, and the fields where ours was kept."""

    item: Item
    contested: tuple[Contested, ...] = ()
    overruled: tuple[Overruled, ...] = ()


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


def merge_items(base: Item, ours: Item, theirs: Item) -> MergedItem:
    """Merge our edits of an item with the server's.

    Texts merge by lines, the server's version of contested ones first; tags and reminders as
    ordered sets. Of another field that only one side changed, that side's value counts; if both
    did, ours. What only the server sets is as in ``theirs``. Contested lines of a description in
    front matter are named like an overruled field.
    """
    made: dict[str, Any] = {}
    contested: list[Contested] = []
    overruled: list[Overruled] = []
    for attribute in dict.fromkeys((*_PLAIN, *_LISTS, *_LOCAL)):
        was, our, their = (getattr(item, attribute) for item in (base, ours, theirs))
        if attribute in _TEXTS:
            merged = merge_texts(was, their, our)
            made[attribute] = merged.text
            if attribute == KINDS[theirs.type].text:
                contested += merged.contested
            elif merged.contested:
                overruled.append(Overruled(attribute, our, their))
        elif attribute in _LISTS:
            made[attribute] = merge_lists(was, our, their)
        else:
            made[attribute] = their if our == was else our
            if was != our != their != was:
                overruled.append(Overruled(_KEYS.get(attribute, attribute), our, their))
    return MergedItem(replace(theirs, **made), tuple(contested), tuple(overruled))


def merge_lists(base: Sequence[_T], ours: Sequence[_T], theirs: Sequence[_T]) -> tuple[_T, ...]:
    """Merge two edits of a list without twins: what either added or removed is added or removed.

    The order is that of the side that changed it, ours if both did. What the other side added
    stands behind the entry that it follows there.
    """
    kept = [v for v in theirs if v in base]
    is_theirs_moved = kept != [v for v in base if v in theirs]
    is_ours_moved = [v for v in ours if v in base] != [v for v in base if v in ours]
    frame, other = (theirs, ours) if is_theirs_moved and not is_ours_moved else (ours, theirs)
    out = [v for v in frame if v in other or v not in base]
    for k, value in enumerate(other):
        if value in out or value in base:
            continue
        before = next((v for v in reversed(other[:k]) if v in out), None)
        out.insert(0 if before is None else out.index(before) + 1, value)
    return tuple(out)
