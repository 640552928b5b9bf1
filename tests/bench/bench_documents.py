"""How fast documents become text and text becomes edits.

``python -m tests.bench.bench_documents [FOLDER]``, from the project's root.

Every figure for a set of notes stands beside a floor taken in turn with it: what the two libraries
below need at the least for the same note (pyromark reads the text, pycrdt loads the update).
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycrdt import Doc

from heapsyncd.diff import align, text_hunks
from heapsyncd.document.edit import Target, edit, express
from heapsyncd.document.replica import Replica
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.events import events, normalise_lone_cr
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import clear_cache, parse
from heapsyncd.markdown.write.render import render
from heapsyncd.sync.heap.gc_control import no_collection
from heapsyncd.tree import Block, Text
from tests.bench.loop import blocked
from tests.bench.measure import timed
from tests.bench.notes import big_notes, notes

_WORD = re.compile(r"(?<![\w\[(/`<&-])[a-z]{3,}(?![\w\])/`>;-])")


@dataclass(frozen=True)
class Sample:
    """One note: its text, its document, and edits of one word on either side."""

    text: str
    update: bytes
    edited: str
    later: str
    """One more word edited."""
    remote: bytes

    @classmethod
    def of(cls, text: str) -> "Sample":
        """The note with the word in its middle replaced, one before it, and the last one."""
        made = express([], Target(body=parse(text, NO_LINKS)))
        update = made.update or b"\0\0"
        words = [m.span() for m in _WORD.finditer(text)]
        edited, other = _replaced(text, words, len(words) // 2), _replaced(text, words, -1)
        later = _replaced(edited, words, len(words) // 4)
        remote = express([update], Target(body=parse(other, NO_LINKS))).update
        return cls(text, update, edited, later, remote or b"\0\0")


def _replaced(text: str, words: Sequence[tuple[int, int]], k: int) -> str:
    if not words:
        return text
    start, end = words[k]
    return f"{text[:start]}replaced{text[end:]}"


def floor(sample: Sample) -> object:
    """The least that any way from one form to the other costs."""
    doc: Doc[Any] = Doc()
    doc.apply_update(sample.update)
    return events(normalise_lone_cr(sample.text))


def to_text(sample: Sample) -> str:
    """Load, view, render: a document becomes a new file."""
    return render(Replica.load([sample.update]).view(), NO_LINKS)


def to_edit(text: str, replica: Replica) -> bytes | None:
    """Parse, edit: a saved file becomes an update."""
    return edit(replica, Target(body=parse(text, NO_LINKS))).update


def to_patch(sample: Sample, replica: Replica) -> str:
    """Apply, view, patch: an update that arrives becomes the file's next text."""
    replica.apply(sample.remote)
    return patch(sample.text, replica.view(), NO_LINKS)


def rates(name: str, samples: Sequence[Sample], rounds: int) -> None:
    """Print documents a second and the ratio to the floor for each way: of a note that was never
    looked at, and of one that was, as it is while somebody works on it.
    """
    size = sum(len(s.text.encode()) for s in samples)
    print(f"\n{name}: {len(samples)} notes, {size / len(samples):.0f} bytes each")
    print(f"  {'':24} {'floor':>9}   {'first time':>24}   {'again':>24}")
    row("load -> view -> render", samples, lambda s: lambda: to_text(s), rounds)
    row("file -> edit", samples, _edits, rounds)
    row("remote edit -> patch", samples, _patches, rounds)


def _edits(sample: Sample) -> Callable[[], object]:
    texts, replica = [sample.later, sample.edited], Replica.load([sample.update])
    return lambda: to_edit(texts.pop(), replica)


def _patches(sample: Sample) -> Callable[[], object]:
    # Where an update arrives, the replica is in memory; the second time with its view.
    held = [Replica.load([sample.update]) for _ in range(2)]
    held[0].view()
    return lambda: to_patch(sample, held.pop())


