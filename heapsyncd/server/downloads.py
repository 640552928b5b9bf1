"""Serve raw contents: ``GET /api/file`` with ranges (PROTOCOL §9, RFC 9110 §14)."""

import re
from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from heapsyncd.server import data, transfers
from heapsyncd.server.accounts import Account
from heapsyncd.server.input import checked_hash
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.services import Services

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


async def download(request: web.Request, s: Services, account: Account) -> web.StreamResponse:
    """Answer ``GET`` (and ``HEAD``) ``/api/file/:heap/:block/:hash``."""
    heap = s.heaps.readable(account, request.match_info["heap"])
    block = s.block(heap, request.match_info["block"])
    hash_ = checked_hash(request.match_info["hash"])
    row = await s.db.read(lambda tx: data.row(tx, block))
    held = await s.db.read(lambda tx: transfers.held_size(tx, hash_, [heap]))
    entry = row.file_of(hash_) if row is not None else None
    descriptor = None if held is None or entry is None else await s.blobs.open(hash_)
    if descriptor is None or entry is None:
        raise Refusal(404, "no such file")
    try:
        size = s.blobs.size(descriptor)
        response, start, length = _opened(request, hash_, size, str(entry["mime_type"]))
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD and length:
            await _send(response, s.blobs.read(descriptor, start, length))
        await response.write_eof()
    finally:
        s.blobs.close(descriptor)
    return response


async def _send(response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        await response.write(piece)


def _opened(
    request: web.Request, hash_: str, size: int, mime_type: str
) -> tuple[web.StreamResponse, int, int]:
    """Make the head of the answer; also returns where its bytes start and how many there are."""
    tag = f'"{hash_}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Type": mime_type if _MIME.fullmatch(mime_type) else "application/octet-stream",
        # Browsers must show attachments as they are, never run them as part of this origin.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if tag in [t.strip() for t in request.headers.get("If-None-Match", "").split(",")]:
        return web.StreamResponse(status=304, headers=headers), 0, 0
    wanted = request.headers.get("Range", "")
    if request.headers.get("If-Range", tag) != tag:
        wanted = ""  # the client has part of another content, so it gets all of this one
    found = parse_range(wanted, size)
    if found is None:
        headers["Content-Length"] = str(size)
        return web.StreamResponse(status=200, headers=headers), 0, size
    start, end = found
    if start >= end:
        raise Refusal(416, "the range is outside", headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return web.StreamResponse(status=206, headers=headers), start, end - start


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Parse a ``Range`` header to a half-open range.

    None: no range, or one that is ignored as the RFC allows (several ranges, another unit). An
    empty range (start not below end) can't be satisfied.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
