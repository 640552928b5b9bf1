"""What a save changes in the source of a note's document. Pure.

A save writes only its author's own changes into the source, and never the app's edits, with which
other devices patch it, too: two devices would both write them, and the text would be doubled.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from heapsyncd.diff import line_hunks, lines_of, with_hunks
from heapsyncd.diff.sequences import gaps_between, matches
from heapsyncd.diff.transplant import transplant
from heapsyncd.document.edit import express_source
from heapsyncd.document.replica import Replica
from heapsyncd.document.source import ALLOWED_BYTES, length
from heapsyncd.markdown import front_lines
from heapsyncd.markdown.front_lines import OurKeys, normalise
from heapsyncd.markdown.links import NO_LINKS, Links
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.style_detection import newline_of
from heapsyncd.markdown.write.render import render
from heapsyncd.model import Lines, Source, StoredSource
from heapsyncd.sync.merge.note_file import is_rendered
from heapsyncd.tree import Block

_RENDERINGS: Final = 4
"""A long source may have this many times the bytes of its document's rendering, and
``ALLOWED_BYTES``.
"""

_NEVER_RENDERED: Final = re.compile(r"\r|\n\n\n|\A\n|[^\n]\Z|^===|[ ]$", re.MULTILINE)
"""Notations in a body that no rendering contains, except in code."""
_BULLET: Final = re.compile(r"^ *[*+][ \n]", re.MULTILINE)


def read_source(replica: Replica, view: Callable[[], Block], links: Links) -> StoredSource:
    """Return the source of a document; one that is too long for the note is refused.

    Args:
        replica: the document.
        view: returns the view of its body.
        links: how ids become names, for the size of the rendering.
    """
    return replica.source(_most_bytes(replica.source_size(), view, links))


def is_too_long(source: Source, view: Block) -> bool:
    """Return whether a source is too long to be stored with its note."""
    size = length(source)
    return size > _most_bytes(size, lambda: view, NO_LINKS)


def _most_bytes(size: int, view: Callable[[], Block], links: Links) -> int:
    """Return the most bytes that a note's source may have, exactly enough to judge ``size``."""
    if size <= ALLOWED_BYTES:
        return ALLOWED_BYTES
    # The rendering contains at least the words, which are ten times faster to get.
    most = ALLOWED_BYTES + _RENDERINGS * len(view().words())
    if size <= most:
        return most
    return ALLOWED_BYTES + _RENDERINGS * len(render(view(), links).encode())


def first_source(saved: Source, ours: OurKeys, links: Links, view: Block) -> Source | None:
    """Return the source that a new document gets; None if it needs none, or one would be too long.

    Args:
        saved: the file.
        ours: as for ``source_after``.
        links: as for ``source_after``.
        view: the view of the file.
    """
    if length(saved) > _most_bytes(length(saved), lambda: view, links):
        return None  # no device would use it
    return source_after(None, saved, None, ours, links, view)


def source_after(
    seen: Source | None,
    saved: Source,
    current: Source | None,
    ours: OurKeys,
    links: Links,
    view: Block,
    after: Block | None = None,
    *,
    is_now: bool = False,
) -> Source | None:
    """Return the source that a document is to have after a save; None: it is to have none.

    A document without a source gets one only if a rendering would not be the saved file. In an
    existing source only the author's own changes are made. It is replaced as a whole only if it
    would not show the saved file otherwise.

    Args:
        seen: the file that the author edited; None if it is not known.
        saved: the saved file.
        current: the document's source in the state that ``seen`` shows, or now.
        ours: the values of our keys after the save.
        links: how names in the saved file become ids.
        view: the view of the saved file.
        after: the view of the document after the save; None: it shows the saved file.
        is_now: ``current`` is the document's source now. What others changed in it since is kept,
            also if it then does not show the saved file.
    """
    if current is None:
        if saved.line_breaks != "space" or _is_styled(saved.body):
            return saved
        return None if is_rendered(saved, view, ours, links) else saved
    if seen is None:
        return _united(saved, current, is_shown=after is None or after == view)
    made = apply_changes(seen, saved, current, tags_are_ours=ours.tags is not None)
    if is_now:
        return made
    if made.body != saved.body:
        body = _showing(
            saved.body, made.body, lambda text: patch(text, view, links, saved.line_breaks)
        )
        made = replace(made, body=body)
    theirs = replace(made, front=saved.front, order=saved.order, fences=saved.fences)
    newline = newline_of(saved.body)
    if made == theirs or front_lines.join(made, ours, newline) == front_lines.join(
        theirs, ours, newline
    ):
        return made
    return theirs


def _is_styled(body: str) -> bool:
    """Return whether a body is certainly no rendering; rendering it takes longer than reading it.

    False also where that is not certain.
    """
    if "```" in body or "~~~" in body:
        return False
    if _NEVER_RENDERED.search(body):
        return True
    found = _BULLET.search(body)
    # Of two lists in a row, the second one is rendered with other bullets than ``-``.
    return found is not None and "-" not in body[: found.start()]


def apply_changes(
    seen: Source, saved: Source, current: Source, *, tags_are_ours: bool = True
) -> Source:
    """Return the current source with the changes from ``seen`` to ``saved``.

    Also rebases unsent edits onto a document that the server made anew: ``seen`` is the source
    that the server had, ``saved`` the local one, ``current`` that of the new document.
    ``tags_are_ours``: the tags in a file show the document's relations, and not only its source.
    """
    return Source(
        transplant(seen.body, saved.body, current.body),
        _front_after(seen, saved, current, tags_are_ours=tags_are_ours),
        saved.order if saved.order != seen.order else current.order,
        saved.fences if saved.fences != seen.fences else current.fences,
        saved.bom if saved.bom != seen.bom else current.bom,
        saved.line_breaks if saved.line_breaks != seen.line_breaks else current.line_breaks,
    )


