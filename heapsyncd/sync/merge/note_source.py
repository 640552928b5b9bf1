"""A note's file and the source that travels with its document, each made of the other. Pure.

The file of a state is a function of the state alone, so that every device shows the same bytes:
the source where it reads as the document, else the source patched until it does. What is shown so
is not sent back. Who saves a file writes into the source what he himself changed, and nothing that
others did: not the app's edits, which two devices would both write.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from heapsyncd.diff import line_hunks, lines_of, with_hunks
from heapsyncd.diff.sequences import gaps_between, matches
from heapsyncd.diff.transplant import transplanted
from heapsyncd.document.edit import express_source
from heapsyncd.document.replica import Replica
from heapsyncd.document.source import LEAST_BYTES
from heapsyncd.markdown import front_lines, frontmatter
from heapsyncd.markdown.encoding import SourceText, encode
from heapsyncd.markdown.front_lines import TITLE_KEYS, OurKeys, Owner, settled
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.style_detection import newline_of
from heapsyncd.markdown.write.render import render
from heapsyncd.model import LineBreaks, Lines, Source, StoredSource
from heapsyncd.tree import Block

_TIMES: Final = 4
"""A source has at most so many times the bytes of what its document is rendered as."""


@dataclass(frozen=True, slots=True)
class NoteFile:
    """A note's file, taken apart: the user's text, and what our keys say in it."""

    source: Source
    id: str | None = None
    title: str | None = None

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
            body: what follows.
            owner: which keys are ours (``owner_of_title`` for the title).
            line_breaks: how the note's line ends are read.
        """
        keys = front_lines.cut(front, owner)
        source = Source(body, keys.front, keys.order, keys.fences, text.bom, line_breaks)
        return cls(source, keys.id, keys.title)


def stored(replica: Replica, view: Block, links: Links) -> StoredSource:
    """The source of a document, in the bounds that its note gives it.

    Args:
        replica: the document.
        view: what its body shows.
        links: for the rendering.
    """
    return replica.source(_most_bytes(replica.source_size(), lambda: view, links))


def _most_bytes(size: int, view: Callable[[], Block], links: Links) -> int:
    """How long a note's source may be; ``size``: it is asked about one of that length."""
    if size <= LEAST_BYTES:
        return LEAST_BYTES
    # A rendering has more than the words, and takes ten times as long to make.
    most = LEAST_BYTES + _TIMES * len(view().words())
    return most if size <= most else LEAST_BYTES + _TIMES * len(render(view(), links).encode())


def owner_of_title(front: frontmatter.Front | None, source: Source | None) -> str | None:
    """Under which key we wrote the title into a file; None: we did not.

    Args:
        front: what stands in the file; None: there was none, so that a title is the user's.
        source: the source of the state that the file shows: a key in it is the user's.
    """
    if front is None or not front.raw:
        return None
    users = front_lines.standing(source) if source is not None else {}
    there = front_lines.cut(front.raw, Owner(lambda _: False)).front
    return next((key for key in TITLE_KEYS if key in there and key not in users), None)


def shown_body(source: Source | None, view: Block, links: Links) -> str:
    """The body of the file that shows a state: the source's, patched where it reads otherwise."""
    return render(view, links) if source is None else patch(source.body, view, links)


def shown_file(source: Source | None, view: Block, ours: OurKeys, links: Links) -> bytes:
    """The file that shows a state.

    Args:
        source: what the document has of it. Without one the file is a rendering; a device whose
            file shows the note in its own words (a document of an older version, or one that a
            server made anew) gives the source of that file.
        view: what the body shows.
        ours: what our keys are to say.
        links: how ids become names; restricted to what the view mentions.
    """
    body = shown_body(source, view, links)
    front = front_lines.joined(source or Source(body), ours, newline_of(body))
    if body and front and not front.endswith(("\n", "\r")):
        front += newline_of(body)
    bom = source is not None and source.bom
    return encode(SourceText(bom, front + body, ""))


def source_after(
    seen: Source | None,
    saved: Source,
    stands: Source | None,
    ours: OurKeys,
    links: Links,
    after: Block | None = None,
) -> Source | None:
    """What a document's source is to be after a save; None: there is to be none.

    Args:
        seen: the file that its author had before him; None: that is not known.
        saved: the file he saved.
        stands: the source of the document in the state that ``seen`` shows, or as it is now.
        ours: what our keys say after the save.
        links: for the body; restricted to what the saved file mentions.
        after: what the document shows with the save; None: the file.

    A source is made only where a rendering would not give the file. Of one that stands only what
    the author changed is changed; all of it only where it would not show his file then.
    """
    view = parse(saved.body, links)
    if stands is None:
        is_rendering = shown_file(None, view, ours, links) == shown_file(saved, view, ours, links)
        same_breaks = saved.line_breaks == "space"
        return None if is_rendering and same_breaks else saved
    if seen is None:
        return _joined(saved, stands, reads_alike=after is None or after == view)
    made = carried(seen, saved, stands)
    if made.body != saved.body:
        body = _showing(saved.body, made.body, lambda text: patch(text, view, links))
        made = replace(made, body=body)
    newline = newline_of(saved.body)
    if front_lines.joined(made, ours, newline) != front_lines.joined(saved, ours, newline):
        made = replace(made, front=saved.front, order=saved.order, fences=saved.fences)
    return made


