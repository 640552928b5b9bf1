"""What it costs, and brings, that a file's exact text travels with its document.

``python -m tests.bench.bench_source [FOLDER]``, from the project's root.

The documents of a folder's notes are measured with and without their sources: their size, the
update of one letter, the growth of a save. Then three devices mirror the folder beside an embedded
server, all in this process, and their files are compared byte by byte. Without ``FOLDER`` the
notes are generated.
"""

import argparse
import asyncio
import os
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from tests.bench.notes import heap_of_notes
from tests.promises.exact import (
    exact,
    fingerprints,
    is_only_signed,
    put,
    reworded,
    type_in_app,
    typed,
)
from tests.promises.samples import BODIES, FRONTS
from tests.sync.merge.source_games import body_of, saved
from tests.sync.rig import Device, World

_LETTER = re.compile(rb"(?<=[a-z])(?=[ ,.\n])")
_SAVES = 20
_AT_A_PLACE = 5
"""So many letters are typed in a row."""
_PASS_S = 900.0


@dataclass
class Sizes:
    """Bytes of documents and updates, with the source (or without it)."""

    documents: int = 0
    letters: list[int] = field(default_factory=list)
    growth: list[float] = field(default_factory=list)
    """Bytes a save, the letter itself (twice with a source) not counted."""


def update_of(log: Sequence[bytes], seen: bytes | None, data: bytes, *, source: bool) -> bytes:
    """The update of a save."""
    live = Replica.load(log)
    if source:
        return saved(log, seen, data, live, 101) or EMPTY
    target = Target(body=parse(body_of(data), NO_LINKS))
    return express(log, target, live=live, client_id=101).update or EMPTY


def sizes(files: Mapping[str, bytes], *, source: bool) -> Sizes:
    """Measure the documents of files, each by itself."""
    found = Sizes()
    for path, data in files.items():
        log = [update_of([], b"", data, source=source)]
        found.documents += len(Replica.load(log).state())
        for k, after in enumerate(letters(data, path)):
            log.append(update_of(log, data, after, source=source))
            if not k:
                found.letters.append(len(log[-1]))
                first = len(Replica.load(log).state())
            data = after  # noqa: PLW2901
        if len(log) == _SAVES + 1:
            grown = len(Replica.load(log).state()) - first
            found.growth.append(grown / (_SAVES - 1) - (2 if source else 1))
    return found


def letters(data: bytes, seed: str) -> Iterator[bytes]:
    """A file after each of some saves of a letter more, several in a row at one place."""
    rng = random.Random(seed)
    start = len(data) - len(body_of(data).encode())
    for k in range(_SAVES):
        if k % _AT_A_PLACE == 0:
            places = [m.start() for m in _LETTER.finditer(data, start)]
            if not places:
                return
            at = rng.choice(places)
        data = data[:at] + b"x" + data[at:]
        at += 1
        yield data


