"""Moves that take blocks to their places never overwrite one another."""

from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.ids import BlockId
from heapsyncd.sync.layout.move_order import arrange


def play(current: dict[BlockId, str], desired: dict[BlockId, str]) -> dict[BlockId, str]:
    """Carry out the steps on a model of a file system that never overwrites."""
    where = dict(current)
    for step in arrange(current, desired):
        assert where[step.block] == step.old
        assert step.new not in where.values(), "overwrites"
        assert not step.new.startswith(step.old + "/"), "into itself"
        parent = str(PurePosixPath(step.new).parent)
        assert parent == "." or parent in where.values(), "no such directory"
        for block, path in list(where.items()):
            if path == step.old or path.startswith(step.old + "/"):
                where[block] = step.new + path[len(step.old) :]
    return where


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_any_permutation_of_names(old: list[int], new: list[int]) -> None:
    """Swaps, chains and circles of any kind end where they should, and nothing is overwritten."""
    current = {BlockId(f"b{k}"): f"N{n}.md" for k, n in enumerate(old)}
    desired = {BlockId(f"b{k}"): f"N{n}.md" for k, n in enumerate(new)}
    assert play(current, desired) == desired


@st.composite
def trees(draw: st.DrawFn) -> tuple[dict[BlockId, str], dict[BlockId, str]]:
    """The same directories and files, arranged in two ways."""
    count = draw(st.integers(1, 6))
    arrangements = []
    for _ in range(2):
        order = draw(st.permutations(range(count)))
        paths: dict[int, str] = {}
        for position, k in enumerate(order):
            parent = draw(st.sampled_from([None, *order[:position]]))
            name = f"d{draw(st.integers(0, 3))}-{k}" if draw(st.booleans()) else f"e{position}"
            paths[k] = name if parent is None else f"{paths[parent]}/{name}"
        arrangements.append({BlockId(f"b{k}"): p for k, p in paths.items()})
    return arrangements[0], arrangements[1]


@given(trees())
def test_any_rearrangement_of_directories(
    pair: tuple[dict[BlockId, str], dict[BlockId, str]],
) -> None:
    """Directories moved into, out of and through one another end where they should."""
    current, desired = pair
    assert play(current, desired) == desired
