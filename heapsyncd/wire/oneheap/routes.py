"""List every documented route once: method, path, typed arguments, standing (ONEHEAP, appendix).

The service's spelling is kept, misprints included: a request that the documentation does not know
is never sent.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final
from urllib.parse import quote

from msgspec import Struct

_MIRRORED: Final = """
GET    /Appointments/ id:array ownerId search
POST   /Appointments/ name description location progress:int dateBegin dateEnd boxId
       priority:int reminder image tags:array
DELETE /Appointments/:id/
GET    /Appointments/:id/
POST   /Appointments/:id/ name description location progress:int dateBegin dateEnd boxId
       priority:int image tags:array
POST   /Appointments/:id/Comments/ name body
POST   /Appointments/:id/Files/ files:array fileIds:array
DELETE /Appointments/:id/Files/:id/
DELETE /Appointments/:id/Reminders/
POST   /Appointments/:id/Reminders/ date description
DELETE /Appointments/:id/Reminders/:id/
POST   /Archives/ id
DELETE /Archives/:id/
DELETE /Authentications/
POST   /Authentications/ email password
GET    /Boxes/ id:array ownerId search
POST   /Boxes/ name description image tags:array
DELETE /Boxes/:id/
GET    /Boxes/:id/
POST   /Boxes/:id/ name description image tags:array
POST   /Boxes/:id/Comments/ name body
POST   /Comments/ name body targetId
DELETE /Comments/:id/
POST   /Comments/:id/ name body
POST   /Comments/:id/Comments/ name body
POST   /Comments/:id/Files/ files:array fileIds:array
DELETE /Comments/:id/Files/:id/
POST   /Days/ name description date tags:array
DELETE /Days/:id/
GET    /Days/:id/
POST   /Days/:id/ name description date boxId image tags:array
POST   /Days/:id/Comments/ name body
POST   /Days/:id/Files/ files:array fileIds:array
POST   /Files/ name description filename data boxId permissions:array tags:array
DELETE /Files/:id/
GET    /Files/:id/
POST   /Files/:id/ name description filename data boxId tags:array
POST   /Files/:id/Comments/ name body
GET    /Notes/ id:array ownerId search
POST   /Notes/ name description body boxId image tags:array
DELETE /Notes/:id/
GET    /Notes/:id/
POST   /Notes/:id/ name description body boxId image tags:array
POST   /Notes/:id/Comments/ name body
POST   /Notes/:id/Files/ files:array fileIds:array
DELETE /Notes/:id/Files/:id/
POST   /Searches/ parentId parentType archived:bool ids:array excludeIds:array ownerId
       types:array progress:array completed:bool boxId date:array search follow:bool
       favorite:bool asign tags:array
POST   /Stickies/ name body parentId color
DELETE /Stickies/:id/
GET    /Stickies/:id/
POST   /Stickies/:id/ name body color
GET    /Tasks/ id:array ownerId search progress:array priority:array workerIds
POST   /Tasks/ name description body location progress:int dateBegin dateEnd boxId
       priority:int reminder image tags:array
DELETE /Tasks/:id/
GET    /Tasks/:id/
GET    /Tasks/:id/
POST   /Tasks/:id/ name description body location progress:int completed dateBegin dateEnd
       priority:int priotity:int boxId image tags:array
POST   /Tasks/:id/Comments/ name body
POST   /Tasks/:id/Files/ files:array fileIds:array
DELETE /Tasks/:id/Files/:id/
DELETE /Tasks/:id/Reminders/
POST   /Tasks/:id/Reminders/ date type description
DELETE /Tasks/:id/Reminders/:id/
POST   /Tasks/:id/Tasks id
GET    /Tasks/:id/Tasks/
DELETE /Tasks/:id/Tasks/:id/
"""
"""What the mirror uses. An argument without a type is a string; a row may continue, indented.

