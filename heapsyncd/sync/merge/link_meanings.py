"""Tell what names in a text mean that no note has, or that one has again. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.diff.sequences import gaps_between, matches
from heapsyncd.ids import is_ulid
from heapsyncd.markdown.links import NO_LINKS, Links
from heapsyncd.markdown.read.blocks import read
from heapsyncd.model import LineBreaks
from heapsyncd.sync.heap.index import link_key
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.tree import LEAVES, Atom, Block, Inline, Text, attrs, inline

_NAMED: Final = re.compile(r"\[\[([^\[\]|\\\n]+)")
"""A link's name in a text."""
_LINK: Final = re.compile(rf"{_NAMED.pattern}(?:\|([^\[\]|\n]+))?\]\]")
_STEP: Final = re.compile(rf"{_NAMED.pattern}|(\w+)")
_UNKNOWN: Final = "?"
"""Prefix of a name that belongs to no block, used in the place of an id."""


def names_in(text: str) -> list[str]:
    """Return the names inside ``[[...]]`` in a text, whether they are links or not."""
    return _NAMED.findall(text)


def names_linked(body: str) -> frozenset[str]:
    """Return the ``link_key`` of each name in a body that is a link if a note has the name."""
    found = mentions(read(body, _AnyName(NO_LINKS)))
    return frozenset(name.removeprefix(_UNKNOWN) for name in found)


def mentions(body: Block) -> frozenset[str]:
    """Return the ids of all blocks a body links to."""
    return frozenset(mention_counts(body))


def mention_counts(body: Block) -> Counter[str]:
    """Count a body's links, by the id of the block."""
    return Counter(_mentioned(body))


def _mentioned(body: Block) -> Iterator[str]:
    return (
        str(item.get("id"))
        for block in body.walk()
        for item in block.inline
        if isinstance(item, Atom) and item.kind == "mention"
    )


def with_names(body: str, links: Links) -> str:
    """Return a text with the names of blocks where it has their ids.

    A link is written with the id while its block has no name: the note comes later, or comes back.
    """

    def named(found: re.Match[str]) -> str:
        name = links.name_of(found[1]) if is_ulid(found[1]) else None
        return found[0] if name is None else f"[[{name}"

    return _NAMED.sub(named, body)


def with_meanings(links: NoteLinks, body: str, line_breaks: LineBreaks, view: Block) -> NoteLinks:
    """Return the links with meanings added for unknown names in a text that shows a view."""
    found = _meanings(body, line_breaks, view, links)
    return replace(links, meant={**(links.meant or {}), **found})


def with_moved_names(
    links: NoteLinks, before: str, after: str, line_breaks: LineBreaks, view: Block
) -> NoteLinks:
    """Return the links with the former meanings of names that other blocks have by now.

    A link that its user left alone means what it did, also if its note was renamed and another one
    got the name. If any link was changed, an editor may have renamed all of them together with the
    notes: then they mean what their names say.

    Args:
        links: by present names.
        before: the text that its user saw.
        after: the saved text.
        line_breaks: what a line end in the paragraphs of ``before`` means.
        view: the document that ``before`` shows.
    """
    names = names_in(before)
    if names != names_in(after) or [links.block_of(n) for n in names] == list(_mentioned(view)):
        return links
    found = _meanings(before, line_breaks, view, _NoNames(links))
    moved = {
        name: block
        for name, block in found.items()
        # A note that was deleted leaves its name to the other.
        if links.block_of(name) not in {None, block} and links.name_of(block) is not None
    }
    return replace(links, moved=moved) if moved else links


def with_dead_names(links: Links, body: str, line_breaks: LineBreaks, view: Block) -> Links:
    """Return the links with the names of blocks that have none any more, as a text has them.

    A note that was deleted keeps its name in the texts that link to it, so that they stay as the
    user wrote them on every device. If another note has the name now, the next save of such a text
    links to that one.

    Args:
        links: by present names, restricted to the blocks in ``view``.
        body: the text.
        line_breaks: what a line end in its paragraphs means.
        view: the document that it shows.
    """
    if all(links.block_of(name) for name in names_in(body)):
        return links
    found = _meanings(body, line_breaks, view, links)
    dead = {name: block for name, block in found.items() if links.name_of(block) is None}
    return _DeadNames(links, dead) if dead else links


