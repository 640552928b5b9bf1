"""Edge: send documented requests to one oneheap service for one account (ONEHEAP §1 to §3).

A request passes through four steps: the table checks it, the session gives it a token, the budget
lets it pass, and HTTP carries it. The token is sent in its header only and the password in the
sign-in's body only; connections, certificates and bounds are those of ``wire.rest``.
"""

import asyncio
import io
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from msgspec import Struct

from heapsyncd.backoff import Contact, first_of
from heapsyncd.errors import (
    NotHeaper,
    OutcomeUnknown,
    PeerError,
    ProtocolError,
    RequestRefused,
    ServerTrouble,
    SignInRefused,
    TooFast,
    Unreachable,
)
from heapsyncd.ids import Password, Token
from heapsyncd.wire.answers import USUAL, Most
from heapsyncd.wire.budget import Budget
from heapsyncd.wire.clock import boot_clock_s
from heapsyncd.wire.oneheap.envelope import (
    Envelope,
    encode_body,
    encode_query,
    hiding,
    read,
    read_rate,
)
from heapsyncd.wire.oneheap.routes import Route, Standing, route
from heapsyncd.wire.oneheap.signin import Session
from heapsyncd.wire.rest import (
    CALL_S,
    READ_AHEAD_BYTES,
    SLOWEST_BYTES_S,
    Rest,
    Stale,
    Stream,
    translated,
)
from heapsyncd.wire.values import Unauthorised

PATIENCE_S = 5.0
"""The longest wait for the rate limit inside of a call; a longer one raises TooFast."""
_AT_ONCE = 6
"""The most requests at a time."""
_TRIES = 3
"""Of a request, for tokens that end and limits that are reached meanwhile."""
_MAX_TOKEN_CHARS = 4096
_NOTHING_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class _Request(Struct, frozen=True):
    """A documented request that may be sent."""

    route: Route
    path: str
    arguments: Mapping[str, object]
    most: Most = USUAL
    is_urgent: bool = True


class TooLarge(ProtocolError):
    """The answer exceeds its bounds: ask for less."""


