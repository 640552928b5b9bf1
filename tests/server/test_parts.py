"""The server's pure parts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc

from heapsyncd.errors import ProtocolError
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server.awareness import LEFT, Budget, Presence, State, decode, encode
from heapsyncd.server.input import is_state_vector
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Address
from heapsyncd.server.throttle import Throttle
from tests.server.rig import paragraph

STATES = st.lists(
    st.builds(State, st.integers(0, 5), st.integers(0, 9), st.sampled_from(['{"a":1}', LEFT]))
)


@given(STATES)
def test_awareness_round_trip(states: list[State]) -> None:
    """What is encoded is read back."""
    assert decode(encode(states)) == states


@given(st.binary(max_size=40))
def test_awareness_of_any_bytes(data: bytes) -> None:
    """Any bytes are read or refused, nothing else."""
    try:
        decode(data)
    except ProtocolError:
        return


@given(st.lists(STATES))
def test_presence_never_goes_back(updates: list[list[State]]) -> None:
    """What others are told of a client has growing clocks until it leaves, and a second owner
    leaving takes nothing of the first with it.
    """
    presence, owner = Presence(3, 10_000, Budget(10_000, 10_000)), object()
    clocks: dict[int, int] = {}
    for states in updates:
        for told in presence.merge(states, owner, "socket"):
            assert told.clock > clocks.get(told.client, -1) or told.json == LEFT
            if told.json == LEFT:
                clocks.pop(told.client)
            else:
                clocks[told.client] = told.clock
    assert presence.leave(object()) == []
    assert {s.client for s in presence.states()} == set(clocks)
    assert len(clocks) <= 3
    assert {s.client for s in presence.leave(owner)} == set(clocks)
    assert not presence


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


@given(st.text(max_size=30), st.integers(0, 10**6))
def test_address(noise: str, version: int) -> None:
    """A well-formed name is read whatever session follows; no other text is taken for one."""
    name = f"H:B:v{version}"
    expected = Address(HeapId("H"), BlockId("B"), version)
    assert Address.parse(name) == expected
    assert Address.parse(f"{name}\0{noise}") == expected
    found = Address.parse(noise)
    assert found is None or noise.startswith(f"{found.heap}:{found.block}:v{found.sync_version}")


@given(st.binary(max_size=20))
def test_state_vector_of_any_bytes(data: bytes) -> None:
    """Any bytes are a state vector or not, without an error."""
    assert is_state_vector(data) in {True, False}


def test_state_vectors() -> None:
    """The vectors of documents are state vectors."""
    doc: Doc[Any] = Doc()
    assert is_state_vector(doc.get_state())
    paragraph("x", doc)
    assert is_state_vector(doc.get_state())