Two arguments are not in the documentation: ``id`` of ``POST /Tasks/:id/Tasks``, which it does not
state, and ``priority`` of ``POST /Tasks/:id/``, which it spells ``priotity`` (ONEHEAP §4).
"""

_OTHER: Final = """
POST   /Appointments/:id/Follower/ userId
DELETE /Appointments/:id/Follower/:id/
GET    /Appointments/:id/Keys
POST   /Appointments/:id/Permissions/ permissions:array
POST   /Appointments/:id/Styles/ userId color backgroundColor recursive:bool
POST   /Appointments/:id/Users/ userIds:array state comment
DELETE /Appointments/:id/Users/:id/
POST   /Boxes/:id/Follower/ userId
POST   /Boxes/:id/Permissions/ permissions:array
GET    /Boxes/:id/Stats/
POST   /Boxes/:id/Styles/ userId color backgroundColor recursive:bool
POST   /Days/:id/Follower/ userId
POST   /Days/:id/Permissions/ permissions:array
POST   /Days/:id/Styles/ userId color backgroundColor recursive:bool
POST   /Errors/ name description data
POST   /Exports/ query:object type
POST   /Favorites/ itemId
DELETE /Favorites/:id/
POST   /Files/:id/Files/ name description data
POST   /Files/:id/Follower/ userId
POST   /Files/:id/Permissions/ permissions:array
POST   /Files/:id/Styles/ userId color backgroundColor recursive:bool
POST   /Group/ name description image tags:array
GET    /Groups/ id:array ownerId search
DELETE /Groups/:id/
GET    /Groups/:id/
POST   /Groups/:id/ name description image tags:array
GET    /Groups/:id/Users/
POST   /Groups/:id/Users/ userIds:array
DELETE /Groups/:id/Users/:id/
GET    /Hints/ id:array ownerId search
DELETE /Hints/:id/
POST   /Hints/:id/ read:bool
POST   /Imports/ data type boxId
GET    /Invitations/:id/
GET    /Keys/
GET    /Licenses/ interval
POST   /Notes/:id/Follower/ userId
DELETE /Notes/:id/Follower/:id/
GET    /Notes/:id/Keys
POST   /Notes/:id/Permissions/ permissions:array
POST   /Notes/:id/Styles/ userId color backgroundColor recursive:bool
GET    /Notifications/ id:array ownerId search
POST   /Notifications/ itemId recipientId comment
DELETE /Notifications/:id/
GET    /Notifications/:id/
DELETE /Passwords/
POST   /Passwords/ token password
POST   /Permissions/ item recursive:bool mode permissions
GET    /Publics/ id:array search
DELETE /Publics/:id/
GET    /Publics/:id/
POST   /Publics/:id/ name description expire
POST   /Qas/ title body
GET    /Statistics/
POST   /Subscriptions/ paymentType licenseId returnUrl
DELETE /Tasks/:id/Assignments/
POST   /Tasks/:id/Assignments/ userIds:array mode comment
DELETE /Tasks/:id/Assignments/:id/
POST   /Tasks/:id/Follower/ userId
DELETE /Tasks/:id/Follower/:id/
GET    /Tasks/:id/Keys
POST   /Tasks/:id/Permissions/ permissions:array
POST   /Tasks/:id/Styles/ userId color backgroundColor recursive:bool
POST   /Tasks/:id/Trackings/ action
GET    /Users/ search parentId excludeIds:array known:bool
POST   /Users/ email password successUrl errorUrl firstName lastName alias signature image
       invitationToken settings:array
