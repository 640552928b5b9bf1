"""What the routes work with, in one value."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from heapsyncd.database import Database
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server.accounts import Accounts
from heapsyncd.server.blobs import Blobs
from heapsyncd.server.documents import Documents
from heapsyncd.server.heaps import Heaps
from heapsyncd.server.limits import Limits
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Rooms
from heapsyncd.server.throttle import Throttle
from heapsyncd.server.tokens import Signer


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may need."""

    db: Database
    signer: Signer
    accounts: Accounts
    throttle: Throttle
    heaps: Heaps
    documents: Documents
    rooms: Rooms
    blobs: Blobs
    limits: Limits
    now_ms: Callable[[], int]
    url: Callable[[], str]
    first_heap: str | None
    """The title of the heap that is made when somebody signs in and there is none."""

    def block(self, heap: HeapId, block: str) -> BlockId:
        """The block of the heap; Refusal 404 when there is none."""
        found = BlockId(block)
        place = self.documents.where(found)
        if place is None or place[0] != heap:
            raise Refusal(404, "no such block")
        return found


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
