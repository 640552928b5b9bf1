"""The order in which the folder's changes are carried out, as laws."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.observed import Created, Found, Moved, Recognised

PATHS = ["a", "a/b", "a/b/c", "d", "d/e", "a.md", "a/n.md", "d/e/m.md"]
paths = st.lists(st.sampled_from(PATHS), unique=True, max_size=len(PATHS))


@st.composite
def recognised(draw: st.DrawFn) -> Recognised:
    """Some entries moved from old paths to others, some directories and notes new."""
    old, new = draw(paths), draw(paths)
    moved = [
        Moved(EntryRow(a, BlockId(a), draw(st.sampled_from(["note", "folder"]))), b)
        for a, b in zip(old, new, strict=False)
    ]
    rest = [p for p in draw(paths) if p not in {m.path for m in moved}]
    created = [
        Created(Found(p, "file" if p.endswith(".md") else "dir", 1, 1)) for p in sorted(rest)
    ]
    return Recognised(tuple(moved), tuple(created), ())


@given(recognised())
def test_each_step_is_taken_once(found: Recognised) -> None:
    """All moves and all new directories, and nothing else."""
    wanted = [*found.moved, *(c for c in found.created if c.found.kind == "dir")]
    taken = list(found.in_order())
    assert len(taken) == len(wanted)
    assert all(step in wanted for step in taken)


@given(recognised())
def test_a_directory_comes_before_what_goes_into_it(found: Recognised) -> None:
    """A note that moves into a directory finds its block, unless it makes room for one itself."""
    steps = list(found.in_order())
    folders = {
        s.path: k
        for k, s in enumerate(steps)
        if isinstance(s, Created) or s.entry.role == "folder"
    }
    new = {s.path for s in steps if isinstance(s, Created)}
    for k, step in enumerate(steps):
        if isinstance(step, Moved) and step.entry.role != "folder" and step.entry.path in new:
            assert k < folders[step.entry.path]
            continue
        above = [folders[p] for p in folders if step.path.startswith(f"{p}/")]
        assert all(at < k for at in above)
