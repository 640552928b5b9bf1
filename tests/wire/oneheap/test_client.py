"""Requests to a service over HTTP: sign-in, limits, lost answers, secrets."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from heapsyncd.errors import (
    ConfigError,
    HeapsyncdError,
    NotHeaper,
    OutcomeUnknown,
    RequestRefused,
    ServerTrouble,
    SignInRefused,
    TooFast,
    Unreachable,
)
from heapsyncd.ids import Password
from heapsyncd.wire.answers import Most
from heapsyncd.wire.clock import boot_clock_s
from heapsyncd.wire.oneheap import client as client_module
from heapsyncd.wire.oneheap.client import Client, TooLarge
from heapsyncd.wire.oneheap.routes import ROUTES, Route, Standing
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap

AUTH = ("POST", "/Authentications/")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other tasks bring about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the service has no event for it
            await asyncio.sleep(0.005)


@asynccontextmanager
async def using(service: Oneheap, password: str = PASSWORD) -> AsyncIterator[Client]:
    async with Client(service.url, EMAIL, Password(password)) as client:
        yield client


async def notes(client: Client) -> int | None:
    return (await client.call("GET", "/Notes/")).count


async def test_a_request_as_documented(service: Oneheap, client: Client) -> None:
    """The headers, the arguments in ``q`` or in the body, and the answer."""
    service.add("note", name="a")
    sort = {"modified/created": "desc"}
    limit = {"offset": 0, "limit": 1}
    found = await client.call("GET", "/Notes/", arguments={"limit": limit, "sort": sort})
    assert (found.count, found.objects[0]["name"]) == (1, "a")
    assert found.date_s == pytest.approx(service.now().timestamp(), abs=60)
    await client.call("POST", "/Notes/", arguments={"name": "b", "tags": ["ü"]})
    signing_in, listing, making = service.requests
    assert (signing_in.method, signing_in.path) == AUTH
    assert signing_in.headers["Auth-Method"] == "token"
    assert "Auth-Token" not in signing_in.headers
    assert listing.arguments == {"limit": limit, "sort": sort}
    assert listing.headers["Auth-Token"].startswith("U8rFTrEjI8..")
    assert making.arguments == {"name": "b", "tags": ["ü"]}
    assert making.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.path}")
async def test_every_documented_route(service: Oneheap, client: Client, row: Route) -> None:
    """It arrives as documented, with all its arguments; what is not implemented is not sent."""
    values = {"string": "x", "int": 1, "bool": True, "array": ["x"], "object": {}}
    arguments = {name: values[type_] for name, type_ in row.arguments.items()}
    ids = ["i1", "i2"][: row.path.count(":id")]
    await client.sign_in()
    service.requests.clear()
    # Of what a mirror uses, the service knows no such item.
    may_be_refused = row.standing is not Standing.OTHER
    with suppress(*([RequestRefused, SignInRefused] if may_be_refused else [])):
        await client.call(row.method, row.path, *ids, arguments=arguments)
    if row.standing is Standing.NOT_IMPLEMENTED:
        assert not service.requests
    else:
        came = service.requests[0]
        assert (came.method, came.path, came.arguments) == (row.method, row.fill(*ids), arguments)


async def test_the_address_may_lack_its_last_slash(service: Oneheap) -> None:
    """And must be an address."""
    async with Client(service.url.rstrip("/"), EMAIL, Password(PASSWORD)) as client:
        assert await notes(client) == 0
    with pytest.raises(ConfigError):
        Client("oneheap", EMAIL, Password(PASSWORD))


async def test_what_is_not_documented_is_not_sent(service: Oneheap, client: Client) -> None:
    """A mistake of the caller's, or what the service does not have yet."""
    with pytest.raises(ValueError, match="no 'title'"):
        await client.call("POST", "/Notes/", arguments={"title": "x"})
    with pytest.raises(ValueError, match="not a documented route"):
        await client.call("GET", "/Days/")
    with pytest.raises(ValueError, match="takes 1 ids"):
        await client.call("GET", "/Notes/:id/")
    with pytest.raises(RequestRefused, match="not implemented yet"):
        await client.call("POST", "/Keys/", arguments={"name": "x"})
    assert service.requests == []


