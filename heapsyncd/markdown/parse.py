"""A body to its tree: ``P``.

A body is read section by section, and what a section reads as is remembered: to read a body again
after an edit costs what the edit touched.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heapsyncd.markdown.events import newlines
from heapsyncd.markdown.learn import Habits, habits
from heapsyncd.markdown.reader import MAX_DEPTH, read
from heapsyncd.markdown.sections import sections
from heapsyncd.markdown.source import Trace
from heapsyncd.tree import Block, Text

if TYPE_CHECKING:
    from heapsyncd.markdown.links import Links

__all__ = ["MAX_DEPTH", "Section", "forget", "parse", "read_sections"]

_KEPT = 500_000
"""Characters of sections that are surely remembered, or those of the body read last; at most twice
as many are. One takes some 13 bytes.
"""
_LEAST_COUNTED = 100
"""What a section counts beside its length, so that many short ones are bounded, too."""

Answers = dict[tuple[str, str], str | None]


@dataclass(slots=True)
class Section:
    """A part of a body and what it reads as, with what it asked about names for that."""

    text: str
    blocks: tuple[Block, ...]
    answers: Answers
    habits: Habits | None = None

    def style(self, links: "Links") -> Habits:
        """What the section says about the style of its body, found when first asked for."""
        if self.habits is None:
            trace = Trace()
            self.habits = habits(self.text.encode(), read(self.text, links, trace), trace)
        return self.habits


def parse(body: str, links: "Links") -> Block:
    """Read a body (front matter and BOM already off).

    Blocks and runs don't know where in the body they stand (``read`` tells). Never fails: all text
    is some markdown.
    """
    found = read_sections(body, links)
    return Block("doc", (), tuple([b for section in found for b in section.blocks]))


def read_sections(body: str, links: "Links") -> list[Section]:
    """Read a body as its sections; their texts joined are the body, lone CRs as newlines."""
    room = max(_KEPT, len(body) * 5 // 4)
    return [_section(text, links, room) for text in sections(newlines(body))]


def _section(text: str, links: "Links", room: int) -> Section:
    known = _known.get(text, room)
    if known is None or not _holds(known.answers, links):
        asked = _Asked(links)
        known = Section(text, _placeless(read(text, asked).children), asked.answers)
        _known.put(known, room)
    return known


def _placeless(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks, just made, without the offsets in their section, which take as much memory."""
    for top in blocks:
        for block in top.walk():
            block.span = None
            for item in block.inline:
                if isinstance(item, Text):
                    item.pieces = ()
                else:
                    item.span = None
    return blocks


class _Asked:
    """Links that remember what they were asked."""

    def __init__(self, links: "Links") -> None:
        self._links = links
        self.answers: Answers = {}

    def name_of(self, block_id: str) -> str | None:
        return self._ask("name_of", block_id)

    def block_of(self, name: str) -> str | None:
        return self._ask("block_of", name)

    def file_name(self, key: str) -> str | None:
        return self._ask("file_name", key)

    def file_key(self, name: str) -> str | None:
        return self._ask("file_key", name)

    def _ask(self, what: str, name: str) -> str | None:
        answer: str | None = getattr(self._links, what)(name)
        self.answers[what, name] = answer
        return answer


def _holds(answers: Answers, links: "Links") -> bool:
    return all(getattr(links, what)(name) == answer for (what, name), answer in answers.items())


class _Known:
    """The sections read lately. Reading is pure: that threads share it can only cost a reading."""

    def __init__(self) -> None:
        self._young: dict[str, Section] = {}
        self._old: dict[str, Section] = {}
        self._size = 0

    def get(self, text: str, room: int) -> Section | None:
        found = self._young.get(text)
        if found is None and text in self._old:
            found = self._old[text]
            self.put(found, room)
        return found

    def put(self, section: Section, room: int) -> None:
        self._young[section.text] = section
        self._size += len(section.text) + _LEAST_COUNTED
        if self._size > room:
            self._old, self._young, self._size = self._young, {}, 0

    def clear(self) -> None:
        self._young, self._old, self._size = {}, {}, 0


_known = _Known()


def forget() -> None:
    """Read everything anew from here on: for measurements."""
    _known.clear()
