"""Troubles with files: each finder replaces what it found itself, where it looked, and no more."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.cache.problems import Finder, ProblemRow
from heapsyncd.folder.snapshot import Snapshot
from heapsyncd.model import Problem
from heapsyncd.sync.heap.problems import Problems, joined

PATHS = ["a", "a/b", "a/b/c.md", "ab", "d.md", ""]
FINDERS: list[Finder] = ["scan", "read", "content", "rules", "write", "transfer"]
rows = st.lists(
    st.builds(
        ProblemRow,
        st.sampled_from(PATHS),
        st.sampled_from(FINDERS),
        st.sampled_from(["one", "two"]),
        st.sampled_from(["left", "odd", "told"]),
    ),
    unique_by=lambda row: (row.path, row.finder),
    max_size=10,
)


@given(rows, st.lists(st.sampled_from(PATHS), max_size=3), st.sampled_from(FINDERS))
def test_a_pass_replaces_what_its_finder_found(
    before: list[ProblemRow], now: list[str], finder: Finder
) -> None:
    """What it finds again or anew is all of its own; what others found stays."""
    problems = Problems(before)
    with problems.new_pass(finder):
        for path in now:
            problems.found(finder, path, "now.")
    others = [row for row in before if row.finder != finder]
    mine = [ProblemRow(path, finder, "now") for path in set(now)]
    assert set(problems.rows()) == {*others, *mine}


@given(rows, st.none() | st.lists(st.sampled_from(PATHS[:5]), max_size=2), st.booleans())
def test_a_look_judges_what_it_passed(
    before: list[ProblemRow], scope: list[str] | None, minor: bool
) -> None:
    """A look at some paths says nothing of troubles elsewhere, nor of what others found."""
    problems = Problems(before)
    at = (scope or ["a"])[0]
    problems.scanned(Snapshot({}, (Problem(at, "now", minor),)), scope)
    after = {(row.path, row.finder): row for row in problems.rows()}
    assert after.pop((at, "scan")) == ProblemRow(at, "scan", "now", "odd" if minor else "left")
    for row in before:
        below = scope is None or any(row.path == p or row.path.startswith(f"{p}/") for p in scope)
        above = scope is not None and any(
            p.startswith(f"{row.path}/") or not row.path for p in scope
        )
        if row.finder == "scan" and (below or above):
            assert (row.path, "scan") not in after
        elif (row.path, row.finder) != (at, "scan"):
            assert after.pop((row.path, row.finder)) == row
    assert not after


@given(rows)
def test_troubles_move_with_their_files(before: list[ProblemRow]) -> None:
    """What is in a file goes where it goes; what was told of the place does not."""
    problems = Problems(before)
    problems.moved("a", "z")
    for row in before:
        moves = row.path == "a" or row.path.startswith("a/")
        stays = [r for r in problems.rows() if (r.path, r.finder) == (row.path, row.finder)]
        there = [r for r in problems.rows() if r.path == f"z{row.path[1:]}" and moves]
        assert bool(stays) == (not moves)
        assert (row.finder in {r.finder for r in there}) == (
            moves and row.finder in {"read", "content"}
        )


@given(rows)
def test_what_is_wrong_is_said_once(before: list[ProblemRow]) -> None:
    """Each path tells all its reasons, none twice; a path without trouble tells none."""
    problems = Problems(before)
    for path in PATHS:
        reasons = {row.reason for row in before if row.path == path}
        said = problems.at(path)
        assert (set() if said is None else set(said.split("; "))) == reasons
        assert said is None or len(said.split("; ")) == len(reasons)
    assert joined([]) is None
