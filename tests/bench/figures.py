"""The figures of the phases of a run, and how they are printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

ROLES: Final = ("sender", "receiver", "server")
_CELL: Final = 21
_SHOWN: Final = 8
"""So many of the most frequent kinds of work are named, ..."""
_RARE: Final = 0.05
"""... unless less than so many fall to a note."""


@dataclass(slots=True)
class Figures:
    """One phase.

    Args:
        name: of the phase.
        notes: how many it was about; 0: nothing happened.
        floor_ms: what a note costs at the least, by role.
        wall_s: how long it took.
        processor_s: by role, as all that follow.
        peak_mb: memory.
        counts: what was counted, by kind and by what was carried out.
        latency_ms: quantiles, by what was waited for.
        waits_ms: what people had to wait once, or at most, by what for.
        load: of the machine at its end.
    """

    name: str
    notes: int
    floor_ms: dict[str, float]
    wall_s: float | None = None
    processor_s: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    waits_ms: dict[str, float] = field(default_factory=dict)
    load: float = 0.0

    def per_note_ms(self, role: str) -> float | None:
        """Processor time a note; None where there was no note or no such process."""
        used = self.processor_s.get(role)
        return None if used is None or not self.notes else used * 1000 / self.notes

    def ratio(self, role: str) -> float | None:
        """How many times the floor a note costs."""
        used, floor = self.per_note_ms(role), self.floor_ms.get(role)
        return None if used is None or not floor else used / floor


def print_table(found: Sequence[Figures]) -> None:
    """A line for each phase: wall time, processor time a note and its ratio to the floor."""
    columns = f"{'processor, ms a note (times the floor)':^{3 * _CELL}}"
    print(f"\n{'':40}  {columns}  {'peak MB':^15}")
    heads = "".join(f"{role:>{_CELL}}" for role in ROLES)
    print(f"{'':24}{'notes':>6} {'wall s':>8}  {heads}  {'sen':>5}{'rec':>5}{'srv':>5}  load")
    for f in found:
        cells = "".join(_cell(f, role) for role in ROLES)
        peaks = "".join(_megabytes(f, role) for role in ROLES)
        wall = "-" if f.wall_s is None else f"{f.wall_s:.2f}"
        print(f"{f.name:24}{f.notes:6} {wall:>8}  {cells}  {peaks}  {f.load:4.1f}")
        for what, cuts in f.latency_ms.items():
            print(f"  {what}: p50 {cuts['p50']:.0f} ms, p95 {cuts['p95']:.0f} ms")
        for what, ms in f.waits_ms.items():
            print(f"  {what}: {ms:,.0f} ms")


def _cell(f: Figures, role: str) -> str:
    used = f.per_note_ms(role)
    if used is None:
        share = f.processor_s.get(role, 0.0) / (f.wall_s or 1)
        return f"{share:{_CELL}.2%}" if role in f.processor_s else f"{'-':>{_CELL}}"
    ratio = f.ratio(role)
    beside = "" if ratio is None else f"({ratio:.1f} x {f.floor_ms[role]:.2f})"
    return f"{used:7.2f} {beside:<{_CELL - 8}}"


def _megabytes(f: Figures, role: str) -> str:
    return f"{f.peak_mb[role]:5.0f}" if role in f.peak_mb else f"{'-':>5}"


def print_counts(found: Sequence[Figures]) -> None:
    """Transactions and hops to threads a note, and the most frequent of them."""
    for f in found:
        for who, counts in sorted(f.counts.items()):
            print(f"\n{f.name}, {who}: {_summed(counts, f.notes)}")
            for kind, count in sorted(counts.items(), key=lambda item: -item[1])[:_SHOWN]:
                if count >= _RARE * f.notes:
                    print(f"  {count / (f.notes or 1):8.3f}  {kind}")


def _summed(counts: Mapping[str, int], notes: int) -> str:
    sums = dict.fromkeys(("read", "write", "hop"), 0)
    for kind, count in counts.items():
        sums[kind.split(" ", 1)[0]] += count
    of = "a note" if notes else "in all"
    reads, writes, hops = (count / (notes or 1) for count in sums.values())
    return f"{reads + writes:.3f} transactions ({writes:.3f} write), {hops:.3f} other hops {of}"


def print_comparison(old: Sequence[Figures], new: Sequence[Figures]) -> None:
    """The phases that two runs have in common: new beside old, and what it is of it."""
    before = {f.name: f for f in old}
    for now in new:
        if (then := before.get(now.name)) is None:
            continue
        print(now.name)
        for what, value in _values(now).items():
            if was := _values(then).get(what):
                print(f"  {what:36} {was:10.2f} -> {value:10.2f}   {value / was:5.2f}")


def _values(f: Figures) -> dict[str, float]:
    found = {} if f.wall_s is None else {"wall s": f.wall_s}
    for what, cuts in f.latency_ms.items():
        found |= {f"{what} {cut} ms": ms for cut, ms in cuts.items()}
    found |= {f"{what}, ms": ms for what, ms in f.waits_ms.items()}
    for role in ROLES:
        found |= {
            f"{role} {what}": value
            for what, value in (
                ("processor ms a note", f.per_note_ms(role)),
                ("times the floor", f.ratio(role)),
                ("peak MB", f.peak_mb.get(role)),
            )
            if value is not None
        }
    return found
