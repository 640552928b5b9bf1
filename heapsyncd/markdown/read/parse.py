"""A body to its tree: ``P``.

A body is read section by section, and what a section reads as is remembered: to read a body again
after an edit costs what the edit touched.
"""

from dataclasses import dataclass

from heapsyncd.markdown.events import normalise_lone_cr
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.blocks import MAX_DEPTH, read
from heapsyncd.markdown.read.fast_blocks import read_without_spans
from heapsyncd.markdown.read.sections import MIN_CHARS, sections
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.style_detection import StyleHints, style_hints
from heapsyncd.tree import LISTS, Block

__all__ = ["MAX_DEPTH", "Section", "Sections", "clear_cache", "parse"]

_CACHE_CHARS = 500_000
"""Characters of sections that are surely remembered, or those of the body read last; at most twice
as many are. One takes some 13 bytes.
"""
_SECTION_OVERHEAD = 100
"""What a section counts beside its length, so that many short ones are bounded, too."""

Lookups = dict[tuple[str, str], str | None]


@dataclass(slots=True)
class Section:
    """A part of a body and what it reads as, with what it asked about names for that."""

    text: str
    blocks: tuple[Block, ...]
    lookups: Lookups
    hints: StyleHints | None = None

    def style_hints(self, links: Links) -> StyleHints:
        """What the section says about the style of its body, found when first asked for."""
        if self.hints is None:
            trace = Trace()
            self.hints = style_hints(self.text.encode(), read(self.text, links, trace), trace)
        return self.hints


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
    continues_list: list[bool]

    @classmethod
    def of(cls, body: str, links: Links, min_chars: int = MIN_CHARS) -> "Sections":
        """Read a body; ``least``: as for ``sections``."""
        room = max(_CACHE_CHARS, len(body) * 5 // 4)
        found: list[Section] = []
        continues_list: list[bool] = []
        last: tuple[Block, ...] = ()
        for part in sections(normalise_lone_cr(body), min_chars):
            found.append(_section(part.text, links, room))
            blocks = found[-1].blocks
            continues_list.append(part.continues_list and _is_one_list(last[-1:], blocks[:1]))
            last = blocks
        return cls(found, continues_list)

    def blocks(self) -> list[Block]:
        """The blocks of the whole body, lists that were cut as one."""
        out: list[Block] = []
        items: list[Block] = []
        for section, continues_list in zip(self.found, self.continues_list, strict=True):
            if continues_list:
                items = items or list(out[-1].children)
                items += section.blocks[0].children
            if items and (not continues_list or len(section.blocks) > 1):
                out[-1] = out[-1].with_children(items)
                items = []
            out += section.blocks[continues_list:]
        if items:
            out[-1] = out[-1].with_children(items)
        return out


def _is_one_list(before: tuple[Block, ...], after: tuple[Block, ...]) -> bool:
    return bool(before and after) and before[0].kind == after[0].kind in LISTS


def _section(text: str, links: Links, room: int) -> Section:
    known = _cache.get(text, room)
    if known is None or not _is_current(known.lookups, links):
        recording = _RecordingLinks(links)
        known = Section(text, read_without_spans(text, recording), recording.lookups)
        _cache.put(known, room)
    return known


class _RecordingLinks:
    """Links that remember what they were asked."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self.lookups: Lookups = {}

    def name_of(self, block_id: str) -> str | None:
        return self._look_up("name_of", block_id)

    def block_of(self, name: str) -> str | None:
        return self._look_up("block_of", name)

    def file_name(self, key: str) -> str | None:
        return self._look_up("file_name", key)

    def file_key(self, name: str) -> str | None:
        return self._look_up("file_key", name)

    def _look_up(self, what: str, name: str) -> str | None:
        result: str | None = getattr(self._links, what)(name)
        self.lookups[what, name] = result
        return result


def _is_current(lookups: Lookups, links: Links) -> bool:
    return all(getattr(links, what)(name) == result for (what, name), result in lookups.items())


class _SectionCache:
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
        self._size += len(section.text) + _SECTION_OVERHEAD
        if self._size > room:
            self._old, self._young, self._size = self._young, {}, 0

    def clear(self) -> None:
        self._young, self._old, self._size = {}, {}, 0


_cache = _SectionCache()


def clear_cache() -> None:
    """Free what is remembered: all is read anew from here on."""
    _cache.clear()
