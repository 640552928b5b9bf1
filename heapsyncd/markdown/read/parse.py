"""Parse a body into a tree (``P`` in the laws of ``README.md``).

A body is read section by section, and sections are cached by their text. Reading a body again
after an edit costs only what the edit touched.
"""

from msgspec import Struct

from heapsyncd.markdown.events import normalise_lone_cr
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.blocks import MAX_DEPTH, read
from heapsyncd.markdown.read.fast_blocks import read_without_spans
from heapsyncd.markdown.read.sections import MIN_CHARS, sections
from heapsyncd.markdown.source import Trace
from heapsyncd.markdown.style_detection import StyleHints, style_hints
from heapsyncd.model import LineBreaks
from heapsyncd.tree import LISTS, Block

__all__ = ["MAX_DEPTH", "Section", "Sections", "clear_cache", "parse"]

_CACHE_CHARS = 250_000
"""How many characters of sections the cache surely holds.

It holds more if the last body was longer, and up to twice as many. A character takes 13 bytes.
"""
_SECTION_OVERHEAD = 100
"""Characters that each section counts in addition to its length, which bounds their number."""

Lookups = dict[tuple[str, str], str | None]
"""What was looked up in ``Links`` and found: (method, argument) to result."""
_Key = tuple[LineBreaks, str]
"""How a section is read, and its text."""


class Section(Struct):
    """A part of a body with its blocks, and the link lookups that its reading depends on."""

    text: str
    line_breaks: LineBreaks
    blocks: tuple[Block, ...]
    lookups: Lookups
    hints: StyleHints | None = None

    def style_hints(self, links: Links) -> StyleHints:
        """Return the section's style hints, computed on first use."""
        if self.hints is None:
            trace = Trace()
            tree = read(self.text, links, trace, self.line_breaks)
            self.hints = style_hints(self.text.encode(), tree, trace)
        return self.hints


def parse(body: str, links: Links, line_breaks: LineBreaks = "space") -> Block:
    """Parse a body, without BOM and front matter, into a tree.

    Blocks and runs have no source positions; ``blocks.read`` provides them. Never fails: any text
    is valid markdown.

    Args:
        body: the text.
        links: resolves names.
        line_breaks: what a line end inside a paragraph means.
    """
    return Block("doc", (), tuple(Sections.of(body, links, line_breaks).blocks()))


class Sections(Struct, frozen=True):
    """A body that was read in sections.

    ``found``: the sections; their joined texts are the body with lone CRs as newlines.
    ``continues_list``: for each section, whether its first block continues the list that ends the
    section before.
    """

    found: list[Section]
    continues_list: list[bool]

    @classmethod
    def of(
        cls,
        body: str,
        links: Links,
        line_breaks: LineBreaks = "space",
        *,
        min_chars: int = MIN_CHARS,
    ) -> "Sections":
        """Read a body.

        Args:
            body: the text, without BOM and front matter.
            links: resolves names.
            line_breaks: what a line end inside a paragraph means.
            min_chars: the least length of a section, as for ``sections``.
        """
        room = max(_CACHE_CHARS, len(body) * 5 // 4)
        found: list[Section] = []
        continues_list: list[bool] = []
        last: tuple[Block, ...] = ()
        for part in sections(normalise_lone_cr(body), min_chars):
            found.append(_section(part.text, links, line_breaks, room))
            blocks = found[-1].blocks
            continues_list.append(part.continues_list and _is_one_list(last[-1:], blocks[:1]))
            last = blocks
        return cls(found, continues_list)

    def blocks(self) -> list[Block]:
        """Return the blocks of the whole body, with lists that were cut joined again."""
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


def _section(text: str, links: Links, line_breaks: LineBreaks, room: int) -> Section:
    """Return a section from the cache, or read it if it is missing or its link lookups changed."""
    known = _cache.get((line_breaks, text), room)
    if known is None or not _is_current(known.lookups, links):
        recording = _RecordingLinks(links)
        blocks = read_without_spans(text, recording, line_breaks)
        known = Section(text, line_breaks, blocks, recording.lookups)
        _cache.put(known, room)
    return known


class _RecordingLinks:
    """Passes lookups on to other links and records the results."""

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
    """Return whether recorded lookups would still have the same results."""
    return all(getattr(links, what)(name) == result for (what, name), result in lookups.items())


class _SectionCache:
    """Holds recently read sections in two generations; a full one replaces the older.

    Threads share it without a lock. Reading is pure, so a race costs at most a repeated reading.
    """

    def __init__(self) -> None:
        self._young: dict[_Key, Section] = {}
        self._old: dict[_Key, Section] = {}
        self._size = 0

    def get(self, key: _Key, room: int) -> Section | None:
        found = self._young.get(key)
        if found is None and key in self._old:
            found = self._old[key]
            self.put(found, room)
        return found

    def put(self, section: Section, room: int) -> None:
        self._young[section.line_breaks, section.text] = section
        self._size += len(section.text) + _SECTION_OVERHEAD
        if self._size > room:
            self._old, self._young, self._size = self._young, {}, 0

    def clear(self) -> None:
        self._young, self._old, self._size = {}, {}, 0


_cache = _SectionCache()


def clear_cache() -> None:
    """Drop all cached sections."""
    _cache.clear()