def row(
    name: str,
    samples: Sequence[Sample],
    work: Callable[[Sample], Callable[[], object]],
    rounds: int,
) -> None:
    """Measure and print one line; a note's floor, first and second time in turn."""
    sums: list[list[float]] = []
    for _ in range(rounds):
        taken = [0.0, 0.0, 0.0]
        for sample in samples:
            run = work(sample)
            clear_cache()
            with no_collection():
                marks = [time.process_time()]
                for each in (lambda s=sample: floor(s), run, run):
                    each()
                    marks.append(time.process_time())
            taken = [t + b - a for t, a, b in zip(taken, marks, marks[1:], strict=False)]
        sums.append(taken)
    least = statistics.median(s[0] for s in sums)
    line = f"  {name:24} {len(samples) / least:7.0f}/s"
    for k in (1, 2):
        rate = len(samples) / statistics.median(s[k] for s in sums)
        line += f"   {rate:7.0f}/s {statistics.median(s[k] / s[0] for s in sums):5.1f} x floor"
    print(line)


def single(name: str, text: str) -> None:
    """Print what each operation on one big note takes."""
    sample = Sample.of(text)
    read = parse(text, NO_LINKS)
    letter = parse(sample.edited.replace("replaced", "replaceds", 1), NO_LINKS)
    replica, live = (Replica.load([sample.update]) for _ in range(2))
    shown = replica.view()
    edit(live, Target(body=parse(sample.edited, NO_LINKS)))
    live.view()
    now = Replica.load([sample.update, sample.remote]).view()
    print(f"\n{name}: {len(text.encode()):,} bytes, {text.count(chr(10)):,} lines")
    works: dict[str, Callable[[], object]] = {
        "floor (pyromark, pycrdt)": lambda: floor(sample),
        "parse": lambda: _anew(lambda: parse(text, NO_LINKS)),
        "parse again": lambda: parse(text, NO_LINKS),
        "make anew": lambda: express([], Target(body=read)),
        "load": lambda: Replica.load([sample.update]),
        "view": lambda: _viewed(replica),
        "render": lambda: render(shown, NO_LINKS),
        "edit a letter": lambda: edit(live, Target(body=letter)),
        "apply a remote word": lambda: replica.apply(sample.remote),
        "view again": replica.view,
        "patch a remote word": lambda: _anew(lambda: patch(text, now, NO_LINKS)),
        "patch again": lambda: patch(text, now, NO_LINKS),
    }
    assert read == shown
    for what, work in works.items():
        print(f"  {what:26} {timed(work) * 1000:7.0f} ms")


def _anew(work: Callable[[], object]) -> object:
    clear_cache()
    return work()


def _viewed(replica: Replica) -> Block:
    replica.forget_view()
    return replica.view()


def differences() -> None:
    """Print what comparing long texts and long lists takes."""
    texts = {
        "100k equal lines": ("x\n" * 100_000, "y\n" + "x\n" * 100_000 + "z"),
        "1 MB, edits all over": (
            " ".join(str(n) for n in range(150_000)),
            " ".join(str(n) for n in range(150_000) if n % 999),
        ),
        "1 MB rewritten": ("ab " * 300_000, "ba " * 300_000),
    }
    print("\ndifferences")
    for name, (old, new) in texts.items():
        print(f"  {name:26} {timed(lambda a=old, b=new: text_hunks(a, b)) * 1000:7.0f} ms")  # type: ignore[misc]
    before = [_line(f"line {n}") for n in range(100_000)]
    after = [_line(f"line {n}!") for n in range(100_000)]
    took = timed(lambda: align(before, after))
    print(f"  {'100k blocks, all changed':26} {took * 1000:7.0f} ms")


def _line(text: str) -> Block:
    return Block("paragraph", inline=(Text(text),))


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="measure the .md files in it, too")
    parser.add_argument("--count", type=int, default=200, help="how many notes to generate")
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure each pair")
    parser.add_argument("--only", choices=["rates", "single", "loop"], help="one part alone")
    options = parser.parse_args()
    if options.only in {None, "rates"}:
        rates("generated", [Sample.of(t) for t in notes(options.count)], options.rounds)
        if options.folder is not None:
            files = sorted(options.folder.rglob("*.md"))
            bodies = [frontmatter.split(f.read_text("utf-8"))[1] for f in files]
            rates(str(options.folder), [Sample.of(b) for b in bodies], options.rounds)
    big = big_notes() if options.only != "rates" else {}
    if options.only in {None, "single"}:
        for name, text in big.items():
            single(name, text)
        differences()
    if options.only in {None, "loop"}:
        blocked(big["1 MB"])


if __name__ == "__main__":
    main()
