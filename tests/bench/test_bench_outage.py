"""An outage brings no wave upon the server, neither when it ends nor later."""

import pytest

from tests.bench.bench_outage import IN_STEP, OUTAGES, show
from tests.bench.outage import RECOVERED_S, Outage

DAEMONS = 200


@pytest.mark.parametrize("name", OUTAGES)
def test_daemons_come_back_one_after_the_other(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bounded while the server is away, spread when it returns, and not in step afterwards; also
    when it asked all of them to wait the same time.
    """
    away_s, asks_s = OUTAGES[name]
    load = Outage(DAEMONS, 4, away_s, asks_s, before_s=30.0, after_s=100.0).play()
    assert load.live[29] == DAEMONS
    assert (load.recovered_s or 1000) <= 15.0 + 1.5 * (asks_s or 0.0)
    # Each of a daemon's three kinds of work asks again after 7.5 s on average.
    assert max(load.each_second("in vain", -int(away_s) + 10, 0), default=0) <= 0.7 * DAEMONS
    assert max(load.each_second("socket", 0, RECOVERED_S)) <= 0.5 * DAEMONS
    assert max(load.each_second("call", 0, RECOVERED_S)) <= 2 * DAEMONS
    assert load.in_step < IN_STEP
    show(name, load)
    assert "no second wave" in capsys.readouterr().out


def test_a_slow_server_is_waited_for() -> None:
    """What is waiting for its turn at the server is not given up and asked for again."""
    daemons, notes = 40, 50
    load = Outage(daemons, notes, 2.0, handshakes_s=0.5, before_s=240.0, after_s=180.0).play()
    assert load.live[239] == daemons
    assert load.recovered_s is not None
    # Who gets no answer at all within a socket's patience comes back once.
    assert sum(load.each_second("handshake", 0, 180)) <= 2 * daemons * notes
