"""What a block's document says beside its body: title, tags, files, deletion (PROTOCOL §8).

Read tolerantly: a value of another shape than the contract's is passed over, and left alone.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from pycrdt import Doc, Map

from heapsyncd.document import nodes
from heapsyncd.document.nodes import Elem
from heapsyncd.ids import BlockId
from heapsyncd.model import Fields, FileEntry

FILE_KEY = re.compile(r"(?P<hash>[0-9a-fA-F]{64})(?::(?P<size>\d{1,15}))?")


def read(doc: Doc[Any]) -> Fields:
    """The fields of a document."""
    meta = plain_map(doc, nodes.META)
    return Fields(
        title=title(nodes.read(doc, nodes.TITLE)),
        tags=tuple(
            sorted(BlockId(k) for k, v in plain_map(doc, nodes.RELATIONS).items() if is_tag(v))
        ),
        files=tuple(_file(k, v) for k, v in sorted(plain_map(doc, nodes.FILES).items())),
        deleted_at_ms=_integer(meta.get("deleted_at")),
        permanently_deleted_at_ms=_integer(meta.get("permanently_deleted_at")),
    )


def root_map(doc: Doc[Any], name: str) -> Map[Any]:
    """A root of the document that is a map."""
    found: Map[Any] = doc.get(name, type=Map)
    return found


def plain_map(doc: Doc[Any], name: str) -> dict[str, Any]:
    """A root map as plain values."""
    return {k: v.to_py() if isinstance(v, Map) else v for k, v in root_map(doc, name).items()}


def title(root: Elem) -> str:
    """The title: all its text on one line, whether inside a paragraph or bare."""
    text = "".join(map(one_line, nodes.texts(root)))
    return text.replace("\0", "").strip()


def one_line(text: str) -> str:
    """Newlines as spaces, one for one."""
    return text.replace("\n", " ").replace("\r", " ")


def is_tag(value: object) -> bool:
    """Whether a relation's value is of type ``tag``."""
    return isinstance(value, Mapping) and value.get("type") == "tag"


def _file(key: str, value: object) -> FileEntry:
    entry = value if isinstance(value, Mapping) else {}
    match = FILE_KEY.fullmatch(key)
    digest = match["hash"] if match else key.partition(":")[0]
    size = _integer(entry.get("file_size"))
    if size is None:
        size = int(match["size"]) if match and match["size"] else 0
    return FileEntry(
        key=key,
        hash=_text(entry.get("hash")) or digest,
        name=_text(entry.get("name")),
        size_bytes=max(0, size),
        mime_type=_text(entry.get("mime_type")) or "application/octet-stream",
        is_uploaded=entry.get("is_uploaded") is True,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value)
