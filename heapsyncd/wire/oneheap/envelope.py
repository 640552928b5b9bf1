"""Read the frame of every answer, and write the frame of every request (ONEHEAP §1). Pure.

A server is *proven* once it has answered in the envelope. Before that, anything else means that
this is no oneheap service; afterwards, that something is in the way for a while.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from heapsyncd.errors import (
    HeapsyncdError,
    NotHeaper,
    ProtocolError,
    RequestRefused,
    ServerTrouble,
    TooFast,
)
from heapsyncd.ids import HIDDEN, hide
from heapsyncd.wire.answers import Answer, Most
from heapsyncd.wire.budget import Rate
from heapsyncd.wire.oneheap.dates import parse_date, parse_http_date
from heapsyncd.wire.values import Unauthorised

MiB = 1 << 20
LIST_MOST: Final = Most(64 * MiB, 4 * MiB)
"""For a page of items with their whole texts, whose commas count as well."""
MAX_PAGE: Final = 500
"""The most items of a page; a server cuts what is more."""
_QUOTED_CHARS = 200
_MAX_COUNT = 2**53
_LATER = frozenset({408, 425})

Hide = Callable[[str], str]
"""Removes the account's secrets from a text."""


class Envelope(Struct, frozen=True):
    """A successful answer."""

    count: int | None
    """The number of objects without paging; the sign-in's answer has none."""
    objects: tuple[dict[str, Any], ...]
    date_s: float | None = None
    """When it was made, by the server's clock."""


class _Frame(msgspec.Struct):
    code: Any = None
    count: Any = None
    objects: list[Any] | None = None
    message: Any = None
    fields: Any = None


def encode_body(arguments: Mapping[str, object]) -> bytes:
    """Encode the arguments of a POST."""
    return msgspec.json.encode(dict(arguments))


def encode_query(arguments: Mapping[str, object]) -> dict[str, str]:
    """Encode the arguments of a GET: one JSON object in ``q``, none if there are none."""
    return {"q": encode_body(arguments).decode()} if arguments else {}


def page_arguments(offset: int, limit: int, *, oldest_first: bool = False) -> dict[str, object]:
    """Return the arguments for one page, sorted by the only key that is documented."""
    return {
        "limit": {"offset": offset, "limit": limit},
        "sort": {"modified/created": "asc" if oldest_first else "desc"},
    }


def read_rate(headers: Mapping[str, str]) -> Rate:
    """Read the rate limit's state, which every answer has.

    Args:
        headers: a mapping that ignores case: the service spells the names in two ways.
    """
    reset = parse_date(headers.get("X-RateLimit-Reset", ""))
    return Rate(
        _number(headers.get("X-RateLimit-Limit")),
        _number(headers.get("X-RateLimit-Remaining")),
        reset.timestamp() if reset is not None else None,
        parse_http_date(headers.get("Date")),
    )


def read(answer: Answer, *, proven: bool, hidden: Hide = hide) -> Envelope:
    """Read an answer, or raise the error that it stands for.

    It is an error if the HTTP status or the envelope's ``code`` is 400 or more.

    Args:
        answer: the answer.
        proven: whether this server has answered in the envelope before.
        hidden: applied to what is quoted from the answer.

    Raises:
        Unauthorised: 401 or 410: the token is not accepted; only the session handles it.
        TooFast: 429, without a time: the budget knows it.
        ServerTrouble: 5xx, 408, 425; of a proven server also a redirect, and what is no JSON.
        NotHeaper: a server that is not proven answers something else than the envelope.
        RequestRefused: any other 4xx; ``body`` has ``code``, ``message`` and ``fields``.
        ProtocolError: the envelope has a wrong shape.
    """
    frame = _frame(answer)
    code = _number(frame.code) if frame is not None else None
    status = code if code is not None and code >= 400 > answer.status else answer.status
    if status >= 300:
        _refuse(answer, status, frame, proven=proven, hidden=hidden)
    if frame is None or (frame.objects is None and code is None):
        raise _no_envelope(answer, proven=proven)
    objects = frame.objects or []
    if not all(isinstance(found, dict) for found in objects):
        raise ProtocolError(f"{answer.where}: an object of the answer is none")
    return Envelope(_number(frame.count), tuple(objects))


def refused_fields(error: RequestRefused) -> frozenset[str]:
    """Return the arguments that a refusal names as its cause."""
    fields = error.body.get("fields")
    return frozenset(map(str, fields)) if isinstance(fields, Sequence) else frozenset()


def hiding(*secrets: str) -> Hide:
    """Return a function that replaces secrets in a text, and whatever looks like a token."""

    def replaced(text: str) -> str:
        # The longest first: a short password may be a part of the token.
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return hide(text)

    return replaced


def _frame(answer: Answer) -> _Frame | None:
    if not answer.body and 200 <= answer.status < 300:
        return _Frame(code=answer.status)
    try:
        return msgspec.json.decode(answer.body, type=_Frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _refuse(
    answer: Answer, status: int, frame: _Frame | None, *, proven: bool, hidden: Hide
) -> NoReturn:
    where, message = answer.where, frame.message if frame is not None else None
    quoted = _quoted(message, hidden) if isinstance(message, str) else ""
    said = f": {quoted}" if quoted else ""
    if status in {401, 410}:
        raise Unauthorised(f"{where}: not signed in{said}")
    if status == 429:
        raise TooFast(f"{where}: the server asks to slow down{said}")
    if status >= 500 or status in _LATER:
        raise ServerTrouble(f"{where}: the server answers {status}{said}")
    if status < 400:
        _redirected(answer, proven=proven, hidden=hidden)
    if not proven and frame is None:
        raise _no_envelope(answer, proven=proven)
    fields = frame.fields if frame is not None and isinstance(frame.fields, list) else []
    named = [hidden(field) for field in fields if isinstance(field, str)]
    about = f" (about {_quoted(', '.join(named), hidden)})" if named else ""
    body: dict[str, object] = {"code": status, "message": quoted, "fields": named}
    raise RequestRefused(f"{where}: refused with {status}{said}{about}", status, body)


def _redirected(answer: Answer, *, proven: bool, hidden: Hide) -> NoReturn:
    # Never followed: a token must not travel to an address the user did not configure.
    target = f" to {_quoted(answer.location, hidden)}" if answer.location else ""
    if proven:
        raise ServerTrouble(f"{answer.where}: unexpectedly redirected{target}")
    raise NotHeaper(f"{answer.where} redirects{target}: configure the server's final address")


def _no_envelope(answer: Answer, *, proven: bool) -> HeapsyncdError:
    is_page = "html" in answer.content_type.lower() or answer.body.lstrip()[:1] == b"<"
    what = "a web page" if is_page else "something that is no oneheap answer"
    if proven:
        return ServerTrouble(f"{answer.where} answers {what}")
    return NotHeaper(
        f"{answer.where} answers {what}: configure the service's address, which ends in Api/Rest/"
    )


def _quoted(text: str, hidden: Hide) -> str:
    """Return a server's text on one line, shortened, without secrets."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return hidden(line)[:_QUOTED_CHARS]


def _number(value: object) -> int | None:
    """Return a count that may be written as text; None if it is none."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _MAX_COUNT else None
