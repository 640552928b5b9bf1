"""Read strictly what clients send: sizes, types, base64, ids (PROTOCOL §3, §4, §5, §9)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal, TypeVar

import base58
import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from heapsyncd.document.encoding.examine import examine_vector
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import is_ulid
from heapsyncd.server.limits import Limits
from heapsyncd.server.refusal import Refusal
from heapsyncd.wire.lib0 import MAX_UINT

T = TypeVar("T")

Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Count = Annotated[int, Meta(ge=0, le=MAX_UINT)]
Kind = Literal["document", "file", "tag", "folder"]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

LIMITS: web.AppKey[Limits] = web.AppKey("limits", Limits)
KEY_BYTES = 32
SIGNATURE_BYTES = 64


class Nothing(Struct):
    """An empty body, ``{}``."""


class CreateSession(Struct):
    """``POST /api/auth/create_session``."""

    public_key: Text


class VerifySession(Struct):
    """``POST /api/auth/verify_session``."""

    public_key: Text
    message: Text
    signature: Text
    code: Annotated[str, Meta(max_length=128)] = ""
    """An addition of this server: makes the first account of a new server its owner."""


class QueryBlocks(Struct):
    """``POST /api/query_blocks``."""

    workspace_id: Id
    limit: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    offset: Count = 0
    type: Kind | None = None


class SearchBlocks(Struct):
    """``POST /api/search_blocks``."""

    workspace_id: Id
    query: Text
    limit: Annotated[int, Meta(ge=1, le=1_000_000)] = 100


class InsertBlock(Struct):
    """``POST /api/insert_block``."""

    workspace_id: Id
    id: Id
    type: Kind
    title: Annotated[str, Meta(max_length=65_536)] | None = None


class PullBlock(Struct):
    """One block of a pull; without a ``state_vector`` the full state is requested."""

    id: Id
    sync_version: Count
    state_vector: bytes | None = None


class Pull(Struct):
    """``POST /api/sync/pull``."""

    workspace_id: Id
    blocks: list[PullBlock]


class PushUpdate(Struct):
    """One update of a push."""

    block_id: Id
    sync_version: Count
    update: bytes


class Push(Struct):
    """``POST /api/sync/push``."""

    workspace_id: Id
    updates: list[PushUpdate]


class InitUpload(Struct):
    """``POST /api/upload/init``."""

    hash: Hash
    name: Text
    size: Count
    mime_type: Annotated[str, Meta(max_length=255)] = "application/octet-stream"
    chunk_size: Annotated[int, Meta(ge=1, le=MAX_UINT)] | None = None


async def read_pieces(request: web.Request, limit_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises:
        Refusal: 413 once it is known to be larger than the limit, 408 when it arrives too slowly.
    """
    too_large = Refusal(413, f"the body may have at most {limit_bytes} bytes")
    if request.content_length is not None and request.content_length > limit_bytes:
        raise too_large
    limits, loop, size = request.app[LIMITS], asyncio.get_running_loop(), 0
    waited_s, pieces = 0.0, request.content.iter_any()
    while True:
        began = loop.time()
        left_s = limits.request_s + size / limits.body_rate - waited_s
        try:
            async with asyncio.timeout(left_s):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time") from None
        if piece is None:
            return
        # Only the client's time counts, not the time that we take for a piece.
        waited_s += loop.time() - began
        size += len(piece)
        if size > limit_bytes:
            raise too_large
        yield piece


async def read_json(request: web.Request, shape: type[T], limit_bytes: int) -> T:
    """Decode the body as ``shape``; an empty body counts as ``{}``.

    Raises:
        Refusal: 413 too large, 415 not JSON by its Content-Type, 400 not JSON or another shape.
    """
    raw = b"".join([piece async for piece in read_pieces(request, limit_bytes)])
    if raw and "Content-Type" in request.headers and request.content_type != "application/json":
        raise Refusal(415, "Content-Type: application/json expected")
    try:
        return msgspec.json.decode(raw or b"{}", type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is invalid: {error}") from error


def base58_bytes(text: str, length: int, what: str) -> bytes:
    """Decode a base58 text of exactly ``length`` bytes in its canonical spelling; Refusal 400."""
    try:
        raw = base58.b58decode(text)
    except ValueError as error:
        raise Refusal(400, f"{what}: base58 expected") from error
    if len(raw) != length:
        raise Refusal(400, f"{what}: {length} bytes expected, not {len(raw)}")
    if base58.b58encode(raw).decode() != text:
        # The decoder accepts spaces: a key with one would be another account than without.
        raise Refusal(400, f"{what}: base58 without surrounding characters expected")
    return bytes(raw)


def query_int(request: web.Request, name: str) -> int:
    """Return a non-negative integer of the query string; Refusal 400."""
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refusal(400, f"{name}: an integer expected")
    return int(text)


def checked_ulid(text: str, what: str) -> str:
    """Return a ULID in its canonical spelling; Refusal 400."""
    if not is_ulid(text):
        raise Refusal(400, f"{what}: a ULID expected")
    return text


def checked_hash(text: str) -> str:
    """Return a sha256 in lower-case hex; Refusal 400."""
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise Refusal(400, "hash: sha256 as 64 hex digits expected")
    return text


def is_state_vector(data: bytes) -> bool:
    """Tell whether the bytes are a valid Yjs state vector."""
    try:
        examine_vector(data)
    except UnreadableDocument:
        return False
    return True
