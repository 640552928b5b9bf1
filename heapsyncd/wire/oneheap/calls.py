"""Make the calls that a mirror needs, with typed values (ONEHEAP §4, §6, §7)."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from heapsyncd.errors import OutcomeUnknown, ProtocolError, RequestRefused
from heapsyncd.model import Place
from heapsyncd.wire.answers import Most
from heapsyncd.wire.oneheap.client import Client, TooLarge
from heapsyncd.wire.oneheap.envelope import (
    LIST_MOST,
    MAX_PAGE,
    Envelope,
    page_arguments,
    refused_fields,
)
from heapsyncd.wire.oneheap.items import (
    KINDS,
    Item,
    Kind,
    Page,
    decode_data,
    decode_item,
    decode_page,
    encode_data,
    encode_fields,
)
from heapsyncd.wire.oneheap.routes import route

_SPARE_BYTES = 1 << 20
"""For what a file's answer has beside its data."""
_BASE64_SHARE = 1.5
"""Bytes in base64 for each byte of a file, with room for line breaks."""
_PRIORITY = ("priority", "priotity")
"""The update of a task documents the second, every other route the first (ONEHEAP §4)."""


class Search(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The conditions of a search; all hold together, and the default means no condition."""

    types: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    exclude_ids: tuple[str, ...] | None = None
    archived: bool | None = None
    """None: live items only."""
    box_id: str | None = None
    parent_id: str | None = None
    owner_id: str | None = None
    search: str | None = None
    favorite: bool | None = None
    completed: bool | None = None
    tags: tuple[str, ...] | None = None


class Listing(Struct, frozen=True):
    """A part of all items that can be read page by page, newest first."""

    wanted: Search
    kind: str | None = None
    """The collection whose list route is used; None: a search."""


class Calls:
    """The calls, each one request unless it says otherwise; they raise as ``Client.call`` does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._priority: tuple[str, ...] = _PRIORITY
        self._searchable = frozenset(KINDS)

    async def learn_types(self) -> None:
        """Learn which types a search takes; one request, more if it does not take all.

        Call it once before ``listings``: only two types are documented (ONEHEAP §8).
        """
        if not await self._takes(tuple(KINDS)):
            self._searchable = frozenset([kind for kind in KINDS if await self._takes((kind,))])

    def listings(self, *, archived: bool) -> tuple[Listing, ...]:
        """Return what all live items are read from, or all archived ones.

        It is one search, or several parts if the service does not take all types at once.
        """
        condition = True if archived else None
        if self._searchable == frozenset(KINDS):
            return (Listing(Search(types=tuple(KINDS), archived=condition)),)
        return tuple(
            Listing(
                Search(types=(kind.name,), archived=condition), kind.name if by_route else None
            )
            for kind in KINDS.values()
            if (by_route := kind.is_listed and not archived) or kind.name in self._searchable
        )

    async def page(self, listing: Listing, offset: int = 0, limit: int = MAX_PAGE) -> Page:
        """Return one page of a listing, newest first; not urgent."""
        if listing.kind is not None:
            return await self.listed(listing.kind, offset, limit)
        return await self.search(listing.wanted, offset, limit)

    async def _takes(self, types: tuple[str, ...]) -> bool:
        try:
            await self.search(Search(types=types), limit=1)
        except RequestRefused as error:
            if error.status == 400 and "types" in refused_fields(error):
                return False
            raise
        return True

    async def search(
        self,
        wanted: Search,
        offset: int = 0,
        limit: int = MAX_PAGE,
        *,
        oldest_first: bool = False,
        is_urgent: bool = False,
    ) -> Page:
        """Return one page of a search, newest first; 500 items at most."""
        arguments = {
            **msgspec.to_builtins(wanted),
            **page_arguments(offset, limit, oldest_first=oldest_first),
        }
        return decode_page(
            await self._client.call(
                "POST", "/Searches/", arguments=arguments, most=LIST_MOST, is_urgent=is_urgent
            )
        )

    async def pages(
        self, wanted: Search, limit: int = MAX_PAGE, *, oldest_first: bool = False
    ) -> AsyncIterator[Page]:
        """Yield all pages of a search; what changes meanwhile may be missed or repeated.

        A page whose texts are too large is requested again in halves.
        """
        offset = 0
        while True:
            try:
                page = await self.search(wanted, offset, limit, oldest_first=oldest_first)
            except TooLarge:
                if limit == 1:
                    raise
                limit //= 2
                continue
            yield page
            offset += page.received
            if not page.received or (page.count is not None and offset >= page.count):
                return

    async def listed(self, kind: str, offset: int = 0, limit: int = MAX_PAGE) -> Page:
        """Return one page of a collection that has a list route, newest first.

        Raises:
            ValueError: it has none.
        """
        path = f"/{KINDS[kind].collection}/"
        envelope = await self._client.call(
            "GET", path, arguments=page_arguments(offset, limit), most=LIST_MOST, is_urgent=False
        )
        return decode_page(envelope, kind)

    async def boxes(self) -> list[Place]:
        """Return all boxes that are not archived; one request for each 500."""
        found: dict[str, Place] = {}
        offset = 0
        while True:
            page = await self.listed("box", offset)
            found |= {item.id: Place(item.id, item.name) for item in page.items}
            offset += page.received
            if not page.received or (page.count is not None and offset >= page.count):
                return list(found.values())

    async def found(self, ids: Sequence[str]) -> list[Item]:
        """Return those of the items that exist, live or archived.

        One request for each 500 ids, another one if not all of them are live. What is unreadable
        exists, too, and raises ProtocolError.
        """
        items: dict[str, Item] = {}
        for start in range(0, len(ids), MAX_PAGE):
            part = ids[start : start + MAX_PAGE]
            for archived in (None, True):
                left = tuple(id_ for id_ in part if id_ not in items)
                if not left:
                    break
                async for page in self.pages(Search(ids=left, archived=archived)):
                    if page.unreadable:
                        raise ProtocolError(page.unreadable[0].reason)
                    items |= {item.id: item for item in page.items if item.id in left}
        return list(items.values())

    async def item(self, kind: str, id_: str) -> Item | None:
        """Return an item, None if it does not exist."""
        known = KINDS[kind]
        if not known.is_readable:
            found = await self.found([id_])
            return found[0] if found else None
        try:
            envelope = await self._client.call(
                "GET", f"/{known.collection}/:id/", id_, most=LIST_MOST
            )
        except RequestRefused as error:
            if error.status == 404:
                return None
            raise
        return _only(envelope, kind)

    async def create(self, kind: str, fields: Mapping[str, object]) -> Item:
        """Create an item; ``taken`` tells which fields a creation takes.

        Raises:
            OutcomeUnknown: also when the answer holds no readable item.
        """
        path = f"/{KINDS[kind].collection}/"
        arguments = encode_fields(fields)
        envelope = await self._client.call("POST", path, arguments=arguments, most=LIST_MOST)
        try:
            return _only(envelope, kind)
        except ProtocolError as error:
            raise _unreadable(path) from error

    async def update(self, kind: str, id_: str, fields: Mapping[str, object]) -> Item:
        """Change some fields of an item: None clears, and all others stay.

        A task's priority is sent in both spellings. One that the server refuses is not sent again.
        """
        path = f"/{KINDS[kind].collection}/:id/"
        if kind != "task" or "priority" not in fields:
            return _only(await self._post(path, id_, fields), kind)
        rest = {name: value for name, value in fields.items() if name != "priority"}
        try:
            spelled = dict.fromkeys(self._priority, fields["priority"])
            return _only(await self._post(path, id_, {**rest, **spelled}), kind)
        except RequestRefused as error:
            left = tuple(name for name in self._priority if name not in refused_fields(error))
            # One is refused for its name, both for their value.
            if error.status != 400 or len(left) != 1 or len(self._priority) == 1:
                raise
            spelled = dict.fromkeys(left, fields["priority"])
            answer = await self._post(path, id_, {**rest, **spelled})
            self._priority = left
            return _only(answer, kind)

    async def delete(self, kind: str, id_: str) -> bool:
        """Delete an item for good; return whether it existed."""
        return await self._removed(f"/{KINDS[kind].collection}/:id/", id_)

    async def archive(self, id_: str) -> None:
        """Move an item into the archive."""
        await self._client.call("POST", "/Archives/", arguments={"id": id_}, most=LIST_MOST)

    async def unarchive(self, id_: str) -> bool:
        """Take an item out of the archive; return whether it was there."""
        return await self._removed("/Archives/:id/", id_)

    async def attach(self, kind: str, id_: str, content: bytes) -> list[Item]:
        """Attach a content, which has no name yet; return what the service made of it.

        Raises:
            OutcomeUnknown: also when the answer holds no readable file.
        """
        data = await asyncio.to_thread(encode_data, content)
        path = f"/{KINDS[kind].collection}/:id/Files/"
        envelope = await self._client.call(
            "POST", path, id_, arguments={"files": [data]}, most=LIST_MOST
        )
        try:
            return [decode_item(found, "file") for found in envelope.objects]
        except ProtocolError as error:
            raise _unreadable(path) from error

    async def order_files(self, kind: str, id_: str, file_ids: Sequence[str]) -> None:
        """Put the attachments of an item into an order."""
        await self._client.call(
            "POST",
            f"/{KINDS[kind].collection}/:id/Files/",
            id_,
            arguments={"fileIds": list(file_ids)},
            most=LIST_MOST,
        )

    async def detach(self, kind: str, id_: str, file_id: str) -> bool:
        """Remove an attachment from its owner; return whether it was there."""
        if not KINDS[kind].detaches:
            return await self.delete("file", file_id)
        return await self._removed(f"/{KINDS[kind].collection}/:id/Files/:id/", id_, file_id)

    async def content(self, file_id: str, max_bytes: int) -> bytes:
        """Return the content of a file.

        Raises:
            TooLarge: it has more than ``max_bytes``.
        """
        most = Most(int(max_bytes * _BASE64_SHARE) + _SPARE_BYTES, _SPARE_BYTES)
        envelope = await self._client.call("GET", "/Files/:id/", file_id, most=most)
        if not envelope.objects:
            raise ProtocolError(f"the service's answer about the file {file_id} is empty")
        content = await asyncio.to_thread(decode_data, envelope.objects[0])
        if len(content) > max_bytes:
            raise TooLarge(f"the file {file_id} has more than {max_bytes} bytes")
        return content

    async def add_reminder(self, kind: str, id_: str, fields: Mapping[str, object]) -> None:
        """Add a reminder to a task or an appointment."""
        path = f"/{KINDS[kind].collection}/:id/Reminders/"
        await self._post(path, id_, fields)

    async def remove_reminder(self, kind: str, id_: str, reminder_id: str) -> bool:
        """Remove a reminder; return whether it was there."""
        path = f"/{KINDS[kind].collection}/:id/Reminders/:id/"
        return await self._removed(path, id_, reminder_id)

    async def children(self, id_: str) -> Page:
        """Return the child tasks of a task."""
        path = "/Tasks/:id/Tasks/"
        return decode_page(await self._client.call("GET", path, id_, most=LIST_MOST), "task")

    async def add_child(self, id_: str, child_id: str) -> None:
        """Make an existing task the child of another one."""
        await self._post("/Tasks/:id/Tasks", id_, {"id": child_id})

    async def remove_child(self, id_: str, child_id: str) -> bool:
        """Separate a child task from its parent; return whether it was there."""
        return await self._removed("/Tasks/:id/Tasks/:id/", id_, child_id)

    async def _post(self, path: str, id_: str, fields: Mapping[str, object]) -> Envelope:
        arguments = encode_fields(fields)
        return await self._client.call("POST", path, id_, arguments=arguments, most=LIST_MOST)

    async def _removed(self, path: str, *ids: str) -> bool:
        # A repeated request may find that the first one did it: that is what was wanted.
        try:
            await self._client.call("DELETE", path, *ids, most=LIST_MOST)
        except RequestRefused as error:
            if error.status == 404:
                return False
            raise
        return True


def taken(kind: Kind, *, is_new: bool) -> frozenset[str]:
    """Return the fields that a creation or an update takes, in the API's names.

    Misspelt ones stand in their right spelling.
    """
    found = route("POST", f"/{kind.collection}/" + ("" if is_new else ":id/"))
    return frozenset("priority" if name in _PRIORITY else name for name in found.arguments)


def _only(envelope: Envelope, kind: str) -> Item:
    if not envelope.objects:
        raise ProtocolError(f"the service's answer about a {kind} is empty")
    return decode_item(envelope.objects[0], kind)


def _unreadable(path: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"POST {path}: the answer can't be read, but it was done; it is looked for"
    )
