"""Find out what changed on the service, and make the documents of what did (ONEHEAP §6).

There is no feed: the newest items are searched, page by page, until one was seen before. The
numbers of items tell whether others were deleted; then, at a start and once a day, all are listed.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from heapsyncd.backends.oneheap.account import OneheapAccount
from heapsyncd.backends.oneheap.documents import Shown
from heapsyncd.backends.oneheap.intents import is_made_of
from heapsyncd.backends.oneheap.shapes import (
    LACKS_TEXT,
    decode,
    is_known,
    item_of,
    lacks_text,
    state_of,
)
from heapsyncd.cache import remote_items
from heapsyncd.cache.remote_items import Part, RemoteItem
from heapsyncd.errors import BlockError
from heapsyncd.items.values import Item
from heapsyncd.wire.oneheap import items as wire
from heapsyncd.wire.oneheap.calls import Listing
from heapsyncd.wire.oneheap.client import TooLarge
from heapsyncd.wire.oneheap.envelope import MAX_PAGE

log = structlog.get_logger()

FIRST_PAGE: Final = 3
"""The items of a poll's first page: results hold whole texts."""
SPARE_S: Final = 2.0
"""Dates have whole seconds: what changed this long before the last poll is looked at again."""
COMPARE_S: Final = 86_400.0
"""All items are compared this often: an import may keep old dates."""
_LISTINGS_MOST: Final = 3
"""If items are deleted again and again while they are listed, the next poll goes on."""


class Seen(Struct):
    """What is known of the parts of all items, for the next poll."""

    ids: dict[Listing, set[str]] = field(default_factory=dict)
    """The ids of each listing, unreadable items too."""
    polled_s: float | None = None
    """The service's clock at the last poll."""
    compared_s: float | None = None
    """The service's clock when all items were compared last."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Items that cannot be read, with the reasons."""

    def forget(self, gone: Iterable[str]) -> None:
        """Forget items that were deleted by us."""
        for ids in self.ids.values():
            ids.difference_update(gone)


async def refresh(account: OneheapAccount, seen: Seen) -> None:
    """Read what changed since the last poll, and announce the blocks that show something else.

    Hold the account's turn.

    Raises:
        TryLater, PeerError, SignInRefused: as the calls do; nothing is stored.
    """
    found: dict[str, wire.Item] = {}
    is_due = seen.compared_s is None or (account.date_s or 0.0) - seen.compared_s > COMPARE_S
    listings = [*account.calls.listings(archived=False), *account.calls.listings(archived=True)]
    is_complete = is_due or set(listings) != seen.ids.keys()
    dates: list[float] = []
    if not is_complete:
        counts = {x: await _newest(account, seen, x, found, dates) for x in listings}
        is_complete = any(n not in {None, len(seen.ids[x])} for x, n in counts.items())
    if is_complete:
        found.clear()
        for listing in listings:
            await _all(account, seen, listing, found, dates)
        seen.compared_s = min(dates, default=None)
    await _apply(account, seen, found, _gone(account, seen) if is_complete else set())
    if is_complete:
        # The configuration may ask for other boxes than before.
        await publish(account, _wrong(account))
    seen.polled_s = min(dates, default=seen.polled_s)


async def unread(account: OneheapAccount) -> int:
    """Return how many items the service has otherwise than they are stored; store nothing.

    The catalogue is not of use afterwards: it has items that no block shows.

    Raises:
        TryLater, PeerError, SignInRefused: as the calls do.
    """
    seen, found, catalogue = Seen(), dict[str, wire.Item](), account.catalogue
    for archived in (False, True):
        for listing in account.calls.listings(archived=archived):
            await _all(account, seen, listing, found, [])
    gone = await _confirmed(account, _gone(account, seen))
    ids = [i for i, item in found.items() if is_known(item) and not lacks_text(item)]
    stored = await account.db.read(lambda tx: remote_items.live_items(tx, account.heap, ids))
    states = {i: item for i, state in stored.items() if (item := decode(state)) is not None}
    items = [item_of(found[i], states.get(i)) for i in ids]
    for item in items:
        catalogue.put(item)  # all of them first: an item is mirrored if its box is
    changed = [
        item
        for item in items
        if (catalogue.is_mirrored(item) if item.id not in states else
            state_of(states[item.id]) != state_of(item))
    ]  # fmt: skip
    return len(changed) + len(gone)


async def _page(
    account: OneheapAccount, listing: Listing, offset: int, size: int, dates: list[float]
) -> tuple[wire.Page, int]:
    """Return a page of a listing, and its size: half of it, or less, if its texts are too large.

    Raises:
        TooLarge: one item alone exceeds the bounds of an answer.
    """
    while True:
        try:
            page = await account.calls.page(listing, offset, size)
        except TooLarge:
            if size == 1:
                raise
            size //= 2
            continue
        if page.date_s is not None:
            dates.append(page.date_s)
            account.date_s = page.date_s
        return page, size


