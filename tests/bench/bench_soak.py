"""Whether anything grows: very many edits, one after the other, without a pause.

``python -m tests.bench.bench_soak``, from the project's root. The embedded server and two devices
run in processes of their own (``tests.bench.mirror_process``). Every second batch of edits is made
in the other device's folder; the next one begins when all have arrived. What a day's pauses would
bring, the devices do every few seconds: they compare the whole folder and tidy up (``--audit``).

Memory and open files must not grow. What is stored may grow by what an edit itself needs: the
CRDT keeps every edit, so the figure to look at is the bytes that each one adds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from heapsyncd.markdown.frontmatter import split
from tests.bench.folders import directory, fill, has, prepared, until, wait_for
from tests.bench.mirror_process import Process, Setup
from tests.bench.notes import heap_of_notes

BATCH: Final = 100
ROLES: Final = ("sender", "receiver", "server")
GROWS: Final = 1.1
"""So much more in the last third of a run than in the second counts as growth."""
EDIT_BYTES: Final = 1000
"""The most that an edit of a word may add to what is stored, once old updates are merged."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What each process had after so many edits, by role."""

    edits: int
    memory_mb: dict[str, float]
    descriptors: dict[str, int]
    stored_mb: dict[str, float]


class Soak:
    """A server and two devices with the same notes.

    Args:
        base: an empty directory.
        options: as the command line says.
    """

    def __init__(self, base: Path, options: argparse.Namespace) -> None:
        self._options = options
        self._random = Random(options.seed)
        self._turn = 0
        notes = heap_of_notes(options.notes, options.seed)
        self._paths = list(notes)
        server = Process(Setup(str(base / "server")))
        self.processes = {"server": server}
        fill(Setup(str(base / "sender")).folder, notes)
        for role in ("sender", "receiver"):
            setup = Setup(str(base / role), server.url, audit_s=options.audit)
            self.processes[role] = Process(setup)
            self.processes[role].ask("run")
            self.processes[role].ask("synced")
        wait_for(self.processes["receiver"].folder, self._paths, lambda f: f.stat().st_size > 0)

    def batch(self, edits: int) -> None:
        """So many edits, of as many notes at most, in one of the folders."""
        self._turn += 1
        here, there = ("sender", "receiver") if self._turn % 2 else ("receiver", "sender")
        one, two = (self.processes[role].folder for role in (here, there))
        word = f"turn{self._turn:05}"
        paths = self._random.sample(self._paths, min(edits, len(self._paths)))
        # The turn chooses the word's place: it moves through the note.
        saves = [prepared(one / path, self._turn, word) for path in paths]
        for save in saves:
            save()
        wait_for(two, paths, has(word))
        if self._turn % 10 == 0:
            self._rename(one, two)
        for role in ("sender", "receiver"):
            self.processes[role].ask("synced")

    def _rename(self, one: Path, two: Path) -> None:
        old = self._random.choice(self._paths)
        new = f"{old.rpartition('/')[0]}/Renamed {self._turn:05}.md"
        (one / old).rename(one / new)
        self._paths[self._paths.index(old)] = new
        until(lambda: (two / new).exists() and not (two / old).exists(), f"{new} did not arrive")

    def sample(self, edits: int) -> Sample:
        """What everybody has now."""
        each = self.processes.items()
        return Sample(
            edits,
            {role: process.now_mb() for role, process in each},
            {role: process.descriptors() for role, process in each},
            {role: process.stored_mb() for role, process in each},
        )

    def check(self) -> None:
        """Both folders say the same; AssertionError names a note that differs."""
        one, two = (self.processes[role].folder for role in ("sender", "receiver"))
        for path in self._paths:
            texts = [split((folder / path).read_text("utf-8"))[1] for folder in (one, two)]
            assert texts[0] == texts[1], f"{path} is not the same on both sides"

    def close(self) -> None:
        """End all processes."""
        for process in reversed(self.processes.values()):
            process.stop()


def soak(options: argparse.Namespace) -> list[Sample]:
    """Make the edits; print and return the samples."""
    with tempfile.TemporaryDirectory(prefix="heapsyncd-bench-", dir=options.dir) as base:
        run = Soak(Path(base), options)
        started, samples = time.monotonic(), list[Sample]()
        print(f"{'':>18}" + "".join(f"{role:^28}" for role in ROLES))
        print(f"{'edits':>9}{'s':>9}" + f"{'MB':>9}{'files':>8}{'stored MB':>11}" * len(ROLES))
        try:
            done, each = 0, max(BATCH, options.edits // options.samples)
            while True:
                samples.append(run.sample(done))
                _show(samples[-1], time.monotonic() - started)
                if done >= options.edits:
                    break
                until_s = min(done + each, options.edits)
                while done < until_s:
                    edits = min(BATCH, until_s - done, options.notes)
                    run.batch(edits)
                    done += edits
            run.check()
        finally:
            run.close()
        return samples


def _show(sample: Sample, passed_s: float) -> None:
    cells = "".join(
        f"{sample.memory_mb[r]:9.1f}{sample.descriptors[r]:8}{sample.stored_mb[r]:11.2f}"
        for r in ROLES
    )
    print(f"{sample.edits:9,}{passed_s:9.0f}{cells}", flush=True)


def verdicts(samples: Sequence[Sample]) -> list[str]:
    """What grew from the second third of a run to its last, a line for each process."""
    third = max(1, len(samples) // 3)
    middle, last = samples[-2 * third : -third], samples[-third:]
    edits = max(1, samples[-1].edits - middle[0].edits)
    found = []
    for role in ROLES:
        memory = _grown([s.memory_mb[role] for s in middle], [s.memory_mb[role] for s in last])
        files = _grown([s.descriptors[role] for s in middle], [s.descriptors[role] for s in last])
        added = (samples[-1].stored_mb[role] - middle[0].stored_mb[role]) * (1 << 20) / edits
        is_flat = max(memory, files) <= GROWS and added <= EDIT_BYTES
        found.append(
            f"{role}: memory x {memory:.2f}, open files x {files:.2f}, {added:.0f} bytes stored"
            f" an edit: {'flat' if is_flat else 'NOT FLAT'}"
        )
    return found


def _grown(before: Sequence[float], after: Sequence[float]) -> float:
    return statistics.median(after) / statistics.median(before)


def main() -> None:
    """Soak, and say whether it was flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=100_000, help="how many")
    parser.add_argument("--notes", type=int, default=200, help="of how many notes")
    parser.add_argument("--samples", type=int, default=30, help="how many lines are printed")
    parser.add_argument("--audit", type=float, default=20.0, help="seconds between tidying up")
    parser.add_argument("--seed", type=int, default=1, help="of notes and edits")
    parser.add_argument("--dir", type=directory, help="where the folders are made, for their disk")
    for line in verdicts(soak(parser.parse_args())):
        print(line)


if __name__ == "__main__":
    main()
