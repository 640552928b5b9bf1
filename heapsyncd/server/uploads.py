"""Receive resumable uploads: init, chunk, complete (PROTOCOL §9).

A content is held *by a heap*. Who may read a heap that holds it need not send it again, and nobody
gets a content just by knowing its hash.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from weakref import WeakValueDictionary

from aiohttp import web
from msgspec.structs import replace
from ulid import ULID

from heapsyncd.database import Tx
from heapsyncd.document.edit import Target, express
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import FileEntry
from heapsyncd.server import data, transfers
from heapsyncd.server.accounts import Account
from heapsyncd.server.input import InitUpload, Nothing, checked_hash, read_json, read_pieces
from heapsyncd.server.limits import Limits
from heapsyncd.server.loaded_documents import Batch
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.services import Services
from heapsyncd.server.transfers import Upload

Answer = Mapping[str, object]


_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


def _lock(upload: str) -> asyncio.Lock:
    """Return a lock, so that one task at a time finishes an upload or writes one of its chunks."""
    return _locks.setdefault(upload, asyncio.Lock())


async def init(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/upload/init``; repeating it resumes."""
    heap, block = _place(request, s, account)
    body = await read_json(request, InitUpload, s.limits.body_bytes)
    if body.size > s.limits.file_bytes:
        raise Refusal(413, f"a file may have at most {s.limits.file_bytes} bytes")
    readable = [h.id for h in s.heaps.visible(account)]
    size = await s.db.read(lambda tx: transfers.held_size(tx, body.hash, readable))
    if size is not None and size != body.size:
        raise Refusal(422, f"the content with this hash has {size} bytes, not {body.size}")
    if size is not None:
        await s.db.write(lambda tx: transfers.hold(tx, heap, body.hash, body.size))
        entry = _entry(body.hash, body.name, body.size, body.mime_type)
        await mark_uploaded(s, block, entry)
    upload, received = await _resume_or_begin(s, heap, block, body, begin=size is None)
    return {
        "hash": body.hash,
        "chunk_size": upload.chunk_size,
        "total_chunks": upload.total,
        "received": received if size is None else list(range(upload.total)),
        "complete": size is not None,
    }


