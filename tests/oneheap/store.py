"""The items of the service for tests, in memory."""

import base64
import binascii
import hashlib
import mimetypes
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.oneheap.words import COMMON, FIELDS, Refusal, said

Item = dict[str, Any]


class Store:
    """All items, by id, in the order of their creation."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.items: dict[str, Item] = {}
        self.contents: dict[str, bytes] = {}
        """Of files, by id."""
        self.max_bytes = 64 << 20
        self._now = now
        self._made = 0

    def new_id(self) -> str:
        """An id that says nothing, and is given once."""
        self._made += 1
        return hashlib.sha256(str(self._made).encode()).hexdigest()[:24]

    def get(self, id_: str, type_: str | None = None) -> Item:
        """An item, which must exist and be of the type."""
        item = self.items.get(id_)
        if item is None or (type_ is not None and item["type"] != type_):
            raise Refusal(404, "Not found.")
        return item

    def create(self, type_: str, fields: Item) -> Item:
        """A new item, however often it is asked for."""
        item: Item = {
            "id": self.new_id(),
            "type": type_,
            **COMMON,
            **{k: list(v) if isinstance(v, list) else v for k, v in FIELDS[type_].items()},
            "created": said(self._now()),
        }
        self.items[item["id"]] = item
        try:
            self.change(item, fields)
        except Refusal:
            del self.items[item["id"]]
            raise
        return item

    def change(self, item: Item, fields: Item) -> None:
        """Change what is named; null clears."""
        for name in ("boxId", "parentId", "targetId"):
            target = self.items.get(fields.get(name) or "")
            is_box = name != "boxId" or (target is not None and target["type"] == "box")
            if fields.get(name) and (target is None or not is_box):
                raise Refusal(400, f'Invalid "{name}" parameter.', name)
        content = self._decoded(fields["data"]) if fields.get("data") is not None else None
        known = FIELDS[item["type"]]
        for name, value in fields.items():
            if name == "reminder":
                item["reminders"].append(self._reminder({"date": value, "type": "fixed"}))
            elif name == "priotity":
                item["priority"] = value or 0
            elif name in known:
                item[name] = value if value is not None else known[name]
            elif name in {"name", "image"}:
                item[name] = value if value is not None else COMMON[name]
        if content is not None:
            self._fill(item, content)
        elif item["type"] == "file":
            item["mimeType"] = mimetypes.guess_type(item["filename"])[0] or item["mimeType"]
        self.touch(item)

    def touch(self, item: Item) -> None:
        """The item was changed just now."""
        item["modified"] = said(self._now())

    def attach(self, item: Item, data: list[str]) -> list[Item]:
        """New files that belong to an item."""
        contents = [self._decoded(text) for text in data]
        files = [self.create("file", {"parentId": item["id"]}) for _ in contents]
        for file, content in zip(files, contents, strict=True):
            self._fill(file, content)
        self.touch(item)
        return files

    def attachments(self, item: Item) -> list[Item]:
        """The files that belong to an item, in their order."""
        files = [
            f for f in self.items.values() if f["type"] == "file" and f["parentId"] == item["id"]
        ]
        return sorted(files, key=lambda file: file.get("_place", 0))

    def order(self, item: Item, ids: list[str]) -> None:
        """Put the attachments into an order."""
        files = {file["id"]: file for file in self.attachments(item)}
        if set(ids) != set(files):
            raise Refusal(400, 'Invalid "fileIds" parameter.', "fileIds")
        for place, id_ in enumerate(ids):
            files[id_]["_place"] = place
        self.touch(item)

    def remind(self, item: Item, fields: Item) -> None:
        """One more reminder."""
        item["reminders"].append(self._reminder(fields))
        self.touch(item)

    def delete(self, item: Item) -> None:
        """For good; attachments and comments go along, children, stickies and items stay."""
        id_ = item["id"]
        del self.items[id_]
        self.contents.pop(id_, None)
        for other in list(self.items.values()):
            if other["id"] not in self.items:
                continue
            is_attachment = other["type"] == "file" and other.get("parentId") == id_
            if is_attachment or other.get("targetId") == id_:
                self.delete(other)
                continue
            for name in ("parentId", "boxId"):
                if other.get(name) == id_:
                    other[name] = None
                    self.touch(other)

    def view(self, item: Item, *, with_data: bool = False) -> Item:
        """An item as it is answered."""
        shown = {name: value for name, value in item.items() if not name.startswith("_")}
        names = ("id", "name", "filename", "size", "mimeType", "modified")
        shown["files"] = [{n: file[n] for n in names} for file in self.attachments(item)]
        if with_data:
            shown["data"] = base64.b64encode(self.contents.get(item["id"], b"")).decode()
        return shown

    def of(self, type_: str) -> list[Item]:
        """All items of a type."""
        return [item for item in self.items.values() if item["type"] == type_]

    def _decoded(self, text: object) -> bytes:
        try:
            content = base64.b64decode(str(text), validate=True)
        except binascii.Error:
            raise Refusal(400, 'Invalid "data" parameter.', "data") from None
        if len(content) > self.max_bytes:
            raise Refusal(413, "Too large.", "data")
        return content

    def _fill(self, file: Item, content: bytes) -> None:
        self.contents[file["id"]] = content
        file["size"] = len(content)
        guessed = mimetypes.guess_type(file["filename"])[0]
        file["mimeType"] = guessed or file["mimeType"] or "application/octet-stream"

    def _reminder(self, fields: Item) -> Item:
        return {"id": self.new_id(), "date": None, "type": "", "description": "", **fields}


def found(items: list[Item], wanted: Item) -> list[Item]:
    """Those that meet all conditions of a search or a list."""
    ids = wanted.get("ids", wanted.get("id"))
    text = (wanted.get("search") or "").casefold()
    result = []
    for item in items:
        texts = " ".join(str(item.get(name) or "") for name in ("name", "body", "description"))
        meets = (
            (ids is None or item["id"] in ids)
            and item["id"] not in (wanted.get("excludeIds") or ())
            and (wanted.get("types") is None or item["type"] in wanted["types"])
            and all(
                wanted.get(name) is None or item.get(name) == wanted[name]
                for name in ("boxId", "parentId", "ownerId", "favorite")
            )
            and item["archived"] == bool(wanted.get("archived"))
            and (
                wanted.get("completed") is None
                or bool(item.get("completed")) == wanted["completed"]
            )
            and set(wanted.get("tags") or ()) <= set(item.get("tags") or ())
            and text in texts.casefold()
        )
        if meets:
            result.append(item)
    return result


def paged(items: list[Item], wanted: Item) -> list[Item]:
    """One page of them, sorted."""
    (key, order), *more = (wanted.get("sort") or {"modified/created": "desc"}).items()
    if key != "modified/created" or order not in {"asc", "desc"} or more:
        raise Refusal(400, 'Invalid "sort" parameter.', "sort")
    limit = wanted.get("limit") or {}
    offset, most = limit.get("offset", 0), limit.get("limit", 25)
    if type(offset) is not int or type(most) is not int or offset < 0 or most < 1:
        raise Refusal(400, 'Invalid "limit" parameter.', "limit")
    ordered = sorted(items, key=lambda item: item["id"])
    ordered.sort(key=lambda item: item["modified"] or item["created"], reverse=order == "desc")
    return ordered[offset : offset + min(most, 500)]
