"""How often an address may call."""

import pytest

from heapsyncd.server.refusal import Refusal
from heapsyncd.server.throttle import Throttle


def test_throttle() -> None:
    """An address may call so often in the window, whatever others do; the wait is told."""
    now = [100.0]
    throttle = Throttle(2, 10.0, lambda: now[0])
    throttle.admit("a")
    now[0] += 4
    throttle.admit("a")
    throttle.admit("b")
    with pytest.raises(Refusal) as refused:
        throttle.admit("a")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "6")
    now[0] += 6
    throttle.admit("a")