async def _newest(
    account: OneheapAccount,
    seen: Seen,
    listing: Listing,
    found: dict[str, wire.Item],
    dates: list[float],
) -> int | None:
    """Read a listing's newest items; return how many it has in all."""
    offset, size, ids = 0, FIRST_PAGE, set(seen.ids[listing])
    while True:
        page, size = await _page(account, listing, offset, size, dates)
        _take(seen, page, found, ids)
        offset += page.received
        is_last = not page.received or (page.count is not None and offset >= page.count)
        if is_last or _is_older(page.items, seen.polled_s):
            break
        size = min(2 * size, MAX_PAGE)
    for other in seen.ids.keys() - {listing}:  # moved into the archive, or out of it
        seen.ids[other] -= ids - seen.ids[listing]
    seen.ids[listing] = ids
    return page.count


def _is_older(items: Iterable[wire.Item], polled_s: float | None) -> bool:
    """Tell whether a page's last item did not change since the last poll."""
    last = None
    for item in items:
        last = item.modified or item.created
    return polled_s is not None and last is not None and last.timestamp() < polled_s - SPARE_S


async def _all(
    account: OneheapAccount,
    seen: Seen,
    listing: Listing,
    found: dict[str, wire.Item],
    dates: list[float],
) -> None:
    """Read a whole listing; again if its number says that some were missed meanwhile."""
    for _ in range(_LISTINGS_MOST):
        ids: set[str] = set()
        offset, size, count = 0, MAX_PAGE, None
        counts: set[int | None] = set()
        while True:
            page, size = await _page(account, listing, offset, size, dates)
            _take(seen, page, found, ids)
            offset, count = offset + page.received, page.count
            counts.add(count)
            if not page.received or (count is not None and offset >= count):
                break
        seen.ids[listing] = ids
        # If the number changed meanwhile, a page may have skipped an item.
        if count is None or (count == len(ids) and len(counts) == 1):
            return


def _take(seen: Seen, page: wire.Page, found: dict[str, wire.Item], ids: set[str]) -> None:
    for item in page.items:
        found[item.id] = item
        ids.add(item.id)
        seen.unreadable.pop(item.id, None)
    for number, bad in enumerate(page.unreadable):
        if bad.id is None:
            ids.add(f"#{number} {bad.reason}")  # it counts
        else:
            ids.add(bad.id)
            if seen.unreadable.get(bad.id) != bad.reason:
                log.warning("item cannot be read", item=bad.id, reason=bad.reason)
            seen.unreadable[bad.id] = bad.reason


def _gone(account: OneheapAccount, seen: Seen) -> set[str]:
    """Return the known items that no listing has any more."""
    there = set().union(*seen.ids.values())
    return account.catalogue.items.keys() - there


def _wrong(account: OneheapAccount) -> list[tuple[str, Part]]:
    """Return the items that are blocks although they are not mirrored, with their directories."""
    catalogue = account.catalogue
    wrong = (
        item.id
        for item in catalogue.items.values()
        if catalogue.has(item.id, "item") and not catalogue.is_mirrored(item)
    )
    parts: tuple[Part, ...] = ("item", "sidecar", "comments", "archived")
    return [(i, part) for i in wrong for part in parts if catalogue.has(i, part)]


async def _apply(
    account: OneheapAccount, seen: Seen, found: dict[str, wire.Item], gone: set[str]
) -> None:
    """Store the newest states of items, and announce the blocks that show something else."""
    catalogue = account.catalogue
    for item_id in await _confirmed(account, gone):
        await remove(account, item_id)
    ids = [i for i, item in found.items() if is_known(item)]
    await _adopt(account, [found[i] for i in ids if i not in catalogue.items])
    states = await account.db.read(lambda tx: remote_items.live_items(tx, account.heap, ids))
    items: dict[str, Item] = {}
    concerned: dict[tuple[str, Part], None] = {}
    for item_id in ids:
        live = decode(states[item_id]) if item_id in states else None
        if lacks_text(found[item_id]):
            seen.unreadable[item_id] = LACKS_TEXT
            continue
        item = item_of(found[item_id], live)
        if live is None or state_of(live) != state_of(item):
            items[item_id] = item
            concerned |= dict.fromkeys(catalogue.dependents(item_id))
    for item in items.values():
        catalogue.put(item)
    for item in items.values():
        concerned |= dict.fromkeys(catalogue.directories(item))
        concerned |= dict.fromkeys(catalogue.dependents(item.id))
        if catalogue.has_sidecar(item):
            concerned[item.id, "sidecar"] = None
    await publish(account, concerned, items)


