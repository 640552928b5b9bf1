"""One token, renewed when it is rejected; a refused account is asked about rarely."""

import asyncio
from dataclasses import dataclass, field

import pytest

from heapsyncd.errors import HeapsyncdError, RequestRefused, SignInRefused, TooFast, Unreachable
from heapsyncd.ids import Token
from heapsyncd.wire.oneheap.signin import Session
from heapsyncd.wire.values import Unauthorised


@dataclass
class Service:
    """Gives tokens that can be counted."""

    trouble: HeapsyncdError | None = None
    gate: asyncio.Event | None = None
    called: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    now_s: float = 0.0

    async def __call__(self) -> Token:
        self.calls += 1
        self.called.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return Token(f"token-{self.calls}")

    def session(self) -> Session:
        return Session("j@x", self, clock_s=lambda: self.now_s, chance=lambda: 1.0)


async def test_a_token_is_used_while_it_works() -> None:
    """Signing in happens once."""
    service = Service()
    session = service.session()
    tokens = {await session.token() for _ in range(5)}
    assert (len(tokens), service.calls) == (1, 1)


async def test_many_at_once_sign_in_once() -> None:
    """And those who report the old token late cost nothing more."""
    service = Service(gate=asyncio.Event())
    session = service.session()
    waiting = [asyncio.create_task(session.token()) for _ in range(20)]
    await service.called.wait()
    assert service.gate is not None
    service.gate.set()
    (old,) = set(await asyncio.gather(*waiting))
    session.worked(old)
    for _ in range(20):
        session.reject(old)
        await session.token()
    assert service.calls == 2


async def test_a_failure_is_shared() -> None:
    """Twenty callers of an unreachable service make one request; the next caller makes another."""
    service = Service(trouble=Unreachable("down"), gate=asyncio.Event())
    session = service.session()
    waiting = [asyncio.create_task(session.token()) for _ in range(20)]
    await service.called.wait()
    assert service.gate is not None
    service.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unreachable}
    assert service.calls == 1
    service.trouble = None
    assert await session.token() == Token("token-2")


async def test_who_gives_up_waiting_stops_nobody() -> None:
    """Cancelling the caller that signs in leaves the next one to do it."""
    service = Service(gate=asyncio.Event())
    session = service.session()
    first, second = (asyncio.create_task(session.token()) for _ in range(2))
    await service.called.wait()
    first.cancel()
    assert service.gate is not None
    service.gate.set()
    assert await second == Token("token-2")


async def test_a_token_that_never_worked_is_a_refusal() -> None:
    """401 or 410 right after signing in: the account is not accepted."""
    session = Service().session()
    with pytest.raises(SignInRefused, match="j@x"):
        session.reject(await session.token())


@pytest.mark.parametrize(
    ("trouble", "raised"),
    [
        (Unauthorised("x"), SignInRefused),
        (RequestRefused("x", 403), SignInRefused),
        (RequestRefused("x", 400, {"fields": ["email"]}), SignInRefused),
        (RequestRefused("x", 400, {"fields": []}), RequestRefused),
        (RequestRefused("x", 404), RequestRefused),
        (TooFast("x", 9.0), TooFast),
    ],
)
async def test_what_a_failed_sign_in_means(
    trouble: HeapsyncdError, raised: type[HeapsyncdError]
) -> None:
    """About the account, or about the request."""
    session = Service(trouble=trouble).session()
    with pytest.raises(raised) as error:
        await session.token()
    assert type(error.value) is raised


async def test_a_refused_account_is_asked_about_rarely() -> None:
    """The pause doubles up to five minutes; once the password is right, it is over."""
    service = Service(trouble=Unauthorised("x"))
    session = service.session()
    for calls, pause_s in ((1, 5.0), (2, 10.0), (3, 20.0)):
        with pytest.raises(SignInRefused):
            await session.token()
        service.now_s += pause_s - 0.1
        with pytest.raises(SignInRefused):
            await session.token()
        assert service.calls == calls
        service.now_s += 0.2
    service.trouble = None
    assert await session.token() == Token("token-4")