async def _resume_or_begin(
    s: Services, heap_id: HeapId, block: BlockId, body: InitUpload, *, begin: bool
) -> tuple[Upload, list[int]]:
    limits = s.limits
    chunk_size = min(body.chunk_size or limits.chunk_bytes, limits.chunk_max_bytes)
    chunk_size = max(chunk_size, -(-body.size // limits.chunks))
    fresh = Upload(str(ULID()), body.name, body.mime_type, body.size, chunk_size)
    if not begin:
        return fresh, []
    known = await s.db.read(lambda tx: transfers.find(tx, heap_id, block, body.hash))
    if known is not None and known.size == body.size:
        now_ms = s.now_ms()
        return known, await s.db.write(lambda tx: transfers.touch(tx, known.id, now_ms))
    free_bytes = await s.blobs.free_bytes() - limits.disk_reserve_bytes
    now_ms = s.now_ms()

    def write(tx: Tx) -> str | None:
        # Space is checked in the transaction that reserves it, so that it is given out only once.
        _check_room(tx, limits, body.size, free_bytes, now_ms)
        return transfers.begin(tx, heap_id, block, body.hash, fresh, now_ms)

    await s.blobs.begin(fresh.id, fresh.size)
    try:
        replaced = await s.db.write(write)
    except Refusal:
        await s.blobs.drop(fresh.id)
        raise
    if replaced is not None:
        await s.blobs.drop(replaced)
    return fresh, []


def _check_room(tx: Tx, limits: Limits, size: int, free_bytes: int, now_ms: int) -> None:
    """Raise Refusal 507 when a content does not fit at present."""
    quota = limits.quota_bytes
    if quota is not None and transfers.used(tx) + size > quota:
        raise Refusal(507, "the server's space for files is used up")
    since_ms = now_ms - limits.upload_reserved_s * 1000
    count, promised_bytes = transfers.under_way(tx, since_ms)
    if count >= limits.uploads:
        raise Refusal(507, "too many uploads are in progress")
    if free_bytes - promised_bytes < size:
        raise Refusal(507, "the server's disk is full, or reserved for other uploads")


async def chunk(request: web.Request, s: Services, account: Account) -> Answer:
    """``PUT /api/upload/chunk``; repeating it is harmless."""
    heap, block = _place(request, s, account)
    hash_, index = _hash(request), request.match_info["index"]
    if request.content_type != "application/octet-stream":
        raise Refusal(415, "Content-Type: application/octet-stream expected")
    upload = await _known(s, heap, block, hash_)
    if not (index.isascii() and index.isdigit()) or len(index) > 9 or int(index) >= upload.total:
        raise Refusal(400, f"the chunks of this upload are 0 to {upload.total - 1}")
    number = int(index)
    offset, size = upload.chunk(number)
    if request.content_length is not None and request.content_length < size:
        raise Refusal(400, f"chunk {number} has {size} bytes, not {request.content_length}")
    async with _lock(f"{upload.id}/{number}"):
        if number not in await s.db.read(lambda tx: transfers.received(tx, upload.id)):
            got = await s.blobs.receive(upload.id, offset, read_pieces(request, size))
            if got != size:
                raise Refusal(400, f"chunk {number} has {size} bytes, not {got}")
        else:
            async for _ in read_pieces(request, size):
                pass  # it is here already, and what is sent again must not change it
        now_ms = s.now_ms()
        return {
            "received": await s.db.write(lambda tx: transfers.add(tx, upload.id, number, now_ms))
        }


async def complete(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/upload/complete``; repeating it is harmless."""
    heap, block = _place(request, s, account)
    hash_ = _hash(request)
    await read_json(request, Nothing, s.limits.body_bytes)
    async with _lock(f"{heap}/{block}/{hash_}"):
        upload = await s.db.read(lambda tx: transfers.find(tx, heap, block, hash_))
        size = await s.db.read(lambda tx: transfers.held_size(tx, hash_, [heap]))
        if upload is None and size is None:
            raise Refusal(404, "no such upload; begin it with /api/upload/init")
        if upload is None:
            entry = await _completed_before(s, block, hash_)
        else:
            await _finish(s, heap, hash_, upload, here=size is not None)
            entry = _entry(hash_, upload.name, upload.size, upload.mime_type)
        await mark_uploaded(s, block, entry)
    return {
        "file": {
            "hash": hash_,
            "name": entry.name,
            "mime_type": entry.mime_type,
            "file_size": entry.size_bytes,
            "is_uploaded": True,
        }
    }


async def _finish(s: Services, heap_id: HeapId, hash_: str, upload: Upload, *, here: bool) -> None:
    """Check what arrived and move it to its name, unless the heap has the content already.

    Raises:
        Refusal: 409 while chunks are missing, 422 when it is another content.
    """
    if not here:
        await _check(s, hash_, upload)
        await s.blobs.keep(upload.id, hash_)

    def write(tx: Tx) -> None:
        transfers.hold(tx, heap_id, hash_, upload.size)
        transfers.end(tx, upload.id)

    await s.db.write(write)
    await s.blobs.drop(upload.id)


async def _check(s: Services, hash_: str, upload: Upload) -> None:
    arrived = set(await s.db.read(lambda tx: transfers.received(tx, upload.id)))
    missing = [number for number in range(upload.total) if number not in arrived]
    if missing:
        raise Refusal(409, "chunks are missing", body={"missing": missing})
    if await s.blobs.sha256(upload.id) != hash_:
        await s.db.write(lambda tx: transfers.forget_chunks(tx, upload.id))
        raise Refusal(422, "the content has another sha256; send it again")


async def _completed_before(s: Services, block: BlockId, hash_: str) -> FileEntry:
    """Return the entry of a completed upload (its answer was lost); Refusal 404 if none."""
    row = await s.db.read(lambda tx: data.row(tx, block))
    known = row.file_of(hash_) if row is not None else None
    if known is None:
        raise Refusal(404, "no such upload; begin it with /api/upload/init")
    size = known["file_size"]
    assert isinstance(size, int), "rows are written by us"
    return _entry(hash_, str(known["name"]), size, str(known["mime_type"]))


async def _known(s: Services, heap_id: HeapId, block: BlockId, hash_: str) -> Upload:
    upload = await s.db.read(lambda tx: transfers.find(tx, heap_id, block, hash_))
    if upload is None:
        raise Refusal(404, "no such upload; begin it with /api/upload/init")
    return upload


def _place(request: web.Request, s: Services, account: Account) -> tuple[HeapId, BlockId]:
    heap = s.heaps.writable(account, request.match_info["heap"])
    return heap, s.block(heap, request.match_info["block"])


def _hash(request: web.Request) -> str:
    return checked_hash(request.match_info["hash"])


def _entry(hash_: str, name: str, size: int, mime_type: str) -> FileEntry:
    return FileEntry(f"{hash_}:{size}", hash_, name, size, mime_type, is_uploaded=True)


async def mark_uploaded(s: Services, block: BlockId, entry: FileEntry) -> None:
    """Mark the content as uploaded in the block's document, adding its entry if absent."""
    await s.documents.change(block, partial(_marked, block, entry))


def _marked(block: BlockId, entry: FileEntry, batch: Batch) -> None:
    loaded = batch.get(block)
    assert loaded is not None, "blocks are never removed"
    same = [f for f in loaded.replica.fields().files if f.hash == entry.hash]
    wanted = [f for f in same if not f.is_uploaded] if same else [entry]
    if wanted:
        put = tuple(replace(f, is_uploaded=True) for f in wanted)
        edit = express([loaded.merged()], Target(put_files=put))
        if edit.update is not None:
            batch.apply(loaded, edit.update)