async def _adopt(account: OneheapAccount, new: Sequence[wire.Item]) -> None:
    """Take new items for those whose creation had no answer, where they are alike."""
    for found in new:
        item = item_of(found, None)
        for row in list(account.intents.values()):
            if is_made_of(item, row.intent):
                log.info("item created earlier was found", item=item.id, block=row.block_id)
                await account.save([replace(account.with_item(row, item), intent=b"")])
                account.catalogue.bind(row.block_id, item.id)
                break


async def _confirmed(account: OneheapAccount, gone: set[str]) -> set[str]:
    """Return the items that are gone for certain.

    A search for their ids does not find them, live and archived, twice: one may be moved from the
    one to the other between two searches.
    """
    for _ in range(2):
        if gone:
            gone = gone - {item.id for item in await account.calls.found(sorted(gone))}
    return gone


async def remove(account: OneheapAccount, item_id: str) -> None:
    """Announce that an item is gone on the service, with what stood beside it."""
    catalogue, parts = account.catalogue, ("item", "sidecar", "comments", "archived")
    places: list[tuple[str, Part]] = [(item_id, part) for part in parts]  # type: ignore[misc]
    rows = [r for r in await account.rows_of(places) if r is not None and not r.gone]
    for row in rows:
        catalogue.unbind(row.block_id)
    owned = catalogue.owned(item_id)
    catalogue.drop(item_id)
    await account.save((), [r for row in rows if (r := account.remade(row, None)) is not None])
    for other in owned:
        if other.type == "comment":
            await remove(account, other.id)


async def publish(
    account: OneheapAccount,
    concerned: Iterable[tuple[str, Part]],
    items: dict[str, Item] | None = None,
    pending: RemoteItem | None = None,
) -> None:
    """Make the documents of blocks anew where they show something else, and announce those.

    Args:
        account: the account.
        concerned: the blocks, as parts of items; those that do not exist yet are made.
        items: the newest states of items; of others the stored state is taken.
        pending: a row that is stored in the same transaction, however its block turns out.
    """
    items = items or {}
    own = [] if pending is None else [(pending.item_id, pending.part)]
    places = list(dict.fromkeys([*own, *concerned]))
    rows = await account.rows_of(places)
    if pending is not None:
        rows[0] = pending
    stored = dict(
        zip(places, await account.rows_of([(i, "item") for i, _ in places]), strict=True)
    )

    unshown: dict[str, str] = {}
    account.catalogue.links()  # made here: a thread must not go through what the loop changes

    def work() -> list[tuple[RemoteItem, bool]]:
        out = []
        for place, row in zip(places, rows, strict=True):
            own = stored[place]
            item = items.get(place[0]) or (decode(own.item) if own is not None else None)
            try:
                out += _row_shown(account, place, row, item)
            except BlockError as error:
                # Its state is not stored: it is not what the file shows.
                unshown[place[0]] = f"it cannot be shown: {error}"
                if row is not None and row is pending:
                    out.append((row, False))
        return out

    made = await asyncio.to_thread(work)
    for item_id, _ in places:
        account.unshown.pop(item_id, None)
    account.unshown |= unshown
    for row, _ in made:
        if row.gone:
            account.catalogue.unbind(row.block_id)
        else:
            account.catalogue.bind(row.block_id, row.item_id, row.part)
    await account.save([r for r, is_news in made if not is_news], [r for r, new in made if new])


def _row_shown(
    account: OneheapAccount, place: tuple[str, Part], row: RemoteItem | None, item: Item | None
) -> list[tuple[RemoteItem, bool]]:
    """Return a block's new row, and whether it shows something else; none if nothing changed."""
    (item_id, part), live = place, row if row is not None and not row.gone else None
    if part in {"item", "sidecar"}:
        what = None if item is None else _item_shown(account, item, part, live)
    else:
        owner = account.catalogue.items.get(item_id)
        is_wanted = owner is None or account.catalogue.is_mirrored(owner)
        what = account.catalogue.directory_shown(item_id, part) if is_wanted else None
    if row is None:
        if what is None:
            return []
        row = account.made(item_id, part, what, "" if item is None else item.type)
        return [(_with_state(account, row, item), True)]
    row = _with_state(account, row, item)
    changed = account.remade(row, what)
    return [(row, False)] if changed is None else [(changed, True)]


def _with_state(account: OneheapAccount, row: RemoteItem, item: Item | None) -> RemoteItem:
    return account.with_item(row, item) if row.part == "item" and item is not None else row


def _item_shown(
    account: OneheapAccount, item: Item, part: Part, live: RemoteItem | None
) -> Shown | None:
    """Return what a block of an item shows; None if there is to be none."""
    catalogue = account.catalogue
    if not catalogue.is_mirrored(item):
        return None
    if part == "sidecar" and live is None and not catalogue.has_sidecar(item):
        return None
    return catalogue.item_shown(item, part, None if live is None else account.shows(live))
