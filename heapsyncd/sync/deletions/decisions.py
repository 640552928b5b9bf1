"""List an account's held deletions, and store what a person decides on them."""

from pathlib import Path
from typing import Any, cast, get_args

from heapsyncd.cache import heaps, holds
from heapsyncd.cache.holds import Decision, Hold
from heapsyncd.database import Database, Tx
from heapsyncd.errors import HeapsyncdError


async def held_deletions(
    db: Database, folder: Path, decision: str | None = None
) -> list[dict[str, Any]]:
    """Store a decision on all held deletions, if given, and return what each heap holds.

    The decision is durable: a running daemon carries it out in its next pass, otherwise the next
    one to start does.

    Args:
        db: the account's cache.
        folder: the account's folder.
        decision: ``confirm`` or ``undo``; None only lists.

    Returns:
        The heaps with held deletions, as in ``deletions --json``.

    Raises:
        HeapsyncdError: the decision is unknown.
    """
    if decision is None:
        return await db.read(lambda tx: _listed(tx, folder))
    if decision not in get_args(Decision):
        raise HeapsyncdError(
            f"The daemon does not know the decision {decision!r} on deletions. Is it an older"
            " version? Restart it."
        )
    return await db.write(lambda tx: _decided(tx, folder, cast("Decision", decision)))


def _decided(tx: Tx, folder: Path, decision: Decision) -> list[dict[str, Any]]:
    for row in heaps.load_all(tx):
        holds.decide(tx, row.id, decision)
    return _listed(tx, folder)


def _listed(tx: Tx, folder: Path) -> list[dict[str, Any]]:
    """Return the heaps that hold deletions, as in ``deletions --json``."""
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
