"""Updates as bytes: what can be told of them, and done with them, without a document.

Everything from the network is foreign data to yrs, which answers some of it with a Rust panic;
that arrives as a ``BaseException``. Here it becomes ``UnreadableDocument``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pycrdt import get_state, get_update, merge_updates

from heapsyncd.document.vectors import Early, beyond, ordered
from heapsyncd.errors import UnreadableDocument

EMPTY = b"\0\0"
"""The update that holds nothing."""


@contextmanager
def contained() -> Iterator[None]:
    """Turn what pycrdt raises on foreign data, a Rust panic too, into UnreadableDocument."""
    try:
        yield
    except (ValueError, RuntimeError, OverflowError) as e:
        raise UnreadableDocument(f"its data can't be read ({e})") from e
    except BaseException as e:
        # pyo3's PanicException can't be imported, and is no Exception so that nobody hides it.
        if type(e).__name__ != "PanicException":
            raise
        raise UnreadableDocument(f"its data breaks the document library ({e})") from e


def merge(updates: Sequence[bytes]) -> bytes:
    """One update that holds all of them, pending ones too; UnreadableDocument on bad bytes."""
    if not updates:
        return EMPTY
    with contained():
        return merge_updates(*updates)


def missing(updates: Sequence[bytes], state_vector: bytes) -> bytes:
    """What of the updates the holder of a vector lacks, without building a document.

    Deletions are always all in it: they do not show in vectors.

    Raises:
        UnreadableDocument: an update's or the vector's bytes are bad.
    """
    with contained():
        return get_update(merge(updates), state_vector)


def early(update: bytes, state_vector: bytes) -> frozenset[Early]:
    """What of an update a document, which took it in and has that vector, could not use yet.

    That are structs which build on unknown ones, or deletions of unknown ones: a deletion leaves
    no trace in the state until what it deletes arrives.

    Raises:
        UnreadableDocument: the bytes are bad.
    """
    with contained():
        return beyond(get_update(update, state_vector), state_vector)


def waits(update: bytes, state_vector: bytes) -> bool:
    """Whether anything of an update is ``early``."""
    return bool(early(update, state_vector))


def vector_of(updates: Sequence[bytes]) -> bytes:
    """The state vector that a document of these updates has; UnreadableDocument on bad bytes."""
    with contained():
        return ordered(get_state(merge(updates)))


def is_empty(update: bytes) -> bool:
    """Whether an update holds neither structs nor deletions."""
    return update == EMPTY