@pytest.mark.parametrize("end", [Oneheap.expire_tokens, Oneheap.forget_tokens])
async def test_a_token_that_ended_is_renewed_once_for_all(
    service: Oneheap, client: Client, end: Callable[[Oneheap], None]
) -> None:
    """410, or 401 for a token that worked: many requests at once sign in once."""
    assert await notes(client) == 0
    end(service)
    assert await asyncio.gather(*(notes(client) for _ in range(20))) == [0] * 20
    assert len(service.seen(*AUTH)) == 2
    assert len(service.seen("GET", "/Notes/")) <= 1 + 6 + 20


async def test_a_creation_is_repeated_after_a_sign_in(service: Oneheap, client: Client) -> None:
    """The service refused it before it did anything."""
    await notes(client)
    service.expire_tokens()
    await client.call("POST", "/Notes/", arguments={"name": "a"})
    assert len(service.store.of("note")) == 1


async def test_a_wrong_password(service: Oneheap) -> None:
    """Exit 3, one request, and the next ones wait out the pause."""
    async with using(service, "wrong") as client:
        for _ in range(3):
            with pytest.raises(SignInRefused, match="e-mail address and the password") as error:
                await notes(client)
            assert error.value.exit_code == 3
    assert len(service.requests) == 1


async def test_a_fresh_token_that_is_rejected(service: Oneheap, client: Client) -> None:
    """410 right after signing in is about the account, not about the token."""
    service.token_life_s = -1.0
    with pytest.raises(SignInRefused):
        await notes(client)
    assert len(service.requests) == 2


async def test_another_403_is_one_items(service: Oneheap, client: Client) -> None:
    """Something that somebody shared read-only; the account goes on."""
    service.fail("refuse", "GET", "/Notes/", status=403, message="No permission.")
    with pytest.raises(RequestRefused, match="No permission"):
        await notes(client)
    assert await notes(client) == 0
    assert len(service.seen(*AUTH)) == 1


async def test_signing_out(service: Oneheap, client: Client) -> None:
    """The token ends; without one nothing is sent."""
    await client.sign_out()
    assert service.requests == []
    await client.sign_in()
    await client.sign_out()
    service.expire_tokens()
    assert [r.method for r in service.requests] == ["POST", "DELETE"]
    await client.sign_in()
    service.expire_tokens()
    await client.sign_out()
    assert len(service.requests) == 4


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ({"kind": "refuse", "status": 503}, ServerTrouble),
        ({"kind": "code", "status": 500}, ServerTrouble),
        ({"kind": "code", "status": 404}, RequestRefused),
        ({"kind": "page"}, ServerTrouble),
        ({"kind": "cut"}, ServerTrouble),
    ],
)
async def test_a_failed_request_is_the_next_ones_chance(
    service: Oneheap,
    client: Client,
    fault: dict[str, object],
    raised: type[HeapsyncdError],
) -> None:
    """It is not repeated in the call: who called knows what else there is to do."""
    await client.sign_in()
    service.fail(**fault)  # type: ignore[arg-type]  # a table
    with pytest.raises(raised):
        await notes(client)
    assert await notes(client) == 0
    assert len(service.requests) == 3


async def test_another_site(service: Oneheap, client: Client) -> None:
    """A page at the first contact: the address is wrong."""
    service.fail("page")
    with pytest.raises(NotHeaper, match="configure the service's address") as error:
        await client.sign_in()
    assert error.value.exit_code == 4


@pytest.mark.parametrize("kind", ["drop", "lose"])
async def test_a_dropped_connection(service: Oneheap, client: Client, kind: str) -> None:
    """Whatever can be repeated is, once; an update done twice is one update."""
    id_ = service.add("note", name="a")
    await client.sign_in()
    service.fail(kind, "POST", f"/Notes/{id_}/")
    await client.call("POST", "/Notes/:id/", id_, arguments={"name": "b"})
    assert service.store.get(id_)["name"] == "b"
    assert len(service.seen("POST", f"/Notes/{id_}/")) == 2
    service.fail(kind, "POST", f"/Notes/{id_}/", times=2)
    with pytest.raises(Unreachable):
        await client.call("POST", "/Notes/:id/", id_, arguments={"name": "c"})


