"""The session: when it renews, what it does about 401, and how rarely it asks."""

import asyncio
from dataclasses import dataclass, field

import base58
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey

from heapsyncd.errors import (
    HeapsyncdError,
    OtherServer,
    ProtocolError,
    RequestRefused,
    ServerTrouble,
    SignInRefused,
    TooFast,
    Unreachable,
)
from heapsyncd.ids import Seed, Token
from heapsyncd.wire.heaper import Challenge, TokenPair
from heapsyncd.wire.signin import Session, lead_s, lifetime_s, public_key, sign
from heapsyncd.wire.values import Unauthorised

SEED = Seed(bytes(range(32)))


@dataclass
class Server:
    """A server's side of the dialogue, with a clock that tests move."""

    now_s: float = 1_000_000.0
    life_s: float = 3600.0
    accepts: bool = True
    calls: list[str] = field(default_factory=list)
    spent: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    trouble: HeapsyncdError | None = None
    gate: asyncio.Event | None = None
    called: asyncio.Event = field(default_factory=asyncio.Event)
    serial: int = 0

    def session(self) -> Session:
        return Session(
            self, SEED, clock_s=lambda: self.now_s, wall_s=lambda: self.now_s, chance=lambda: 0.5
        )

    async def create_session(self, public_key: str) -> Challenge:
        await self._called("create")
        return Challenge(challenge=f"sign {public_key}")

    async def verify_session(self, public_key: str, challenge: str, signature: str) -> TokenPair:
        await self._called("verify")
        key = VerifyKey(base58.b58decode(public_key))
        assert key.verify(challenge.encode(), base58.b58decode(signature)) == challenge.encode()
        if not self.accepts:
            raise Unauthorised("no account")
        return self.pair()

    async def refresh_token(self, refresh: Token) -> TokenPair:
        await self._called("refresh")
        text = refresh.reveal()
        if not self.accepts or text in self.spent | self.revoked:
            raise Unauthorised("spent")
        self.spent.add(text)
        return self.pair()

    async def _called(self, what: str) -> None:
        self.calls.append(what)
        self.called.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble

    def pair(self) -> TokenPair:
        self.serial += 1
        claims = {"exp": int(self.now_s + self.life_s), "iat": int(self.now_s), "n": self.serial}
        return TokenPair(
            accessToken=jwt.encode(claims, "k" * 32), refreshToken=f"refresh-{self.serial}"
        )

    def valid(self, token: Token) -> bool:
        text = token.reveal()
        claims = jwt.decode(text, options={"verify_signature": False})
        return text not in self.revoked and self.now_s < claims["exp"] and self.accepts


async def use(server: Server, session: Session) -> Token:
    """A call of the backend: token, perhaps 401, and again."""
    while True:
        token = await session.token()
        if server.valid(token):
            session.worked(token)
            return token
        session.reject(token)


async def test_a_token_is_used_while_it_lasts() -> None:
    """Signing in happens once, not for each call."""
    server = Server()
    session = server.session()
    assert len({await use(server, session) for _ in range(5)}) == 1
    assert server.calls == ["create", "verify"]


@pytest.mark.parametrize("life_s", [2, 4, 60, 900, 86400])
async def test_a_token_is_refreshed_before_it_expires(life_s: float) -> None:
    """Whatever its life: no call meets an expired token, and refreshing is rare."""
    server = Server(life_s=life_s)
    session = server.session()
    token = await use(server, session)
    rejected = 0
    for _ in range(100):
        server.now_s += life_s / 20
        token = await session.token()
        rejected += not server.valid(token)
        session.worked(token)
    assert rejected == 0
    assert 5 <= server.calls.count("refresh") <= 12
    assert server.calls.count("create") == 1


@pytest.mark.parametrize("ahead_s", [-86400, 86400])
async def test_a_wrong_clock_of_ours_does_not_matter(ahead_s: float) -> None:
    """The token's own iat says how long it lives; our wall clock may be a day off."""
    server = Server(life_s=900)
    session = Session(
        server, SEED, clock_s=lambda: server.now_s, wall_s=lambda: server.now_s + ahead_s
    )
    first = await session.token()
    server.now_s += 600
    assert await session.token() == first
    server.now_s += 250
    assert await session.token() != first


@pytest.mark.parametrize("text", ["opaque", "a.b.c", jwt.encode({"sub": "x"}, "k" * 32)])
def test_a_token_that_says_nothing_is_used_until_rejected(text: str) -> None:
    """No exp, no JWT: the life is unknown."""
    assert lifetime_s(Token(text), 0) is None


@given(st.floats(0.1, 1e6))
def test_the_lead_is_a_part_of_the_life(life_s: float) -> None:
    """A token is used for most of its life, and for long ones until a minute before the end."""
    assert 0 < lead_s(life_s) <= min(60, life_s / 2)


async def test_one_refresh_for_all_who_wait() -> None:
    """Refreshing is single flight: everybody gets the one new token."""
    server = Server()
    session = server.session()
    await use(server, session)
    server.now_s += 3590
    tokens = await asyncio.gather(*(session.token() for _ in range(20)))
    assert len(set(tokens)) == 1
    assert server.calls == ["create", "verify", "refresh"]


