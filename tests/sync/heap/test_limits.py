"""The limits of mass changes, as laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.sync.heap.limits import (
    BURST,
    FILES,
    RATE_PER_S,
    RewriteLimit,
    is_mass,
    must_hold,
    spread,
)

counts = st.integers(0, 500)


@pytest.mark.parametrize(
    ("count", "total", "held"),
    [
        (10, 10, False),  # a whole heap of ten files is no mass
        (11, 11, True),
        (11, 43, True),  # just over a quarter
        (11, 44, False),  # a quarter is not more than a quarter
        (45, 60, True),
        (1000, 4000, False),
        (1001, 4000, True),
        (0, 0, False),
    ],
)
def test_the_limit(count: int, total: int, held: bool) -> None:
    """More than ten files and more than a quarter of the heap, both."""
    assert is_mass(count, total) is held
    assert must_hold(count, 0, total, standing=False) is held


@given(counts, counts, counts, st.booleans())
def test_more_is_never_less(count: int, recent: int, rest: int, standing: bool) -> None:
    """What is held stays held when more is deleted, now or before, or less is left."""
    if must_hold(count, recent, count + rest, standing=standing):
        assert must_hold(count + 1, recent, count + 1 + rest, standing=standing)
        assert must_hold(count, recent + 1, count + rest, standing=standing)
        assert must_hold(count, recent, count + rest // 2, standing=standing)


@given(counts, counts, counts)
def test_a_standing_hold_takes_everything_in(count: int, recent: int, rest: int) -> None:
    """While deletions are held none goes through, however small."""
    assert must_hold(count, recent, count + rest, standing=True)


@given(st.integers(11, 300), st.integers(1, 10))
def test_small_steps_are_stopped(size: int, step: int) -> None:
    """Deleting a heap bit by bit within an hour is stopped before the limit is passed."""
    gone = 0
    while gone < size:
        now = min(step, size - gone)
        if must_hold(now, gone, size - gone, standing=False):
            break
        gone += now
    assert not is_mass(gone, size)
    assert gone < size


@given(st.integers(0, 5000))
def test_waiting_files_come_in_groups(count: int) -> None:
    """Each second has at most its share, and none waits longer than it must."""
    waits = spread(count)
    assert len(waits) == count
    assert all(waits.count(w) <= RATE_PER_S for w in set(waits))
    assert max(waits, default=0) <= 1 + count / RATE_PER_S


@given(st.lists(st.floats(0, 3, allow_nan=False), max_size=60))
def test_rewriting_is_bounded(pauses: list[float]) -> None:
    """In any stretch no more notes are rewritten than the burst and the rate allow."""
    rewrites, now, done = RewriteLimit(), 0.0, 0
    for pause in pauses:
        now += pause
        while rewrites.left(now):
            rewrites.rewritten(f"{done}.md", now)
            done += 1
    assert done <= BURST + now * RATE_PER_S + 1


def test_a_mass_rewrite_is_told_of_for_an_hour() -> None:
    """It counts notes, not saves; few notes, or notes of long ago, are nothing to tell."""
    rewrites = RewriteLimit()
    for k in range(FILES * 5):
        rewrites.rewritten("same.md", float(k))
    assert rewrites.notice(20, 50.0) is None
    for k in range(15):
        rewrites.rewritten(f"{k}.md", 100.0)
    notice = rewrites.notice(20, 101.0)
    assert notice is not None
    assert notice.startswith("16 of 20 files")
    assert rewrites.notice(2000, 101.0) is None
    assert rewrites.notice(20, 3800.0) is None
