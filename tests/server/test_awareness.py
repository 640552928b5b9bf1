"""Who is present: told in order, and bounded."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.server.awareness import Budget, Presence
from heapsyncd.wire.awareness import LEFT, State

STATES = st.lists(
    st.builds(State, st.integers(0, 5), st.integers(0, 9), st.sampled_from(['{"a":1}', LEFT]))
)


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
