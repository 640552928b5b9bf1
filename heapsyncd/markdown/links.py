"""How names in a text and ids in a document find each other."""

from typing import Protocol


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
