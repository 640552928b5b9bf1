"""Keep an account signed in: one token, renewed when the service calls it expired (ONEHEAP §2).

The service tells an expired token with 410 on any request; a 401 for a token that has worked means
the same. A request that gets one reports it (``reject``) and asks again (``token``). One task at a
time signs in; the others wait for it and share its failure. A token that was rejected before it
ever worked means that the account is not accepted: then the service is asked nothing until a
growing pause is over.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from heapsyncd.backoff import Backoff
from heapsyncd.errors import HeapsyncdError, RequestRefused, SignInRefused, TooFast
from heapsyncd.ids import Token
from heapsyncd.wire.oneheap.envelope import refused_fields
from heapsyncd.wire.values import Unauthorised

_REFUSED = Backoff(5.0, 300.0, min_share=0.5)
"""Sign-ins count against the rate limit, and only a person can end a refusal."""


class Session:
    """The token of one account.

    Args:
        email: names the account in messages.
        sign_in: makes the request; raises Unauthorised for 401 and 410.
        clock_s: a monotonic clock.
        chance: random numbers, uniform in 0 to 1.
    """

    def __init__(
        self,
        email: str,
        sign_in: Callable[[], Awaitable[Token]],
        *,
        clock_s: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._email = email
        self._sign_in = sign_in
        self._clock_s = clock_s
        self._chance = chance
        self._signing_in = asyncio.Lock()
        self._attempts = 0
        self._token: Token | None = None
        self._has_worked = False
        self._refusals = 0
        self._paused_until_s = 0.0
        self._failure: HeapsyncdError | None = None

    @property
    def current(self) -> Token | None:
        """The token, if there is one."""
        return self._token

    async def token(self) -> Token:
        """Return a token that is valid as far as known; signs in when there is none.

        Raises:
            SignInRefused: the service does not accept the account, or did not a moment ago.
            TooFast: the rate limit is reached.
            Unreachable, ServerTrouble, NotHeaper, ProtocolError, RequestRefused: as the sign-in.
        """
        if (token := self.current) is not None:
            return token
        attempts = self._attempts
        async with self._signing_in:
            if (token := self.current) is not None:
                return token
            if self._failure is not None and (
                self._attempts != attempts or self._clock_s() < self._paused_until_s
            ):
                raise _again(self._failure)
            return await self._renewed()

    def worked(self, token: Token) -> None:
        """Record that a request was accepted with this token."""
        if token == self._token:
            self._has_worked, self._refusals = True, 0

    def reject(self, token: Token) -> None:
        """Record that a request got 401 or 410 with this token; ask for ``token`` again.

        Raises:
            SignInRefused: it was just issued and never worked.
        """
        if token != self._token:
            return  # A late answer: somebody signed in again meanwhile.
        self._token = None
        if not self._has_worked:
            raise self._refused()

    def forget(self) -> None:
        """Forget the token: it was signed out."""
        self._token = None

    async def _renewed(self) -> Token:
        try:
            token = await self._sign_in()
        except HeapsyncdError as error:
            failure = self._refused() if _is_about_account(error) else error
            self._failure = failure
            self._attempts += 1
            if failure is error:
                raise
            raise failure from error
        self._attempts += 1
        self._failure, self._token, self._has_worked = None, token, False
        return token

    def _refused(self) -> SignInRefused:
        self._refusals += 1
        pause_s = _REFUSED.pause_s(self._refusals, self._chance())
        self._paused_until_s = self._clock_s() + pause_s
        error = SignInRefused(
            f"the service does not accept the account {self._email}: "
            "check the e-mail address and the password"
        )
        self._failure = error
        return error


def _is_about_account(error: HeapsyncdError) -> bool:
    """Return whether a failed sign-in is about who signs in, not about the request."""
    if not isinstance(error, RequestRefused):
        return isinstance(error, Unauthorised)
    wrong = refused_fields(error) & {"email", "password"}
    return error.status == 403 or (error.status == 400 and bool(wrong))


def _again(failure: HeapsyncdError) -> HeapsyncdError:
    """Return the failure for another caller, without the first caller's traceback."""
    if isinstance(failure, TooFast):
        return TooFast(str(failure), failure.retry_after_s)
    return failure.with_traceback(None)
