"""A game for the laws of the source: devices mirror one note, an app and people edit it."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from heapsyncd.document.edit import Target, express
from heapsyncd.document.rebuild import rebuild
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.encoding import decode
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Source
from heapsyncd.sync.merge.note_file import NoteFile, shown_file
from heapsyncd.sync.merge.note_source import read_source, source_update
from heapsyncd.tree import Block
from tests.document.writers import WRITING, Writer

ID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"
OURS = OurKeys(ID, None, ())
WORD = re.compile(r"[A-Z][a-z]{3,6}\d+")


def taken(data: bytes, ours: OurKeys = OURS) -> Source:
    """Return the source of a file whose id is ours."""
    text = decode(data)
    front, body = frontmatter.split(text.text)
    return NoteFile.of(text, front.raw, body, Owner(lambda value: value == ours.id)).source


def body_of(data: bytes) -> str:
    return taken(data).body


def shown(updates: Sequence[bytes], ours: OurKeys = OURS) -> bytes:
    """Return the file that shows a state."""
    replica = Replica.load(updates)
    view = replica.view()
    return shown_file(read_source(replica, replica.view, NO_LINKS).source, view, ours, NO_LINKS)


def saved(
    origin: Sequence[bytes],
    seen: bytes | None,
    data: bytes,
    live: Replica,
    client_id: int,
    ours: OurKeys = OURS,
) -> bytes | None:
    """Return the update for a saved file: the edits of the body and of the source, merged."""
    view = parse(body_of(data), NO_LINKS)
    tree = express(origin, Target(body=view), live=live, client_id=client_id).update
    before = None if seen is None else taken(seen, ours)
    source = source_update(
        origin, before, taken(data, ours), ours, NO_LINKS, view, live=live, client_id=client_id
    )
    parts = [u for u in (tree, source) if u is not None]
    return merge(parts) if parts else None


@dataclass
class Device:
    """A device with one note: its log, and the files it has shown with the log of each.

    An editor may still have an earlier file open.
    """

    client_id: int
    log: list[bytes] = field(default_factory=list)
    seen: list[tuple[bytes, tuple[bytes, ...]]] = field(default_factory=list)

    @property
    def file(self) -> bytes:
        return self.seen[-1][0]

    def show(self) -> None:
        """Write the file of the current state."""
        self.seen.append((shown(self.log), tuple(self.log)))

    def save(self, change: Callable[[bytes], bytes], ago: int = 0) -> bytes | None:
        """Save a change of the file, or of the file ``ago`` states earlier."""
        text, origin = self.seen[max(0, len(self.seen) - 1 - ago)]
        update = saved(origin, text, change(text), Replica.load(self.log), self.client_id)
        if update is not None:
            self.log.append(update)
        self.show()
        return update


@dataclass
class Person:
    """A person who edits files: types, removes, moves and restyles lines."""

    who: Writer

    def edited(self, data: bytes) -> bytes:
        """Return the file after a few edits."""
        source = decode(data)
        front, body = frontmatter.split(source.text)
        lines = body.splitlines(keepends=True)
        for _ in range(self.who.random.randint(1, 3)):
            lines = self.who.random.choice(_EDITS)(self, lines)
        return (front.raw + "".join(lines)).encode()

    def typed(self, lines: list[str]) -> list[str]:
        found = [k for k, line in enumerate(lines) if WORD.search(line)]
        if not found:
            return self.added(lines)
        k = self.who.random.choice(found)
        at = self.who.random.choice([m.end() for m in WORD.finditer(lines[k])])
        line = f"{lines[k][:at]} {self.who.word()}{lines[k][at:]}"
        return [*lines[:k], line, *lines[k + 1 :]]

    def added(self, lines: list[str]) -> list[str]:
        gaps = [k for k, line in enumerate(lines) if not line.strip()] + [len(lines)]
        k = self.who.random.choice(gaps)
        text = self.who.random.choice(
            ["{}\n", "* {}\n* {}\n", "__{}__ {}\n", "{}\n===\n", "1) {}\n", "> {}\n{}\n"]
        )
        text = re.sub(r"\{\}", lambda _: self.who.word(), text)
        end = "" if not lines or lines[-1].endswith("\n") else "\n"
        return [*lines[:k], end + "\n", text, "\n", *lines[k:]]

    def removed(self, lines: list[str]) -> list[str]:
        k = self.who.random.randrange(len(lines)) if lines else 0
        return [*lines[:k], *lines[k + 1 :]]

    def word_removed(self, lines: list[str]) -> list[str]:
        found = [k for k, line in enumerate(lines) if len(WORD.findall(line)) > 1]
        if not found:
            return lines
        k = self.who.random.choice(found)
        word = self.who.random.choice(WORD.findall(lines[k]))
        return [*lines[:k], lines[k].replace(word, "", 1), *lines[k + 1 :]]

    def restyled(self, lines: list[str]) -> list[str]:
        return [re.sub(r"^[*-] ", self.who.random.choice(["* ", "- ", "+ "]), v) for v in lines]

    def moved(self, lines: list[str]) -> list[str]:
        parts = "".join(lines).split("\n\n")
        a = parts.pop(self.who.random.randrange(len(parts)))
        parts.insert(self.who.random.randint(0, len(parts)), a)
        return "\n\n".join(parts).splitlines(keepends=True)


_EDITS: list[Callable[[Person, list[str]], list[str]]] = [
    Person.typed, Person.typed, Person.typed, Person.added,
    Person.removed, Person.word_removed, Person.restyled, Person.moved,
]  # fmt: skip

STYLED = """{front}{a}
{b} __{c}__ and
{d}

