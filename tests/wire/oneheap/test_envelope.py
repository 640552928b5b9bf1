"""What a service answers is an envelope or one of our errors."""

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from heapsyncd.errors import (
    HeapsyncdError,
    NotHeaper,
    ProtocolError,
    RequestRefused,
    ServerTrouble,
    TooFast,
)
from heapsyncd.wire.answers import Answer
from heapsyncd.wire.budget import Rate
from heapsyncd.wire.oneheap.envelope import (
    encode_query,
    hiding,
    page_arguments,
    read,
    read_rate,
    refused_fields,
)
from heapsyncd.wire.values import Unauthorised

PAGE = b"<html>Login</html>"


def answer(body: Any, status: int = 200, **more: Any) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer("GET /Notes/ at host", status, raw, **more)


@pytest.mark.parametrize(
    ("body", "count", "objects"),
    [
        ({"code": 200, "count": 469, "objects": [{"a": 1}]}, 469, ({"a": 1},)),
        ({"code": 200, "objects": [{"a": 1}]}, None, ({"a": 1},)),
        ({"code": 200, "count": "3", "objects": None}, 3, ()),
        ({"objects": []}, None, ()),
        (b"", None, ()),
    ],
)
def test_an_answer(body: Any, count: int | None, objects: tuple[dict[str, Any], ...]) -> None:
    """The sign-in's has no count; a deletion's may have no body."""
    found = read(answer(body), proven=False)
    assert (found.count, found.objects) == (count, objects)


@pytest.mark.parametrize(
    ("body", "status", "first", "later"),
    [
        ({"code": 401}, 401, Unauthorised, Unauthorised),
        ({"code": 410}, 410, Unauthorised, Unauthorised),
        ({"code": 410}, 200, Unauthorised, Unauthorised),
        ({}, 410, Unauthorised, Unauthorised),
        ({"code": 429}, 429, TooFast, TooFast),
        ({"code": 429}, 200, TooFast, TooFast),
        ({"code": 400}, 400, RequestRefused, RequestRefused),
        ({"code": 200}, 403, RequestRefused, RequestRefused),
        ({"code": 404}, 404, RequestRefused, RequestRefused),
        ({"code": 413}, 413, RequestRefused, RequestRefused),
        ({"code": 500}, 500, ServerTrouble, ServerTrouble),
        ({"code": "503"}, 200, ServerTrouble, ServerTrouble),
        (PAGE, 502, ServerTrouble, ServerTrouble),
        (PAGE, 200, NotHeaper, ServerTrouble),
        (PAGE, 404, NotHeaper, RequestRefused),
        (b'{"code": 2', 200, NotHeaper, ServerTrouble),
        ({"hello": 1}, 200, NotHeaper, ServerTrouble),
        (b"", 302, NotHeaper, ServerTrouble),
        ({"code": 200, "objects": [1]}, 200, ProtocolError, ProtocolError),
        (b"[" * 100_000, 200, NotHeaper, ServerTrouble),
    ],
)
def test_an_error(
    body: Any, status: int, first: type[HeapsyncdError], later: type[HeapsyncdError]
) -> None:
    """If the status or the code says so; at the first contact, and once the service is known."""
    for proven, expected in ((False, first), (True, later)):
        with pytest.raises(HeapsyncdError) as error:
            read(answer(body, status), proven=proven)
        assert type(error.value) is expected


def test_a_refusal_names_its_fields() -> None:
    """As the documentation shows."""
    body = {"code": 400, "message": 'Invalid "email" parameter.', "fields": ["email"]}
    with pytest.raises(RequestRefused, match=r'Invalid "email" parameter.*about email') as error:
        read(answer(body, 400), proven=True)
    assert error.value.status == 400
    assert refused_fields(error.value) == {"email"}
    assert refused_fields(RequestRefused("x", 400)) == frozenset()


def test_what_is_quoted_holds_no_secret() -> None:
    """Neither in the message nor in the fields, nor control characters."""
    body = {"code": 400, "message": "no tok-123\x1b[2J pass", "fields": ["pass", 3]}
    with pytest.raises(RequestRefused) as error:
        read(answer(body, 400), proven=True, hidden=hiding("pass", "tok-123", ""))
    shown = f"{error.value} {error.value.body}"
    assert not {"pass", "tok-123", "\x1b"} & {s for s in ("pass", "tok-123", "\x1b") if s in shown}
    with pytest.raises(NotHeaper) as moved:
        read(
            answer(b"", 302, location="http://x/?t=tok-123"),
            proven=False,
            hidden=hiding("tok-123"),
        )
    assert "tok-123" not in str(moved.value)


def test_the_arguments_of_a_get() -> None:
    """One JSON object in ``q``, as in the documentation's example."""
    query = encode_query(page_arguments(0, 1))
    assert json.loads(query["q"]) == {
        "limit": {"offset": 0, "limit": 1}, "sort": {"modified/created": "desc"},
    }  # fmt: skip
    assert encode_query({}) == {}


def test_the_rate_limit() -> None:
    """The headers as documented, in whatever case they are spelt."""
    headers = CIMultiDict(
        {
            "X-RateLimit-Limit": "10000",
            "X-RateLimit-Remaining": "9993",
            "X-Ratelimit-Reset": "2015-02-26T11:02:40+0000",
            "Date": "Thu, 26 Feb 2015 11:00:40 GMT",
        }
    )
    rate = read_rate(headers)
    assert (rate.limit, rate.remaining, rate.until_reset_s()) == (10000, 9993, 120.0)
    odd = {
        "X-RateLimit-Remaining": "-3",
        "X-Ratelimit-Reset": "soon",
        "X-RateLimit-Limit": "9" * 99,
    }
    assert read_rate(CIMultiDict(odd)) == Rate()
