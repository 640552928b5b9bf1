"""Send and fetch contents of files. Each is one request, in which it stands as base64."""

from collections.abc import AsyncGenerator
from typing import Final

from msgspec.structs import replace

from heapsyncd.backends.contract import UploadProgress
from heapsyncd.backends.oneheap.account import OneheapAccount
from heapsyncd.backends.oneheap.catalogue import dated
from heapsyncd.backends.oneheap.documents import marked
from heapsyncd.backends.oneheap.refresh import publish
from heapsyncd.backends.oneheap.shapes import decode, item_of
from heapsyncd.cache.remote_items import PENDING, RemoteFile, RemoteItem
from heapsyncd.errors import ProtocolError, RequestRefused, ServerTrouble
from heapsyncd.folder.names import split_suffix
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.wire.oneheap import items as wire
from heapsyncd.wire.values import UploadSource

MOST_BYTES: Final = 25 << 20
"""Nothing larger is sent: the service takes a content in one JSON text (ONEHEAP §4)."""
_PIECE: Final = 1 << 20


async def upload(
    account: OneheapAccount,
    block: BlockId,
    source: UploadSource,
    progress: UploadProgress | None = None,
) -> FileEntry:
    """Send a content, and name it.

    Raises:
        FileChanged: the source changed while it was read.
        RequestRefused: 413 if it is too large; 404 if the service does not know its owner.
    """
    if source.size_bytes > MOST_BYTES:
        raise RequestRefused(f"the most that is sent are {MOST_BYTES >> 20} MiB", 413)
    content = bytearray()
    while len(content) < source.size_bytes:
        length = min(_PIECE, source.size_bytes - len(content))
        content += await source.read(len(content), length)
    key = f"{source.hash}:{source.size_bytes}"
    entry = FileEntry(
        key, source.hash, source.name, source.size_bytes, source.mime_type, is_uploaded=True
    )
    async with account.turn:
        row = await account.row(block)
        if row is None or row.gone or not row.item_id:
            raise RequestRefused("the service does not know the item of this file", 404)
        if key not in account.catalogue.files_of(row.item_id):
            await _send(account, row, bytes(content), entry)
        row = await account.row(block) or row
        document = marked(row.document, [entry])
        await account.save((), [replace(row, document=document)])
        # Attachments that could have been this one were not shown until now.
        found = await account.calls.item(row.type, row.item_id)
        if found is not None:
            item = item_of(found, decode(row.item))
            await publish(account, [(item.id, "item")], {item.id: item})
    if progress is not None:
        progress(source.size_bytes, source.size_bytes)
    return entry


async def _send(
    account: OneheapAccount, row: RemoteItem, content: bytes, entry: FileEntry
) -> None:
    calls, catalogue = account.calls, account.catalogue
    fields: dict[str, object] = {"name": entry.name, "filename": entry.name}
    if row.type == "file":
        file_id = row.item_id
        await _keep_other(account, row, content, entry)
        fields = {"data": wire.encode_data(content)}
    else:
        file_id = await _attached(account, row, content, entry)
    answer = await calls.update("file", file_id, fields)
    catalogue.put_file(
        RemoteFile(file_id, row.item_id, entry.key, len(content), dated(answer.modified))
    )
    await account.save(without=PENDING + entry.key)


async def _keep_other(
    account: OneheapAccount, row: RemoteItem, content: bytes, entry: FileEntry
) -> None:
    """Keep a content that somebody uploaded meanwhile, as a file beside the one written over.

    It is either in the document, which whoever saved ours did not know, or not even announced.
    """
    calls, known = account.calls, account.catalogue.files.get(row.item_id)
    found = await calls.item("file", row.item_id)
    if found is None or known is None:
        return
    file = item_of(found, None)
    is_announced = any(f.is_uploaded and f.key != entry.key for f in account.shows(row).files)
    if not is_announced and (file.size, dated(file.modified)) == (known.size, known.modified):
        return
    other = await calls.content(file.id, MOST_BYTES)
    if other == content:
        return
    stem, suffix = split_suffix(file.filename or file.name)
    name = f"{stem} (other version){suffix}"
    fields = {"name": name, "filename": name, "data": wire.encode_data(other)}
    await calls.create("file", fields | ({"boxId": file.box_id} if file.box_id else {}))


async def _attached(
    account: OneheapAccount, row: RemoteItem, content: bytes, entry: FileEntry
) -> str:
    """Attach a content, once: after a lost answer it is looked for first; return the file's id."""
    calls, catalogue = account.calls, account.catalogue
    pending = RemoteFile(PENDING + entry.key, row.item_id, entry.key, len(content), "")
    if pending.file_id in catalogue.files:
        item = await calls.item(row.type, row.item_id)
        for file in item.files if item is not None else ():
            if file.id in catalogue.files or file.size not in {None, len(content)}:
                continue
            if await calls.content(file.id, MOST_BYTES) == content:
                return file.id
    else:
        catalogue.put_file(pending)
        await account.save()
    made = await calls.attach(row.type, row.item_id, content)
    new = [file for file in made if file.id not in catalogue.files]
    if not new:
        raise ProtocolError("the service's answer names no new attachment")
    return new[0].id


async def download(
    account: OneheapAccount, block: BlockId, key_hash: str, size_bytes: int, offset: int
) -> AsyncGenerator[bytes, None]:
    """Yield a content from an offset.

    Raises:
        RequestRefused: 404 if there is no such content.
        ServerTrouble: it has another size now; the next poll tells.
    """
    row = await account.row(block)
    owner = "" if row is None else row.item_id
    files = account.catalogue.files_of(owner) if owner else {}
    found = [file for key, file in files.items() if key.startswith(key_hash)]
    if not found:
        raise RequestRefused("the service does not have this content any more", 404)
    content = await account.calls.content(found[0].file_id, max(size_bytes, MOST_BYTES))
    if len(content) != size_bytes:
        raise ServerTrouble("the service has another content now")
    for start in range(offset, size_bytes, _PIECE):
        yield content[start : start + _PIECE]