def _showing(saved: str, made: str, shown: Callable[[str], str]) -> str:
    """Return a body that is shown as the saved one, with as few changes to ``made`` as possible.

    Text that the app deleted is still in the source until the next save. It is deleted here if
    that suffices: two devices may both delete it without harm.

    Args:
        saved: the body of the saved file.
        made: the body of the source with the author's own edits.
        shown: returns the body of the file for a body of the source.
    """
    deletions = [hunk for hunk in line_hunks(made, saved) if not hunk.text]
    if deletions and shown(shorter := with_hunks(made, deletions)) == saved:
        return shorter
    return made if shown(made) == saved else saved


def _front_after(
    seen: Source, saved: Source, current: Source, *, tags_are_ours: bool
) -> dict[str, Lines]:
    """Return the current front matter, with the keys that the author changed as in ``saved``."""
    front = dict(current.front)
    for key in seen.front.keys() | saved.front.keys():
        was, now = seen.front.get(key), saved.front.get(key)
        if was == now:
            continue
        if now is None:
            front.pop(key, None)
        elif tags_are_ours and key == "tags" and was is not None and key in front:
            front[key] = _own_tags(was, now, front[key])
        else:
            front[key] = now
    return front


def _own_tags(was: Lines, now: Lines, current: Lines) -> Lines:
    """Return the saved lines of the tags, without those that only show others' tags.

    Such lines were in the file because of the document's relations. They are not in its source,
    and two devices would both write them.
    """
    shown = set(lines_of(was.text)) - set(lines_of(current.text))
    text = "".join(line for line in lines_of(now.text) if line not in shown)
    return Lines(text) if not now.is_exact and normalise("tags", text) == text else now


def _united(saved: Source, current: Source, *, is_shown: bool) -> Source:
    """Return the union of two sources without a common base.

    The front matter gets all keys of both, and a list all items of both. Of two other values of
    one key the document's is kept.

    Args:
        saved: the source of the saved file.
        current: the document's.
        is_shown: the document shows the saved file, so that the file's body is kept.
    """
    front = dict(saved.front) | {
        key: _united_lines(key, lines, saved.front.get(key))
        for key, lines in current.front.items()
    }
    order = [*current.order, *(key for key in saved.order if key not in current.order)]
    body = saved.body if is_shown else current.body
    return replace(current, body=body, front=front, order=tuple(order))


def _united_lines(key: str, current: Lines, saved: Lines | None) -> Lines:
    if saved is None or saved.is_exact or current.is_exact:
        return current
    a, b = lines_of(current.text), lines_of(saved.text)
    out: list[str] = []
    at = 0
    for _, i2, j1, j2 in gaps_between(matches(a, b), len(a), len(b)):
        out += [*a[at:i2], *b[j1:j2]]
        at = i2
    text = "".join([*out, *a[at:]])
    return Lines(text) if normalise(key, text) == text else current


def source_update(
    origin: Sequence[bytes],
    seen: Source | None,
    saved: Source,
    ours: OurKeys,
    links: Links,
    view: Block,
    *,
    live: Replica,
    client_id: int,
    after: Block | None = None,
    is_now: bool = False,
) -> bytes | None:
    """Return the update of the source for a saved file; None when nothing changes.

    Args:
        origin: the updates of the state that ``seen`` shows, the base of the body's edit too.
        seen: as for ``source_after``.
        saved: as for ``source_after``.
        ours: as for ``source_after``.
        links: as for ``source_after``.
        view: as for ``source_after``.
        live: the document as it is now, with or without the edit of the body.
        client_id: as for ``express``.
        after: as for ``source_after``.
        is_now: as for ``source_after``.
    """
    most = _most_bytes(max(live.source_size(), length(saved)), live.view, links)
    return express_source(
        origin,
        lambda current: source_after(
            seen, saved, current, ours, links, view, after, is_now=is_now
        ),
        live=live,
        client_id=client_id,
        most_bytes=most,
    )


def rebased_source(
    old: Replica | None,
    ours: Replica,
    fresh: Replica,
    updates: Sequence[bytes],
    client_id: int,
) -> bytes | None:
    """Return the update that carries changes of the source over to another history.

    Args:
        old: the document that the server had; None: not known, everything of ours is carried over.
        ours: the document with our changes.
        fresh: the document of the other history.
        updates: the updates that ``fresh`` was loaded from.
        client_id: as for ``express``.
    """
    seen = None if old is None else _source_of(old)
    saved = _source_of(ours)
    if saved is None or saved == seen:
        return None

    def change(current: Source | None) -> Source:
        if current is None:
            return saved
        if seen is None:
            return _united(saved, current, is_shown=old is None)
        return apply_changes(seen, saved, current)

    most = _most_bytes(max(fresh.source_size(), ours.source_size()), ours.view, NO_LINKS)
    return express_source(updates, change, live=fresh, client_id=client_id, most_bytes=most)


def replaced_source(
    updates: Sequence[bytes], source: Source, view: Block, *, live: Replica, client_id: int
) -> bytes | None:
    """Return the update that gives a document this source; None when it has it.

    Args:
        updates: the document.
        source: the source that it is to have.
        view: what the source reads as.
        live: the same document, with or without the edit of its body.
        client_id: as for ``express``.
    """
    size = max(live.source_size(), length(source))
    most = _most_bytes(size, lambda: view, NO_LINKS)
    return express_source(
        updates, lambda _: source, live=live, client_id=client_id, most_bytes=most
    )


def _source_of(replica: Replica) -> Source | None:
    return read_source(replica, replica.view, NO_LINKS).source
