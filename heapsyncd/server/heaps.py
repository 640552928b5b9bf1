"""Keep heaps and who may do what in them (PROTOCOL §4). They are few, and all stay in memory."""

from collections.abc import Callable

from msgspec import Struct
from ulid import ULID

from heapsyncd.database import Database, Tx
from heapsyncd.ids import HeapId
from heapsyncd.server import data
from heapsyncd.server.accounts import Account
from heapsyncd.server.data import Access
from heapsyncd.server.refusal import Refusal

EVERYBODY = ""


class HeapRow(Struct, frozen=True):
    """A workspace."""

    id: HeapId
    block_id: str
    title: str
    created_at: int
    updated_at: int

    def public(self) -> dict[str, object]:
        """Return the heap as the contract shows it."""
        return {
            "id": self.id,
            "block_id": self.block_id,
            "title": self.title,
            "icon": None,
            "type": "personal",
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "encrypted": False,
        }


class Heaps:
    """All heaps, and the grants that differ from "every account may read and write"."""

    def __init__(self, db: Database, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._now_ms = now_ms
        self._heaps: dict[str, HeapRow] = {}
        self._grants: dict[tuple[str, str], Access] = {}

    async def open(self) -> None:
        """Load heaps and grants."""

        def read(tx: Tx) -> tuple[list[HeapRow], dict[tuple[str, str], Access]]:
            rows = tx.execute("SELECT id, block_id, title, created_at, updated_at FROM heaps")
            heaps = [HeapRow(*r) for r in rows]
            rows = tx.execute("SELECT heap_id, account_id, access FROM grants")
            return heaps, {(h, a): access for h, a, access in rows}

        heaps, self._grants = await self._db.read(read)
        self._heaps = {h.id: h for h in sorted(heaps, key=lambda h: h.created_at)}

    async def add(self, title: str) -> HeapRow:
        """Create a heap."""

        def write(tx: Tx) -> HeapRow:
            stamp = data.tick(tx, self._now_ms())
            heap = HeapRow(HeapId(str(ULID())), str(ULID()), title, stamp, stamp)
            row = (heap.id, heap.block_id, title, stamp, stamp)
            tx.execute("INSERT INTO heaps VALUES (?, ?, ?, ?, ?)", row)
            return heap

        heap = await self._db.write(write)
        self._heaps[heap.id] = heap
        return heap

    async def grant(self, heap_id: HeapId, access: Access, account: Account | None = None) -> None:
        """Set what an account may do in a heap; None: everybody without a grant of their own."""
        who = EVERYBODY if account is None else account.id
        sql = (
            "INSERT INTO grants VALUES (?, ?, ?)"
            " ON CONFLICT (heap_id, account_id) DO UPDATE SET access = excluded.access"
        )
        await self._db.write(lambda tx: tx.execute(sql, (heap_id, who, access)).rowcount)
        self._grants[heap_id, who] = access

    def all(self) -> list[HeapRow]:
        """Return every heap, oldest first."""
        return list(self._heaps.values())

    def access(self, account: Account, heap: str) -> Access:
        """Return what an account may do in a heap that exists."""
        everybody = self._grants.get((heap, EVERYBODY), "rw")
        return self._grants.get((heap, account.id), everybody)

    def visible(self, account: Account) -> list[HeapRow]:
        """Return the heaps that an account may read, oldest first."""
        return [h for h in self._heaps.values() if self.access(account, h.id) != "none"]

    def sees(self, account: Account, heap: str) -> bool:
        """Tell whether an account may read a heap; False if there is no such heap."""
        return heap in self._heaps and self.access(account, heap) != "none"

    def readable(self, account: Account, heap: str) -> HeapId:
        """Return the heap; Refusal 404 when there is none, 403 when it may not be read."""
        if heap not in self._heaps:
            raise Refusal(404, "no such heap")
        if self.access(account, heap) == "none":
            raise Refusal(403, "no permission for this heap")
        return self._heaps[heap].id

    def writable(self, account: Account, heap: str) -> HeapId:
        """Return the heap; Refusal as for ``readable``, and 403 when it is read-only."""
        found = self.readable(account, heap)
        if self.access(account, heap) != "rw":
            raise Refusal(403, "the heap is read-only for this account")
        return found

    def __bool__(self) -> bool:
        return bool(self._heaps)
