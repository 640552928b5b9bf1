"""Keep a signed-in session: tokens that are renewed before they expire (PROTOCOL §3).

Theory: a session has at most one pair of tokens. It escalates level by level, never skipping one::

    valid access token  ->  refresh once  ->  sign in with the key  ->  refused, for a while

Before each level, and before a token that is still valid is used on a new connection, the server
is *recognised*: another one may answer there now, and must get neither a token nor text.

A call that gets 401 reports it (``reject``) and asks again (``token``). A pair that was never
accepted leads to the next level; one that has worked leads to a refresh first. One task at a time
escalates; the others wait for it and share its failure. After a refusal the server is asked
nothing until a growing pause is over, so a refused account costs a few calls a minute. The same
pause honours Retry-After.
"""

import asyncio
import random
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import Protocol

import base58
import msgspec
from msgspec import Struct
from nacl.signing import SigningKey

from heapsyncd.backoff import Backoff
from heapsyncd.errors import (
    HeapsyncdError,
    OtherServer,
    ProtocolError,
    RequestRefused,
    SignInRefused,
    TooFast,
    TryLater,
)
from heapsyncd.ids import Seed, Token
from heapsyncd.wire.heaper import Challenge, TokenPair
from heapsyncd.wire.values import Unauthorised

_CHALLENGE_CHARS = 512
"""The longest text that is signed."""
_LEAD_SHARE = 0.3
"""The share of its life before which a short-lived token is renewed."""
_LEAD_MAX_S = 60.0
_REFUSED = Backoff(1.0, 30.0, min_share=0.5)
_DEFAULT_RETRY_AFTER_S = 5.0


class _Claims(msgspec.Struct):
    """What a token says about itself. Only the server verifies it."""

    exp: float
    iat: float | None = None


class SignInCalls(Protocol):
    """The calls of the dialogue; they raise ``Unauthorised`` for 401."""

    async def create_session(self, public_key: str) -> Challenge:
        """Ask for a challenge."""

    async def verify_session(self, public_key: str, challenge: str, signature: str) -> TokenPair:
        """Answer the challenge."""

    async def refresh_token(self, refresh: Token) -> TokenPair:
        """Exchange a refresh token, which serves once, for a new pair."""


def lifetime_s(token: Token, wall_s: float) -> float | None:
    """Return a token's life from its receipt, in seconds; None if unknown.

    A token of unknown life is used until the server rejects it. With ``iat`` the result does not
    depend on the difference of the clocks. Without it ``exp`` is compared with our clock, and an
    impossible result counts as unknown.
    """
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        payload = urlsafe_b64decode(parts[1] + "==")  # too much padding is ignored
        claims = msgspec.json.decode(payload, type=_Claims, strict=False)
    except (ValueError, msgspec.MsgspecError):
        return None
    life_s = claims.exp - (wall_s if claims.iat is None else claims.iat)
    return life_s if life_s > 0 else None


def lead_s(life_s: float) -> float:
    """Return how long before its expiry a token is renewed: 60 s, or 30 % of a short life.

    At least a second if it lives that long, because the server counts in whole seconds.
    """
    return max(min(_LEAD_MAX_S, life_s * _LEAD_SHARE), min(1.0, life_s / 2))


def sign(seed: Seed, challenge: str) -> str:
    """Return the base58 ed25519 signature of a challenge's UTF-8 bytes.

    Raises:
        ProtocolError: the text is not a challenge. The server must not choose what else the key
            signs.
    """
    plain = challenge.replace("\n", "")
    if len(challenge) > _CHALLENGE_CHARS or not (plain.isascii() and plain.isprintable()):
        raise ProtocolError(
            f"the server asked to sign {len(challenge)} characters that are not a challenge"
            f" (at most {_CHALLENGE_CHARS}, plain ASCII); they were not signed"
        )
    return base58.b58encode(SigningKey(seed.reveal()).sign(challenge.encode()).signature).decode()


def public_key(seed: Seed) -> str:
    """Return the base58 public key that belongs to a seed."""
    return base58.b58encode(SigningKey(seed.reveal()).verify_key.encode()).decode()


class _Pair(Struct):
    access: Token
    refresh: Token | None
    stale_at_s: float | None
    """When to renew it; None: once the server rejects it."""
    expires_at_s: float | None
    """Until when it may be used if renewing fails."""
    signed_in: bool
    """Whether it came from a sign-in, not from a refresh."""
    worked: bool = False


async def _anybody() -> None:
    """Accept every server."""


