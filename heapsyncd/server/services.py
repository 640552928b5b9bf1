"""Bundle what the routes work with in one value."""

from collections.abc import Callable

from aiohttp import web
from msgspec import Struct

from heapsyncd.database import Database
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server.accounts import Accounts
from heapsyncd.server.addresses import Network, client, group, is_of
from heapsyncd.server.blobs import Blobs
from heapsyncd.server.documents import Documents
from heapsyncd.server.heaps import Heaps
from heapsyncd.server.large_documents import LargeDocuments
from heapsyncd.server.limits import Limits
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Rooms
from heapsyncd.server.throttle import Throttle
from heapsyncd.server.tokens import Signer


class Services(Struct, frozen=True):
    """Everything that a request may need."""

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
    """The title of the heap that is created when somebody signs in and there is none."""
    large_documents: LargeDocuments
    """Another process, for work that would block the loop."""
    is_local: bool
    """Whether only this machine reaches the server."""
    proxies: tuple[Network, ...]
    """Whose ``X-Forwarded-For`` is trusted."""

    def block(self, heap_id: HeapId, block: str) -> BlockId:
        """Return the block of the heap; Refusal 404 when there is none."""
        found = BlockId(block)
        place = self.documents.where(found)
        if place is None or place[0] != heap_id:
            raise Refusal(404, "no such block")
        return found

    def address(self, request: web.BaseRequest) -> str:
        """Return the address by which a request is counted."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return group(client(request.remote or "", forwarded, self.proxies))

    def is_proxied(self, request: web.BaseRequest) -> bool:
        """Tell whether a request came through a trusted proxy."""
        return "X-Forwarded-For" in request.headers and is_of(request.remote or "", self.proxies)

    def recheck_rights(self) -> None:
        """End the document sessions whose rights changed."""
        for follower in self.rooms.select():
            follower.recheck_rights()


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
