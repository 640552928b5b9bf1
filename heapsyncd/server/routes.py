"""Answer the JSON routes: instance, sign-in, heaps, blocks, sync (PROTOCOL §2 to §5)."""

from collections.abc import Mapping
from functools import partial

from aiohttp import web

import heapsyncd
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import BlockKind
from heapsyncd.server import data, feed
from heapsyncd.server import input as asked
from heapsyncd.server.accounts import Account
from heapsyncd.server.input import read_json
from heapsyncd.server.loaded_documents import Batch
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.services import Services

Answer = Mapping[str, object]
_TAKEN = "the id can't be used"
"""For another heap's block and for one deleted for good; the answer does not show which."""


def _about(s: Services) -> dict[str, object]:
    return {
        "status": "ok",
        "version": heapsyncd.__version__,
        "public_key": s.signer.public_key,
        "name": "heapsyncd",
        "public_url": s.url(),
        "selfhosted": True,
    }


async def instance(_request: web.Request, s: Services, account: Account | None) -> Answer:
    """``GET /api/``."""
    return _about(s) if account is None else {**_about(s), "is_admin": account.is_owner}


async def health(_request: web.Request, s: Services) -> Answer:
    """``GET /api/health``; queries the database, so that its errors show."""
    await s.db.read(data.latest)
    about = _about(s)
    return {
        "server": {"status": "ok"},
        "database": {"status": "ok"},
        **{name: about[name] for name in ("version", "name", "public_url", "public_key")},
        "diagnostics": {"realtime": {"status": "ok"}},
    }


async def create_session(request: web.Request, s: Services) -> Answer:
    """``POST /api/auth/create_session``."""
    body = await read_json(request, asked.CreateSession, s.limits.auth_bytes)
    return s.accounts.challenge(body.public_key, s.address(request))


async def verify_session(request: web.Request, s: Services) -> Answer:
    """``POST /api/auth/verify_session``; creates the first heap when there is none."""
    body = await read_json(request, asked.VerifySession, s.limits.auth_bytes)
    answer = await s.accounts.verify(body.public_key, body.message, body.signature, body.code)
    if s.first_heap is not None and not s.heaps:
        await s.heaps.add(s.first_heap)
    return answer


async def refresh_token(request: web.Request, s: Services) -> Answer:
    """``POST /api/auth/refresh_token``."""
    await read_json(request, asked.Nothing, s.limits.auth_bytes)
    try:
        return await s.accounts.refresh(bearer(request))
    finally:
        s.recheck_rights()  # a token that was used twice ended its sign-in


async def sign_out(request: web.Request, s: Services) -> Answer:
    """``POST /api/auth/sign_out``, an addition of this server: end all tokens of this sign-in."""
    await read_json(request, asked.Nothing, s.limits.auth_bytes)
    await s.accounts.sign_out(bearer(request))
    s.recheck_rights()
    return {}


async def me(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/me``."""
    await read_json(request, asked.Nothing, s.limits.body_bytes)
    return account.public()


async def heaps(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/heaps``."""
    await read_json(request, asked.Nothing, s.limits.body_bytes)
    return {"heaps": [heap.public() for heap in s.heaps.visible(account)]}


async def block(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/block/<block-id>``."""
    await read_json(request, asked.Nothing, s.limits.body_bytes)
    row = await s.db.read(lambda tx: data.row(tx, request.match_info["block"]))
    # A block of a heap that the account may not see is answered as if it did not exist.
    if row is None or row.permanent_at is not None or not s.heaps.sees(account, row.workspace_id):
        raise Refusal(404, "no such block")
    return row.with_details()


async def query_blocks(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/query_blocks``."""
    body = await read_json(request, asked.QueryBlocks, s.limits.body_bytes)
    heap = s.heaps.readable(account, body.workspace_id)
    limit = min(body.limit, s.limits.query_rows)
    rows, total = await s.db.read(lambda tx: data.query(tx, heap, body.type, limit, body.offset))
    return {"blocks": [row.public() for row in rows], "total": total}


async def search_blocks(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/search_blocks``."""
    body = await read_json(request, asked.SearchBlocks, s.limits.body_bytes)
    heap = s.heaps.readable(account, body.workspace_id)
    limit = min(body.limit, s.limits.query_rows)
    rows = await s.db.read(lambda tx: data.search(tx, heap, body.query, limit))
    return {"blocks": [row.public() for row in rows]}


async def insert_block(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/insert_block``; repeating it with the same id changes nothing."""
    body = await read_json(request, asked.InsertBlock, s.limits.body_bytes)
    id_ = BlockId(asked.checked_ulid(body.id, "id"))
    heap = s.heaps.writable(account, body.workspace_id)
    place = s.documents.where(id_)
    # Decided without loading the document, so that the time of the answer shows nothing of it.
    if s.documents.is_gone(id_) or (place is not None and place[0] != heap):
        raise Refusal(409, _TAKEN)
    await s.documents.change(id_, partial(_inserted, id_, heap, body.type, body.title or ""))
    row = await s.db.read(lambda tx: data.row(tx, id_))
    assert row is not None, "it was committed, and blocks are never removed"
    return {"block": row.public()}


def _inserted(block: BlockId, heap_id: HeapId, kind: BlockKind, title: str, batch: Batch) -> None:
    loaded = batch.get(block)
    if loaded is None:
        batch.insert(block, heap_id, kind, title)
    elif loaded.heap_id != heap_id:
        raise Refusal(409, _TAKEN)


async def delta(request: web.Request, s: Services, account: Account) -> Answer:
    """``GET /api/sync/delta``."""
    heap = s.heaps.readable(account, request.query.get("workspace_id", ""))
    return await feed.delta(s, heap, asked.query_int(request, "since"))


async def pull(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/sync/pull``."""
    body = await read_json(request, asked.Pull, s.limits.pull_request_bytes)
    return await feed.pull(s, s.heaps.readable(account, body.workspace_id), body.blocks)


async def push(request: web.Request, s: Services, account: Account) -> Answer:
    """``POST /api/sync/push``."""
    body = await read_json(request, asked.Push, s.limits.push_bytes)
    heap = s.heaps.readable(account, body.workspace_id)
    writable = s.heaps.access(account, heap) == "rw"
    return await feed.push(s, heap, body.updates, writable=writable)


def bearer(request: web.Request) -> str:
    """Return the bearer token of a request; Refusal 401 when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(
            401, "a bearer token expected", headers={"WWW-Authenticate": 'Bearer realm="heaper"'}
        )
    return token.strip()