class Session:
    """The tokens of one account.

    Args:
        calls: the dialogue.
        seed: the account's key.
        recognise: checks which server answers; raises OtherServer.
        clock_s: a monotonic clock that includes the time the machine was suspended.
        wall_s: the wall clock.
        chance: random numbers, uniform in 0 to 1.
    """

    def __init__(
        self,
        calls: SignInCalls,
        seed: Seed,
        *,
        recognise: Callable[[], Awaitable[None]] = _anybody,
        clock_s: Callable[[], float],
        wall_s: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._calls = calls
        self._seed = seed
        self._recognise = recognise
        self._losses = 0
        """The number of lost connections."""
        self._known_at = -1
        """The value of ``_losses`` when the server was last recognised."""
        self._clock_s = clock_s
        self._wall_s = wall_s
        self._chance = chance
        self._escalating = asyncio.Lock()
        self._escalations = 0
        self._pair: _Pair | None = None
        self._rejected: Token | None = None
        self._refusals = 0
        self._paused_until_s = 0.0
        self._failure: HeapsyncdError | None = None

    async def token(self) -> Token:
        """Return a token that is valid as far as known; renews it when needed.

        Raises:
            SignInRefused: the server does not accept the account, or did not a moment ago.
            OtherServer: another server answers, or did a moment ago.
            TooFast: the server asked to wait; ``retry_after_s`` is the rest of it.
            Unreachable, ServerTrouble, NotHeaper, ProtocolError: as the calls raise them.
        """
        if (pair := self._good()) is not None:
            return pair.access
        escalations = self._escalations
        async with self._escalating:
            if (pair := self._good()) is not None:
                return pair.access
            if self._escalations != escalations and self._failure is not None:
                raise _again(self._failure, self._left_s())
            return (await self._escalate()).access

    def worked(self, token: Token) -> None:
        """Record that a call was accepted with this token."""
        if self._pair is not None and self._pair.access == token:
            self._pair.worked = True
            self._refusals = 0

    def reject(self, token: Token) -> None:
        """Record that a call got 401 with this token; ask for ``token`` again.

        Raises:
            SignInRefused: the token came from a sign-in and never worked, so no level is left.
        """
        self._rejected = token
        pair = self._pair
        if pair is None or pair.access != token:
            return
        if pair.worked and pair.refresh is not None:
            pair.stale_at_s = pair.expires_at_s = self._clock_s()
            return
        self._pair = None
        if pair.signed_in and not pair.worked:
            raise self._refused()

    def is_rejected(self, token: Token) -> bool:
        """Return whether a call got 401 with this token, the last one that any got."""
        return token == self._rejected

    def doubt(self, token: Token) -> None:
        """Record that the live link opened no document with this token: renew it before the next
        call.
        """
        pair = self._pair
        if pair is not None and pair.access == token and pair.refresh is not None:
            pair.stale_at_s = pair.expires_at_s = self._clock_s()

    def lost(self) -> None:
        """Record that a connection broke: the server must be recognised before the next call."""
        self._losses += 1

    def _good(self) -> _Pair | None:
        """Return the pair that can be used without asking the server anything."""
        return self._fresh() if self._known_at == self._losses else None

    def _fresh(self) -> _Pair | None:
        pair = self._pair
        if pair is None or (pair.stale_at_s is not None and self._clock_s() >= pair.stale_at_s):
            return None
        return pair

    async def _escalate(self) -> _Pair:
        if self._left_s() > 0 and self._failure is not None:
            raise _again(self._failure, self._left_s())
        losses = self._losses  # a connection may be lost meanwhile
        try:
            pair = await self._at_hand() or await self._refreshed() or await self._signed_in()
        except HeapsyncdError as error:
            self._failure = error
            if isinstance(error, TooFast):
                self._pause(error.retry_after_s or _DEFAULT_RETRY_AFTER_S)
            if isinstance(error, OtherServer):
                self._pause(_REFUSED.limit_s)
            raise
        else:
            self._failure = None
            self._known_at = losses
            self._pair = pair
            return pair
        finally:
            self._escalations += 1

    async def _at_hand(self) -> _Pair | None:
        """Return the pair that is still valid, once the server is recognised."""
        if self._fresh() is not None:
            await self._recognise()
        return self._fresh()

    async def _refreshed(self) -> _Pair | None:
        old, self._pair = self._pair, None
        if old is None or old.refresh is None:
            return None
        try:
            await self._recognise()
            answer = await self._calls.refresh_token(old.refresh)
        except (Unauthorised, RequestRefused):
            return None
        except TryLater as error:
            # The refresh token may be spent or not: it must be tried again in one case, which is
            # harmless in the other. The access token serves until then.
            self._pair = old
            if old.expires_at_s is None or self._clock_s() >= old.expires_at_s:
                raise
            wait_s = getattr(error, "retry_after_s", None) or _DEFAULT_RETRY_AFTER_S
            old.stale_at_s = min(self._clock_s() + wait_s, old.expires_at_s)
            return old
        return self._paired(answer, signed_in=False)

    async def _signed_in(self) -> _Pair:
        key = public_key(self._seed)
        await self._recognise()
        try:
            challenge = (await self._calls.create_session(key)).text()
            answer = await self._calls.verify_session(key, challenge, sign(self._seed, challenge))
        except Unauthorised as error:
            raise self._refused() from error
        except RequestRefused as error:
            if error.status == 403:
                raise self._refused() from error
            raise
        return self._paired(answer, signed_in=True)

    def _paired(self, answer: TokenPair, *, signed_in: bool) -> _Pair:
        access = answer.access()
        refresh, now_s = answer.refresh(), self._clock_s()
        life_s = lifetime_s(access, self._wall_s())
        if life_s is None:
            return _Pair(access, refresh, None, None, signed_in)
        usable_s = life_s - lead_s(life_s)
        return _Pair(
            access, refresh, now_s + usable_s, now_s + life_s - min(1.0, life_s / 2), signed_in
        )

    def _refused(self) -> SignInRefused:
        self._refusals += 1
        self._pause(_REFUSED.pause_s(self._refusals, self._chance()))
        error = SignInRefused(
            f"the server does not accept the key {public_key(self._seed)}: "
            "ask the server's owner to accept it"
        )
        self._failure = error
        return error

    def _pause(self, seconds: float) -> None:
        self._paused_until_s = self._clock_s() + seconds

    def _left_s(self) -> float:
        return self._paused_until_s - self._clock_s()


def _again(failure: HeapsyncdError, left_s: float) -> HeapsyncdError:
    """Return the failure for another caller, without the first caller's traceback."""
    if isinstance(failure, TooFast):
        return TooFast(str(failure), max(left_s, 0.0))
    return failure.with_traceback(None)
