"""Convert between a note's file and its source. Pure.

The file that shows a state is a function of the state alone, so that all devices show the same
bytes: the source if it reads as the document, otherwise the source patched until it does.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache.renditions import Rendition
from heapsyncd.cache.search import Searched
from heapsyncd.ids import BlockId
from heapsyncd.markdown import front_lines
from heapsyncd.markdown.encoding import SourceText, decode, encode
from heapsyncd.markdown.events import OPAQUE_BLOCK, OPAQUE_INLINE
from heapsyncd.markdown.front_lines import TITLE_KEYS, OurKeys, Owner
from heapsyncd.markdown.frontmatter import looks_like, split
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.style_detection import newline_of
from heapsyncd.markdown.write.render import is_rendering, render
from heapsyncd.model import LineBreaks, Source, StoredSource
from heapsyncd.sync.merge.link_meanings import with_dead_names, with_names
from heapsyncd.tree import Block

_ID_KEY: Final = re.compile(r"^(?:heaper_)?id(?=:)", re.MULTILINE)
_ALIASES: Final = frozenset({"aliases", "alias"})
_TAGS: Final = frozenset({"tags", "tag"})
_INLINE_TAG: Final = re.compile(r"#(\w[\w/-]*+)")
_MARKUP: Final = re.compile(r"[*~=\\]++")
_INSIDE: Final = re.compile(r"(?<![*~=\\])[*~=\\]++(?=\w)")
_REST: Final = re.compile(r"[*~=\\\w]++")
"""A word with markup inside, from its first markup on."""


class NoteFile(Struct, frozen=True):
    """A note's file as what the user wrote and what we did.

    ``title``: the value of our ``title`` key; None if it has none.
    """

    source: Source
    title: str | None

    @classmethod
    def of(
        cls,
        text: SourceText,
        front: str,
        body: str,
        owner: Owner,
        line_breaks: LineBreaks = "space",
    ) -> "NoteFile":
        """Take a file apart.

        Args:
            text: the file.
            front: its front matter with the fences.
            body: what follows the front matter.
            owner: tells which keys are ours (``owner_of_title`` for the title).
            line_breaks: what a line end in a paragraph means.
        """
        keys = front_lines.cut(front, owner)
        source = Source(body, keys.front, keys.order, keys.fences, text.bom, line_breaks)
        return cls(source, keys.title)


class Draft(Struct, frozen=True):
    """A note's next text, and what is stored with it."""

    block: BlockId
    seq: int
    """The position in the block's log of the state that the text shows."""
    path: str
    data: bytes
    title: str
    searched: Searched
    mentions: frozenset[str]
    base: Rendition | None
    """The rendition that is in the file now."""
    line_breaks: LineBreaks = "space"
    shown_id: str | None = None
    """The id in the file, if it has one."""
    lacks_source: bool = False
    """Whether the document has no source although the file is no rendering."""

    @property
    def is_new(self) -> bool:
        """Return whether the file has to be written."""
        return self.base is None or self.base.data != self.data


def owner_of_title(
    front: str, source: Source | None, title: Callable[[], str | None] | None = None
) -> str | None:
    """Return the key under which we wrote the title into a file; None if we did not.

    Args:
        front: the front matter of a file of the note, with the fences.
        source: the document's source; a key in it is the user's.
        title: given if the file may not be ours, or the document has lost its source: returns the
            title that we would have written, None for none. Another one is the user's.
    """
    if not front:
        return None
    users = front_lines.user_chunks(source) if source is not None else {}
    found = front_lines.cut(front, Owner(lambda _: False)).front
    for key in TITLE_KEYS:
        if key in found and key not in users:
            owner = Owner(lambda _: False, key)
            if title is None:
                return key
            written = title()
            if written is not None and front_lines.cut(front, owner).title == written.strip():
                return key
    return None


