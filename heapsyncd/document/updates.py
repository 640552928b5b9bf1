"""Pass updates and state vectors to yrs: the one module that does.

What is no valid encoding, or costs yrs too much, is refused before yrs reads it (``examine``,
``structure_limits``). And no document of yrs' is allowed to hold what it cannot use yet, because
yrs then follows pointers to structs that it has freed:

* Structs behind a gap are not passed on. yrs would take them in at once, and free the wrong ones
  when what lies between arrives together with some of them.
* A document left with structs whose dependencies are missing is given no other update.

Both wait with whoever keeps the updates (``pending_part``), and are given to a new document once
their dependencies are there.

yrs answers other bad data with an error or a Rust panic, which arrives as a ``BaseException``.
Here either becomes ``UnreadableDocument``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pycrdt import Doc, get_state, get_update, merge_updates

from heapsyncd.document.encoding.examine import Examined, examine, examine_vector
from heapsyncd.document.encoding.state_vectors import (
    Pending,
    clocks,
    deletions,
    encode_deletions,
    encode_varint,
    pending_beyond,
    sorted_vector,
    subtract,
)
from heapsyncd.document.encoding.structure_limits import check_value_runs
from heapsyncd.errors import UnreadableDocument

_MERGE_BATCH: Final = 20
"""The most updates merged at once. yrs sorts what it merges by a comparison that is no total
order; Rust checks for that, and panics, only in longer lists.
"""
EMPTY = b"\0\0"
"""The update that holds nothing."""


@contextmanager
def pycrdt_errors() -> Iterator[None]:
    """Turn what pycrdt raises on bad data, Rust panics included, into UnreadableDocument.

    LookupError is included: in odd documents yrs lists keys and counts children that it then does
    not return.
    """
    try:
        yield
    except (ValueError, RuntimeError, OverflowError, LookupError) as e:
        raise UnreadableDocument(f"its data can't be read ({e})") from e
    except BaseException as e:
        # pyo3's PanicException can't be imported, and is a BaseException by design.
        if type(e).__name__ != "PanicException":
            raise
        raise UnreadableDocument(f"its data crashes the document library ({e})") from e


def new_doc(client_id: int | None = None) -> "Doc[Any]":
    """Make an empty document for updates from outside.

    Deleted structs are not freed (``skip_gc``). yrs frees the nodes in a deleted one by following
    their order; where bad structs have put them out of order, some survive with pointers to freed
    memory.
    """
    return Doc(client_id=client_id, skip_gc=True)


def apply(doc: "Doc[Any]", update: bytes) -> bool:
    """Give a document an update, except for structs behind a gap.

    Before the next update, nothing of this one may be left pending in the document: see
    ``without_pending``. After an error, part of the update may be in the document, which must be
    discarded.

    Returns:
        Whether the update had no gap, so that all of it was passed on.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    examined = examine(update)
    check_value_runs(update)
    with pycrdt_errors():
        vector = doc.get_state()
        seen = clocks(vector)
        is_gapless = examined.is_gapless(seen)
        if not is_gapless:
            rest = get_update(update, vector)
            update = _before_gaps(rest, examine(rest), seen)
        doc.apply_update(update)
        return is_gapless


def without_pending(doc: "Doc[Any]") -> "Doc[Any]":
    """Return a copy of the document without what it could not use yet."""
    new = new_doc(doc.client_id)
    with pycrdt_errors():
        new.apply_update(doc.get_update())
    return new


def _before_gaps(update: bytes, examined: Examined, seen: Mapping[int, int]) -> bytes:
    """Return the update without the structs that are behind a gap."""
    usable = [
        (s, *(s.skip or (s.count, s.end)))
        for s in examined.sections
        if s.clock <= seen.get(s.client, 0)
    ]
    usable = [found for found in usable if found[1]]
    parts = [encode_varint(len(usable))]
    for section, count, end in usable:
        head = encode_varint(count) + encode_varint(section.client) + encode_varint(section.clock)
        parts += [head, update[section.start : end]]
    return b"".join([*parts, update[examined.deletions :]])


