"""Carry pushes out, in an order that the service can take, each on its own."""

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from heapsyncd.backends.oneheap.account import OneheapAccount
from heapsyncd.backends.oneheap.catalogue import ARCHIVE_ID
from heapsyncd.backends.oneheap.documents import Shown, shown, with_update
from heapsyncd.backends.oneheap.places import Misplaced
from heapsyncd.backends.oneheap.refresh import Seen, refresh
from heapsyncd.backends.oneheap.writing import Write
from heapsyncd.cache.remote_items import RemoteItem
from heapsyncd.errors import BlockError, ProtocolError, RequestRefused, TryLater
from heapsyncd.model import Push, PushResult, PushStatus
from heapsyncd.tasks import TaskGroup

AT_ONCE: Final = 4
"""The most items that are written at a time."""


async def carry_out(
    account: OneheapAccount, seen: Seen, pushes: Sequence[Push]
) -> list[PushResult]:
    """Carry pushed updates out; one that fails does not stop the others. Hold the turn.

    Raises:
        TryLater: the service cannot be reached, and nothing was accepted.
        SignInRefused: the account is not accepted.
    """
    results: dict[str, PushResult] = {}
    later: list[TryLater] = []
    rows = {p.id: await account.row(p.id) for p in pushes}
    if any(row is not None and row.intent for row in rows.values()):
        # After a kill or a lost answer: what was created is found before it is created again.
        # Nothing else is on its way meanwhile, as it must be for a refresh.
        await refresh(account, seen)
    order = sorted(pushes, key=lambda p: _rank(rows[p.id]))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(pushed: Push) -> None:
        async with gate:
            try:
                results[pushed.id] = await _carry_out(account, seen, pushed)
            except TryLater as error:
                later.append(error)

    for rank in range(4):
        # Boxes before what is in them, files before their sidecars, deleted boxes last.
        async with TaskGroup() as group:
            for pushed in order:
                if _rank(rows[pushed.id]) == rank:
                    group.create_task(one(pushed))
    if later and not any(result.status == "ok" for result in results.values()):
        raise later[0]
    # What was not carried out is sent again, after a look at what came of the rest.
    again = {p.id: PushResult(p.id, "stale", p.sync_version) for p in pushes}
    return [results.get(p.id) or again[p.id] for p in pushes]


def _rank(row: RemoteItem | None) -> int:
    if row is None or row.kind != "folder":
        return 1 if row is not None and row.kind == "file" else 2
    return 0 if not row.item_id or row.gone else 3


async def _carry_out(account: OneheapAccount, seen: Seen, pushed: Push) -> PushResult:
    row = await account.row(pushed.id)
    if row is None:
        return PushResult(pushed.id, "not_found", pushed.sync_version)
    if row.version != pushed.sync_version and row.gone != "there":
        return PushResult(pushed.id, "stale", row.version)
    status: PushStatus = "invalid"
    try:
        before, after, document = await asyncio.to_thread(_read, row, pushed.update)
        if row.gone == "there":
            # A deletion of what is gone needs no request.
            status = "ok" if after.is_deleted else "not_found"
            return PushResult(pushed.id, status, pushed.sync_version)
        above = await account.row(after.folder) if after.folder is not None else None
        if above is not None and not after.is_deleted:
            if above.is_pending:
                # Its box is sent soon: it was made only now.
                return PushResult(pushed.id, "stale", row.version)
            after = _out_of_gone(account, after, above)
        return await Write(account, seen, row, before, after, document).carry_out()
    except RequestRefused as error:
        status, reason = "forbidden" if error.status == 403 else "invalid", str(error)
    except (BlockError, Misplaced, ProtocolError) as error:
        reason = str(error)
    if row.is_pending:
        # What is in it must not wait for it.
        await account.save([replace(await account.row(pushed.id) or row, item=b"")])
    return PushResult(pushed.id, status, pushed.sync_version, (reason,))


def _out_of_gone(account: OneheapAccount, after: Shown, above: RemoteItem) -> Shown:
    """Return what a block is to show; if its directory is gone, where the others in it went."""
    if not above.gone:
        return after
    archive = account.catalogue.block(ARCHIVE_ID, "archive")
    return replace(after, folder=archive if above.part == "archived" else None)


def _read(row: RemoteItem, update: bytes) -> tuple[Shown, Shown, bytes]:
    """Return what a block showed and what it is to show, and its document with the update."""
    document = with_update(row.document, update)
    return shown(row.kind, [row.document]), shown(row.kind, [document]), document