async def test_a_failure_is_shared_by_all_who_wait() -> None:
    """Twenty callers at an unreachable server cost one call."""
    server = Server(trouble=Unreachable("down"), gate=asyncio.Event())
    session = server.session()
    callers = [asyncio.create_task(session.token()) for _ in range(20)]
    await server.called.wait()
    assert server.gate is not None
    server.gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unreachable}
    assert server.calls == ["create"]
    server.trouble = None
    assert server.valid(await session.token())


async def test_who_gives_up_waiting_stops_nobody() -> None:
    """Cancelling the caller that signs in leaves the next one to do it."""
    server = Server(gate=asyncio.Event())
    session = server.session()
    first, second = (asyncio.create_task(session.token()) for _ in range(2))
    await server.called.wait()
    first.cancel()
    assert server.gate is not None
    server.gate.set()
    assert server.valid(await second)


@dataclass
class Door:
    """Whether the right server answers; counts how often it was asked."""

    asked: int = 0
    wrong: bool = False
    trouble: HeapsyncdError | None = None
    gate: asyncio.Event | None = None

    async def __call__(self) -> None:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        if self.wrong:
            raise OtherServer("another one")

    def session(self, server: Server) -> Session:
        return Session(
            server,
            SEED,
            recognise=self,
            clock_s=lambda: server.now_s,
            wall_s=lambda: server.now_s,
            chance=lambda: 0.5,
        )


async def test_the_server_is_recognised_before_each_rung() -> None:
    """Before the sign-in, and before a refresh token is shown; not for each call."""
    server, door = Server(), Door()
    session = door.session(server)
    for asked, calls in ((1, ["create", "verify"]), (2, ["create", "verify", "refresh"])):
        await use(server, session)
        await use(server, session)
        assert door.asked == asked
        assert server.calls == calls
        server.now_s += 3590
    server.calls.clear()
    door.wrong = True
    with pytest.raises(OtherServer):
        await session.token()
    assert server.calls == []


async def test_a_wrong_server_is_asked_rarely() -> None:
    """Nobody asks it again for half a minute; when the right one answers, all is as before."""
    server, door = Server(), Door(wrong=True)
    session = door.session(server)
    for _ in range(5):
        with pytest.raises(OtherServer):
            await session.token()
    assert door.asked == 1
    server.now_s += 31
    with pytest.raises(OtherServer):
        await session.token()
    assert (door.asked, server.calls) == (2, [])
    server.now_s += 31
    door.wrong = False
    assert server.valid(await session.token())


async def test_after_a_lost_connection_the_server_is_recognised() -> None:
    """The token that is good still goes to nobody before that; then it serves on."""
    server, door = Server(), Door()
    session = door.session(server)
    token = await use(server, session)
    door.gate = asyncio.Event()
    session.lost()
    callers = [asyncio.create_task(session.token()) for _ in range(5)]
    await asyncio.sleep(0)
    late = asyncio.create_task(session.token())
    done, _ = await asyncio.wait([*callers, late], timeout=0.01)
    assert not done
    door.gate.set()
    assert set(await asyncio.gather(*callers, late)) == {token}
    assert door.asked == 2
    assert server.calls == ["create", "verify"]
    session.lost()
    door.wrong = True
    with pytest.raises(OtherServer):
        await session.token()


async def test_a_connection_lost_while_the_server_is_recognised() -> None:
    """Then the answer may be the former one's: it is asked once more."""
    server, door = Server(), Door(gate=asyncio.Event())
    session = door.session(server)
    first = asyncio.create_task(session.token())
    await asyncio.sleep(0)
    session.lost()
    assert door.gate is not None
    door.gate.set()
    await first
    await session.token()
    assert door.asked == 2


async def test_a_server_that_can_not_say_who_it_is_now() -> None:
    """A token is used to its end when only the question fails, unless the connection was lost."""
    server, door = Server(), Door()
    session = door.session(server)
    old = await use(server, session)
    server.now_s += 3550
    door.trouble = ServerTrouble("down")
    assert await session.token() == old
    session.lost()
    with pytest.raises(ServerTrouble):
        await session.token()


async def test_a_revoked_session_is_refreshed_then_signed_in_anew() -> None:
    """401: refresh once; when that is refused, sign in with the key."""
    server = Server()
    session = server.session()
    first = await use(server, session)
    server.revoked.add(first.reveal())
    server.calls.clear()
    second = await use(server, session)
    assert server.calls == ["refresh"]
    server.revoked |= {second.reveal(), "refresh-2"}
    server.calls.clear()
    await use(server, session)
    assert server.calls == ["refresh", "create", "verify"]


async def test_a_refreshed_token_that_never_works_leads_to_a_sign_in() -> None:
    """No circle of refreshing: the rung below is next."""
    server = Server()
    session = server.session()
    server.revoked.add((await use(server, session)).reveal())
    session.reject(await session.token())
    session.reject(await session.token())
    assert server.valid(await session.token())
    assert server.calls == ["create", "verify", "refresh", "create", "verify"]