def _meanings(body: str, line_breaks: LineBreaks, view: Block, links: Links) -> dict[str, str]:
    """Match unknown names in a text to blocks that the document mentions at the same place.

    Left out are blocks that the text mentions elsewhere (unless they have no name any more: then
    it may have the former name in one place and the id in another), names that could mean two
    blocks (or a block two names), and names that are plain text in the document. Returns block ids
    by ``link_key``.
    """
    here = list(_steps(read(body, _AnyName(links), line_breaks=line_breaks)))
    there = list(_steps(view))
    # Labels tell which of several links to a block is which.
    found = matches(*([(s.word, s.label) for s in side] for side in (here, there)))
    texts = {s.word for s in there}
    kept = {
        s.word
        for _, j, n in found
        for s in there[j : j + n]
        if not s.is_block or links.name_of(s.word) is not None
    }
    pairs: set[tuple[str, str]] = set()
    for i1, i2, j1, j2 in gaps_between(found, len(here), len(there)):
        is_name = [s.word.startswith(_UNKNOWN) and s.word not in texts for s in here[i1:i2]]
        names = [s if ok else None for s, ok in zip(here[i1:i2], is_name, strict=True)]
        blocks = [s if s.is_block and s.word not in kept else None for s in there[j1:j2]]
        words = i1 > 0 and j1 > 0, i2 < len(here) and j2 < len(there)
        both = _facing(names, blocks, words)
        pairs |= {(n.word, b.word) for n, b in both if n.label == b.label}
    once = Counter(end for pair in pairs for end in pair)
    return {n.removeprefix(_UNKNOWN): b for n, b in pairs if once[n] == once[b] == 1}


def _facing(
    here: Sequence["_Step | None"], there: Sequence["_Step | None"], words: tuple[bool, bool]
) -> Iterator[tuple["_Step", "_Step"]]:
    """Yield the names and blocks of a gap that correspond (None: any other word).

    If there are equally many, all correspond in order. Otherwise those with the same label do, and
    those next to the words around the gap; ``words``: whether there are such before and behind it.
    """
    names, blocks = ([s for s in side if s is not None] for side in (here, there))
    if len(names) == len(blocks):
        yield from zip(names, blocks, strict=True)
        return
    yield from ((n, b) for n in names for b in blocks if n.label and n.label == b.label)
    for step in (s for s, is_there in zip((1, -1), words, strict=True) if is_there):
        names, blocks = (
            [s for s in takewhile(bool, side[::step]) if s is not None] for side in (here, there)
        )
        if len(names) == len(blocks):
            yield from zip(names, blocks, strict=True)


class _Step(Struct, frozen=True):
    """A word of a body, or a link: its block's id, or a name that means none."""

    word: str
    label: str | None = None
    is_block: bool = False


def _steps(body: Block) -> Iterator[_Step]:
    for block in body.walk():
        for item in block.inline:
            if isinstance(item, Text):
                for name, word in _STEP.findall(item.text):
                    yield _Step(_UNKNOWN + link_key(name) if name else word)
            elif item.kind == "mention":
                word, label = str(item.get("id")), item.get("label")
                is_block = not word.startswith(_UNKNOWN)
                yield _Step(word, None if label is None else str(label), is_block)


class _AnyName:
    """Links that resolve every name; unknown ones to a marked name."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self.name_of = links.name_of
        self.file_name, self.file_key = links.file_name, links.file_key

    def block_of(self, name: str) -> str | None:
        return self._links.block_of(name) or _UNKNOWN + link_key(name)


class _NoNames:
    """Links that resolve no name."""

    def __init__(self, links: Links) -> None:
        self.name_of = links.name_of
        self.file_name, self.file_key = links.file_name, links.file_key

    def block_of(self, name: str) -> str | None:  # noqa: ARG002 - the protocol's shape
        return None


class _DeadNames:
    """Links that resolve some more names, by ``link_key``."""

    def __init__(self, links: Links, dead: Mapping[str, str]) -> None:
        self._links, self._dead = links, dead
        self.name_of = links.name_of
        self.file_name, self.file_key = links.file_name, links.file_key

    def block_of(self, name: str) -> str | None:
        return self._links.block_of(name) or self._dead.get(link_key(name))


def with_our_links(theirs: Block, ours: Block, links: Links) -> Block:
    """Return their body with names as links that are links in ours and plain text there.

    No block had such a name when the text was read. It has one now: a cache was restored, or the
    note was renamed back. Other links to the block may be links in both.
    """
    new = _labelled(ours) - _labelled(theirs)

    def linked(item: Inline) -> Iterator[Inline]:
        if not isinstance(item, Text):
            yield item
            return
        at = 0
        for found in _LINK.finditer(item.text):
            link = links.block_of(found[1]), found[2]
            if new[link] > 0:
                new[link] -= 1
                yield item.cut(at, found.start())
                yield Atom("mention", attrs(id=link[0], label=link[1]))
                at = found.end()
        yield item.cut(at, len(item.text))

    def read_again(block: Block) -> Block:
        if block.kind in LEAVES and "[[" in block.words():
            return replace(block, inline=inline(i for item in block.inline for i in linked(item)))
        return block.with_children([read_again(b) for b in block.children])

    return read_again(theirs) if new else theirs


def _labelled(body: Block) -> Counter[tuple[str | None, str | None]]:
    """Count a body's links, by the id of the block and the label."""
    atoms = (i for block in body.walk() for i in block.inline if isinstance(i, Atom))
    links = (i for i in atoms if i.kind == "mention")
    return Counter((_text(i.get("id")), _text(i.get("label"))) for i in links)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