* {e}
* {f}

<!-- {g} -->

{h}
===

1) {i}
2) {j}

[{k}][ref]

[ref]: http://example.org/
"""


def styled_note(who: Writer, front: str = "") -> bytes:
    """Return a file in a style that differs from any rendering."""
    words = {letter: who.word() for letter in "abcdefghijk"}
    return STYLED.format(front=front, **words).encode()


@dataclass
class Game:
    """Two devices and an app; their updates are delivered in any order."""

    random: Random
    uses_app: bool = True
    devices: list[Device] = field(init=False)
    said: list[bytes] = field(init=False)
    old_saves: int = 0
    saves: int = 0

    def __post_init__(self) -> None:
        first = saved([], b"", styled_note(Writer("B", self.random)), Replica(1), 1)
        assert first is not None
        self.said = [first]
        self.devices = [Device(k, [first]) for k in (101, 201)]
        for device in self.devices:
            device.show()
        self.people = [Person(Writer(name, self.random)) for name in "PQ"]
        self.app = Writer("R", self.random)
        self.app_log = [first]

    def play(self, rounds: int) -> None:
        for _ in range(rounds):
            k = self.random.randrange(2)
            device = self.devices[k]
            match self.random.choice(["save", "save", "stale", "app", "hear", "hear"]):
                case "save":
                    self._say(device.save(self.people[k].edited))
                    self.saves += 1
                case "stale":
                    self._say(device.save(self.people[k].edited, self.random.randint(1, 2)))
                case "app" if self.uses_app:
                    self._app_edits()
                case _:
                    self._hear(device.log)
                    device.show()
        for device in self.devices:
            missing = [u for u in self.said if u not in device.log]
            self.random.shuffle(missing)
            device.log += missing
            device.show()

    def _say(self, update: bytes | None) -> None:
        if update is not None:
            self.said.append(update)

    def _hear(self, log: list[bytes]) -> None:
        missing = [u for u in self.said if u not in log]
        log += missing[: self.random.randint(0, len(missing))]

    def _app_edits(self) -> None:
        self._hear(self.app_log)
        tree = self.app.edited(Replica.load(self.app_log).view(), WRITING, 1)
        update = express(self.app_log, Target(body=tree), client_id=301).update
        self._say(update)
        self.app_log += [] if update is None else [update]

    @property
    def files(self) -> list[bytes]:
        """The files of both devices, and of devices that got everything only now."""
        late = self.said.copy()
        self.random.shuffle(late)
        return [*(d.file for d in self.devices), shown([merge(late)]), shown(self.said)]

    @property
    def tree(self) -> Block:
        return Replica.load(self.said).view()

    def doubled(self) -> list[str]:
        """Return the words that the file has more often than the tree."""
        there = Counter(WORD.findall(self.tree.words()))
        here = Counter(WORD.findall(body_of(self.files[0])))
        return sorted(word for word, n in (here - there).items() if here[word] > 1 and n)


def compacted(log: Sequence[bytes], *, keeps_source: bool) -> bytes:
    """Return the document as a server makes it anew, with or without its source."""
    if keeps_source:
        return rebuild(log)
    view = Replica.load(log).view()
    made = express([], Target(body=view)).update
    assert made is not None
    return made
