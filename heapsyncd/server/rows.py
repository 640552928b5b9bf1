"""Derive a block's row from its document, for listings, search and the delta feed (PROTOCOL §4,
§8).
"""

import json

import msgspec
import structlog
from msgspec import Struct

from heapsyncd.document import plain_text
from heapsyncd.document.replica import Replica
from heapsyncd.errors import UnreadableDocument
from heapsyncd.model import Fields

log = structlog.get_logger(__name__)

TEXT_CHARS = 2_000
"""The most characters of a note's text in a row."""


class Derived(Struct, frozen=True):
    """What is derived from a document when it changes."""

    title: str = ""
    text: str = ""
    folded: str = ""
    relations: str = "[]"
    files: str = "[]"
    deleted_at_ms: int | None = None
    permanent_at_ms: int | None = None


def derive(replica: Replica) -> Derived:
    """Derive the row from a document.

    What can't be read becomes empty: such a document is stored all the same.
    """
    try:
        fields = replica.fields()
    except UnreadableDocument as error:
        log.warning("fields of a document can't be read", reason=str(error))
        fields = Fields("", (), ())
    try:
        text = _storable(plain_text.text(replica).strip())
    except UnreadableDocument as error:
        log.warning("text of a document can't be read", reason=str(error))
        text = ""
    title = _storable(fields.title.strip())
    files = [
        {
            "key": f.key,
            "hash": f.hash,
            "name": f.name,
            "mime_type": f.mime_type,
            "file_size": f.size_bytes,
            "is_uploaded": f.is_uploaded,
        }
        for f in fields.files
    ]
    return Derived(
        title=title,
        text=text[:TEXT_CHARS],
        folded=f"{title}\n{text}".casefold() if title or text else "",
        relations=json.dumps([{"block_id": tag, "type": "tag"} for tag in fields.tags]),
        files=json.dumps(files),
        deleted_at_ms=_stamp(fields.deleted_at_ms),
        permanent_at_ms=_stamp(fields.permanently_deleted_at_ms),
    )


class Row(Struct, frozen=True):
    """A block's row as the tables hold it."""

    id: str
    workspace_id: str
    type: str
    title: str
    text: str
    sync_version: int
    created_at: int
    updated_at: int
    deleted_at: int | None
    permanent_at: int | None
    relations: str
    files: str

    def public(self) -> dict[str, object]:
        """Return the row as the contract shows it."""
        return {
            "id": self.id,
            "workspace_id": self.workspace_id,
            "type": self.type,
            "title": self.title,
            "text": self.text,
            "sync_version": self.sync_version,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "deleted_at": self.deleted_at,
        }

    def with_details(self) -> dict[str, object]:
        """Return the answer of ``/api/block``: the row, its relations and files."""
        return {
            "block": self.public(),
            "relations": msgspec.json.decode(self.relations),
            "files": msgspec.json.decode(self.files),
        }

    def file_of(self, hash_: str) -> dict[str, object] | None:
        """Return the ``files_v0`` entry of a content; None when the document has none."""
        for entry in json.loads(self.files):
            if entry["hash"] == hash_ or entry["key"].partition(":")[0] == hash_:
                found: dict[str, object] = entry
                return found
        return None


def _storable(text: str) -> str:
    # SQLite refuses lone surrogates, and returns a text only up to a NUL.
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _stamp(value: int | None) -> int | None:
    # A document may contain any number; one that SQLite can't store still means "deleted".
    return None if value is None else max(-(2**53), min(value, 2**53))
