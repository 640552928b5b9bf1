"""Announcements of other devices are heard once each, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.wire import announcements
from heapsyncd.wire.announcements import Announcements
from heapsyncd.wire.awareness import LEFT, State, decode, encode


def test_each_is_heard_once_by_others() -> None:
    """Not by its own device, and not again when the server repeats what it knows."""
    one, other = Announcements(), Announcements()
    first = one.announce()
    assert other.is_news(first)
    assert not other.is_news(first)
    assert not one.is_news(first)
    assert other.is_news(one.announce())
    assert not other.is_news(first)
    assert one.is_news(other.announce())


def test_who_leaves_or_shows_a_cursor_does_not_ring() -> None:
    """Also when it comes in one message with one that was heard, as an answer with all states
    has it.
    """
    one, other = Announcements(), Announcements()
    heard = one.announce()
    assert other.is_news(heard)
    (state,) = decode(heard)
    editor = State(7, 3, '{"user":{"name":"heapsyncd"},"cursor":null}')
    gone = State(state.client, state.clock, LEFT)
    for states in ([editor], [gone], [state, editor]):
        assert not other.is_news(encode(states))
    assert other.is_news(encode([editor, *decode(one.announce())]))


def test_what_was_heard_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those heard first are forgotten, and heard again."""
    monkeypatch.setattr(announcements, "_MOST", 2)
    one = Announcements()
    made = [Announcements().announce() for _ in range(3)]
    assert [one.is_news(one_made) for one_made in (*made, made[2], made[0])] == [
        True, True, True, False, True,
    ]  # fmt: skip


def test_a_flood_is_not_looked_through() -> None:
    """What a server sends of 50,000 clients would keep the loop busy; an announcement is small."""
    few, many = (
        encode([State(k, 1, '{"heapsyncd":1}') for k in range(count)]) for count in (1000, 50_000)
    )
    assert Announcements().is_news(few)
    assert not Announcements().is_news(many)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_any_bytes_can_be_listened_to(before: bytes, after: bytes) -> None:
    """Whatever a server sends is an announcement or none."""
    Announcements().is_news(before + b'{"heapsyncd":' + after)
