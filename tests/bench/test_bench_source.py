"""The bench of the source measures what it says."""

import re
import subprocess
import sys
from pathlib import Path

from tests.promises.samples import BODIES

ROOT = Path(__file__).parents[2]
NAMES = ("HTML", "Windows")


def test_every_comparison_is_made(tmp_path: Path) -> None:
    """Sizes, times, and how many files are equal, of a folder's notes."""
    for name in NAMES:
        (tmp_path / f"{name}.md").write_bytes(BODIES[name])
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_source", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 notes" in done.stdout
    assert re.search(r"documents, MB .* x [1-3]\.\d\d", done.stdout)
    compared = re.findall(r"(\d+) of (\d+)\s+(\d+) of (\d+)$", done.stdout, re.MULTILINE)
    assert len(compared) > 7
    assert all(found == there for _, _, found, there in compared), done.stdout
    assert any(found != there for found, there, _, _ in compared), "local files differ"
