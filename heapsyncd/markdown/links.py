"""How names in a text and ids in a document find each other, and links that follow a rename."""

from typing import Protocol

from heapsyncd.ids import is_ulid
from heapsyncd.markdown.reader import read
from heapsyncd.tree import Atom, Span


class Links(Protocol):
    """Names and ids as the heap has them now; ``sync`` builds it from the cache."""

    def name_of(self, block_id: str) -> str | None:
        """What stands in ``[[...]]`` for a block; None: no such note, so its id is written."""

    def block_of(self, name: str) -> str | None:
        """The block that ``[[name]]`` means; None: the text stays text."""

    def file_name(self, key: str) -> str | None:
        """What stands in ``![[...]]`` for a ``files_v0`` key; None: the key itself is written."""

    def file_key(self, name: str) -> str | None:
        """The key that ``![[name]]`` or the last part of ``![](X.assets/name)`` means."""


class _NoLinks:
    def name_of(self, block_id: str) -> str | None:  # noqa: ARG002 - the protocol's shape
        return None

    def block_of(self, name: str) -> str | None:  # noqa: ARG002
        return None

    def file_name(self, key: str) -> str | None:  # noqa: ARG002
        return None

    def file_key(self, name: str) -> str | None:  # noqa: ARG002
        return None


NO_LINKS: Links = _NoLinks()
"""Nothing is known: ids are written and read as they are, every name is text."""


def is_name(name: str) -> bool:
    """Whether a name can stand in ``[[...]]`` at all."""
    return bool(name) and not set(name) & set("[]|\\\n\r\t") and name == name.strip()


def retarget(body: str, links_old: Links, links_new: Links) -> str:
    """A note was renamed: the body with its links following, labels and all else as they were."""
    source = body.encode()
    edits: list[tuple[Span, str]] = []
    for block in read(body, links_old).walk():
        for item in block.inline:
            if isinstance(item, Atom) and item.kind == "mention" and item.span is not None:
                edits += _edit(source, item.span, str(item.get("id")), links_new)
    for span, name in sorted(edits, key=lambda e: e[0].start, reverse=True):
        source = source[: span.start] + name.encode() + source[span.end :]
    return source.decode()


def _edit(source: bytes, span: Span, block: str, links: Links) -> list[tuple[Span, str]]:
    """The span of the name inside ``[[name|label]]``, and the name that belongs there now."""
    text = source[span.start + 2 : span.end - 2]
    name = text.split(b"|", 1)[0].removesuffix(b"\\")
    if is_ulid(name.decode()) or links.block_of(name.decode()) == block:
        return []
    new = links.name_of(block)
    if new is None or not is_name(new):
        new = block
    return [(Span(span.start + 2, span.start + 2 + len(name)), new)]
