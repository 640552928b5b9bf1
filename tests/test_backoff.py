"""How long a server in trouble is left alone, and what ends that early."""

import asyncio

import pytest

from heapsyncd.backoff import REFUSED, SERVER, Backoff, Contact, Lane, Paced, varied_s
from heapsyncd.errors import (
    RequestRefused,
    ServerTrouble,
    SignInRefused,
    TooFast,
    Unreachable,
)
from tests.bench import virtual_time

ERROR_500 = ServerTrouble("the server answers 500")


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (10**9, 30.0)]
)
def test_waits_double_up_to_a_cap(failures: int, longest: float) -> None:
    """Full jitter spreads over the whole wait, calls that must stay rare over its second half."""
    full, rare = Backoff(1, 30), Backoff(1, 30, min_share=0.5)
    assert full.bound_s(failures) == full.pause_s(failures, 1.0) == longest
    assert full.pause_s(failures, 0.0) == 0
    assert rare.pause_s(failures, 0.0) == longest / 2
    assert rare.pause_s(failures, 1.0) == longest


def test_trouble_is_over_soon_after_its_end() -> None:
    """However often a server was not there or answered 5xx, no pause is longer than 15 s, and all
    are spread down to nothing; a refusal is asked about more rarely.
    """
    for error in (Unreachable("down"), ERROR_500):
        for chance in (0.0, 1.0):
            lane = Lane(Contact(), lambda chance=chance: chance)  # type: ignore[misc]
            for _ in range(100):
                lane.failed(error)
                assert lane.pause_s() <= 15 * chance
    lane = Lane(Contact(), lambda: 0.0)
    lane.failed(RequestRefused("no", 403))
    assert lane.pause_s() >= 5
    assert SERVER.limit_s < REFUSED.limit_s


def test_a_sign_of_life_ends_the_pauses_of_all() -> None:
    """What one lane hears, all that failed are told; also when it came before they waited."""
    contact = Contact()
    lanes = [Lane(contact) for _ in range(3)]
    for lane, error in zip(
        lanes, (Unreachable("down"), ERROR_500, SignInRefused("not yet")), strict=True
    ):
        lane.failed(error)
        assert not any(e.is_set() for e in lane.wake_events())
    contact.heard()
    assert all(e.is_set() for lane in lanes for e in lane.wake_events())
    assert all(lane.wake_events() for lane in lanes)


def test_a_lane_in_trouble_alone_is_not_hurried() -> None:
    """A route that fails while all others answer is tried once at a sign of life, then after
    pauses that grow, until it works.
    """
    contact = Contact()
    lane = Lane(contact, lambda: 1.0)
    for _ in range(5):
        lane.failed(ERROR_500)
    contact.heard()
    pauses = []
    for _ in range(6):
        lane.failed(ERROR_500)
        pauses.append(lane.pause_s())
        assert lane.wake_events() == ()
        contact.heard()
    assert pauses == [1, 2, 4, 8, 15, 15]
    lane.worked()
    assert lane.pause_s() == 0
    lane.failed(ERROR_500)
    assert lane.wake_events()


@pytest.mark.parametrize(
    ("error", "least_s"),
    [
        pytest.param(TooFast("slow down", 40), 40, id="429"),
        pytest.param(ServerTrouble("in maintenance", 40), 40, id="503 with Retry-After"),
        pytest.param(RequestRefused("no", 403), 5, id="403"),
    ],
)
def test_what_a_server_asks_for_is_honoured(error: Exception, least_s: float) -> None:
    """Its own pause, and a refusal's, last whatever else it answers."""
    contact = Contact()
    lane = Lane(contact, lambda: 0.0)
    lane.failed(error)
    contact.heard()
    assert lane.wake_events() == ()
    assert lane.pause_s() >= least_s


def test_what_all_are_asked_for_they_do_not_do_at_once() -> None:
    """A wait that a server asks for, and one that recurs, differ from client to client."""
    asked = []
    for chance in (0.0, 0.5, 1.0):
        lane = Lane(Contact(), lambda chance=chance: chance)  # type: ignore[misc]
        lane.failed(ServerTrouble("in maintenance", 40))
        asked.append(lane.pause_s())
    assert asked == [40, 50, 60]
    assert [varied_s(60, lambda c=c: c) for c in (0.0, 0.5, 1.0)] == [45, 60, 75]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("asked_s", "burst", "acted_s"),
    [
        ([0.0], 1, [0.5]),
        ([0.0, 0.1, 0.2], 1, [0.5]),
        ([0.0, 5.0], 1, [0.5, 5.5]),
        # However often it is asked for.
        ([k / 10 for k in range(40)], 1, [0.5, 2.0, 3.5, 5.0]),
        ([k / 10 for k in range(40)], 3, [0.5, 1.0, 1.5, 2.0, 3.0, 4.0]),
    ],
    ids=["once", "many are one", "apart", "a runaway", "a runaway after a pause"],
)
def test_what_is_asked_for_often_is_paced(
    asked_s: list[float], burst: int, acted_s: list[float]
) -> None:
    """It is done at random within half a second, and on average no more than once a second."""
    acted: list[float] = []

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        paced = Paced(lambda: acted.append(loop.time()), chance=lambda: 1.0)
        for at_s in asked_s:
            await asyncio.sleep(at_s - loop.time())
            paced.ask(0.5, apart_s=1.0, burst=burst)
        await asyncio.sleep(10.0)

    virtual_time.run(ask())
    assert [round(at_s, 1) for at_s in acted] == acted_s
