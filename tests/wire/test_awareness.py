"""Awareness updates are read back as written, and read from any bytes."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.errors import ProtocolError
from heapsyncd.wire.awareness import LEFT, State, decode, encode

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