@pytest.mark.parametrize(
    ("kind", "made"),
    [("drop", 0), ("lose", 1), ("cut", 1), ("page", 0), ("refuse", 0)],
)
async def test_a_creation_is_never_repeated(
    service: Oneheap, client: Client, kind: str, made: int
) -> None:
    """Its outcome is unknown, and said to be: the caller looks first."""
    await client.sign_in()
    service.fail(kind, "POST", "/Notes/")
    with pytest.raises(OutcomeUnknown, match="may have been done"):
        await client.call("POST", "/Notes/", arguments={"name": "a"})
    assert len(service.seen("POST", "/Notes/")) == 1
    assert len(service.store.of("note")) == made


async def test_a_creation_that_was_never_sent(service: Oneheap, client: Client) -> None:
    """No connection: nothing to look for. A refusal did not do it either."""
    await client.sign_in()
    service.fail("refuse", "POST", "/Notes/", status=400)
    with pytest.raises(RequestRefused):
        await client.call("POST", "/Notes/", arguments={"name": "a"})
    await service.__aexit__(None, None, None)
    await client.renew()
    before = client.budget
    with pytest.raises(Unreachable):
        await client.call("POST", "/Notes/", arguments={"name": "a"})
    assert client.budget == before
    async with service:
        await client.call("POST", "/Notes/", arguments={"name": "a"})


async def test_renewed_connections(service: Oneheap, client: Client) -> None:
    """What waits is sent again, but a creation."""
    await client.sign_in()
    service.gate = asyncio.Event()
    listing = asyncio.create_task(notes(client))
    making = asyncio.create_task(client.call("POST", "/Notes/", arguments={"name": "a"}))
    await until(lambda: service.waiting == 2)
    await client.renew()
    with pytest.raises(OutcomeUnknown):
        await making
    await until(lambda: len(service.seen("GET", "/Notes/")) == 2)
    service.gate.set()
    assert await listing in {0, 1}


async def test_an_answer_is_bounded(service: Oneheap, client: Client) -> None:
    """And says so in a way that lets the caller ask for less."""
    service.add("note", body="x" * 5000)
    with pytest.raises(TooLarge):
        await client.call("GET", "/Notes/", most=Most(4000, 1000))
    with pytest.raises(TooLarge):
        await client.call("GET", "/Notes/", most=Most(40_000, 10))


async def test_a_large_body(service: Oneheap, client: Client) -> None:
    """Some megabytes in one request."""
    body = "line, and more\n" * 400_000
    found = await client.call(
        "POST", "/Notes/", arguments={"body": body}, most=Most(1 << 24, 1 << 22)
    )
    assert found.objects[0]["body"] == body


async def test_the_limit_is_never_exceeded(service: Oneheap) -> None:
    """Thirty requests at once where ten are left: ten are sent, the others say how long."""
    async with using(service) as client:
        await notes(client)
        service.spend(11)
        await notes(client)
        outcomes = await asyncio.gather(
            *(notes(client) for _ in range(30)), return_exceptions=True
        )
    refused = [error for error in outcomes if isinstance(error, TooFast)]
    assert [outcome for outcome in outcomes if not isinstance(outcome, TooFast)] == [0] * 10
    assert len(refused) == 20
    for error in refused:
        assert error.retry_after_s is not None
        assert 3500 < error.retry_after_s <= 3601
    assert service.refused == 0


async def test_a_reserve_is_kept(service: Oneheap, client: Client) -> None:
    """What is not urgent stops at a tenth."""
    await notes(client)
    service.spend(1001)
    await client.call("GET", "/Notes/", is_urgent=False)
    with pytest.raises(TooFast):
        await client.call("GET", "/Notes/", is_urgent=False)
    assert await notes(client) == 0


