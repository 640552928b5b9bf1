"""What is held of an account's deletions, and what a person decides on it."""

from pathlib import Path
from typing import Any, cast, get_args

from heapsyncd.cache import heaps, holds
from heapsyncd.cache.holds import Decision, Hold
from heapsyncd.database import Database, Tx
from heapsyncd.errors import HeapsyncdError


async def ask(db: Database, folder: Path, decision: str | None = None) -> list[dict[str, Any]]:
    """What is held of each heap, after a decision on all of it has been written down, if any.

    The decision is durable: a mirror carries it out when it next looks, a later one when none
    runs now.

    Args:
        db: the account's cache.
        folder: the account's folder.
        decision: ``confirm``, ``undo``, or None to ask only.

    Raises:
        HeapsyncdError: an unknown decision.
    """
    if decision is None:
        return await db.read(lambda tx: _listed(tx, folder))
    if decision not in get_args(Decision):
        raise HeapsyncdError(
            f"{decision} is no decision on deletions; is the daemon an older one?"
        )
    return await db.write(lambda tx: _decided(tx, folder, cast("Decision", decision)))


def _decided(tx: Tx, folder: Path, decision: Decision) -> list[dict[str, Any]]:
    for row in heaps.load_all(tx):
        holds.decide(tx, row.id, decision)
    return _listed(tx, folder)


def _listed(tx: Tx, folder: Path) -> list[dict[str, Any]]:
    """The heaps that hold something, as in ``deletions --json``."""
    found = []
    for row in heaps.load_all(tx):
        held = holds.of_heap(tx, row.id)
        if held:
            found.append(
                {
                    "id": row.id,
                    "title": row.title,
                    "folder": str(folder / row.folder),
                    "held": [_shown(h) for h in held],
                }
            )
    return found


def _shown(hold: Hold) -> dict[str, Any]:
    return {
        "path": hold.path,
        "kind": hold.role,
        "deleted": "here" if hold.direction == "up" else "on the server",
        "since_ms": hold.made_at_ms,
        "decision": hold.decision,
    }