@dataclass
class Run:
    """One mirroring of a folder on three devices."""

    name: str
    seconds: dict[str, float] = field(default_factory=dict)
    documents: int = 0
    """Bytes on the server."""
    equal: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By what was compared: how many of how many."""
    lines: dict[str, int] = field(default_factory=dict)


async def mirrored(folder: Path, base: Path, setting: str) -> Run:
    """Mirror a folder, edit each note elsewhere and in the app, and compare."""
    run = Run(setting)
    async with Server(base / "server", open_registration=True) as server:
        world = World(server, await server.add_heap("Home"), base)
        a, b, c = (world.device(name) for name in "abc")
        for device in (a, b, c):
            device.source = setting
        await a.once(_PASS_S)
        shutil.copytree(folder, a.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        original = exact(a)
        await timed(run, "first sync, the sender", a)
        await timed(run, "first sync, a second device", b)
        await timed(run, "first sync, a third device", c)
        blocks = await world.blocks()
        run.documents = sum([len((await server.document(k)).state()) for k in blocks])
        signed = sum(is_only_signed(v, original.get(k, b"")) for k, v in exact(a).items())
        run.equal["the first device adds at most its id"] = signed, len(original)
        compare(run, "the second device after the first sync", exact(a), exact(b))
        compare(run, "a third device that comes later", exact(a), exact(c))
        before = await fingerprints(world)
        await passes(a, b, c)
        same = before == await fingerprints(world)
        run.equal["documents unchanged by a further pass of all"] = (
            (len(before) if same else 0),
            len(before),
        )
        edited = {path: reworded(data, b"edited") or data for path, data in exact(b).items()}
        put(b, edited)
        await passes(b, a, c)
        compare(run, "a word edited in each file on the second: the first", edited, exact(a))
        compare(run, "a word edited in each file on the second: the third", edited, exact(c))
        expected = await typed_in_app(world, a)
        old = exact(a)
        await passes(a, b, c, a)
        compare(run, "a word typed in each note in the app: only it changes", expected, exact(a))
        compare(run, "a word typed in each note in the app: the second", exact(a), exact(b))
        compare(run, "a word typed in each note in the app: the third", exact(a), exact(c))
        run.lines["lines changed by the words typed in the app"] = changed(old, exact(a))
        run.lines["words typed in the app"] = sum(old[k] != v for k, v in expected.items())
    return run


async def timed(run: Run, what: str, device: Device) -> None:
    start = time.monotonic()
    verdict = await device.once(_PASS_S)
    run.seconds[what] = time.monotonic() - start
    assert verdict.exit_code == 0, verdict


async def passes(*devices: Device) -> None:
    for device in devices:
        verdict = await device.once(_PASS_S)
        assert verdict.exit_code == 0, verdict


def compare(run: Run, what: str, wanted: Mapping[str, bytes], found: Mapping[str, bytes]) -> None:
    run.equal[what] = sum(found.get(k) == v for k, v in wanted.items()), len(wanted)


def changed(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> int:
    """Lines that are not in the other text."""
    return sum(
        len(set(data.splitlines()) - set(old.get(path, b"").splitlines()))
        for path, data in new.items()
    )


async def typed_in_app(world: World, a: Device) -> dict[str, bytes]:
    """Type a word into every note; the files in which nothing else changed."""
    expected = exact(a)
    rows = {block: await world.server.row(block) for block in await world.blocks()}
    by_title: dict[str, list[str]] = {}
    for path in expected:
        by_title.setdefault(Path(path).stem, []).append(path)
    for block, row in rows.items():
        paths = by_title.get(row.title, [])
        if row.type != "document" or len(paths) != 1:
            continue  # two notes of one name
        view = (await world.server.document(block)).view()
        made = typed(view, expected[paths[0]], "typed")
        if made is not None:
            await type_in_app(world, block, made[0])
            expected[paths[0]] = made[1]
    return expected


def generated(base: Path) -> Path:
    """A folder of notes."""
    folder = base / "notes"
    files = {path: text.encode() for path, text in heap_of_notes(60).items()}
    files |= {f"Samples/{name}.md": data for name, data in {**BODIES, **FRONTS}.items()}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def show_sizes(files: Mapping[str, bytes]) -> None:
    """Print what documents and updates weigh."""
    count, total = len(files), sum(map(len, files.values()))
    print(f"{count} notes, {total / 1e6:.2f} MB")
    print(f"\n{'':44}{'without source':>16}{'with':>12}")
    bare, full = sizes(files, source=False), sizes(files, source=True)
    ratio = full.documents / (bare.documents or 1)
    row("documents, MB", bare.documents / 1e6, full.documents / 1e6, f"x {ratio:.2f}")
    if bare.letters and bare.growth:
        middle = statistics.median
        row("one letter, bytes sent: median", middle(bare.letters), middle(full.letters))
        row("one letter, bytes sent: most", max(bare.letters), max(full.letters))
        over, over_full = (sum(n > 200 for n in s.letters) for s in (bare, full))
        row(f"  over 200 bytes, of {len(full.letters)}", over, over_full)
        row("growth of a save beside its text: median", middle(bare.growth), middle(full.growth))
        mean = statistics.mean
        row("growth of a save beside its text: mean", mean(bare.growth), mean(full.growth))


def row(what: str, bare: float, full: float, more: str = "") -> None:
    print(f"  {what:42}{bare:16.2f}{full:12.2f}  {more}")


def show_runs(runs: Sequence[Run]) -> None:
    """Print what three devices show."""
    print(f"\n{'three devices':58}" + "".join(f"{run.name:>16}" for run in runs))
    for what in runs[0].seconds:
        print(f"  {what + ', s':56}" + "".join(f"{run.seconds[what]:16.2f}" for run in runs))
    print(
        f"  {'documents on the server, MB':56}"
        + "".join(f"{run.documents / 1e6:16.2f}" for run in runs)
    )
    for what in runs[0].equal:
        cells = (f"{run.equal[what][0]} of {run.equal[what][1]}" for run in runs)
        print(f"  {what:56}" + "".join(f"{cell:>16}" for cell in cells))
    for what in runs[0].lines:
        print(f"  {what:56}" + "".join(f"{run.lines[what]:16}" for run in runs))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.bench_source", description=__doc__
    )
    parser.add_argument("folder", nargs="?", type=Path, help="a directory with notes")
    parser.add_argument("--settings", default="local,document", help="what to compare")
    chosen = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory(prefix="heapsyncd-bench-") as base:
        folder = chosen.folder or generated(Path(base))
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*.md"))
            if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        }
        show_sizes(files)
        runs = [
            asyncio.run(mirrored(folder, Path(base) / setting, setting))
            for setting in chosen.settings.split(",")
        ]
        show_runs(runs)
        print(f"\nload of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
