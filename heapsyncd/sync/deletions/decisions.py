"""List an account's held deletions, and store what a person decides on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from heapsyncd.cache import heaps, holds
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.cache.holds import Decision, Direction, Hold, Passed
from heapsyncd.database import Database, Tx
from heapsyncd.errors import HeapsyncdError
from heapsyncd.sync.heap.paths import assets_owner, inside


async def held_deletions(
    db: Database, folder: Path, decision: str | None = None, paths: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Store a decision on held deletions, if given, and return what each heap holds.

    The decision is durable: a running daemon carries it out in its next pass, otherwise the next
    one to start does.

    Args:
        db: the account's cache.
        folder: the account's folder.
        decision: ``confirm`` or ``undo``; None only lists.
        paths: absolute; only what is at these paths or below. None: everything.

    Returns:
        The heaps with held deletions among these, as in ``deletions --json``.

    Raises:
        HeapsyncdError: the decision is unknown.
    """
    if decision is None:
        return await db.read(lambda tx: _heaps(tx, folder, None, paths))
    if decision not in get_args(Decision):
        raise HeapsyncdError(
            f"The daemon does not know the decision {decision!r} on deletions. Is it an older"
            " version? Restart it."
        )
    return await db.write(lambda tx: _heaps(tx, folder, cast("Decision", decision), paths))


def _heaps(
    tx: Tx, folder: Path, decision: Decision | None, paths: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Decide, and return the heaps that hold deletions."""
    found = []
    for row in heaps.load_all(tx):
        root = folder / row.folder
        here = None if paths is None else inside(root, paths)
        held = holds.of_heap(tx, row.id)
        chosen = [h for h in held if _is_among(h.path, here)]
        passed = [p for p in _passed(tx, row, held) if _is_among(p.path, here)]
        if not chosen and not (passed and here is not None):
            continue
        if decision is not None:
            holds.decide(tx, row.id, decision, chosen)
            chosen = [h for h in holds.of_heap(tx, row.id) if _is_among(h.path, here)]
        if decision == "undo":
            holds.undo_passed(tx, row.id, passed)
        found.append(
            {
                "id": row.id,
                "title": row.title,
                "folder": str(root),
                "held": [_shown(root, h, h.decision) for h in chosen],
                "passed": [_shown(root, p, "undo" if p.undo else None) for p in passed],
            }
        )
    return found


def _passed(tx: Tx, row: HeapRow, held: Sequence[Hold]) -> list[Passed]:
    """Return what was let through before the rest was held."""
    directions: set[Direction] = {h.direction for h in held}
    return [p for p in holds.passed(tx, row.id) if p.direction in directions]


def _is_among(path: str, paths: Sequence[str] | None) -> bool:
    """Return whether a path is one of these or below one; a note's attachments belong to it."""
    return paths is None or any(
        wanted in {".", path, assets_owner(path)} or path.startswith(f"{wanted}/")
        for wanted in paths
    )


def _shown(root: Path, one: Hold | Passed, decision: str | None) -> dict[str, Any]:
    return {
        "path": one.path,
        "file": str(root / one.path),
        "kind": one.role,
        "deleted": "here" if one.direction == "up" else "on the server",
        "since_ms": one.made_at_ms,
        "decision": decision,
    }
