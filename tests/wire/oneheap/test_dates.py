"""Dates are read tolerantly and written in one form."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.wire.oneheap.dates import format_date, parse_date, parse_http_date

MOMENT = datetime(2015, 2, 26, 11, 2, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2015-02-26T11:02:40+0000",
        "2015-02-26T13:02:40+0200",
        "2015-02-26T05:32:40-05:30",
        "2015-02-26T11:02:40Z",
        "2015-02-26 11:02:40",
    ],
)
def test_spellings_of_one_instant(text: str) -> None:
    """Equal instants are equal values."""
    assert parse_date(text) == MOMENT
    assert parse_date(text).isoformat() == MOMENT.isoformat()  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "soon", "0000-00-00T00:00:00+0000", "2015-02-30", "+0000"])
def test_what_is_no_date(text: str) -> None:
    """None, not an error: who asked knows what it means."""
    assert parse_date(text) is None


@given(st.integers(-60 * 10**9, 250 * 10**9), st.integers(-1439, 1439))
def test_what_is_written_is_read(seconds: int, minutes: int) -> None:
    """Of every year, in every zone, in whole seconds."""
    moment = (MOMENT + timedelta(seconds=seconds - int(MOMENT.timestamp()))).astimezone(
        timezone(timedelta(minutes=minutes))
    )
    text = format_date(moment)
    assert parse_date(text) == moment
    assert len(text) == len("2015-02-26T11:02:40+0000")
    assert text.endswith("+0000")


def test_http_dates() -> None:
    """Seconds since 1970."""
    assert parse_http_date("Thu, 26 Feb 2015 11:02:40 GMT") == MOMENT.timestamp()
    assert parse_http_date(None) is None
    assert parse_http_date("yesterday") is None
