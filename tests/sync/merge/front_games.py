"""A game in which two people edit one note's front matter at once."""

from dataclasses import dataclass, field
from random import Random

import yaml

from heapsyncd.diff import lines_of
from heapsyncd.document.replica import Replica
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.front_lines import Owner, cut
from tests.sync.merge.source_games import ID, saved, shown

KEYS = ["aliases", "status", "cssclasses", "publish", "summary", "related"]


@dataclass
class Author:
    """A person who edits keys; every word that they write is unique."""

    name: str
    random: Random
    count: int = 0

    def word(self) -> str:
        self.count += 1
        return f"{self.name}{self.count}"

    def front(self) -> dict[str, list[str]]:
        keys = self.random.sample(KEYS, self.random.randint(1, 5))
        return {key: self._key(key) for key in keys}

    def _key(self, key: str) -> list[str]:
        comment = [f"# {self.word()}"] if self.random.random() < 0.3 else []
        match self.random.choice(["scalar", "list", "flow", "block"]):
            case "scalar":
                return [*comment, f"{key}: {self.word()}"]
            case "list":
                items = [f"  - {self.word()}" for _ in range(self.random.randint(1, 3))]
                return [*comment, f"{key}:", *items]
            case "flow":
                return [*comment, f"{key}: [{self.word()}, {self.word()}]"]
            case _:
                return [*comment, f"{key}: |", f"  {self.word()}", f"  {self.word()}"]

    def edited(self, front: dict[str, list[str]]) -> dict[str, list[str]]:
        front = {key: list(lines) for key, lines in front.items()}
        for _ in range(self.random.randint(1, 3)):
            self._edit(front)
        return front

    def _edit(self, front: dict[str, list[str]]) -> None:
        key = self.random.choice([*front, *KEYS])
        if key not in front:
            front[key] = self._key(key)
            return
        lines = front[key]
        head = next(k for k, line in enumerate(lines) if line.startswith(key))
        is_list = len(lines) > head + 1 and lines[head + 1].startswith("  -")
        match self.random.choice(["value", "add", "remove", "comment", "item", "drop", "retype"]):
            case "value" if len(lines) == head + 1:
                lines[head] = f"{key}: {self.word()}"
            case "add" | "item" if is_list:
                at = self.random.randint(head + 1, len(lines))
                lines.insert(at, f"  - {self.word()}")
            case "remove" if is_list and len(lines) > head + 2:
                del lines[self.random.randint(head + 1, len(lines) - 1)]
            case "comment":
                at = min(self.random.randint(0, len(lines) if is_list else head), len(lines) - 1)
                lines.insert(at, f"{'  ' if at > head else ''}# {self.word()}")
            case "drop":
                del front[key]
            case "retype":
                front[key] = [*lines[:head], *(v for v in self._key(key) if v[0] != "#")]
            case _:
                pass


def file_of(front: dict[str, list[str]]) -> bytes:
    text = "".join(f"{line}\n" for lines in front.values() for line in lines)
    return f"---\nid: {ID}\n{text}---\nWords.\n".encode()


def front_of(data: bytes) -> dict[str, list[str]]:
    raw = frontmatter.split(data.decode())[0].raw
    front = cut(raw, Owner(lambda value: value == ID)).front
    return {k: [line.rstrip("\n") for line in lines_of(v.text)] for k, v in front.items()}


@dataclass
class FrontGame:
    """Both edit the same file, then each gets the other's update."""

    random: Random
    base: dict[str, list[str]] = field(init=False)
    sides: list[dict[str, list[str]]] = field(init=False)
    files: list[bytes] = field(init=False)
    sizes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.base = Author("B", self.random).front()
        first = file_of(self.base)
        start = saved([], b"", first, Replica(1), 1)
        assert start is not None
        assert shown([start]) == first
        self.sides = [Author(n, self.random).edited(self.base) for n in "PQ"]
        made = [
            saved([start], first, file_of(side), Replica.load([start]), k)
            for side, k in zip(self.sides, (101, 201), strict=True)
        ]
        for side, update in zip(self.sides, made, strict=True):
            alone = [start] if update is None else [start, update]
            assert shown(alone) == file_of(side), (file_of(side), shown(alone))
        updates = [u for u in made if u is not None]
        self.files = [shown([start, *updates]), shown([*updates[::-1], start])]

    @property
    def end(self) -> dict[str, list[str]]:
        return front_of(self.files[0])

    def is_valid(self) -> bool:
        raw = frontmatter.split(self.files[0].decode())[0].raw
        return isinstance(yaml.safe_load("".join(lines_of(raw)[1:-1])), dict)

    def wrong(self) -> list[str]:
        """Return the keys that only one side changed and that do not have its value."""
        ours, theirs = self.sides
        return [
            key
            for key in self.base.keys() | ours.keys() | theirs.keys()
            for one, other in ((ours, theirs), (theirs, ours))
            if self.base.get(key) == other.get(key)
            and _says(self.end.get(key)) != _says(one.get(key))
        ]

    def lost(self, mark: str) -> set[str]:
        """Return the comments, or list items, that a side added or both kept, and that are lost.

        Keys that both sides created are not counted, because only one of two survives. Neither
        are items of a key that is not a list on every side.
        """
        both = (self.sides[0].keys() & self.sides[1].keys()) - self.base.keys()
        if mark != "#":
            fronts = (self.base, *self.sides)
            both |= {k for front in fronts for k, lines in front.items() if not _is_list(lines)}

        def some(front: dict[str, list[str]]) -> set[str]:
            kept = (lines for key, lines in front.items() if key not in both)
            return {v.strip() for lines in kept for v in lines if v.strip().startswith(mark)}

        base, ours, theirs = (some(front) for front in (self.base, *self.sides))
        there = {line.strip() for line in self.files[0].decode().splitlines()}
        return ((ours | theirs) - base | (ours & theirs)) - there


def _is_list(lines: list[str]) -> bool:
    return len(_says(lines) or []) > 1 and (_says(lines) or [])[1].startswith("  -")


def _says(lines: list[str] | None) -> list[str] | None:
    """Return a key's lines without comments, which belong to the line below them."""
    return None if lines is None else [v for v in lines if not v.strip().startswith("#")]
