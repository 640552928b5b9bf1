"""Make and check the codes by which one's devices know each other's confirmed deletions. Pure.

``sync/deletions/README.md`` says why a code cannot be made by anybody else.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from heapsyncd.ids import BlockId, HeapId, Seed

_PURPOSE: Final = b"heapsyncd: confirmed deletions"
_NAME: Final = b"name"
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Confirmer:
    """What all devices with an account's key have in common. ``name`` is public."""

    name: str
    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, seed: Seed) -> Self:
        """Derive it from the account's key, which serves nothing else directly than signing in."""
        key = hmac.digest(seed.reveal(), _PURPOSE, "sha256")
        return cls(hmac.digest(key, _NAME, "sha256")[:_NAME_BYTES].hex(), key)

    def code(self, heap: HeapId, block: BlockId, deleted_at_ms: int) -> str:
        """Return the code that confirms one deletion of one block."""
        message = json.dumps([heap, block, deleted_at_ms]).encode()
        return hmac.digest(self._key, message, "sha256").hex()

    def entry(
        self, heap: HeapId, block: BlockId, deleted_at_ms: int
    ) -> tuple[tuple[str, str], ...]:
        """Return that code as the target of an edit (``Target.confirmations``)."""
        return ((self.name, self.code(heap, block, deleted_at_ms)),)

    def confirms(
        self, codes: Mapping[str, str], heap: HeapId, block: BlockId, deleted_at_ms: int
    ) -> bool:
        """Return whether one of one's devices confirmed this deletion of a block."""
        code = codes.get(self.name, "")
        return hmac.compare_digest(
            code.encode("utf-8", "replace"), self.code(heap, block, deleted_at_ms).encode()
        )
