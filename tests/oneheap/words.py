"""What the service's documentation says about the requests, written down apart from the client."""

import json
from datetime import UTC, datetime
from typing import Any

COLLECTIONS = {
    "Appointments": "appointment",
    "Boxes": "box",
    "Comments": "comment",
    "Days": "day",
    "Files": "file",
    "Notes": "note",
    "Stickies": "sticky",
    "Tasks": "task",
}
TYPES = set(COLLECTIONS.values())
LISTED = {"Appointments", "Boxes", "Notes", "Tasks"}
READABLE = set(COLLECTIONS) - {"Comments"}
COMMENTED = {"Appointments", "Boxes", "Comments", "Days", "Files", "Notes", "Tasks"}
ATTACHED = {"Appointments", "Comments", "Days", "Notes", "Tasks"}
DETACHED = ATTACHED - {"Days"}
REMINDED = {"Appointments": {"date", "description"}, "Tasks": {"date", "type", "description"}}

_DATED = "location progress dateBegin dateEnd boxId"
CREATE = {
    "Appointments": f"name description {_DATED} priority reminder image tags",
    "Boxes": "name description image tags",
    "Comments": "name body targetId",
    "Days": "name description date tags",
    "Files": "name description filename data boxId permissions tags",
    "Notes": "name description body boxId image tags",
    "Stickies": "name body parentId color",
    "Tasks": f"name description body {_DATED} priority reminder image tags",
}
UPDATE = {
    "Appointments": f"name description {_DATED} priority image tags",
    "Boxes": "name description image tags",
    "Comments": "name body",
    "Days": "name description date boxId image tags",
    "Files": "name description filename data boxId tags",
    "Notes": "name description body boxId image tags",
    "Stickies": "name body color",
    "Tasks": f"name description body {_DATED} completed priotity image tags",
}
LIST = {"id", "ownerId", "search", "limit", "sort"}
LIST_TASKS = LIST | {"progress", "priority", "workerIds"}
SEARCH = LIST - {"id"} | {
    "parentId", "parentType", "archived", "ids", "excludeIds", "types", "progress", "completed",
    "boxId", "date", "follow", "favorite", "asign", "tags",
}  # fmt: skip
INTEGERS = {"progress", "priority", "priotity"}
ARRAYS = {"tags", "permissions", "files", "fileIds", "ids", "excludeIds", "types"}
BOOLEANS = {"archived", "follow", "favorite"}
OBJECTS = {"limit", "sort"}
DATES = {"dateBegin", "dateEnd", "completed", "date", "reminder"}

COMMON = {
    "name": "", "archived": False, "favorite": False, "image": None, "ownerId": "owner",
}  # fmt: skip
FIELDS: dict[str, dict[str, Any]] = {
    "appointment": {
        "description": "", "tags": [], "boxId": None, "location": "", "progress": 0,
        "dateBegin": None, "dateEnd": None, "priority": 0, "reminders": [], "users": [],
    },
    "box": {"description": "", "tags": []},
    "comment": {"body": "", "targetId": None},
    "day": {"description": "", "tags": [], "boxId": None, "date": None},
    "file": {
        "description": "", "tags": [], "boxId": None, "filename": "", "size": 0, "mimeType": "",
        "parentId": None,
    },
    "note": {"description": "", "tags": [], "boxId": None, "body": ""},
    "sticky": {"body": "", "color": "", "parentId": None},
    "task": {
        "description": "", "tags": [], "boxId": None, "body": "", "location": "", "progress": 0,
        "completed": None, "dateBegin": None, "dateEnd": None, "priority": 0, "reminders": [],
        "parentId": None,
    },
}  # fmt: skip
"""By type: the fields of an item and what they are at first."""


class Refusal(Exception):
    """A request is answered with an error."""

    def __init__(self, code: int, message: str, *fields: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = list(fields)


def said(moment: datetime) -> str:
    """A date as the documentation writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S+0000")


def understood(text: object) -> bool:
    """Whether a text is a date of exactly that form."""
    try:
        return (
            said(datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S+0000").replace(tzinfo=UTC))
            == text
        )
    except ValueError:
        return False


def parsed(text: str) -> dict[str, Any]:
    """The arguments of a request: one JSON object."""
    try:
        arguments = json.loads(text) if text else {}
    except ValueError:
        raise Refusal(400, "Invalid JSON.") from None
    if not isinstance(arguments, dict):
        raise Refusal(400, "Invalid JSON.")
    return arguments


def check(arguments: dict[str, Any], allowed: set[str]) -> None:
    """Refuse an argument that the route does not document, or one of a wrong type."""
    for name, value in arguments.items():
        if name not in allowed or (value is not None and not _fits(name, value)):
            raise Refusal(400, f'Invalid "{name}" parameter.', name)


def _fits(name: str, value: object) -> bool:
    if name in INTEGERS and not isinstance(value, list):
        return type(value) is int and 0 <= value <= 100
    if name in DATES and isinstance(value, str):
        return understood(value)
    if name in OBJECTS:
        return isinstance(value, dict)
    if name in BOOLEANS:
        return isinstance(value, bool)
    if name in ARRAYS:
        return isinstance(value, list)
    return isinstance(value, str | bool | list)
