"""How long a mirror takes, and how much processor time and memory, phase by phase.

``python -m tests.bench.bench_mirror``, from the project's root. The embedded server and two
devices run in processes of their own; the first device has the notes, the second gets them. Beside
what a note costs stands its floor, taken in the same run from the same notes: the pure functions
alone. A phase ends when all is in sync and nobody works any more; its wall time, when the second
device has all. What a process needs to come up counts for the restart only.

``--json FILE`` keeps the figures; ``--compare OLD NEW`` puts two such files side by side. On a
shared machine compare what was taken in turn, three times; the load stands in each line.
"""

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Final

from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.runtime.heap import FOLLOWED
from tests.bench.bare_client import all_opened_s
from tests.bench.figures import Figures, print_comparison, print_counts, print_table
from tests.bench.folders import (
    DEADLINE_S,
    added,
    directory,
    fill,
    has,
    prepared,
    quantiles,
    spread,
    until,
    wait_for,
)
from tests.bench.mirror_floor import Floor, Titles, floor_of
from tests.bench.mirror_process import Process, Setup
from tests.bench.notes import heap_of_notes, sentence
from tests.bench.probe import probed

FLOOR_NOTES: Final = 500
"""The floor is taken of so many notes, spread over all."""
BURST: Final = 1000
_APART_S: Final = 1.0
_QUIET_S: Final = 0.3
_QUIET_USED_S: Final = 0.011
"""One tick of the kernel's clock."""


class Phase:
    """What is measured while a phase goes on.

    Args:
        bench: whose processes are looked at.
        figures: gets what was found.
    """

    def __init__(self, bench: "Bench", figures: Figures) -> None:
        self._bench = bench
        self.figures = figures
        self._before = bench.processor_s()
        self._counted = bench.counted()
        for process in bench.processes.values():
            process.forget_peak()
        self._started = time.monotonic()

    def so_far_s(self) -> float:
        """How long it has gone on."""
        return time.monotonic() - self._started

    def done(self) -> None:
        """What was waited for is there."""
        self.figures.wall_s = self.so_far_s()

    def started_anew(self, role: str) -> None:
        """A process begins to work: what it needed to come up is no part of the phase."""
        self._started = time.monotonic()
        self._before[role] = self._bench.processor_s()[role]

    def end(self) -> None:
        """Add up what was used."""
        figures, after = self.figures, self._bench.processor_s()
        figures.processor_s = {r: s - self._before.get(r, 0.0) for r, s in after.items()}
        figures.peak_mb = {r: p.peak_mb() for r, p in self._bench.processes.items()}
        figures.load = os.getloadavg()[0]
        for role, counts in self._bench.counted().items():
            figures.counts[role] = dict(Counter(counts) - Counter(self._counted.get(role, {})))


