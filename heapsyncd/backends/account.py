"""Make calls for one account at one Heaper server: tokens, and the sign-in behind them."""

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from heapsyncd.errors import (
    PeerError,
    RequestRefused,
    ServerTrouble,
    SignInRefused,
    Unreachable,
)
from heapsyncd.ids import Seed, Token
from heapsyncd.wire import heaper
from heapsyncd.wire.answers import USUAL, Most
from heapsyncd.wire.clock import boot_clock_s
from heapsyncd.wire.rest import Pieces, Rest, Stale, Stream
from heapsyncd.wire.signin import Session
from heapsyncd.wire.values import Unauthorised

_T = TypeVar("_T")

Recognise = Callable[[str | None], Awaitable[None]]
"""Called with the public key that a server presents, None if none; raises OtherServer."""

_TRIES = 5
"""Valid, refreshed, signed in: three levels, and spare tries if others renew it meanwhile."""


class _SignIn:
    """The calls of PROTOCOL §3.

    A challenge and a refresh token serve once, so calls that use one are not repeated.
    """

    def __init__(self, rest: Rest, code: str) -> None:
        self._rest = rest
        self._code = code

    async def create_session(self, public_key: str) -> heaper.Challenge:
        body = heaper.encode(public_key=public_key)
        return await self._rest.call(
            heaper.Challenge,
            "POST",
            "/api/auth/create_session",
            body=body,
            most=heaper.AUTH_MOST,
        )

    async def verify_session(
        self, public_key: str, challenge: str, signature: str
    ) -> heaper.TokenPair:
        extra = {"code": self._code} if self._code else {}
        body = heaper.encode(
            public_key=public_key, message=challenge, signature=signature, **extra
        )
        return await self._rest.call(
            heaper.TokenPair,
            "POST",
            "/api/auth/verify_session",
            body=body,
            repeatable=False,
            most=heaper.AUTH_MOST,
        )

    async def refresh_token(self, refresh: Token) -> heaper.TokenPair:
        return await self._rest.call(
            heaper.TokenPair,
            "POST",
            "/api/auth/refresh_token",
            token=refresh,
            body=heaper.encode(),
            repeatable=False,
            most=heaper.AUTH_MOST,
        )


class HeaperAccount:
    """Calls on behalf of an account. A 401 renews the token here, so that callers never see it.

    Args:
        rest: the server; its owner opens and closes it.
        seed: the account's key.
        recognise: checks whether it is the right server; None: any is.
        code: the code that a new embedded server printed, for its first sign-in.
    """

    def __init__(
        self, rest: Rest, seed: Seed, recognise: Recognise | None = None, code: str = ""
    ) -> None:
        self.rest = rest
        self._recognise = recognise
        self.session = Session(
            _SignIn(rest, code),
            seed,
            recognise=self._identify_server,
            clock_s=boot_clock_s,
            wall_s=time.time,
            chance=random.random,
        )

    async def post(self, shape: type[_T], path: str, body: bytes, most: Most = USUAL) -> _T:
        """Send a POST with a JSON body."""
        return await self._with_token(
            lambda token: self.rest.call(
                shape, "POST", path, token=token, body=body, repeatable=False, most=most
            )
        )

    async def get(
        self, shape: type[_T], path: str, query: Mapping[str, str], most: Most = USUAL
    ) -> _T:
        """Send a GET with a JSON answer."""
        return await self._with_token(
            lambda token: self.rest.call(
                shape, "GET", path, token=token, query=query, repeatable=False, most=most
            )
        )

    async def put(self, path: str, size_bytes: int, pieces: Pieces) -> None:
        """Send a PUT of raw bytes, streamed; ``pieces`` may be called more than once."""
        await self._with_token(
            lambda token: self.rest.put(Any, path, token, size_bytes, pieces), repeatable=False
        )

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncGenerator[Stream, None]:
        """Open a GET whose body the caller reads in pieces; its status is 200, 206 or 416."""
        for _ in range(_TRIES):
            token = await self.session.token()
            try:
                async with self.rest.get(path, token, headers) as stream:
                    self.session.worked(token)
                    yield stream
                    return
            except Unauthorised:
                self.session.reject(token)
            except (Unreachable, ServerTrouble):
                self.session.lost()
                raise
        raise SignInRefused("the server rejects every token that it issued")

    async def _identify_server(self) -> None:
        """Ask the server for its key; anything but an answer of the contract counts as no key."""
        if self._recognise is None:
            return
        try:
            key = (await self.rest.call(heaper.Instance, "GET", "/api/")).key()
        except (PeerError, Unauthorised):
            key = None
        await self._recognise(key)

    async def _with_token(
        self, call: Callable[[Token], Awaitable[_T]], *, repeatable: bool = True
    ) -> _T:
        """Make a call with a token, renewing the token when it is rejected.

        A ``repeatable`` call is made once more after a dead connection, when the server was
        recognised.
        """
        for _ in range(_TRIES):
            token = await self.session.token()
            try:
                value = await call(token)
            except Unauthorised:
                self.session.reject(token)
            except (Unreachable, ServerTrouble) as error:
                self.session.lost()
                if not (isinstance(error, Stale) and repeatable):
                    raise
                repeatable = False
            except RequestRefused:
                self.session.worked(token)
                raise
            else:
                self.session.worked(token)
                return value
        raise SignInRefused("the server rejects every token that it issued")
