"""Which blocks were worked on when a life ended; and whether that was their fault."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heapsyncd.cache.crash_marks import DEATHS, AtWork, skipped
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import new_block_id

BLOCK, OTHER = new_block_id(), new_block_id()


def life(path: Path, before: Callable[[AtWork], object] = lambda _: None) -> None:
    """One life that works on a block, and is killed as it does."""
    with ExitStack() as stack:
        marks = stack.enter_context(AtWork.open(path))
        stack.enter_context(marks.on(BLOCK))
        before(marks)
        shutil.copy(path, path.with_suffix(".left"))
    shutil.move(path.with_suffix(".left"), path)


def left_alone(path: Path) -> list[str]:
    """The blocks that a life leaves alone, as its log tells when it begins."""
    with capture_logs() as told, AtWork.open(path):
        pass
    return [line["block"] for line in told if line["event"] == "document skipped"]


def test_two_deaths_are_told_with_the_way_back(tmp_path: Path) -> None:
    """The first is told in the log; after the second the block is skipped, and the log and the
    problem name the file that is to be removed.
    """
    path = tmp_path / "home.atwork"
    life(path)
    with capture_logs() as told, AtWork.open(path) as marks, marks.on(OTHER):
        pass
    assert [(line["block"], line["log_level"]) for line in told] == [(BLOCK, "warning")]
    assert "skipped" not in told[0]["event"]
    life(path)
    before = path.read_bytes()
    assert skipped(path, is_running=False) == {BLOCK}
    assert skipped(path, is_running=True) == set()  # it may be at work now
    assert path.read_bytes() == before
    with capture_logs() as told, AtWork.open(path) as marks:
        (line,) = told
        assert skipped(path, is_running=True) == {BLOCK}
        assert f"remove {path}" in line["reason"]
        with pytest.raises(UnreadableDocument, match=f"remove {path}"), marks.on(BLOCK):
            pass
        with marks.on(OTHER):
            pass
    path.unlink()
    with AtWork.open(path) as marks, marks.on(BLOCK):
        pass


def test_a_life_that_was_told_to_end_is_no_death(tmp_path: Path) -> None:
    """Also if it is killed before the work is through, or more is begun; earlier deaths stay."""
    path = tmp_path / "home.atwork"

    def told_to_end(marks: AtWork) -> None:
        marks.end()
        with marks.on(OTHER):
            shutil.copy(path, path.with_suffix(".other"))

    life(path)
    for _ in range(DEATHS + 1):
        life(path, told_to_end)
        assert left_alone(path) == []
    assert left_alone(path.with_suffix(".other")) == []
    life(path)
    assert left_alone(path) == [BLOCK]


def test_work_outlives_its_mirror(tmp_path: Path) -> None:
    """A thread that is still at it when the account's mirror is made anew has killed nobody."""
    path = tmp_path / "home.atwork"
    with ExitStack() as late:
        for _ in range(DEATHS + 1):
            with AtWork.open(path) as marks:
                late.enter_context(marks.on(BLOCK))
