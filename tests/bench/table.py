"""Each goal of speed beside its floor or peer, taken in the same run, in turn.

``python -m tests.bench.table``, from the project's root. A round measures the mirror (the embedded
server and two devices, ``tests.bench.bench_mirror``) and each peer with the same notes, in an
order that turns; a line shows medians over all rounds with the least and the most, the ratio of
each round's pair, and the goal. What is not installed is named with its lines. Only ratios of one
run mean anything on a shared machine, and only on a journalled disk (``--dir``): look at the
spread, and at the machine's own speed, which stands below the table.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import bench_transfers
from tests.bench.bench_mirror import BURST, FLOOR_NOTES, PHASES, Bench
from tests.bench.folders import directory, spread
from tests.bench.mirror_floor import Titles, floor_of
from tests.bench.notes import heap_of_notes
from tests.bench.peers import Found, NodeMirror, Peer, Rsync, Syncthing, present

FEW: Final = 100
"""Figures of so many notes stand beside those of all of them."""
OURS: Final = "mirror"
_PROBE: Final = "machine"


@dataclass(frozen=True, slots=True)
class Goal:
    """One line.

    Args:
        name: of what is measured.
        key: of the figure, ours and the other's.
        unit: of both.
        beside: whose figure stands beside ours; None: the goal is a figure of its own.
        most: the goal, a ratio or a figure; ``further``: the next one.
        least: it is a goal to reach, not to stay below.
        why: what a distance that is left consists of, with figures of ours in braces.
    """

    name: str
    key: str
    unit: str
    beside: str | None
    most: float
    further: float | None = None
    least: bool = False
    why: str = ""

    def is_reached(self, value: float) -> bool:
        """Whether a ratio, or a figure, is as good as the goal."""
        return value >= self.most if self.least else value <= self.most


NODE, SYNCTHING, RSYNC = NodeMirror.name, Syncthing.name, Rsync.name
HERE_FEW: Final = f"{FEW} notes"
EDIT: Final = "an edit"
ONE_PUT: Final = "one streamed PUT"
PLAIN_PUTS: Final = "plain PUTs of the chunks"
SERVER: Final = "server's minimum"
PURE: Final = "the pure functions"
_LOADED: Final = (
    "both devices and the server share the cores here; a million steps took {machine} ms"
)
GOALS: Final = (
    Goal(
        "first mirror", "first mirror", "s", NODE, 1.0, 0.2,
        why="the pure functions alone (check and load a document, its view, its file) take"
        " {pure, mirror} s of one core, the server {server, mirror} s; below that they would have"
        " to be native code",
    ),
    Goal(
        "first upload", "first upload", "s", SYNCTHING, 2.0,
        why="the pure functions alone (read a file, make its document) take {pure, upload} s of"
        " one core, the server {server, upload} s; a synchroniser of files makes no documents",
    ),
    Goal(
        f"{BURST:,} files at once", "at once", "s", SYNCTHING, 1.0, 1 / 3,
        why="the pure functions alone take {pure, at once} s, the server {server, at once} s; a"
        " synchroniser of files compares no documents",
    ),
    Goal("receiver, first mirror", "receiver, mirror", "ms", PURE, 3.0),
    Goal("sender, many changes", "sender, at once", "ms", PURE, 3.0),
    Goal("receiver, many changes", "receiver, at once", "ms", PURE, 3.0),
    Goal(
        "save, other folder, p95", "save p95", "ms", SYNCTHING, 1 / 15,
        why="half of the saves are acknowledged within {acknowledged} ms, of which the watch takes"
        " 20 to 40; the rest is the way to the other device's disk",
    ),
    Goal("save, other folder, p50", "save p50", "ms", HERE_FEW, 1.25),
    Goal(
        "new note, other folder, p50", "new p50", "ms", EDIT, 1.0,
        why="a new note is created, asked for and then filled, and the other device has to ask"
        " for it: three requests more than an edit",
    ),
    Goal(
        "memory at rest", "memory at rest", "MB", None, 110,
        why="the device that was started again has {memory, restarted} MB: the difference is what"
        " a first mirror leaves to the allocator",
    ),
    Goal("memory, first upload", "memory, upload", "MB", None, 160),
    Goal("memory, first mirror", "memory, mirror", "MB", None, 160),
    Goal(
        "restart after imports", "restart", "s", RSYNC, 2.0,
        why="looking at each file alone takes {looks} s; the rest loads what is known of each note"
        " from the cache, signs in and asks for news",
    ),
    Goal(
        "imports, processor", "imports", "s", None, 0.35,
        why="other packages alone take {imports, others} s",
    ),
    Goal(
        "idle, share of a core", "idle", "%", NODE, 1 / 20,
        why="the watch of the folder looks every 20 ms, so that a save is seen within 40",
    ),
    Goal("back live after a restart", "live again", "s", SERVER, 1.5),
    Goal("contents in chunks", "contents", "MB/s", PLAIN_PUTS, 0.9, least=True),
    Goal(
        "contents in one piece", "contents", "MB/s", ONE_PUT, 0.3, 0.9, least=True,
        why="the server hashes each chunk and has it on its disk before it answers; a plain PUT"
        " does neither",
    ),
    Goal("loop stood still, upload", "loop, upload", "ms", None, 100, why=_LOADED),
    Goal("loop stood still, mirror", "loop, mirror", "ms", None, 100, why=_LOADED),
    Goal("status, upload", "status, upload", "ms", None, 200, why=_LOADED),
    Goal("status, mirror", "status, mirror", "ms", None, 200, why=_LOADED),
    Goal(
        "first note there", "first note", "s", None, 1.0,
        why="the server lists all notes before the newest can be asked for, and the device's"
        " imports alone take {imports} s",
    ),
)  # fmt: skip

Round = Mapping[str, Found]
"""The figures of one round, by whose they are."""


class Mirror:
    """The product, with the phases that the goals are about."""

    name: Final = OURS

    def __init__(self, notes: Mapping[str, str], options: argparse.Namespace) -> None:
        self._notes = notes
        self._options = options
        some = {path: notes[path] for path in spread(list(notes), FLOOR_NOTES)}
        self._floor = floor_of(some, Titles.of(notes))

    def measure(self, base: Path) -> dict[str, Found]:
        """Ours, and what stands beside it from the same devices."""
        some = {path: self._notes[path] for path in spread(list(self._notes), FEW)}
        few = self._run(base / "few", some, ["upload", "mirror", "saves"])
        all_ = self._run(
            base / "all",
            self._notes,
            ["upload", "mirror", "saves", "new", "burst", "idle", "restart", "server"],
        )
        imports_s, others_s = _imports_s()
        floor = self._floor
        return {
            OURS: all_ | {"imports": imports_s, "imports, others": others_s},
            PURE: {
                "receiver, mirror": floor.mirror,
                "sender, at once": floor.send,
                "receiver, at once": floor.receive,
            },
            SERVER: {"live again": all_.pop("least")},
            HERE_FEW: {"save p50": few["save p50"]},
            EDIT: {"new p50": all_["save p50"]},
        }

    def _run(self, base: Path, notes: Mapping[str, str], phases: Sequence[str]) -> Found:
        base.mkdir()
        bench, floor = Bench(base, notes, self._floor, self._options), self._floor
        try:
            for name in phases:
                PHASES[name](bench)
            rest = {r: bench.processes[r].now_mb() for r in ("sender", "receiver")}
            looks_s = _looks_s(bench.processes["sender"].folder)
            bench.check()
        finally:
            bench.close()
        found = {f.name: f for f in bench.found}
        upload, mirror, saved = (
            found[n] for n in ("first upload", "first mirror", "one word saved")
        )
        ours = {
            "first upload": upload.wall_s or 0.0,
            "first mirror": mirror.wall_s or 0.0,
            "memory, upload": upload.peak_mb["sender"],
            "memory, mirror": mirror.peak_mb["receiver"],
            "save p50": saved.latency_ms["in the other folder"]["p50"],
            "save p95": saved.latency_ms["in the other folder"]["p95"],
            "memory at rest": max(rest.values()),
            "memory, restarted": rest["sender"],
            "looks": looks_s,
            "acknowledged": saved.latency_ms["acknowledged"]["p50"],
            "pure, upload": floor.upload * upload.notes / 1000,
            "pure, mirror": floor.mirror * mirror.notes / 1000,
            "receiver, mirror": mirror.per_note_ms("receiver") or 0.0,
            "first note": mirror.waits_ms["the first note was there after"] / 1000,
        }
        for key, phase in (("upload", upload), ("mirror", mirror)):
            ours[f"loop, {key}"] = phase.waits_ms["the loop stood still for at most"]
            ours[f"status, {key}"] = phase.waits_ms["`status` answered within"]
            ours[f"server, {key}"] = phase.processor_s["server"]
        if "new" in phases:
            idle, restart = found["idle"], found["restart, no change"]
            again, burst = found["server restarted"], found["changed at once"]
            share = max(idle.processor_s[r] for r in ("sender", "receiver")) / (idle.wall_s or 1)
            ours |= {
                "new p50": found["a new note"].latency_ms["in the other folder"]["p50"],
                "at once": burst.wall_s or 0.0,
                "pure, at once": (floor.send + floor.receive) * burst.notes / 1000,
                "server, at once": burst.processor_s["server"],
                "sender, at once": burst.per_note_ms("sender") or 0.0,
                "receiver, at once": burst.per_note_ms("receiver") or 0.0,
                "idle": share * 100,
                "live again": again.wall_s or 0.0,
                "least": again.waits_ms["two bare clients open all notes within"] / 1000,
                "restart": restart.waits_ms["in sync after its imports, within"] / 1000,
            }
        return ours


def _looks_s(folder: Path) -> float:
    """The time that walking a folder and looking at each file takes, and nothing else."""
    started = time.perf_counter()
    for top, _, names in os.walk(folder):
        for name in names:
            os.stat(os.path.join(top, name))  # noqa: PTH116, PTH118 - the fastest way
    return time.perf_counter() - started


def _imports_s() -> tuple[float, float]:
    """Processor time of what `heapsyncd run` imports, beside Python's own start, and that of
    other packages alone.
    """

    def taken(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    # As its entry point does it.
    first = "from heapsyncd.cli.__main__ import prepare_imports; prepare_imports(); "
    run = f"{first}import heapsyncd.cli.main, heapsyncd.daemon"
    listing = f"{run}, sys; print(*{{n.partition('.')[0] for n in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, check=True)
    others = set(done.stdout.decode().split()) - sys.stdlib_module_names - {"heapsyncd"}
    these = f"{first}import " + ", ".join(
        sorted(n for n in others if n.isidentifier() and n[0] != "_")
    )
    start_s = statistics.median(taken("pass") for _ in range(3))
    all_s, others_s = (statistics.median(taken(c) for _ in range(3)) for c in (run, these))
    return all_s - start_s, others_s - start_s


def _machine() -> Found:
    """How fast the machine is right now."""
    started = time.perf_counter()
    sum(k & 7 for k in range(1_000_000))
    return {"loop": (time.perf_counter() - started) * 1000}


def contents(base: Path, rounds: int) -> list[dict[str, Found]]:
    """Uploads of 64 MiB, each beside plain PUTs of the same chunks and one streamed PUT."""
    mb = 64
    clock = asyncio.run(bench_transfers.measure(base, mb, rounds))
    sides = (clock.up, clock.plain_up, clock.one_put)
    names = (OURS, PLAIN_PUTS, ONE_PUT)
    return [
        {name: {"contents": mb / s} for name, s in zip(names, seconds, strict=True)}
        for seconds in zip(*sides, strict=True)
    ]


def rounds_of(options: argparse.Namespace) -> tuple[list[Round], dict[str, str]]:
    """The figures of all rounds, and what could not be measured here."""
    notes = heap_of_notes(options.notes, options.seed)
    wanted: list[Peer] = [
        NodeMirror(notes, options.idle), Syncthing(notes, options.saves), Rsync(notes)
    ]  # fmt: skip
    peers, absent = present(wanted)
    ours, found = Mirror(notes, options), list[Round]()
    for k in range(options.rounds):
        works: list[Callable[[Path], dict[str, Found]]] = [ours.measure]
        works += [lambda base, p=peer: {p.name: p.measure(base)} for peer in peers]  # type: ignore[misc]
        figures: dict[str, Found] = {_PROBE: _machine()}
        for work in works if k % 2 == 0 else reversed(works):
            os.sync()  # nobody pays for what the one before wrote
            with tempfile.TemporaryDirectory(prefix="heapsyncd-bench-", dir=options.dir) as base:
                figures |= work(Path(base))
            print(f"round {k + 1} of {options.rounds}: {', '.join(figures)}", file=sys.stderr)
        found.append(figures)
    with tempfile.TemporaryDirectory(prefix="heapsyncd-bench-", dir=options.dir) as base:
        found += contents(Path(base), options.rounds)
    return found, absent


def disk_of(directory: Path) -> str:
    """What the folders lie on; a warning where what it takes to make a file varies for no reason
    of ours.
    """
    command = ["findmnt", "-no", "FSTYPE", "-T", str(directory)]
    kind = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    number = directory.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
    if kind == "ext4" and not any(Path("/proc/fs/jbd2").glob(f"{device}-*")):
        kind += " without a journal: figures that write files mean little (--dir)"
    return kind or "an unknown disk"


def show(found: Sequence[Round], absent: Mapping[str, str]) -> None:
    """Print the table."""
    print(f"\n{'':28}{'here':>22}   {'beside':46}{'ratio':>20}   goal")
    for goal in GOALS:
        print(_line(goal, found, absent))
    loops = [r[_PROBE]["loop"] for r in found if _PROBE in r]
    if left := [goal for goal in GOALS if goal.why and _is_missed(goal, found)]:
        known = _medians(found) | {"machine": f"{statistics.median(loops):.3g}"}
        print("\nWhat the distances that are left consist of:")
        for goal in left:
            print(f"* {goal.name}: {goal.why.format_map(known)}.")
    print(
        f"\nA loop of a million steps took {_spread(loops)} ms on {os.cpu_count()} cores"
        f" (load {os.getloadavg()[0]:.1f}): only ratios of one run can be compared."
    )


def _medians(found: Sequence[Round]) -> defaultdict[str, str]:
    """Our own figures, as text; a dash for one that is not there."""
    ours = [r[OURS] for r in found if OURS in r]
    keys = {key for figures in ours for key in figures}
    medians = {k: statistics.median(f[k] for f in ours if k in f) for k in keys}
    return defaultdict(lambda: "-", {k: f"{v:.3g}" for k, v in medians.items()})


def _values(goal: Goal, found: Sequence[Round]) -> list[float]:
    """What of each round is compared with a goal: a figure, or the ratio of a pair."""
    ours = [r for r in found if goal.key in r.get(OURS, {})]
    if goal.beside is None:
        return [r[OURS][goal.key] for r in ours]
    pairs = [
        (r[OURS][goal.key], r[goal.beside][goal.key])
        for r in ours
        if goal.key in r.get(goal.beside, {})
    ]
    return [mine / other if other else float("inf") for mine, other in pairs]


def _is_missed(goal: Goal, found: Sequence[Round]) -> bool:
    values = _values(goal, found)
    return bool(values) and not goal.is_reached(statistics.median(values))


def _line(goal: Goal, found: Sequence[Round], absent: Mapping[str, str]) -> str:
    ours = [r[OURS][goal.key] for r in found if goal.key in r.get(OURS, {})]
    sign = ">=" if goal.least else "<="
    wanted = f"{sign} {goal.most:.3g}"
    if goal.further is not None:
        wanted += f", then {goal.further:.2g}"
    here = f"{goal.name:28}{_spread(ours):>17} {goal.unit:4}"
    if goal.beside is None:
        return f"{here}   {'':46}{'':>20}   {wanted} {goal.unit}{_verdict(goal, ours)}"
    ratios = _values(goal, found)
    if not ratios:
        reason = absent.get(goal.beside, "not measured in this run")
        return f"{here}   missing: {goal.beside}: {reason}; goal {wanted}"
    others = [
        r[goal.beside][goal.key]
        for r in found
        if goal.key in r.get(OURS, {}) and goal.key in r.get(goal.beside, {})
    ]
    beside = f"{goal.beside} {_spread(others)} {goal.unit}"
    return f"{here}   {beside:46}{_spread(ratios):>20}   {wanted}{_verdict(goal, ratios)}"


def _verdict(goal: Goal, values: Sequence[float]) -> str:
    if not values:
        return ""
    return "   reached" if goal.is_reached(statistics.median(values)) else "   NOT REACHED"


def _spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    if not values:
        return "-"
    three = (statistics.median(values), min(values), max(values))
    median, least, most = (f"{v:.3g}" if v < 1000 else f"{v:,.0f}" for v in three)
    return f"{median} ({least}..{most})"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=1000, help="how many: 1000, 10000, 50000")
    parser.add_argument("--rounds", type=int, default=5, help="how many pairs of each")
    parser.add_argument("--saves", type=int, default=20, help="how many words are saved singly")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of rest")
    parser.add_argument("--seed", type=int, default=1, help="of the notes")
    parser.add_argument("--dir", type=directory, help="where the folders are made, for their disk")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    options = parser.parse_args(namespace=argparse.Namespace(count=False, unprobed=False))
    bench_transfers.hush()
    found, absent = rounds_of(options)
    show(found, absent)
    print(f"The folders were on {disk_of(options.dir or Path(tempfile.gettempdir()))}.")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
