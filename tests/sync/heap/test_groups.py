"""Values by key, with and without a set around them."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.sync.heap.groups import Groups

steps = st.lists(
    st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from(["x", "y", "z"])), max_size=20
)


@given(steps)
def test_a_key_has_the_values_that_were_added(found: list[tuple[bool, str, str]]) -> None:
    """Each once, until it is discarded; discarding what is not there changes nothing."""
    groups, model = Groups[str](), defaultdict[str, set[str]](set)
    for is_added, key, value in found:
        if is_added:
            groups.add(key, value)
            model[key].add(value)
        else:
            groups.discard(key, value)
            model[key].discard(value)
        assert sorted(groups.of(key)) == sorted(model[key])
