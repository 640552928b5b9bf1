"""Define every assumed shape of a Heaper server's JSON in this one place (PROTOCOL §2 to §6).

Reading is tolerant (unknown fields are ignored, the named alternatives accepted), writing strict.
If a real server answers otherwise, only this file changes. Shapes are msgspec structs; the
functions convert them to our values, and raise ProtocolError for what the contract does not allow.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast, get_args

import msgspec

from heapsyncd.errors import ProtocolError
from heapsyncd.ids import BlockId, HeapId, Token, is_ulid
from heapsyncd.model import (
    BlockKind,
    BlockRow,
    Changed,
    ChangePage,
    Gone,
    Heap,
    PullAnswer,
    PullAsk,
    Pulled,
    Push,
    PushResult,
    PushStatus,
)
from heapsyncd.wire.answers import Most
from heapsyncd.wire.scalars import Time, block_ms, ms, ulid, version
from heapsyncd.wire.values import UploadSource

_KINDS = frozenset(get_args(BlockKind))
_STATUSES = frozenset(get_args(PushStatus))
_MAX_KEY_CHARS = 1024


class Instance(msgspec.Struct):
    """Answer of ``GET /api/``."""

    public_key: Any = None

    def key(self) -> str | None:
        """Return the key that identifies the server at any address; None when it has none."""
        key = self.public_key
        return key if isinstance(key, str) and 0 < len(key) <= _MAX_KEY_CHARS else None


MiB = 1 << 20
ROWS_MOST = Most(16 * MiB, 1 * MiB)
"""For lists of heaps, rows and changes: a hundred thousand on one page."""
AUTH_MOST = Most(64 << 10, 1000)
PULL_BYTES = 96 * MiB
"""A single document may be large, though none is larger than a message of ``/ws``."""


def pull_most(asks: int) -> Most:
    """Return the bounds of a pull's answer: large texts, but only as many values as asked for."""
    return Most(PULL_BYTES, 64 * (asks + 16))


class Challenge(msgspec.Struct):
    """Answer of create_session; older servers write ``message``."""

    challenge: str | None = None
    message: str | None = None

    def text(self) -> str:
        """Return the text to sign."""
        text = self.challenge or self.message
        if not text:
            raise ProtocolError("the server's sign-in answer contains no challenge")
        return text


class TokenPair(msgspec.Struct):
    """Answer of verify_session and refresh_token; older servers write with underscores."""

    accessToken: str | None = None  # noqa: N815 - the server's spelling
    refreshToken: str | None = None  # noqa: N815 - the server's spelling
    access_token: str | None = None
    refresh_token: str | None = None

    def access(self) -> Token:
        """Return the token for calls."""
        text = self.accessToken or self.access_token
        if not text:
            raise ProtocolError("the server's sign-in answer contains no access token")
        return Token(text)

    def refresh(self) -> Token | None:
        """Return the token for refresh_token, which serves once; None if there is none."""
        text = self.refreshToken or self.refresh_token
        return Token(text) if text else None


class _Heap(msgspec.Struct):
    id: str
    title: str | None = None
    block_id: str | None = None
    encrypted: bool | None = None


class _Heaps(msgspec.Struct):
    heaps: list[_Heap] | None = None
    workspaces: list[_Heap] | None = None


Heaps = _Heaps | list[_Heap]


def decode_heaps(answer: Heaps) -> list[Heap]:
    """Decode the list of heaps, in any of its three spellings."""
    listed = answer if isinstance(answer, list) else answer.heaps
    if listed is None and isinstance(answer, _Heaps):
        listed = answer.workspaces
    if listed is None:
        raise ProtocolError("the server's answer contains no list of heaps")
    return [
        Heap(
            HeapId(ulid(heap.id)),
            heap.title or "",
            BlockId(heap.block_id) if heap.block_id and is_ulid(heap.block_id) else None,
            bool(heap.encrypted),
        )
        for heap in listed
    ]


class Row(msgspec.Struct):
    """A block's row."""

    id: str
    workspace_id: str | None = None
    type: str | None = None
    title: str | None = None
    sync_version: int = 1
    deleted_at: Time = None


class OneBlock(msgspec.Struct):
    """Answer of block and insert_block."""

    block: Row


class Rows(msgspec.Struct):
    """Answer of query_blocks."""

    blocks: list[Row]
    total: int | None = None


def decode_row(row: Row, heap_id: HeapId) -> BlockRow:
    """Convert a row to a value.

    A kind that this version does not know counts as a document, since every block has a document.
    """
    kind = cast("BlockKind", row.type) if row.type in _KINDS else "document"
    return BlockRow(
        BlockId(ulid(row.id)),
        HeapId(ulid(row.workspace_id)) if row.workspace_id else heap_id,
        kind,
        row.title or "",
        version(row.sync_version),
        block_ms(row.deleted_at),
    )


class _Changed(msgspec.Struct):
    id: str
    sync_version: int
    updated_at: Time = None


