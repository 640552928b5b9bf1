"""Map names in a text to ids in a heap and back."""

from typing import Protocol


class Links(Protocol):
    """Resolves names and ids as the heap has them now. ``sync`` implements it on the cache."""

    def name_of(self, block_id: str) -> str | None:
        """Return the name to write in ``[[...]]`` for a block, None if there is no such note.

        With None the id itself is written.
        """

    def block_of(self, name: str) -> str | None:
        """Return the block that ``[[name]]`` refers to, None if no note has that name.

        With None the link stays plain text.
        """

    def file_name(self, key: str) -> str | None:
        """Return the name to write in ``![[...]]`` for a ``files_v0`` key, None if unknown.

        With None the key itself is written.
        """

    def file_key(self, name: str) -> str | None:
        """Return the key that ``![[name]]`` or the last part of ``![](X.assets/name)`` refers to.

        None if no such file is known.
        """


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
"""Resolves nothing: ids are read and written as they are, every name is plain text."""


def is_name(name: str) -> bool:
    """Return whether a name can be written in ``[[...]]`` at all."""
    return bool(name) and not set(name) & set("[]|\\\n\r\t") and name == name.strip()
