"""The door to yrs: every byte of an update or a state vector that it is given passes here.

What is no sound encoding, or costs yrs too much, is refused before yrs reads it (``examine``,
``encoding.cost``). And no document of yrs' is let hold what it can't use yet, for yrs then follows
pointers to structs that it has freed:

* structs behind a gap are not given to it. It would take them in at once, and let go of the wrong
  ones when what lies between comes together with some of them;
* a document that was left with structs which build on unknown ones is given no other update.

Both wait with whoever keeps the updates (``early``), and are given to a new document once what
they need is there.

yrs answers other foreign data with an error or a Rust panic, which arrives as a
``BaseException``. Here it becomes ``UnreadableDocument``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pycrdt import Doc, get_state, get_update, merge_updates

from heapsyncd.document.encoding.cost import refuse_rows
from heapsyncd.document.encoding.examine import Examined, examine, examine_vector
from heapsyncd.document.encoding.state_vectors import (
    Early,
    beyond,
    clocks,
    deletions,
    number,
    ordered,
    without,
    written,
)
from heapsyncd.errors import UnreadableDocument

_AT_ONCE: Final = 20
"""yrs sorts what it merges by a comparison that is no order. Rust panics when it notices, which it
looks for among more than these.
"""
EMPTY = b"\0\0"
"""The update that holds nothing."""


@contextmanager
def contained() -> Iterator[None]:
    """Turn what pycrdt raises on foreign data, a Rust panic too, into UnreadableDocument.

    A LookupError, too: of odd documents yrs names keys and counts children that it does not give.
    """
    try:
        yield
    except (ValueError, RuntimeError, OverflowError, LookupError) as e:
        raise UnreadableDocument(f"its data can't be read ({e})") from e
    except BaseException as e:
        # pyo3's PanicException can't be imported, and is no Exception so that nobody hides it.
        if type(e).__name__ != "PanicException":
            raise
        raise UnreadableDocument(f"its data breaks the document library ({e})") from e


def new_doc(client_id: int | None = None) -> "Doc[Any]":
    """A document for bytes from outside.

    What is deleted is not freed: yrs frees the nodes in a deleted one by following their order,
    and where foreign structs have put that out of order, some live on in what was freed.
    """
    return Doc(client_id=client_id, skip_gc=True)


def apply(doc: "Doc[Any]", update: bytes) -> bool:
    """Give a document an update, but for what stands behind a gap; whether that is all of it.

    Before it is given another one, nothing of the first may be ``early`` in it: ``without_early``
    sees to that. After an error, some of the update may have been taken in: the document is not to
    be trusted.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    examined = examine(update)
    refuse_rows(update)
    with contained():
        vector = doc.get_state()
        seen = clocks(vector)
        is_gapless = examined.is_gapless(seen)
        if not is_gapless:
            rest = get_update(update, vector)
            update = _before_gaps(rest, examine(rest), seen)
        doc.apply_update(update)
        return is_gapless


def without_early(doc: "Doc[Any]") -> "Doc[Any]":
    """The same document, without what it could not use yet."""
    new = new_doc(doc.client_id)
    with contained():
        new.apply_update(doc.get_update())
    return new


def _before_gaps(update: bytes, examined: Examined, seen: Mapping[int, int]) -> bytes:
    """The update without the structs that stand behind a gap."""
    usable = [
        (s, *(s.skip or (s.count, s.end)))
        for s in examined.sections
        if s.clock <= seen.get(s.client, 0)
    ]
    usable = [found for found in usable if found[1]]
    parts = [number(len(usable))]
    for section, count, end in usable:
        head = number(count) + number(section.client) + number(section.clock)
        parts += [head, update[section.start : end]]
    return b"".join([*parts, update[examined.deletions :]])


def merge(updates: Sequence[bytes]) -> bytes:
    """One update that holds all of them, pending ones too; UnreadableDocument on bad bytes."""
    if not updates:
        return EMPTY
    for update in updates:
        examine(update)
    found = list(updates)
    with contained():
        while len(found) > _AT_ONCE:
            starts = range(0, len(found), _AT_ONCE)
            found = [merge_updates(*found[k : k + _AT_ONCE]) for k in starts]
        return merge_updates(*found)


def _lacking(update: bytes, state_vector: bytes) -> bytes:
    examine(update)
    examine_vector(state_vector)
    with contained():
        return get_update(update, state_vector)


def missing(updates: Sequence[bytes], state_vector: bytes) -> bytes:
    """What of the updates the holder of a vector lacks, without building a document.

    Deletions are always all in it: they do not show in vectors.

    Raises:
        UnreadableDocument: an update's or the vector's bytes are bad.
    """
    return _lacking(merge(updates), state_vector)


def without_deletions(update: bytes, others: Sequence[bytes]) -> bytes:
    """An update without the deletions of those others of which it has all.

    An answer to a state vector brings all deletions there are, also those of whom it answers.

    Raises:
        UnreadableDocument: bytes are bad.
    """
    start = examine(update).deletions
    there = left = deletions(update[start:])
    for other in others:
        deleted = deletions(other[examine(other).deletions :])
        if not without(deleted, there):
            left = without(left, deleted)
    return update if left is there else update[:start] + written(left)


def brings_nothing(update: bytes, state_vector: bytes, log: Iterable[bytes]) -> bool:
    """Whether a document certainly has all of an update, found without building it.

    False says little: a deletion that a document made by itself (of what a value replaced, of
    what is in a deleted node) need not stand in its updates.

    Args:
        update: what may be new.
        state_vector: the document's.
        log: the updates that it was made of.

    Raises:
        UnreadableDocument: bytes are bad.
    """
    if early(update, state_vector):
        return False
    left = deletions(update[examine(update).deletions :])
    for other in log:
        if not left:
            break
        left = without(left, deletions(other[examine(other).deletions :]))
    return not left


def state_since(doc: "Doc[Any]", state_vector: bytes) -> bytes:
    """What of a document the holder of a vector lacks; UnreadableDocument when that is none."""
    examine_vector(state_vector)
    with contained():
        return doc.get_update(state_vector)


def early(update: bytes, state_vector: bytes) -> frozenset[Early]:
    """What of an update a document, which took it in and has that vector, could not use yet.

    That are structs which build on unknown ones, or deletions of unknown ones: a deletion leaves
    no trace in the state until what it deletes arrives.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    return beyond(_lacking(update, state_vector), state_vector)


def waits(update: bytes, state_vector: bytes) -> bool:
    """Whether anything of an update is ``early``."""
    return bool(early(update, state_vector))


def vector_of(updates: Sequence[bytes]) -> bytes:
    """The state vector that a document of these updates has; UnreadableDocument on bad bytes."""
    merged = merge(updates)
    with contained():
        return ordered(get_state(merged))
