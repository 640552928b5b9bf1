"""Read and write a document's fields beside its body: title, tags, files, deletion (PROTOCOL §8).

Reading is tolerant: a value that does not have the contract's form is ignored, and kept.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace
from pycrdt import Doc, Map
from pycrdt._base import BaseType

from heapsyncd.document.construct import title
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.schema import FILE_KEY, SHA256, js_equal
from heapsyncd.ids import BlockId
from heapsyncd.model import Fields, FileEntry

_PUBLIC_ID: Final = "public_id"
"""Only documents that a backend makes of a service's items have it."""
_CONFIRMATIONS: Final = 16
_CONFIRMATION_CHARS: Final = 128
"""More confirmations, or longer ones, are not read: anybody may have written them."""


def read(doc: Doc[Any]) -> Fields:
    """Read the fields of a document."""
    meta = plain_map(doc, nodes.META)
    return Fields(
        title=title.read(nodes.read(doc, nodes.TITLE)),
        tags=tuple(
            sorted(BlockId(k) for k, v in plain_map(doc, nodes.RELATIONS).items() if is_tag(v))
        ),
        files=_files(plain_map(doc, nodes.FILES)),
        deleted_at_ms=_integer(meta.get("deleted_at")),
        permanently_deleted_at_ms=_integer(meta.get("permanently_deleted_at")),
        public_id=_text(meta.get(_PUBLIC_ID)),
    )


def confirmations(doc: Doc[Any]) -> dict[str, str]:
    """Return the codes that confirm the block's deletion, by the name of who wrote them.

    They are in a root of heapsyncd's own; ``sync/deletions`` says what they mean.
    """
    found = {
        name: code
        for name, code in plain_map(doc, nodes.CONFIRMED).items()
        if isinstance(code, str) and max(len(name), len(code)) <= _CONFIRMATION_CHARS
    }
    return dict(sorted(found.items())[:_CONFIRMATIONS])


def root_map(doc: Doc[Any], name: str) -> Map[Any]:
    """Return a root of the document that is a map."""
    found: Map[Any] = doc.get(name, type=Map)
    return found


def plain_map(doc: Doc[Any], name: str) -> dict[str, Any]:
    """Return a root map as plain values."""
    return {k: _plain(v) for k, v in members(root_map(doc, name)).items()}


def _plain(value: Any) -> Any:
    """Return a map as plain values, without nested shared types, which the contract does not use.

    Reading those is unsafe: yrs never returns from a list into which a text with an emoji was put.
    """
    if not isinstance(value, Map):
        return value
    return {k: v for k, v in members(value).items() if not isinstance(v, BaseType)}


def members(shared: Map[Any]) -> dict[str, Any]:
    """Return the members of a map; shared types among them stay shared."""
    found = {}
    for key in shared.keys():  # noqa: SIM118 -- no dict
        # yrs lists a key that holds a format, but returns no value for it.
        with suppress(KeyError):
            found[key] = shared[key]
    return found


def is_tag(value: object) -> bool:
    """Tell whether a relation's value has the type ``tag``."""
    return isinstance(value, Mapping) and value.get("type") == "tag"


def _files(entries: Mapping[str, object]) -> tuple[FileEntry, ...]:
    """Return the files by key. Keys that differ only in the hash's case are one file."""
    found: dict[str, FileEntry] = {}
    for key in sorted(entries, reverse=True):  # lower case first: the spelling others write
        file, one = _file(key, entries[key]), _spelled(key)
        kept = found.setdefault(one, file)
        if file.is_uploaded:
            found[one] = replace(kept, is_uploaded=True)
    return tuple(sorted(found.values(), key=lambda f: f.key))


def _spelled(key: str) -> str:
    """Return a key with its hash in lower case; anything else unchanged."""
    return key.lower() if FILE_KEY.fullmatch(key) else key


def _file(key: str, value: object) -> FileEntry:
    entry = value if isinstance(value, Mapping) else {}
    match = FILE_KEY.fullmatch(key)
    named = SHA256.fullmatch(_text(entry.get("hash")))
    size = _integer(entry.get("file_size"))
    if size is None:
        size = int(match["size"]) if match and match["size"] else 0
    return FileEntry(
        key=key,
        # The hash becomes part of a URL and of a file name, so only a valid one may pass.
        hash=(named[0] if named else match["hash"] if match else "").lower(),
        name=_text(entry.get("name")),
        size_bytes=max(0, size),
        mime_type=_text(entry.get("mime_type")) or "application/octet-stream",
        is_uploaded=entry.get("is_uploaded") is True,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Beyond this no JavaScript number is exact, and SQLite may not hold it: treat as invalid.
    return int(value) if -(2**53) < value < 2**53 else None


def put_tag(doc: Doc[Any], tag: BlockId) -> None:
    """Add a tag; a mention of the same block becomes one."""
    relations = root_map(doc, nodes.RELATIONS)
    old = relations.get(tag)
    if is_tag(_plain(old)):
        return
    if isinstance(old, Map):
        old["type"] = "tag"
    else:
        relations[tag] = Map({"type": "tag"})


def drop_tag(doc: Doc[Any], tag: BlockId) -> None:
    """Remove a tag; a relation of another type stays."""
    relations = root_map(doc, nodes.RELATIONS)
    old = relations.get(tag)
    if is_tag(_plain(old)):
        del relations[tag]


def put_file(doc: Doc[Any], file: FileEntry) -> None:
    """Write an entry of ``files_v0``: only the differing values of an existing one."""
    wanted = {
        "name": file.name,
        "mime_type": file.mime_type,
        "file_size": file.size_bytes,
        "hash": file.hash,
        "is_uploaded": file.is_uploaded,
    }
    entries = root_map(doc, nodes.FILES)
    old = entries.get(file.key)
    if not isinstance(old, Map):
        entries[file.key] = Map(wanted)
        return
    have = _plain(old)
    for name, value in wanted.items():
        if name not in have or not js_equal(have[name], value):
            old[name] = value


def drop_file(doc: Doc[Any], key: str) -> None:
    """Remove an entry of ``files_v0`` in whatever spelling."""
    entries = root_map(doc, nodes.FILES)
    for spelling in [k for k in entries.keys() if _spelled(k) == _spelled(key)]:  # noqa: SIM118 -- no dict
        del entries[spelling]


def put_deletion(doc: Doc[Any], at_ms: int | None) -> None:
    """Move the block to the trash at a time in milliseconds, or out of it (None)."""
    meta = root_map(doc, nodes.META)
    have = _integer(meta.get("deleted_at"))
    if have == at_ms:
        return
    if at_ms is None:
        del meta["deleted_at"]
    else:
        meta["deleted_at"] = at_ms


def put_public_id(doc: Doc[Any], value: str) -> None:
    """Write the id that the server gave the block."""
    root_map(doc, nodes.META)[_PUBLIC_ID] = value


def put_confirmations(doc: Doc[Any], codes: Mapping[str, str]) -> None:
    """Write codes that confirm the block's deletion."""
    have = confirmations(doc)
    for name, code in codes.items():
        if have.get(name) != code:
            root_map(doc, nodes.CONFIRMED)[name] = code