class Bench:
    """A server, two devices and their notes.

    Args:
        base: an empty directory.
        notes: the texts, by path.
        floor: of these notes.
        options: as the command line says.
    """

    def __init__(
        self, base: Path, notes: Mapping[str, str], floor: Floor, options: argparse.Namespace
    ) -> None:
        self.base = base
        self.floor = floor
        self.paths = list(notes)
        self.options = options
        self.found: list[Figures] = []
        self.processes: dict[str, Process] = {}
        self._turn = 0
        self.processes["server"] = Process(Setup(str(base / "server"), count=options.count))
        fill(base / "sender/folder/Home", notes)

    # ---- phases -------------------------------------------------------------------------------

    def first_upload(self) -> None:
        """The first device sends all of its notes."""
        with self._phase("first upload", len(self.paths), sender=self.floor.upload) as phase:
            sender = self._process("sender", phase)
            with self._probed(sender, phase):
                sender.ask("run")
                sender.ask("synced")
                phase.done()

    def first_mirror(self) -> None:
        """The second device gets all notes."""
        with self._phase("first mirror", len(self.paths), receiver=self.floor.mirror) as phase:
            receiver = self._process("receiver", phase)
            waits_ms = phase.figures.waits_ms
            with self._probed(receiver, phase):
                receiver.ask("run")
                until(lambda: any(receiver.folder.rglob("*.md")), "no note arrived")
                waits_ms["the first note was there after"] = phase.so_far_s() * 1000
                self._wait_for(self.paths, lambda file: file.stat().st_size > 0)
                phase.done()

    def single_saves(self) -> None:
        """One word is saved, again and again, each when the last one has arrived."""
        sender, receiver = self.processes["sender"], self.processes["receiver"]
        paths = spread(self.paths, self.options.saves)
        acknowledged, arrived, until_then = [], [], Counter[str]()
        floor = {"sender": self.floor.send, "receiver": self.floor.receive}
        self._all_live()
        with self._phase("one word saved", len(paths), **floor) as phase:
            for path in paths:
                word = self._word()
                save = prepared(sender.folder / path, self._turn, word)
                before = Counter(sender.ask("watch")["counts"])
                started = time.monotonic()
                save()
                self._wait_for([path], has(word))
                arrived.append(time.monotonic() - started)
                back = sender.ask("back")
                acknowledged.append(back["at"] - started)
                until_then += Counter(back["counts"]) - before
                for device in (sender, receiver):
                    device.ask("synced")
            phase.done()
        phase.figures.wall_s = None
        phase.figures.latency_ms = {
            "acknowledged": quantiles(acknowledged),
            "in the other folder": quantiles(arrived),
        }
        if self.options.count:
            phase.figures.counts["sender until acknowledged"] = dict(until_then)

    def new_notes(self) -> None:
        """A note is added, as an editor saves it, one a second.

        A file that is written in place, new or not, is read 0.3 s later.
        """
        arrived = []
        with self._phase("a new note", self.options.saves) as phase:
            for k in range(self.options.saves):
                path = f"Area 0/New {self._word()}.md"
                self.paths.append(path)
                add = added(self.processes["sender"].folder / path, sentence(Random(k), 99))
                for device in ("sender", "receiver"):
                    self.processes[device].ask("synced")
                time.sleep(_APART_S)
                started = time.monotonic()
                add()
                self._wait_for([path], lambda file: file.stat().st_size > 0)
                arrived.append(time.monotonic() - started)
            phase.done()
        phase.figures.wall_s = None
        phase.figures.latency_ms = {"in the other folder": quantiles(arrived)}

    def burst(self) -> None:
        """Many notes are changed at once while both devices run."""
        floor = {"sender": self.floor.send, "receiver": self.floor.receive}
        paths = spread(self.paths, BURST)
        with self._phase("changed at once", len(paths), **floor) as phase:
            self._wait_for(paths, has(self._change(paths)))
            phase.done()

    def stopped(self) -> None:
        """Many notes are changed while the first device is stopped."""
        floor = {"sender": self.floor.send, "receiver": self.floor.receive}
        paths = spread(self.paths, BURST)
        self._stop("sender")
        word = self._change(paths)
        with self._phase("changed while stopped", len(paths), **floor) as phase:
            self._start("sender", phase)
            self._wait_for(paths, has(word))
            phase.done()

    def rename(self) -> None:
        """A directory with a tenth of the notes gets another name."""
        old, new = "Area 0/", f"Area {self._word()}/"
        moved = [path for path in self.paths if path.startswith(old)]
        self.paths = [new + p.removeprefix(old) if p in moved else p for p in self.paths]
        with self._phase("directory renamed", len(moved)) as phase:
            folder = self.processes["sender"].folder
            (folder / old).rename(folder / new)
            self._wait_for([p for p in self.paths if p.startswith(new)], Path.exists)
            phase.done()

    def restart(self) -> None:
        """The first device starts again and finds nothing changed; its start is a part of it."""
        self._stop("sender")
        with self._phase("restart, no change", len(self.paths)) as phase:
            sender = self._process("sender")
            imported_s = phase.so_far_s()
            sender.ask("run")
            sender.ask("synced")
            phase.done()
            ready_s = phase.so_far_s() - imported_s
            phase.figures.waits_ms = {"in sync after its imports, within": ready_s * 1000}

    def server_restart(self) -> None:
        """The server starts again: how long until all is followed again, beside what two clients
        need that do nothing but to open as many notes of a running server.
        """
        self._all_live()
        url = self.processes["server"].url
        least_s = asyncio.run(all_opened_s(url, self._followed(), 2))
        self._stop("server")
        again = Setup(
            str(self.base / "server"), count=self.options.count, port=int(url.rpartition(":")[2])
        )
        self.processes["server"] = Process(again)
        with self._phase("server restarted", len(self.paths)) as phase:
            self._all_live()
            phase.done()
        phase.figures.waits_ms = {"two bare clients open all notes within": least_s * 1000}

    def idle(self) -> None:
        """Nothing happens: everything is sent, and all notes are followed that may be."""
        self._all_live()
        with self._phase("idle", 0) as phase:
            time.sleep(self.options.idle)
            phase.done()

    # ---- what phases share --------------------------------------------------------------------

    def _followed(self) -> int:
        """How many notes a device follows over its live connection once all is opened."""
        return min(len(self.paths), FOLLOWED["all"])

    def _all_live(self) -> None:
        """Wait until the devices are in sync and follow all notes that they may."""
        for role, process in self.processes.items():
            if role != "server":
                process.ask("synced")
                process.ask(f"live {self._followed()}")

    def processor_s(self) -> dict[str, float]:
        """Processor time so far, by role."""
        return {role: process.processor_s() for role, process in self.processes.items()}

    def counted(self) -> dict[str, dict[str, int]]:
        """What was counted so far, by role."""
        if not self.options.count:
            return {}
        return {role: p.ask("counts")["counts"] for role, p in self.processes.items()}

    def close(self) -> None:
        """End all processes."""
        for process in reversed(self.processes.values()):
            process.stop()

    def check(self) -> None:
        """Both folders say the same; AssertionError names a note that differs."""
        sender, receiver = (self.processes[r].folder for r in ("sender", "receiver"))
        for path in self.paths:
            one, other = (
                parse(split((f / path).read_text("utf-8"))[1], NO_LINKS)
                for f in (sender, receiver)
            )
            assert one == other, f"{path} is not the same on both sides"

    @contextlib.contextmanager
    def _phase(self, name: str, notes: int, **floor_ms: float) -> Iterator[Phase]:
        phase = Phase(self, Figures(name, notes, floor_ms))
        yield phase
        self._settle()
        phase.end()
        self.found.append(phase.figures)

    def _probed(self, device: Process, phase: Phase) -> contextlib.AbstractContextManager[object]:
        if self.options.unprobed:
            return contextlib.nullcontext()
        return probed(device, phase.figures.waits_ms)

    def _settle(self) -> None:
        """Wait until all is in sync and nobody is at work any more."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            for role in self.processes.keys() - {"server"}:
                self.processes[role].ask("synced")
            before = self.processor_s()
            time.sleep(_QUIET_S)  # what is used within a time is what is asked for
            if all(s - before[r] <= _QUIET_USED_S for r, s in self.processor_s().items()):
                return
        raise TimeoutError("the devices do not come to rest")

    def _start(self, role: str, phase: Phase | None = None) -> None:
        self._process(role, phase).ask("run")

    def _process(self, role: str, phase: Phase | None = None) -> Process:
        server = self.processes["server"].url
        setup = Setup(str(self.base / role), server, count=self.options.count)
        self.processes[role] = Process(setup)
        if phase is not None:
            phase.started_anew(role)
        return self.processes[role]

    def _stop(self, role: str) -> None:
        self.processes.pop(role).stop()

    def _word(self) -> str:
        self._turn += 1
        return f"turn{self._turn:04}"

    def _change(self, paths: Iterable[str]) -> str:
        """Replace a word in each note of the first device; the word that stands there now."""
        word = self._word()
        folder = self.base / "sender/folder/Home"
        for save in [prepared(folder / path, self._turn, word) for path in paths]:
            save()
        return word

    def _wait_for(self, paths: Iterable[str], true: Callable[[Path], bool]) -> None:
        """Wait until something is true of each file in the second device's folder."""
        wait_for(self.processes["receiver"].folder, paths, true)


