"""The rate limit is honoured before it is hit."""

import math

from heapsyncd.wire.budget import LONGEST_S, UNREADABLE_S, Budget, Rate


def rate(remaining: int | None, reset_s: float | None = 1000.0, limit: int = 100) -> Rate:
    """Said at 400 by the server's clock, ten minutes before the reset."""
    return Rate(limit, remaining, reset_s, 400.0)


def after(*rates: Rate, now_s: float = 0.0) -> Budget:
    budget = Budget()
    for said in rates:
        budget = budget.sent().answered(said, now_s)
    return budget


def test_nothing_is_known_at_first() -> None:
    """The first request is sent at once."""
    assert Budget().wait_s(0.0, is_urgent=False) == 0.0
    assert math.isinf(Budget().available(0.0, is_urgent=True))


def test_nothing_is_sent_after_the_last_one() -> None:
    """Remaining 0: wait until the reset, by the server's two dates, and a second more."""
    budget = after(rate(0), now_s=50.0)
    assert budget.wait_s(50.0, is_urgent=True) == 601.0
    assert budget.wait_s(500.0, is_urgent=True) == 151.0
    assert budget.wait_s(651.0, is_urgent=False) == 0.0


def test_a_tenth_is_kept_for_what_must_not_wait() -> None:
    """Polls stop at the reserve; edits go on."""
    budget = after(rate(10))
    assert budget.wait_s(0.0, is_urgent=False) == 601.0
    assert budget.available(0.0, is_urgent=True) == 10
    assert after(rate(11)).available(0.0, is_urgent=False) == 1


def test_what_is_in_flight_counts() -> None:
    """Two remain and two are on their way: the third waits for their answers, not for the hour."""
    budget = after(rate(2)).sent().sent()
    assert budget.available(0.0, is_urgent=True) == 0
    assert budget.wait_s(0.0, is_urgent=True) == 1.0
    assert budget.answered(rate(2), 0.0).wait_s(0.0, is_urgent=True) == 0.0


def test_an_answer_that_was_overtaken_gives_nothing_back() -> None:
    """The smallest number of an hour is the newest."""
    assert after(rate(3), rate(5)).remaining == 3
    assert after(rate(3, 4600.0), rate(50, 1000.0)).remaining == 3
    assert after(rate(3, 1000.0), rate(99, 4600.0)).remaining == 99


def test_a_refusal_leaves_nothing() -> None:
    """429: nothing until the reset; a reset that has passed says nothing about when."""
    refused = Budget().sent().answered(rate(7), 0.0, is_refused=True)
    assert refused.wait_s(0.0, is_urgent=True) == 601.0
    passed = Budget().sent().answered(rate(7, 300.0), 0.0, is_refused=True)
    assert passed.wait_s(0.0, is_urgent=True) == UNREADABLE_S


def test_an_unreadable_reset() -> None:
    """A minute; a reset beyond the hour is cut, because the limit is one per hour."""
    assert after(rate(0, None)).wait_s(0.0, is_urgent=True) == UNREADABLE_S
    assert after(rate(0, 1e12)).wait_s(0.0, is_urgent=True) == LONGEST_S + 1.0
    assert after(rate(0, math.inf)).wait_s(0.0, is_urgent=True) == UNREADABLE_S


def test_an_answer_without_numbers_counts_as_one_request() -> None:
    """A proxy answered, or nobody: the server may have counted it."""
    assert after(rate(5), Rate()).available(0.0, is_urgent=True) == 4
    assert after(rate(5)).sent().lost().available(0.0, is_urgent=True) == 4
    assert after(rate(5)).sent().unsent() == after(rate(5))
    assert math.isinf(after(Rate()).available(0.0, is_urgent=True))


def test_a_lost_request_counts_until_an_answer_knows_of_it() -> None:
    """That is an answer to a request that was sent later; one that was under way may not know."""
    budget = after(rate(5)).sent().sent().lost().answered(rate(4), 0.0)
    assert budget.available(0.0, is_urgent=True) == 3
    assert budget.sent().answered(rate(2), 0.0).available(0.0, is_urgent=True) == 2


def test_a_regular_task_is_stretched() -> None:
    """Its interval grows as the requests get fewer, and ends with the reset."""
    assert after(rate(100)).stretched_s(0.0, 15.0, 2) == 15.0
    assert after(rate(30)).stretched_s(0.0, 15.0, 2) == 60.1
    assert after(rate(10)).stretched_s(0.0, 15.0, 2) == 601.0
    assert after(rate(10)).stretched_s(700.0, 15.0, 2) == 15.0
