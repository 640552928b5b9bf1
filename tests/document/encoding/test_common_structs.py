"""Common structs: matched many at once, they are what reading one by one finds."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heapsyncd.document.encoding import common_structs
from heapsyncd.document.encoding import examine as wall
from heapsyncd.errors import UnreadableDocument
from tests.document.encodings import ODD, UPDATES
from tests.document.worlds import BODY, build


def slowly(data: bytes) -> object:
    """What the cursor alone says."""
    matchers = common_structs.matchers
    common_structs.matchers = lambda: (lambda *_: None, lambda *_: None)  # type: ignore[assignment]
    try:
        return said(lambda: wall._examined(data))
    finally:
        common_structs.matchers = matchers


def said(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except UnreadableDocument:
        return "refused"


LONG = st.lists(UPDATES, min_size=1, max_size=1) | st.lists(ODD, min_size=1, max_size=1)


@pytest.mark.slow
@given(LONG, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2))
@example([build([("paragraph", {}, [[("word " * k, {})]]) for k in range(40)])], [])
@settings(max_examples=500, deadline=None)
def test_common_structs_are_read_as_any(found: list[bytes], flips: list[tuple[int, int]]) -> None:
    """What is matched many at once is what is read one by one: the same is refused, and told."""
    data = bytearray(found[0])
    for at, byte in flips:
        data[at % len(data)] = byte
    assert said(lambda: wall._examined(bytes(data))) == slowly(bytes(data))


@pytest.mark.slow
@given(BODY, st.integers(0, 9999), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_a_changed_document_is_read_as_any(body: Any, at: int, byte: int) -> None:
    """The same of an editor's document in which a byte is another."""
    torn = bytearray(build(body))
    torn[at % len(torn)] = byte  # its length differs with the ids it gets
    assert said(lambda: wall._examined(bytes(torn))) == slowly(bytes(torn))