PHASES: Final[dict[str, Callable[[Bench], None]]] = {
    "upload": Bench.first_upload,
    "mirror": Bench.first_mirror,
    "saves": Bench.single_saves,
    "new": Bench.new_notes,
    "burst": Bench.burst,
    "stopped": Bench.stopped,
    "rename": Bench.rename,
    "restart": Bench.restart,
    "server": Bench.server_restart,
    "idle": Bench.idle,
}


def _phases(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - PHASES.keys():
        raise argparse.ArgumentTypeError(f"no phase: {', '.join(sorted(unknown))}")
    return [name for name in PHASES if name in names]


def measure(options: argparse.Namespace) -> list[Figures]:
    """Run the phases asked for, with those they build on."""
    notes = heap_of_notes(options.notes, options.seed)
    size = sum(len(text.encode()) for text in notes.values())
    print(
        f"{len(notes):,} notes, {size / len(notes):,.0f} bytes each, seed {options.seed};"
        f" load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores",
        flush=True,
    )
    some = {path: notes[path] for path in spread(list(notes), FLOOR_NOTES)}
    floor = floor_of(some, Titles.of(notes))
    needed = ["upload"] if options.phases == ["upload"] else ["upload", "mirror"]
    with tempfile.TemporaryDirectory(prefix="heapsyncd-bench-", dir=options.dir) as base:
        bench = Bench(Path(base), notes, floor, options)
        try:
            for name in PHASES:
                if name in options.phases or name in needed:
                    PHASES[name](bench)
            if "mirror" in needed:
                bench.check()
        finally:
            bench.close()
        return bench.found


def main() -> None:
    """Measure, or compare, as the arguments ask for."""
    options = _options()
    if options.compare:
        old, new = (
            [Figures(**f) for f in json.loads(p.read_text("utf-8"))] for p in options.compare
        )
        print_comparison(old, new)
        return
    found = measure(options)
    print_table(found)
    print_counts(found)
    if options.json:
        options.json.write_text(json.dumps([asdict(f) for f in found], indent=1), "utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=1000, help="how many notes to generate")
    parser.add_argument("--seed", type=int, default=1, help="of the generator")
    parser.add_argument(
        "--phases", type=_phases, default=list(PHASES), help=f"some of {','.join(PHASES)}"
    )
    parser.add_argument("--saves", type=int, default=50, help="how many words are saved singly")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of the idle phase")
    parser.add_argument("--count", action="store_true", help="count transactions and thread hops")
    parser.add_argument(
        "--unprobed",
        action="store_true",
        help="look at neither the loop nor `status`: that takes processor time of the device",
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--dir", type=directory, help="where the folders are made, for their disk")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two --json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
