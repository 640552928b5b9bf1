"""Replicas in memory: never one of another position, never more than fit."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.replica_cache import Replicas

IDS = [BlockId(f"b{k}") for k in range(4)]
LIMIT = 2
steps = st.lists(
    st.tuples(st.sampled_from(["get", "take", "put"]), st.sampled_from(IDS), st.integers(0, 2)),
    max_size=25,
)


@given(steps)
def test_any_use(found: list[tuple[str, BlockId, int]]) -> None:
    """What is got is what was put for that very position; the latest used stay, as many as fit;
    what was taken is gone until it is put back.
    """
    replicas, model = Replicas(LIMIT), OrderedDict[BlockId, tuple[int, Replica]]()
    for what, block, seq in found:
        if what == "put":
            replica = Replica.load([])
            replicas.put(block, seq, replica)
            model[block] = (seq, replica)
            model.move_to_end(block)
            if len(model) > LIMIT:
                model.popitem(last=False)
            continue
        held = model.get(block)
        wanted = held[1] if held is not None and held[0] == seq else None
        if what == "take":
            model.pop(block, None)
        elif wanted is not None:
            model.move_to_end(block)
        assert (replicas.get if what == "get" else replicas.take)(block, seq) is wanted
    assert {b: replicas.position(b) for b in IDS} == {
        b: model[b][0] if b in model else None for b in IDS
    }
