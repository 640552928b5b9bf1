"""Check the small values inside the shapes: ids, versions, times, documents' names on ``/ws``."""

import re
from datetime import UTC, datetime

from heapsyncd.errors import ProtocolError
from heapsyncd.ids import BlockId, HeapId, is_ulid

Time = int | float | str | None
"""A time as a server may write it: milliseconds, or RFC 3339 text."""

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18})")


def ulid(text: str) -> str:
    """Return an id if it is a ULID, else raise ProtocolError.

    Ids become parts of paths and of document names, so nothing else may pass.
    """
    if not is_ulid(text):
        raise ProtocolError(f"the server sent the id {text[:40]!r}, which is not a ULID")
    return text


def version(value: int) -> int:
    """Return a ``sync_version`` if it is valid, else raise ProtocolError."""
    if not 0 <= value < 2**53:
        raise ProtocolError(f"the server sent the invalid sync_version {value}")
    return value


def ms(value: Time) -> int | None:
    """Convert a time to milliseconds since 1970 UTC; None when absent.

    Raises:
        ProtocolError: it is not a time.
    """
    try:
        match value:
            case None:
                return None
            case str() if not value.isdecimal():
                moment = datetime.fromisoformat(value)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                return round(moment.timestamp() * 1000)
            case _ if -(2**53) < float(value) < 2**53:
                return int(value)
            case _:
                raise ValueError("beyond the integers that JSON numbers hold exactly")
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"the server sent the invalid time {str(value)[:40]!r}") from error


def block_ms(value: Time) -> int | None:
    """Convert a time of one block; 0 if it is invalid, which must not affect other blocks."""
    try:
        return ms(value)
    except ProtocolError:
        return 0


def document_name(heap_id: HeapId, block: BlockId, sync_version: int) -> str:
    """Return the name of a block's document of one version on ``/ws`` (PROTOCOL §6)."""
    return f"{heap_id}:{block}:v{sync_version}"


def skipped_bytes(status: int, content_range: str | None, offset: int) -> int | None:
    """Return how many bytes of an answer precede ``offset``; None when there is nothing to read.

    Args:
        status: 200, 206 or 416.
        content_range: that header.
        offset: the requested offset.
    """
    if status == 200:
        return offset
    match = _CONTENT_RANGE.fullmatch(content_range or "")
    if status == 416 and match is not None and match[1] is None and int(match[2]) == offset:
        return None
    if status == 206 and match is not None and match[1] is not None and int(match[1]) == offset:
        return 0
    raise ProtocolError(
        f"the server answered a request from byte {offset} with {status} {content_range}"
    )