class _Gone(msgspec.Struct):
    id: str
    deleted_at: Time = None
    permanent: bool = False


class Delta(msgspec.Struct):
    """Answer of delta."""

    blocks: list[_Changed]
    timestamp: Time
    deleted: list[_Gone] = []
    has_more: bool = False


def decode_delta(delta: Delta) -> ChangePage:
    """Convert one page of the delta feed."""
    cursor_ms = ms(delta.timestamp)
    if cursor_ms is None:
        raise ProtocolError("the server's delta contains no timestamp")
    return ChangePage(
        tuple(
            Changed(BlockId(ulid(b.id)), version(b.sync_version), block_ms(b.updated_at) or 0)
            for b in delta.blocks
        ),
        tuple(
            Gone(BlockId(ulid(b.id)), block_ms(b.deleted_at) or 0, b.permanent)
            for b in delta.deleted
        ),
        cursor_ms,
        delta.has_more,
    )


class _Pulled(msgspec.Struct):
    id: str
    sync_version: int
    update: bytes
    full: bool


class PullPage(msgspec.Struct):
    """Answer of pull; ``update`` is standard base64."""

    blocks: list[_Pulled]
    missing: list[str] = []


def encode_asks(heap_id: HeapId, asks: Sequence[PullAsk], max_bytes: int) -> bytes:
    """Encode the body of a pull with as many asks as fit into ``max_bytes``, but at least one.

    The caller asks for the rest again.
    """
    fitting: list[dict[str, Any]] = []
    size_bytes = 100
    for ask in asks:
        item: dict[str, Any] = {"id": ask.id, "sync_version": ask.sync_version}
        if ask.state_vector is not None:
            item["state_vector"] = ask.state_vector
        size_bytes += 100 + len(ask.state_vector or b"") * 4 // 3
        if fitting and size_bytes > max_bytes:
            break
        fitting.append(item)
    return msgspec.json.encode({"workspace_id": heap_id, "blocks": fitting})


def decode_pull(page: PullPage, asks: Iterable[PullAsk]) -> PullAnswer:
    """Convert the answer of a pull.

    Raises:
        ProtocolError: it contains a block that was not asked for; none of it may be used.
    """
    asked = {ask.id for ask in asks}
    for id_ in (*(block.id for block in page.blocks), *page.missing):
        if id_ not in asked:
            raise ProtocolError("the server answered a pull with a block that was not asked for")
    return PullAnswer(
        tuple(
            Pulled(BlockId(b.id), version(b.sync_version), b.update, b.full) for b in page.blocks
        ),
        tuple(BlockId(id_) for id_ in page.missing),
    )


class _Result(msgspec.Struct):
    block_id: str
    status: str
    sync_version: int | None = None


class PushPage(msgspec.Struct):
    """Answer of push."""

    results: list[_Result]


def encode_pushes(heap_id: HeapId, pushes: Sequence[Push]) -> bytes:
    """Encode the body of a push."""
    updates = [
        {"block_id": push.id, "sync_version": push.sync_version, "update": push.update}
        for push in pushes
    ]
    return msgspec.json.encode({"workspace_id": heap_id, "updates": updates})


def pushed_size_bytes(push: Push) -> int:
    """Return an upper bound of the bytes that one update takes in the body of a push."""
    return 128 + (len(push.update) + 2) // 3 * 4


def decode_results(page: PushPage, pushes: Sequence[Push]) -> list[PushResult]:
    """Convert the results of a push to the order of ``pushes``, whatever the server's order."""
    by_block: dict[str, list[_Result]] = {}
    for result in reversed(page.results):
        by_block.setdefault(result.block_id, []).append(result)
    results = []
    for push in pushes:
        if not by_block.get(push.id):
            raise ProtocolError("the server's answer to a push lacks a block")
        result = by_block[push.id].pop()
        if result.status not in _STATUSES:
            raise ProtocolError(f"the server answered a push with the status {result.status!r}")
        number = push.sync_version if result.sync_version is None else result.sync_version
        results.append(PushResult(push.id, cast("PushStatus", result.status), version(number)))
    return results


class UploadState(msgspec.Struct):
    """Answer of upload init."""

    chunk_size: int
    received: list[int] = []
    total_chunks: int | None = None
    complete: bool = False


def encode_upload(source: UploadSource) -> bytes:
    """Encode the body of upload init."""
    return msgspec.json.encode(
        {
            "hash": source.hash,
            "name": source.name,
            "size": source.size_bytes,
            "mime_type": source.mime_type,
        }
    )


def missing_chunks(body: dict[str, object]) -> list[int]:
    """Return the chunks that a refused complete (409) lists as missing; empty if none."""
    listed = body.get("missing")
    return [i for i in listed if isinstance(i, int)] if isinstance(listed, list) else []


def encode(**fields: object) -> bytes:
    """Encode a small request body; None fields are left out."""
    return msgspec.json.encode({k: v for k, v in fields.items() if v is not None})
