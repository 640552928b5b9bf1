"""A body to its tree: ``P``.

A body is read section by section, and what a section reads as is remembered: to read a body again
after an edit costs what the edit touched.
"""

from dataclasses import dataclass

from heapsyncd.markdown.events import newlines
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.blocks import MAX_DEPTH, read
from heapsyncd.markdown.read.fast_blocks import read_placeless
from heapsyncd.markdown.read.sections import LEAST, sections
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.style_detection import Habits, habits
from heapsyncd.tree import LISTS, Block

__all__ = ["MAX_DEPTH", "Section", "Sections", "forget", "parse"]

_KEPT = 250_000
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

    def style(self, links: Links) -> Habits:
        """What the section says about the style of its body, found when first asked for."""
        if self.habits is None:
            trace = Trace()
            self.habits = habits(self.text.encode(), read(self.text, links, trace), trace)
        return self.habits


def parse(body: str, links: Links) -> Block:
    """Read a body (front matter and BOM already off).

    Blocks and runs don't know where in the body they stand (``read`` tells). Never fails: all text
    is some markdown.
    """
    return Block("doc", (), tuple(Sections.of(body, links).blocks()))


@dataclass(frozen=True, slots=True)
class Sections:
    """A body that was read.

    ``found``: its sections; their texts joined are the body, lone CRs as newlines. ``goes_on``:
    for each section, whether its first block is the rest of the list that is the last one of the
    section before.
    """

    found: list[Section]
    goes_on: list[bool]

    @classmethod
    def of(cls, body: str, links: Links, least: int = LEAST) -> "Sections":
        """Read a body; ``least``: as for ``sections``."""
        room = max(_KEPT, len(body) * 5 // 4)
        found: list[Section] = []
        goes_on: list[bool] = []
        last: tuple[Block, ...] = ()
        for part in sections(newlines(body), least):
            found.append(_section(part.text, links, room))
            blocks = found[-1].blocks
            goes_on.append(part.goes_on and _is_one_list(last[-1:], blocks[:1]))
            last = blocks
        return cls(found, goes_on)

    def blocks(self) -> list[Block]:
        """The blocks of the whole body, lists that were cut as one."""
        out: list[Block] = []
        items: list[Block] = []
        for section, goes_on in zip(self.found, self.goes_on, strict=True):
            if goes_on:
                items = items or list(out[-1].children)
                items += section.blocks[0].children
            if items and (not goes_on or len(section.blocks) > 1):
                out[-1] = out[-1].with_children(items)
                items = []
            out += section.blocks[goes_on:]
        if items:
            out[-1] = out[-1].with_children(items)
        return out


def _is_one_list(before: tuple[Block, ...], after: tuple[Block, ...]) -> bool:
    return bool(before and after) and before[0].kind == after[0].kind in LISTS


def _section(text: str, links: Links, room: int) -> Section:
    known = _known.get(text, room)
    if known is None or not _holds(known.answers, links):
        asked = _Asked(links)
        known = Section(text, read_placeless(text, asked), asked.answers)
        _known.put(known, room)
    return known


class _Asked:
    """Links that remember what they were asked."""

    def __init__(self, links: Links) -> None:
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


def _holds(answers: Answers, links: Links) -> bool:
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
    """Free what is remembered: all is read anew from here on."""
    _known.clear()