async def test_a_short_wait_is_slept(service: Oneheap, client: Client) -> None:
    """The reset is near: the request is sent after it."""
    await client.sign_in()
    service.advance(3598.5)
    service.spend(1)
    assert await notes(client) == 0
    assert await notes(client) == 0
    assert service.refused == 0


@pytest.mark.parametrize("kind", ["refuse", "code"])
async def test_a_429_tells_until_when(service: Oneheap, client: Client, kind: str) -> None:
    """Nothing is sent before; a creation was not done, and is no riddle."""
    await client.sign_in()
    service.fail(kind, "POST", "/Notes/", status=429)
    with pytest.raises(TooFast) as error:
        await client.call("POST", "/Notes/", arguments={"name": "a"})
    assert error.value.retry_after_s is not None
    assert error.value.retry_after_s > 3500
    sent = len(service.requests)
    with pytest.raises(TooFast, match="rate limit"):
        await notes(client)
    assert len(service.requests) == sent
    assert service.store.of("note") == []


async def test_a_429_at_the_sign_in(service: Oneheap, client: Client) -> None:
    """Sign-ins count as well, and say how long to wait."""
    service.fail("refuse", *AUTH, status=429)
    for _ in range(2):
        with pytest.raises(TooFast) as error:
            await notes(client)
        assert error.value.retry_after_s is not None
        assert error.value.retry_after_s > 3500
    assert len(service.requests) == 1


async def test_an_answer_without_the_headers(service: Oneheap, client: Client) -> None:
    """It counts as one request."""
    await notes(client)
    available = client.budget.available(boot_clock_s(), is_urgent=True)
    service.fail("bare")
    await notes(client)
    assert client.budget.available(boot_clock_s(), is_urgent=True) == available - 1
    assert client.budget.in_flight == 0


async def test_who_waits_for_answers_goes_on_with_them(
    service: Oneheap, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests in flight count, and their answers wake the next one at once."""
    monkeypatch.setattr(client_module, "PATIENCE_S", 60.0)
    await client.sign_in()
    service.spend(4)
    await notes(client)
    service.gate = asyncio.Event()
    tasks = [asyncio.create_task(notes(client)) for _ in range(4)]
    await until(lambda: service.waiting == 3)
    assert client.budget.in_flight == 3
    tasks[3].cancel()
    service.gate.set()
    assert await asyncio.gather(*tasks[:3]) == [0, 0, 0]
    assert client.budget.in_flight == 0
    assert service.refused == 0


async def test_what_can_not_be_encoded_is_not_in_flight(client: Client) -> None:
    """A mistake of the caller's costs no request."""
    await client.sign_in()
    with pytest.raises(TypeError):
        await client.call("POST", "/Notes/", arguments={"tags": [object()]})
    assert client.budget.in_flight == 0


async def test_a_cancelled_request_is_not_in_flight(service: Oneheap, client: Client) -> None:
    """It may have been counted by the service, though."""
    await client.sign_in()
    available = client.budget.available(boot_clock_s(), is_urgent=True)
    service.gate = asyncio.Event()
    task = asyncio.create_task(notes(client))
    await until(lambda: service.waiting == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.budget.in_flight == 0
    assert client.budget.available(boot_clock_s(), is_urgent=True) == available - 1
    service.gate.set()


async def test_secrets_travel_where_they_belong(
    service: Oneheap, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Never in an address, a log, a message or a repr, even if the service repeats them."""
    caplog.set_level(logging.DEBUG)
    await client.sign_in()
    await notes(client)
    token = service.requests[-1].headers["Auth-Token"]
    shown = [repr(client), *(r.address for r in service.requests), caplog.text]
    for status in (400, 403, 404, 410, 429, 500):
        service.fail("refuse", status=status, message=f"{token} {PASSWORD}", fields=[token])
        try:
            await client.call("POST", "/Searches/")
        except HeapsyncdError as error:
            shown += ["".join(traceback.format_exception(error)), repr(error), repr(vars(error))]
    for secret in (token, PASSWORD):
        assert not [text for text in shown if secret in text]
