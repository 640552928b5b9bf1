"""Read and write the service's dates (ONEHEAP §1)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_OFFSET: Final = re.compile(r"[+-]\d{4}$")


def parse_date(text: str) -> datetime | None:
    """Parse a date: ``2015-02-26T11:02:40+0000``, or RFC 3339; without an offset it is UTC.

    Returns:
        The instant in UTC, so that equal instants are equal values; None if it is no date.
    """
    if _OFFSET.search(text) is not None and "T" in text:
        text = f"{text[:-2]}:{text[-2:]}"
    try:
        return _in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def format_date(moment: datetime) -> str:
    """Write a date in the one form that the service documents; parts of a second are cut."""
    # strftime would write the year 987 with three digits.
    return f"{_in_utc(moment).replace(microsecond=0, tzinfo=None).isoformat()}+0000"


def parse_http_date(text: str | None) -> float | None:
    """Parse a ``Date`` header to seconds since 1970; None if it is absent or no date."""
    try:
        return _in_utc(parsedate_to_datetime(text or "")).timestamp()
    except (ValueError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
