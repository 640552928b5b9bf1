"""The soak edits on both sides, and tells growth from none."""

import argparse
from pathlib import Path

import pytest

from tests.bench.bench_soak import ROLES, Sample, soak, verdicts


def samples(memory_mb: float, files: float, stored_mb: float) -> list[Sample]:
    """A run that grows by so much with each sample, after a third in which everything grows."""
    found = []
    for k in range(12):
        early = min(k, 4) * 30
        found.append(
            Sample(
                k * 1000,
                dict.fromkeys(ROLES, 100 + early + k * memory_mb),
                dict.fromkeys(ROLES, round(20 + k * files)),
                dict.fromkeys(ROLES, 5 + early + k * stored_mb),
            )
        )
    return found


@pytest.mark.parametrize(
    ("growth", "is_flat"),
    [((0, 0, 0), True), ((10, 0, 0), False), ((0, 2, 0), False), ((0, 0, 2), False)],
)
def test_growth_is_told_from_a_warm_up(growth: tuple[float, float, float], is_flat: bool) -> None:
    """What grows at first and then stays is flat; memory, open files or what is stored that go on
    growing are not.
    """
    lines = verdicts(samples(*growth))
    assert len(lines) == len(ROLES)
    assert all(line.endswith(": flat") == is_flat for line in lines)


def test_a_short_soak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Edits arrive on both sides, and each sample says what every process has."""
    options = argparse.Namespace(edits=10, notes=5, samples=1, audit=1.0, seed=1, dir=tmp_path)
    first, last = soak(options)
    assert (first.edits, last.edits) == (0, 10)
    for sample in (first, last):
        for role in ROLES:
            assert sample.memory_mb[role] > 20
            assert sample.descriptors[role] > 5
            assert sample.stored_mb[role] > 0.1
    assert "receiver" in capsys.readouterr().out