def shown_file(
    source: Source | None, view: Block, ours: OurKeys, links: Links, *, is_shown: bool = False
) -> bytes:
    """Return the file that shows a state.

    Args:
        source: the document's source; None: the file is a rendering. A document may lack its
            source (it is older than the feature, or a server made it anew). A device whose file
            still has one passes the source of that file.
        view: the view of the document's body.
        ours: the values of our keys.
        links: how ids become names, restricted to the ids in ``view``.
        is_shown: the source's body is known to show the view.
    """
    if source is None:
        return file_of(Source(render(view, links)), ours)
    if is_shown:
        return file_of(source, ours)
    links = with_dead_names(links, source.body, source.line_breaks, view)
    body = patch(with_names(source.body, links), view, links, source.line_breaks)
    return file_of(replace(source, body=body), ours)


def is_rendered(source: Source, view: Block, ours: OurKeys, links: Links) -> bool:
    """Return whether a file is the one that would show its document without a source.

    A wrong False is possible, as for ``is_rendering``. Then the source is kept although it could
    be made again.

    Args:
        source: the file's.
        view: as for ``shown_file``, as the next two.
        ours: the values of our keys.
        links: how ids become names.
    """
    file, front = file_of(source, ours), file_of(Source(""), ours)
    return file.startswith(front) and is_rendering(file[len(front) :].decode(), view, links)


def source_to_show(stored: StoredSource, agreed: Source, *, carries: bool) -> Source:
    """Return the source that a file which exists here is made from.

    Args:
        stored: what the document has. It may lack a source, or have an invalid one: then the
            file's own style is kept.
        agreed: the source of the file.
        carries: documents carry sources here (setting ``source``).
    """
    return agreed if stored.source is None or not carries else stored.source


def searched(data: bytes) -> Searched:
    """Return what is searched of a note's file: all that stands in it, but for our own words."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if "<!--" in text:
        for pattern in (OPAQUE_BLOCK, OPAQUE_INLINE):
            # What markdown cannot express stands there by its kind and its words.
            text = pattern.sub(lambda found: found[1].partition(" ")[2], text)
    raw = looks_like(text)
    return Searched(
        _ID_KEY.sub(lambda found: " " * len(found[0]), raw) + text[len(raw) :],
        front_lines.text_of(raw, _ALIASES) if raw else "",
        "\n".join([front_lines.text_of(raw, _TAGS) if raw else "", *_inline_tags(text)]),
        " ".join(_joined(text)),
    )


def _inline_tags(text: str) -> Iterator[str]:
    for found in _INLINE_TAG.finditer(text):
        if not text[found.start() - 1 : found.start()].strip():
            yield found[1]


def _joined(text: str) -> Iterator[str]:
    """Yield the words that have markup inside, without it."""
    end = 0
    for found in _INSIDE.finditer(text):
        at = found.start()
        if at > end and text[at - 1].isalnum():
            begin = max(end, text.rfind(" ", end, at), text.rfind("\n", end, at))
            rest = _REST.match(text, at)
            assert rest is not None
            end = rest.end()
            yield _MARKUP.sub("", text[begin:end])


def file_of(source: Source, ours: OurKeys) -> bytes:
    """Return the file that a source is."""
    newline = newline_of(source.body)
    front = front_lines.join(source, ours, newline)
    if not front and (split(source.body)[0].raw or source.body.startswith("\ufeff")):
        front = f"---{newline}---{newline}"  # or the body's own beginning would be read so
    if source.body and front and not front.endswith(("\n", "\r")):
        front += newline
    return encode(SourceText(source.bom, front + source.body, ""))


def without_id(data: bytes, shown_id: str | None) -> bytes:
    """Return a note's file without the id that we wrote into it.

    Raises UnreadableFile if it is not text.
    """
    text = decode(data)
    front, body = split(text.text)
    file = NoteFile.of(text, front.raw, body, Owner(lambda value: value == shown_id))
    return file_of(file.source, OurKeys(None, None, None))


def lacks_source(
    found: StoredSource, data: bytes, view: Block, ours: OurKeys, links: Links
) -> bool:
    """Tell whether a document has no source although the file of this device is not a rendering.

    The device should then put the source of its file back.

    Args:
        found: the source found in the document.
        data: the file that shows the document in the style of this device's file.
        view: the view of the document's body.
        ours: the values of our keys.
        links: how ids become names, restricted to the ids in ``view``.
    """
    return found == StoredSource() and data != shown_file(None, view, ours, links)