def carried(seen: Source, saved: Source, stands: Source) -> Source:
    """A source with what an author changed of another one: as he left it where he touched it.

    Also for edits that no server has when it has made the document anew: ``seen`` is what it had,
    ``saved`` what we have, ``stands`` what the new document has.
    """
    return Source(
        transplanted(seen.body, saved.body, stands.body),
        _front_after(seen, saved, stands),
        saved.order if saved.order != seen.order else stands.order,
        saved.fences if saved.fences != seen.fences else stands.fences,
        saved.bom if saved.bom != seen.bom else stands.bom,
        saved.line_breaks if saved.line_breaks != seen.line_breaks else stands.line_breaks,
    )


def _showing(saved: str, made: str, shown: Callable[[str], str]) -> str:
    """A body that shows the saved file, with as little of others' as can be.

    What others deleted stands in the source until somebody saves: it goes along, for two devices
    may both delete. All of the file is written only where less does not show it.

    Args:
        saved: the file's body.
        made: the source's with the author's own edits.
        shown: what the file of a source is.
    """
    gone = [hunk for hunk in line_hunks(made, saved) if not hunk.text]
    if gone and shown(less := with_hunks(made, gone)) == saved:
        return less
    return made if shown(made) == saved else saved


def _front_after(seen: Source, saved: Source, stands: Source) -> dict[str, Lines]:
    """The front matter with the keys that the author changed as he left them."""
    front = dict(stands.front)
    for key in seen.front.keys() | saved.front.keys():
        was, now = seen.front.get(key), saved.front.get(key)
        if was == now:
            continue
        if now is None:
            front.pop(key, None)
        elif key == "tags" and was is not None and key in front:
            front[key] = _own_tags(was, now, front[key])
        else:
            front[key] = now
    return front


def _own_tags(was: Lines, now: Lines, stands: Lines) -> Lines:
    """The lines of the tags without those that the author found there and that only show tags
    which others gave the note: two devices would both write them.
    """
    shown = set(lines_of(was.text)) - set(lines_of(stands.text))
    text = "".join(line for line in lines_of(now.text) if line not in shown)
    return Lines(text) if not now.is_exact and settled("tags", text) == text else now


def _joined(saved: Source, stands: Source, *, reads_alike: bool) -> Source:
    """A saved file and a source of which nobody knows what they have in common: of the front
    matter all keys of both. Where a key says two things, the document's counts.

    ``reads_alike``: the document shows the file, so that the file's words are the note's.
    """
    front = dict(saved.front) | {
        key: _both(key, lines, saved.front.get(key)) for key, lines in stands.front.items()
    }
    order = [*stands.order, *(key for key in saved.order if key not in stands.order)]
    body = saved.body if reads_alike else stands.body
    return replace(stands, body=body, front=front, order=tuple(order))


def _both(key: str, stands: Lines, saved: Lines | None) -> Lines:
    if saved is None or saved.is_exact or stands.is_exact:
        return stands
    a, b = lines_of(stands.text), lines_of(saved.text)
    out: list[str] = []
    at = 0
    for _, i2, j1, j2 in gaps_between(matches(a, b), len(a), len(b)):
        out += [*a[at:i2], *b[j1:j2]]
        at = i2
    text = "".join([*out, *a[at:]])
    return Lines(text) if settled(key, text) == text else stands


def source_update(
    origin: Sequence[bytes] | None,
    seen: Source | None,
    saved: Source,
    ours: OurKeys,
    links: Links,
    *,
    live: Replica,
    client_id: int,
    after: Block | None = None,
) -> bytes | None:
    """The update that a saved file means for the source; None where there is nothing to do.

    Args:
        origin: the updates of the state the save is measured from, as for the body: what ``seen``
            shows; None: the document as it is.
        seen: as for ``source_after``.
        saved: likewise.
        ours: likewise.
        links: likewise.
        live: the document as it is now, with the edit of the body or without.
        client_id: as for ``express``.
        after: as for ``source_after``.
    """
    most = _most_bytes(max(live.source_size(), len(saved.body)), live.view, links)
    return express_source(
        origin,
        lambda stands: source_after(seen, saved, stands, ours, links, after),
        live=live,
        client_id=client_id,
        most_bytes=most,
    )


def is_lacking(
    found: StoredSource, agreed: Source | None, view: Block, ours: OurKeys, links: Links
) -> bool:
    """Whether a document has lost its source, or never had one, and this device's file has it.

    Args:
        found: what the document has.
        agreed: the file that device and document agreed on; None: there was none.
        view: what the document shows now.
        ours: what our keys are to say.
        links: restricted to what the view mentions.
    """
    if agreed is None or found != StoredSource():
        return False
    return shown_file(agreed, view, ours, links) != shown_file(None, view, ours, links)
