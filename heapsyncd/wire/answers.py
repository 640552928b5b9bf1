"""Interpret an HTTP answer before its content: statuses become errors once, here. Pure.

A server is *proven* once it has answered JSON. Before that, a page of HTML means that this is no
Heaper server; afterwards, that a proxy or captive portal is in the way for a while.
"""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeVar

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
from heapsyncd.ids import hide
from heapsyncd.wire.values import Unauthorised

_T = TypeVar("_T")
_LONGEST_WAIT_S = 3600.0
_QUOTED_CHARS = 200


class Most(Struct, frozen=True):
    """The bounds of an answer."""

    size_bytes: int
    commas: int
    """The most commas, about the number of values; those inside strings count, too."""


USUAL = Most(1 << 20, 1 << 20)
"""The bounds of an answer that is not known to be longer, and of every refusal."""


class Answer(Struct, frozen=True):
    """A received answer."""

    where: str
    """Method, path and host, for messages."""
    status: int
    body: bytes | bytearray
    content_type: str = ""
    retry_after: str | None = None
    location: str | None = None


def check(answer: Answer, *, proven: bool, now: datetime | None = None) -> None:
    """Raise the error that a status stands for; 2xx passes (PROTOCOL §3).

    Args:
        answer: the answer.
        proven: whether this server has answered JSON before.
        now: the wall clock, to interpret a Retry-After date.

    Raises:
        Unauthorised: 401; only the session handles it.
        TooFast: 429. ServerTrouble: 5xx, 408, 425, or a redirect of a proven server.
        NotHeaper: a redirect, a page, or no such route, of a server that is not proven.
        RequestRefused: any other 4xx.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    wait_s = retry_after_s(answer.retry_after, now or datetime.now(UTC))
    said = _said(answer.body)
    if status == 401:
        raise Unauthorised(f"{answer.where}: not signed in{said}")
    if status == 429:
        raise TooFast(f"{answer.where}: the server asks to slow down{said}", wait_s)
    if status >= 500 or status in {408, 425}:
        raise ServerTrouble(f"{answer.where}: the server answers {status}{said}", wait_s)
    if status < 400:
        _redirected(answer, proven=proven)
    if not proven and (status in {404, 405} or _is_page(answer)):
        raise NotHeaper(f"{answer.where} answers {status}: this is no Heaper server's address")
    raise RequestRefused(f"{answer.where}: refused with {status}{said}", status, _object(answer))


def _redirected(answer: Answer, *, proven: bool) -> NoReturn:
    # Never followed: a token must not travel to an address the user did not configure.
    target = f" to {_quoted(answer.location)}" if answer.location else ""
    if proven:
        raise ServerTrouble(f"{answer.where}: unexpectedly redirected{target}")
    raise NotHeaper(f"{answer.where} redirects{target}: configure the server's final address")


def decode(answer: Answer, shape: type[_T], *, proven: bool) -> _T:
    """Decode a 2xx answer's JSON as ``shape``.

    Raises:
        NotHeaper, ServerTrouble: it is not JSON; which of them depends on ``proven``.
        ProtocolError: it is JSON of another shape.
    """
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except msgspec.ValidationError as error:
        raise ProtocolError(
            f"{answer.where}: the answer has an unknown shape ({error})"
        ) from error
    except RecursionError as error:
        raise ProtocolError(f"{answer.where}: the answer is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_json(answer, proven=proven) from error


def _no_json(answer: Answer, *, proven: bool) -> HeapsyncdError:
    what = "a web page" if _is_page(answer) else "something that is no JSON"
    if proven:
        return ServerTrouble(f"{answer.where} answers {what}")
    return NotHeaper(f"{answer.where} answers {what}: this is no Heaper server's address")


def _is_page(answer: Answer) -> bool:
    return "html" in answer.content_type.lower() or answer.body.lstrip()[:1] == b"<"


def _object(answer: Answer) -> dict[str, object]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


class _Error(msgspec.Struct):
    error: str


def _said(body: bytes | bytearray) -> str:
    """Return the server's own error text for a message, on one line and shortened; '' if none."""
    try:
        text = msgspec.json.decode(body, type=_Error).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    line = _quoted(text)
    return f": {line}" if line else ""


def _quoted(text: str) -> str:
    """Return a server's text on one line, shortened, without what looks like a token."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return hide(line)[:_QUOTED_CHARS]


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Parse Retry-After (seconds or an HTTP date) to seconds from now; None if absent or invalid.

    At most an hour, so that a server's mistake does not stop syncing for good.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)