class Client:
    """One account at one service; an async context manager that owns the connections.

    ``contact`` is notified of every valid answer. All calls may run concurrently.

    Args:
        server: the service's address, which usually ends in ``/Api/Rest/``.
        email: the account.
        password: its password.
        clock_s: a monotonic clock.
    """

    def __init__(
        self,
        server: str,
        email: str,
        password: Password,
        *,
        clock_s: Callable[[], float] = boot_clock_s,
    ) -> None:
        self._rest = Rest(server)
        self._email = email
        self._password = password
        self._clock_s = clock_s
        self._session = Session(email, self._sign_in, clock_s=clock_s)
        self._proven = False
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._answered = asyncio.Event()
        """Set by the next answer, and then replaced by a new event."""
        self.budget = Budget()

    @property
    def contact(self) -> Contact:
        """Notified of every valid answer."""
        return self._rest.contact

    async def __aenter__(self) -> Self:
        await self._rest.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._rest.__aexit__(kind, error, trace)

    async def renew(self) -> None:
        """Close all connections, because the machine was suspended or its network changed."""
        await self._rest.renew()

    async def sign_in(self) -> None:
        """Make sure that there is a token; it may have expired meanwhile."""
        await self._session.token()

    async def sign_out(self) -> None:
        """End the token, if there is one."""
        token = self._session.current
        if token is not None:
            self._session.forget()
            try:
                await self._on_live(_request("DELETE", "/Authentications/"), token)
            except Unauthorised:
                return  # It had expired.

    async def call(
        self,
        method: str,
        path: str,
        *ids: str,
        arguments: Mapping[str, object] | None = None,
        most: Most = USUAL,
        is_urgent: bool = True,
    ) -> Envelope:
        """Make one documented request.

        A request that can be repeated is sent again when its connection turns out to be dead.

        Args:
            method: GET, POST or DELETE.
            path: as documented, such as ``/Notes/:id/``.
            ids: for the places of ``:id``.
            arguments: documented ones; None clears.
            most: the bounds of the answer.
            is_urgent: it may use what the rate limit reserves; polls do not.

        Raises:
            ValueError: the request is not documented; nothing was sent.
            RequestRefused: the documentation says "not implemented yet", and nothing was sent; or
                as ``envelope.read``.
            OutcomeUnknown: it creates something, and its answer was lost or broken.
            TooLarge: the answer exceeds ``most``.
            TooFast: the rate limit is reached, for longer than ``PATIENCE_S``.
            SignInRefused: the account is not accepted.
            Unreachable, ServerTrouble, NotHeaper, ProtocolError: as ``rest`` and ``envelope``.
        """
        asked = route(method, path)
        if asked.standing is Standing.NOT_IMPLEMENTED:
            raise RequestRefused(
                f"{method} {path}: the service documents it as not implemented yet; "
                "it was not sent",
                501,
            )
        request = _Request(
            asked, asked.fill(*ids), asked.checked(arguments or {}), most, is_urgent
        )
        for left in reversed(range(_TRIES)):
            try:
                # A token is taken when it is sent: one that waits in a queue may expire there.
                async with self._slots:
                    return await self._signed_in(request)
            except Unauthorised:
                continue
            except TooFast as error:
                # Refused by the server, so it was not done; how long to wait is known now.
                if not left or error.retry_after_s is not None:
                    raise TooFast(str(error), error.retry_after_s or self._wait_s()) from error
        raise SignInRefused(f"the service rejects every token that it gave {self._email}")

    async def _signed_in(self, request: _Request) -> Envelope:
        """Make a request with a token, and report to the session how it was taken."""
        token = await self._session.token()
        try:
            answer = await self._attempt(request, token)
        except Unauthorised:
            self._session.reject(token)
            raise
        except RequestRefused:
            self._session.worked(token)
            raise
        self._session.worked(token)
        return answer

    async def _attempt(self, request: _Request, token: Token) -> Envelope:
        """Make a request, again if that is harmless; tell when its outcome is unknown."""
        try:
            return await self._on_live(request, token)
        except Stale:
            if not request.route.is_repeatable:
                raise _unknown(request) from None
            return await self._on_live(request, token)
        except RequestRefused:
            raise
        except (Unreachable, ServerTrouble, PeerError) as error:
            if request.route.is_repeatable or isinstance(error.__cause__, _NOTHING_SENT):
                raise
            raise _unknown(request) from error

    async def _sign_in(self) -> Token:
        arguments = {"email": self._email, "password": self._password.reveal()}
        try:
            answer = await self._on_live(_request("POST", "/Authentications/", arguments), None)
        except TooFast as error:
            raise TooFast(str(error), error.retry_after_s or self._wait_s()) from error
        except RequestRefused as error:
            # Some other JSON API, or a part of the address is wrong.
            if error.status in {404, 405} and not self._proven:
                raise NotHeaper(
                    f"{self._rest.url} is no oneheap service (it answers {error.status} to a"
                    " sign-in): configure the service's address, which ends in Api/Rest/"
                ) from error
            raise
        found: Any = answer.objects[0].get("token") if answer.objects else None
        if not isinstance(found, str) or not 0 < len(found) <= _MAX_TOKEN_CHARS:
            raise ProtocolError("the service's sign-in answer contains no token")
        if not (found.isascii() and found.isprintable()):
            raise ProtocolError("the service's sign-in answer contains a token no header can hold")
        return Token(found)

    async def _on_live(self, request: _Request, token: Token | None) -> Envelope:
        """Make one request once; raises Stale when its connection was closed by ``renew``."""
        await self._admit(is_urgent=request.is_urgent)
        client = self._rest.client
        try:
            return await self._once(request, token)
        except Unreachable as error:
            if client is self._rest.client:
                raise
            raise Stale(str(error)) from error

    async def _admit(self, *, is_urgent: bool) -> None:
        """Wait until the rate limit allows a request, and count it."""
        give_up_s = self._clock_s() + PATIENCE_S
        while (wait_s := self.budget.wait_s(self._clock_s(), is_urgent=is_urgent)) > 0:
            if self._clock_s() + wait_s > give_up_s:
                raise TooFast(
                    "the rate limit of the service is reached; "
                    f"the next request is sent in {round(wait_s)} s",
                    wait_s,
                )
            await first_of(self._answered, timeout_s=wait_s)
        # No await stands between the last look and this: nobody else can take the same place.
        self.budget = self.budget.sent()

    async def _once(self, request: _Request, token: Token | None) -> Envelope:
        method, path, arguments = request.route.method, request.path, request.arguments
        where = f"{method} {path} at {self._rest.url.host}"
        headers = {"Auth-Method": "token"}
        if token is not None:
            headers["Auth-Token"] = token.reveal()
        finish: Callable[[Budget], Budget] | None = Budget.unsent
        try:
            body = encode_body(arguments) if method == "POST" else None
            if body is not None:
                headers["Content-Type"] = "application/json"
            finish = Budget.lost
            async with translated(where):
                async with asyncio.timeout(CALL_S + len(body or b"") / SLOWEST_BYTES_S):
                    raw = await self._rest.client.request(
                        method,
                        self._rest.address(path),
                        params=encode_query(arguments) if method == "GET" else None,
                        data=io.BytesIO(body) if body is not None else None,
                        headers=headers,
                        allow_redirects=False,
                        read_bufsize=READ_AHEAD_BYTES,
                    )
                async with raw:
                    finish = None
                    self._count(raw)
                    return await self._read(where, raw, token, request.most)
        except Unreachable as error:
            if isinstance(error.__cause__, _NOTHING_SENT):
                finish = Budget.unsent
            raise
        finally:
            if finish is not None:
                self.budget = finish(self.budget)
            self._answered.set()
            self._answered = asyncio.Event()

    def _count(self, raw: aiohttp.ClientResponse) -> None:
        self.budget = self.budget.answered(
            read_rate(raw.headers), self._clock_s(), is_refused=raw.status == 429
        )

    async def _read(
        self, where: str, raw: aiohttp.ClientResponse, token: Token | None, most: Most
    ) -> Envelope:
        stream = Stream(where, raw)
        try:
            answer = await stream.answer(most)
        except ProtocolError as error:
            raise TooLarge(str(error)) from error
        secrets = (self._password.reveal(), token.reveal() if token is not None else "")
        rate = read_rate(raw.headers)
        try:
            envelope = read(answer, proven=self._proven, hidden=hiding(*secrets))
        except TooFast:
            # In the envelope alone it was not counted as a refusal.
            now_s = self._clock_s()
            self.budget = self.budget.sent().answered(rate, now_s, is_refused=True)
            raise
        self._proven = True
        self.contact.heard()
        return Envelope(envelope.count, envelope.objects, rate.date_s)

    def _wait_s(self) -> float | None:
        return self.budget.wait_s(self._clock_s(), is_urgent=True) or None


def _request(method: str, path: str, arguments: Mapping[str, object] | None = None) -> _Request:
    return _Request(route(method, path), path, arguments or {})


def _unknown(request: _Request) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{request.route.method} {request.path}: no valid answer came, so it may have been done; "
        "it is looked for before it is repeated"
    )
