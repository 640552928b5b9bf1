"""Rings of other devices are heard once each, and nothing else is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.wire import bell
from heapsyncd.wire.awareness import LEFT, State, decode, encode
from heapsyncd.wire.bell import Bell


def test_a_ring_is_heard_once_by_others() -> None:
    """Not by its own device, and not again when the server repeats what it knows."""
    one, other = Bell(), Bell()
    first = one.ring()
    assert other.hears(first)
    assert not other.hears(first)
    assert not one.hears(first)
    assert other.hears(one.ring())
    assert not other.hears(first)
    assert one.hears(other.ring())


def test_who_leaves_or_shows_a_cursor_does_not_ring() -> None:
    """Also when it comes in one message with a ring that was heard, as an answer with all states
    has it.
    """
    one, other = Bell(), Bell()
    heard = one.ring()
    assert other.hears(heard)
    (state,) = decode(heard)
    editor = State(7, 3, '{"user":{"name":"heapsyncd"},"cursor":null}')
    gone = State(state.client, state.clock, LEFT)
    for states in ([editor], [gone], [state, editor]):
        assert not other.hears(encode(states))
    assert other.hears(encode([editor, *decode(one.ring())]))


def test_what_was_heard_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those heard first are forgotten, and heard again."""
    monkeypatch.setattr(bell, "_MOST", 2)
    one = Bell()
    rings = [Bell().ring() for _ in range(3)]
    assert [one.hears(ring) for ring in (*rings, rings[2], rings[0])] == [
        True, True, True, False, True,
    ]  # fmt: skip


def test_a_flood_is_not_looked_through() -> None:
    """A ring is small. What a server sends of 50,000 clients must not keep the loop busy."""
    flood = encode([State(k, 1, '{"heapsyncd":1}') for k in range(50_000)])
    began_s = time.process_time()
    assert not Bell().hears(flood)
    assert time.process_time() - began_s < 0.01
    assert Bell().hears(encode([State(k, 1, '{"heapsyncd":1}') for k in range(1000)]))


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_any_bytes_can_be_listened_to(before: bytes, after: bytes) -> None:
    """Whatever a server sends is a ring or none."""
    Bell().hears(before + b'{"heapsyncd":' + after)
