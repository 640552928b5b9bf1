"""Laws of the budget, against a server that counts, for any order of requests and answers."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.wire.budget import Budget, Rate

HOUR_S = 3600.0
Step = tuple[str, float]


@dataclass
class Counting:
    """A server that allows ``limit`` requests an hour. Its clock is ahead by ``ahead_s``."""

    limit: int
    ahead_s: float
    now_s: float = 0.0
    began_s: float = 0.0
    used: int = 0
    refusals: int = 0
    answers: list[Rate | None] = field(default_factory=list)
    """Of requests that were sent and whose answers have not arrived; None: it was lost."""

    def take(self, *, is_lost: bool) -> None:
        if self.now_s >= self.began_s + HOUR_S:
            self.began_s, self.used = self.now_s, 0
        is_over = self.used >= self.limit
        self.refusals += is_over
        self.used += not is_over
        reset_s = float(int(self.began_s + HOUR_S + self.ahead_s))
        date_s = float(int(self.now_s + self.ahead_s))
        said = Rate(self.limit, self.limit - self.used, reset_s, date_s)
        self.answers.append(None if is_lost else said)


steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "lose", "oldest", "newest", "wait"]),
        st.floats(0, 2000),
    ),
    max_size=80,
)


@given(st.integers(1, 12), st.integers(-100_000, 100_000), steps)
def test_a_client_alone_is_never_refused(limit: int, ahead_s: float, steps: list[Step]) -> None:
    """However answers overtake each other or get lost, and whatever the server's clock says.

    Only what is lost before the first answer of an hour can't be counted.
    """
    server, budget = Counting(limit, ahead_s), Budget()
    server.take(is_lost=False)  # The first request tells the limit.
    first = server.answers.pop()
    assert first is not None
    budget = budget.sent().answered(first, server.now_s)
    for what, wait_s in steps:
        if what in {"send", "lose"} and budget.wait_s(server.now_s, is_urgent=True) == 0:
            budget = budget.sent()
            is_first = server.now_s >= server.began_s + HOUR_S
            server.take(is_lost=what == "lose" and not is_first)
        elif what in {"oldest", "newest"} and server.answers:
            said = server.answers.pop(0 if what == "oldest" else -1)
            budget = budget.lost() if said is None else budget.answered(said, server.now_s)
        elif what == "wait" and not server.answers:
            server.now_s += wait_s
        assert budget.in_flight == len(server.answers)
    assert server.refusals == 0


quarters = st.integers(0, 400).map(lambda count: count / 4)
"""Seconds whose sums are exact, so that bounds can be compared exactly."""
rates = st.builds(
    Rate,
    st.none() | st.integers(1, 1000),
    st.none() | st.integers(0, 1000),
    st.none() | st.integers(0, 10**10).map(float),
    st.none() | st.integers(0, 10**10).map(float),
)


@given(st.lists(st.tuples(rates, st.booleans(), quarters)))
def test_no_wait_is_longer_than_the_hour(said: list[tuple[Rate, bool, float]]) -> None:
    """Whatever a server says, after an hour a request is sent; urgent ones never wait longer."""
    budget, now_s = Budget(), 0.0
    for rate, is_refused, later_s in said:
        now_s += later_s
        budget = budget.sent().answered(rate, now_s, is_refused=is_refused)
        wait_s = budget.wait_s(now_s, is_urgent=False)
        assert 0 <= budget.wait_s(now_s, is_urgent=True) <= wait_s <= HOUR_S + 1
        assert budget.wait_s(now_s + HOUR_S + 1, is_urgent=False) == 0
        assert budget.stretched_s(now_s, 15, 4) >= 15
