"""What a status, a content type and a body stand for."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.errors import (
    HeapsyncdError,
    NotHeaper,
    ProtocolError,
    RequestRefused,
    ServerTrouble,
    TooFast,
)
from heapsyncd.wire.answers import Answer, check, decode, retry_after_s
from heapsyncd.wire.heaper import Delta
from heapsyncd.wire.values import Unauthorised

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def answer(status: int, body: bytes = b"{}", content_type: str = "application/json") -> Answer:
    return Answer("GET /api/x at host", status, body, content_type)


@pytest.mark.parametrize(
    ("status", "proven", "raised"),
    [
        (301, False, NotHeaper),
        (302, True, ServerTrouble),
        (400, True, RequestRefused),
        (401, False, Unauthorised),
        (403, True, RequestRefused),
        (404, False, NotHeaper),
        (404, True, RequestRefused),
        (408, True, ServerTrouble),
        (409, True, RequestRefused),
        (413, True, RequestRefused),
        (415, True, RequestRefused),
        (422, True, RequestRefused),
        (429, False, TooFast),
        (500, False, ServerTrouble),
        (502, True, ServerTrouble),
        (503, True, ServerTrouble),
        (507, True, ServerTrouble),
    ],
)
def test_a_status_is_an_error(status: int, proven: bool, raised: type[HeapsyncdError]) -> None:
    """Sorted by who must act."""
    with pytest.raises(raised) as error:
        check(answer(status), proven=proven)
    assert type(error.value) is raised
    assert "GET /api/x at host" in str(error.value)


def test_a_refusal_carries_status_body_and_the_servers_words() -> None:
    """The words on one line and not too long, whatever the server wrote."""
    body = b'{"error": "chunks\\nmissing\\u001b[0m", "missing": [1, 2]}'
    with pytest.raises(RequestRefused) as error:
        check(answer(409, body), proven=True)
    assert error.value.status == 409
    assert error.value.body["missing"] == [1, 2]
    assert str(error.value).endswith(": chunks missing [0m")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"\xff\xfe", b'{"error": 3}'])
def test_any_body_of_an_error_is_tolerated(body: bytes) -> None:
    """A proxy's page beside a 403 changes nothing."""
    with pytest.raises(RequestRefused) as error:
        check(answer(403, body), proven=True)
    assert error.value.status == 403


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("999999999", 3600.0),
        ("soon", None),
        ("", None),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    """Seconds or an HTTP date; nonsense counts as absent, and nothing exceeds an hour."""
    assert retry_after_s(value, NOW) == seconds


@given(st.text(max_size=40))
def test_retry_after_never_fails(value: str) -> None:
    """Whatever a server writes there."""
    wait_s = retry_after_s(value, NOW)
    assert wait_s is None or 0 <= wait_s <= 3600


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_travels_with_the_error(status: int) -> None:
    """429 and 5xx say how long to wait."""
    late = Answer("x", status, b"", retry_after="12")
    with pytest.raises((TooFast, ServerTrouble)) as error:
        check(late, proven=True)
    assert getattr(error.value, "retry_after_s", None) == 12


@pytest.mark.parametrize(
    ("body", "proven", "raised"),
    [
        pytest.param(b"<html>login</html>", False, NotHeaper, id="a page at first"),
        pytest.param(b"<html>login</html>", True, ServerTrouble, id="a captive portal"),
        pytest.param(b"", True, ServerTrouble, id="nothing"),
        pytest.param(b'{"blocks": [', True, ServerTrouble, id="cut off"),
        pytest.param(b"\xff", True, ServerTrouble, id="not UTF-8"),
        pytest.param(b'{"blocks": [{"id": "\xff"}]}', True, ServerTrouble, id="not UTF-8 inside"),
        pytest.param(b"{}", True, ProtocolError, id="an object of another shape"),
        pytest.param(b"[]", True, ProtocolError, id="a list"),
        pytest.param(b'{"blocks": {}, "timestamp": 1}', True, ProtocolError, id="a wrong type"),
        pytest.param(b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", True, ProtocolError, id="deep"),
    ],
)
def test_a_body_that_is_not_the_shape(
    body: bytes, proven: bool, raised: type[HeapsyncdError]
) -> None:
    """No JSON is the server's trouble (or no Heaper server), other JSON breaks the contract."""
    with pytest.raises(raised) as error:
        decode(answer(200, body), Delta, proven=proven)
    assert type(error.value) is raised


@given(st.binary(max_size=60))
def test_arbitrary_bodies_raise_our_errors_only(body: bytes) -> None:
    """Nothing foreign escapes the reading of an answer."""
    with pytest.raises(HeapsyncdError):
        decode(answer(200, body), Delta, proven=True)
