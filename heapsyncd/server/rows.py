"""A block's row: what its document says, for listings, search and the delta feed (PROTOCOL §4,
§8).
"""

import json
from dataclasses import dataclass

import msgspec
import structlog

from heapsyncd.document import plain_text
from heapsyncd.document.replica import Replica
from heapsyncd.errors import UnreadableDocument
from heapsyncd.model import Fields

log = structlog.get_logger(__name__)

TEXT_CHARS = 2_000
"""How much of a note's text a row shows."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What is read off a document when it changes."""

    title: str = ""
    text: str = ""
    folded: str = ""
    relations: str = "[]"
    files: str = "[]"
    deleted_at_ms: int | None = None
    permanent_at_ms: int | None = None


def derive(replica: Replica) -> Derived:
    """Read the row off a document.

    What can't be read is shown as empty: a document that nobody understands is kept all the same.
    """
    try:
        fields = replica.fields()
    except UnreadableDocument as error:
        log.warning("a document's fields can't be read", reason=str(error))
        fields = Fields("", (), ())
    try:
        text = _storable(plain_text.text(replica).strip())
    except UnreadableDocument as error:
        log.warning("a document's text can't be read", reason=str(error))
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


@dataclass(frozen=True, slots=True)
class Row:
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
        """The row as the contract shows it."""
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
        """The answer of ``/api/block``: the row, its relations and files."""
        return {
            "block": self.public(),
            "relations": msgspec.json.decode(self.relations),
            "files": msgspec.json.decode(self.files),
        }

    def file_of(self, hash_: str) -> dict[str, object] | None:
        """The ``files_v0`` entry of the content, None when the document has none."""
        for entry in json.loads(self.files):
            if entry["hash"] == hash_ or entry["key"].partition(":")[0] == hash_:
                found: dict[str, object] = entry
                return found
        return None


def _storable(text: str) -> str:
    # SQLite takes no lone surrogates and shows a text only up to a NUL.
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _stamp(value: int | None) -> int | None:
    # A document may hold any number; what SQLite can't hold still means "deleted".
    return None if value is None else max(-(2**53), min(value, 2**53))