DELETE /Users/:id/
GET    /Users/:id/
POST   /Users/:id/ password firstName lastName alias signature image settings:array
POST   /Users/:id/Crypts/ public pricate
POST   /Users/:id/Knowns/ user token message
DELETE /Users/:id/Knowns/:id/
GET    /Users/:id/Stats/
DELETE /Users/:id/Tasks/:id/
"""
"""What only a program that uses the client can reach."""

_NOT_IMPLEMENTED: Final = """
POST   /Keys/ name description public private
DELETE /Subscriptions/:id/
POST   /Users/:id/Users/
"""
"""What the documentation lists as not implemented yet: never sent."""

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "int": int,
    "bool": bool,
    "array": (list, tuple),
    "object": dict,
}
_ID: Final = ":id"
_MAX_ID_CHARS = 200
_NEXT_ROW: Final = re.compile(r"\n(?! )")


class Standing(Enum):
    """What heapsyncd does with a route."""

    MIRRORED = "mirrored"
    OTHER = "other"
    NOT_IMPLEMENTED = "documented as not implemented"


class Route(Struct, frozen=True):
    """One documented route."""

    method: str
    path: str
    """With ``:id`` where an id stands."""
    arguments: Mapping[str, str]
    """Name to type: string, int, bool, array, object."""
    standing: Standing

    @property
    def is_list(self) -> bool:
        """Whether the answer is paged, so that ``limit`` and ``sort`` may stand beside."""
        return self.path == "/Searches/" or (self.method == "GET" and "search" in self.arguments)

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice does the same as sending it once (ONEHEAP §7).

        Every other POST makes something.
        """
        if self.method != "POST" or self.path.endswith(f"{_ID}/"):
            return True
        return self.path in {"/Searches/", "/Archives/", "/Authentications/"}

    def fill(self, *ids: str) -> str:
        """Return the path with the ids in their places, percent-encoded.

        Raises:
            ValueError: another number of ids is needed, or a text can't be an id in a path.
        """
        parts = self.path.split(_ID)
        if len(ids) != len(parts) - 1:
            raise ValueError(f"{self.method} {self.path} takes {len(parts) - 1} ids")
        if not all(map(is_id, ids)):
            raise ValueError(f"{self.method} {self.path}: not an id")
        encoded = [*(quote(id_, safe="") for id_ in ids), ""]
        return "".join(part + id_ for part, id_ in zip(parts, encoded, strict=True))

    def checked(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        """Return arguments that are documented and of the documented type; None clears.

        Raises:
            ValueError: one is not.
        """
        for name, value in arguments.items():
            if name in {"limit", "sort"} and self.is_list:
                continue
            type_ = self.arguments.get(name)
            if type_ is None:
                raise ValueError(f"{self.method} {self.path} takes no {name!r}")
            is_wrong_bool = isinstance(value, bool) and type_ != "bool"
            if value is not None and (is_wrong_bool or not isinstance(value, _TYPES[type_])):
                raise ValueError(f"{self.method} {self.path}: {name!r} is not of type {type_}")
        return arguments


def is_id(text: str) -> bool:
    """Return whether a text can be an id: it becomes a part of paths, so dots alone may not."""
    return 0 < len(text) <= _MAX_ID_CHARS and text.isprintable() and text not in {".", ".."}


def _parse(table: str, standing: Standing) -> list[Route]:
    rows = []
    for row in _NEXT_ROW.split(table.strip()):
        method, path, *arguments = row.split()
        typed = (argument.partition(":") for argument in arguments)
        types = {name: type_ or "string" for name, _, type_ in typed}
        rows.append(Route(method, path, types, standing))
    return rows


ROUTES: Final = (
    *_parse(_MIRRORED, Standing.MIRRORED),
    *_parse(_OTHER, Standing.OTHER),
    *_parse(_NOT_IMPLEMENTED, Standing.NOT_IMPLEMENTED),
)
"""All rows as documented; ``GET /Tasks/:id/`` is there twice, once as a misprint."""
_BY_NAME: Final = {(route.method, route.path): route for route in ROUTES}


def route(method: str, path: str) -> Route:
    """Return a documented route, such as ``("POST", "/Notes/:id/")``.

    Raises:
        ValueError: it is not documented.
    """
    found = _BY_NAME.get((method, path))
    if found is None:
        raise ValueError(f"{method} {path} is not a documented route")
    return found
