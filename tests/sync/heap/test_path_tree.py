"""What is below a directory is found as by looking at every path."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.sync.heap.path_tree import PathTree

paths = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@given(st.lists(st.tuples(st.booleans(), paths)), paths | st.just(""))
def test_below(steps: list[tuple[bool, str]], asked: str) -> None:
    """Whatever came and went, in whatever order."""
    tree, kept = PathTree(), set()
    for adding, path in steps:
        if adding:
            tree.add(path)
            kept.add(path)
        else:
            tree.drop(path)
            kept.discard(path)
    prefix = f"{asked}/" if asked else ""
    assert tree.below(asked) == sorted(p for p in kept if p.startswith(prefix))
