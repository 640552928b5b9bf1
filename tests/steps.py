"""How much Python runs in a piece of work: the same on every machine, however busy."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """The lines and calls that a piece of work takes, in this thread."""
    count = 0

    def each(_frame: FrameType, _event: str, _what: Any) -> Any:
        nonlocal count
        count += 1
        return each

    before = sys.gettrace()
    sys.settrace(each)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