async def test_a_rejection_of_an_old_token_changes_nothing() -> None:
    """A late 401 of a call that began with the former token costs no refresh."""
    server = Server()
    session = server.session()
    old = await use(server, session)
    server.now_s += 3590
    new = await session.token()
    session.reject(old)
    assert await session.token() == new


async def hammer(server: Server, session: Session, seconds: float) -> int:
    """Ask ten times a second; returns how often it succeeded."""
    successes = 0
    for _ in range(int(seconds * 10)):
        server.now_s += 0.1
        try:
            await use(server, session)
        except (SignInRefused, TooFast):
            continue
        successes += 1
    return successes


async def test_a_refused_account_is_not_hammered_and_recovers() -> None:
    """At most 40 auth calls in 8 s, a few a minute later, and back within 60 s."""
    server = Server()
    session = server.session()
    await use(server, session)
    server.accepts = False
    server.calls.clear()
    assert await hammer(server, session, 8) == 0
    assert 3 <= len(server.calls) <= 12
    await hammer(server, session, 300)
    server.calls.clear()
    await hammer(server, session, 60)
    assert len(server.calls) <= 8
    server.accepts = True
    assert await hammer(server, session, 60) > 0


async def test_a_disabled_account_is_refused_although_sign_in_works() -> None:
    """Tokens that are given but never accepted end in SignInRefused as well."""
    server = Server()
    session = server.session()
    for _ in range(2):
        token = await session.token()
        with pytest.raises(SignInRefused):
            session.reject(token)
        with pytest.raises(SignInRefused):
            await session.token()
        server.now_s += 60


async def test_retry_after_is_honoured() -> None:
    """After 429 nothing is asked until the time is over; callers learn what is left of it."""
    server = Server(trouble=TooFast("slow down", 10.0))
    session = server.session()
    with pytest.raises(TooFast):
        await session.token()
    server.trouble = None
    server.now_s += 4
    with pytest.raises(TooFast) as error:
        await session.token()
    assert error.value.retry_after_s == pytest.approx(6)
    assert server.calls == ["create"]
    server.now_s += 6.1
    assert server.valid(await session.token())


@pytest.mark.parametrize("trouble", [TooFast("slow", 5.0), Unreachable("x"), ServerTrouble("x")])
async def test_a_token_serves_to_its_end_when_refreshing_fails(trouble: HeapsyncdError) -> None:
    """Renewal begins early; what fails then is tried again while the old token still works."""
    server = Server()
    session = server.session()
    old = await use(server, session)
    server.now_s += 3550
    server.trouble = trouble
    assert await session.token() == old
    assert await session.token() == old
    assert server.calls.count("refresh") == 1
    server.trouble = None
    server.now_s += 10
    new = await session.token()
    assert new != old
    assert server.valid(new)


async def test_a_rejected_token_does_not_serve_on() -> None:
    """After a 401 the old token is no way out when refreshing fails."""
    server = Server()
    session = server.session()
    server.revoked.add((await use(server, session)).reveal())
    server.trouble = Unreachable("x")
    session.reject(await session.token())
    with pytest.raises(Unreachable):
        await session.token()


async def test_a_rejected_token_is_known() -> None:
    """Whoever used it as well may ask."""
    server = Server()
    session = server.session()
    token = await use(server, session)
    assert not session.is_rejected(token)
    session.reject(token)
    assert session.is_rejected(token)
    assert not session.is_rejected(await session.token())


async def test_a_doubted_token_is_refreshed() -> None:
    """What the live link was turned away with is renewed before the next call."""
    server = Server()
    session = server.session()
    token = await use(server, session)
    session.doubt(token)
    assert await session.token() != token
    assert server.calls == ["create", "verify", "refresh"]


@pytest.mark.parametrize(
    ("refusal", "raised"),
    [(RequestRefused("x", 403), SignInRefused), (RequestRefused("x", 400), RequestRefused)],
)
async def test_a_refusal_of_the_sign_in_itself(
    refusal: RequestRefused, raised: type[HeapsyncdError]
) -> None:
    """403 is the account's; anything else is the request's."""
    server = Server(trouble=refusal)
    with pytest.raises(raised):
        await server.session().token()


def test_the_signature_is_ed25519_over_utf8() -> None:
    """What a server verifies: base58 of the signature of the challenge's bytes."""
    key = SigningKey(SEED.reveal()).verify_key
    assert base58.b58decode(public_key(SEED)) == key.encode()
    key.verify(b"sign this\n1", base58.b58decode(sign(SEED, "sign this\n1")))


@pytest.mark.parametrize("challenge", ["x" * 513, "sign ü", "sign\0", "sign\x1b[2J", "a\u202eb"])
def test_what_is_no_challenge_is_not_signed(challenge: str) -> None:
    """The key signs in, and that alone: what a server would have signed else is refused."""
    with pytest.raises(ProtocolError, match="not signed"):
        sign(SEED, challenge)