def merge(updates: Sequence[bytes]) -> bytes:
    """Merge updates into one that holds all of them, pending structs too.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    if not updates:
        return EMPTY
    for update in updates:
        examine(update)
    found = list(updates)
    with pycrdt_errors():
        while len(found) > _MERGE_BATCH:
            starts = range(0, len(found), _MERGE_BATCH)
            found = [merge_updates(*found[k : k + _MERGE_BATCH]) for k in starts]
        return merge_updates(*found)


def joined(updates: Iterable[bytes | None]) -> bytes | None:
    """Return updates as one; None if there are none."""
    parts = [u for u in updates if u is not None]
    return merge(parts) if len(parts) > 1 else parts[0] if parts else None


def _merged_unread(updates: Sequence[bytes]) -> bytes:
    """Merge updates for yrs to read next, which refuses what ``examine`` does not.

    A document that was sent once is one update, or an empty one and one more. It is passed on
    unchanged: merging it takes longer than reading it.
    """
    found = [update for update in updates if update != EMPTY]
    if len(found) > 1:
        return merge(found)
    for update in found:
        examine(update)
    return found[0] if found else EMPTY


def _missing_part(update: bytes, state_vector: bytes) -> bytes:
    examine(update)
    examine_vector(state_vector)
    with pycrdt_errors():
        return get_update(update, state_vector)


def missing(updates: Sequence[bytes], state_vector: bytes) -> bytes:
    """Return what the holder of a state vector lacks of the updates, without building a document.

    All deletions are always included: vectors do not record them.

    Raises:
        UnreadableDocument: an update or the vector is bad.
    """
    return _missing_part(_merged_unread(updates), state_vector)


def without_deletions(update: bytes, others: Sequence[bytes]) -> bytes:
    """Remove deletions that are known from other updates.

    The deletions of another update are removed only when this update has all of them. The answer
    to a state vector repeats all deletions there are, also those that the asker made.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    start = examine(update).deletions
    there = left = deletions(update[start:])
    for other in others:
        deleted = deletions(other[examine(other).deletions :])
        if not subtract(deleted, there):
            left = subtract(left, deleted)
    return update if left is there else update[:start] + encode_deletions(left)


def brings_nothing(update: bytes, state_vector: bytes, log: Iterable[bytes]) -> bool:
    """Tell whether a document certainly has all of an update, without building the document.

    False is inconclusive: a deletion that the document made by itself (of a replaced value, or of
    what is inside a deleted node) need not be in its updates.

    Args:
        update: what may be new.
        state_vector: the document's.
        log: the updates that the document was made of.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    if pending_part(update, state_vector):
        return False
    left = deletions(update[examine(update).deletions :])
    for other in log:
        if not left:
            break
        left = subtract(left, deletions(other[examine(other).deletions :]))
    return not left


def state_since(doc: "Doc[Any]", state_vector: bytes) -> bytes:
    """Return what the holder of a state vector lacks of a document.

    Raises:
        UnreadableDocument: the vector is bad.
    """
    examine_vector(state_vector)
    with pycrdt_errors():
        return doc.get_update(state_vector)


def pending_part(update: bytes, state_vector: bytes) -> frozenset[Pending]:
    """Return what a document that took in an update cannot use of it yet.

    That is structs whose dependencies are missing, and deletions of structs that have not arrived:
    such a deletion leaves no trace in the document's state.

    Args:
        update: what the document took in.
        state_vector: the document's.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    return pending_beyond(_missing_part(update, state_vector), state_vector)


def is_pending(update: bytes, state_vector: bytes) -> bool:
    """Tell whether a document cannot use some part of an update yet (``pending_part``)."""
    return bool(pending_part(update, state_vector))


def vector_of(updates: Sequence[bytes]) -> bytes:
    """Return the state vector of a document made of these updates.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    merged = _merged_unread(updates)
    with pycrdt_errors():
        return sorted_vector(get_state(merged))
