"""The bench of the mirror measures what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.bench_mirror import PHASES
from tests.bench.figures import Figures
from tests.bench.notes import heap_of_notes, reworded

ROOT = Path(__file__).parents[2]
NOTES = 20


def bench(*arguments: object) -> str:
    """What the bench prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_mirror", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(180)
def test_every_phase_has_its_figures(tmp_path: Path) -> None:
    """Each phase has a wall time, processor time beside its floor, memory and counts; two files
    of figures can be compared.
    """
    kept = tmp_path / "figures.json"
    quick = ("--notes", NOTES, "--saves", 2, "--idle", 0)
    printed = bench(*quick, "--count", "--json", kept, "--dir", tmp_path)
    found = {f["name"]: Figures(**f) for f in json.loads(kept.read_text())}
    assert len(found) == len(PHASES)
    assert all(name in printed for name in found)
    upload, mirror, saved = (found[n] for n in ("first upload", "first mirror", "one word saved"))
    assert (upload.ratio("sender") or 0) > 1
    assert (mirror.ratio("receiver") or 0) > 1
    assert upload.peak_mb["sender"] > 20
    for phase in (upload, mirror):
        assert 0 < phase.waits_ms["the loop stood still for at most"] < 60_000
        assert 0 < phase.waits_ms["`status` answered within"] < 60_000
    assert saved.latency_ms["acknowledged"]["p50"] > 1
    assert saved.latency_ms["in the other folder"]["p95"] > 1
    # Every saved word is written to the cache and sent by its own transactions.
    until = saved.counts["sender until acknowledged"]
    assert sum(n for kind, n in until.items() if kind.startswith("write ")) >= 2 * saved.notes
    assert sum(n for kind, n in until.items() if kind.startswith("hop ")) >= saved.notes
    assert all(f.wall_s is not None for f in found.values() if not f.latency_ms)
    assert "-> " in bench("--compare", kept, kept)


def test_the_same_seed_makes_the_same_heap() -> None:
    """The notes of a heap are the same for the same seed, and link to each other."""
    notes = heap_of_notes(50)
    assert notes == heap_of_notes(50)
    assert notes != heap_of_notes(50, seed=2)
    names = [path.rpartition("/")[2].removesuffix(".md") for path in notes]
    assert any(f"[[{name}]]" in text for name in names for text in notes.values())


def test_each_turn_replaces_one_word_of_the_body() -> None:
    """In each note, again and again, one word is another and all else is as it was."""
    for text in heap_of_notes(50).values():
        for turn in range(12):
            after = reworded(text, turn, "replaced")
            pairs = zip(text.split(), after.split(), strict=True)
            assert [b.rstrip(".") for a, b in pairs if a != b] == ["replaced"]
            text = after.replace("replaced", f"turn{turn:04}")  # noqa: PLW2901
