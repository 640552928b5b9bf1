"""Identifiers and secrets as types: parsed once at the border, then trusted."""

import re
import secrets
from dataclasses import dataclass, field
from typing import NewType

import base58

HeapId = NewType("HeapId", str)
"""A heap's ULID, 26 characters of Crockford base32."""

BlockId = NewType("BlockId", str)
"""A block's ULID."""

ULID_PATTERN = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
_ULID = re.compile(ULID_PATTERN)
SEED_BYTES = 32
HIDDEN = "…"
_SECRET_TEXT = re.compile(
    r"(?P<before>Bearer\s+|[?&](?:token|access_token)=)[^\s&\"']+"  # headers and addresses
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # JSON web tokens anywhere
)


def is_ulid(text: str) -> bool:
    """Return whether a text is a ULID in its canonical spelling (26 upper-case characters)."""
    return _ULID.fullmatch(text) is not None


def new_block_id() -> BlockId:
    """Return a fresh block id.

    The client makes ids so that creation can be retried (PROTOCOL §4).
    """
    from ulid import ULID  # noqa: PLC0415 -- asks for its own version when imported: 12 ms

    return BlockId(str(ULID()))


@dataclass(frozen=True, slots=True)
class Seed:
    """An ed25519 seed of 32 bytes.

    Its repr hides the secret. Only ``reveal`` and ``reveal_text`` return it, which stand out in
    review.
    """

    _raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._raw) != SEED_BYTES:
            raise ValueError(f"a key has {SEED_BYTES} bytes, this one has {len(self._raw)}")

    @classmethod
    def new(cls) -> "Seed":
        """A fresh one."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @classmethod
    def parse(cls, text: str) -> "Seed":
        """Parse the base58 text of a key file.

        Raises:
            ValueError: it is not 32 bytes of base58.
        """
        return cls(base58.b58decode(text.strip()))

    def reveal(self) -> bytes:
        """Return the raw secret. Only for signing."""
        return self._raw

    def reveal_text(self) -> str:
        """Return the base58 text. Only for writing a key file."""
        return base58.b58encode(self._raw).decode()

    def __str__(self) -> str:
        return "Seed(…)"


@dataclass(frozen=True, slots=True)
class Password:
    """An account's password. Its repr hides the secret."""

    _raw: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Password":
        """Parse the text of a password file: all of it but one line break at its end.

        Raises:
            ValueError: it is empty, or has several lines.
        """
        raw = text.removesuffix("\n").removesuffix("\r")
        if not raw or "\n" in raw or "\r" in raw:
            raise ValueError("a password is one line that is not empty")
        return cls(raw)

    def reveal(self) -> str:
        """Return the password. Only for the body of a sign-in, and for writing its file."""
        return self._raw

    def __str__(self) -> str:
        return "Password(…)"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token. Its repr hides the secret."""

    _raw: str = field(repr=False)

    def reveal(self) -> str:
        """Return the token's text. Only for a header or an Auth message."""
        return self._raw

    def __str__(self) -> str:
        return "Token(…)"


def hide(text: str) -> str:
    """Return a text with bearer tokens, and tokens in addresses, replaced by an ellipsis."""
    return _SECRET_TEXT.sub(lambda match: (match["before"] or "") + HIDDEN, text)
