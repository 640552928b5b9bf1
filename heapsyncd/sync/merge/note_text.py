"""Convert between a note's file and its document. Pure: values in, values out.

``read_body`` turns a saved file into an edit, measured from the rendition its author saw.
``reexpress`` carries unsent edits over to a compacted document. The file of a state is made in
``note_source``.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache.blocks import BlockState
from heapsyncd.document.edit import Target, edit, express, merge_three
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import joined
from heapsyncd.folder.names import carries
from heapsyncd.ids import BlockId
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.encoding import SourceText, decode
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Fields, LineBreaks
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.merge.common_base import (
    are_both_newer,
    common_base,
    contains_words,
    word_counts,
)
from heapsyncd.sync.merge.file_merge import MergeFiles, line_breaks_of, merge_by_files, shown_by
from heapsyncd.sync.merge.link_meanings import (
    mention_counts,
    mentions,
    names_in,
    with_dead_names,
    with_meanings,
    with_moved_names,
    with_our_links,
)
from heapsyncd.sync.merge.note_file import NoteFile
from heapsyncd.sync.merge.note_source import rebased_source
from heapsyncd.sync.merge.undelete_note import deletion
from heapsyncd.sync.merge.unrelated import merge_unrelated
from heapsyncd.tree import Atom, Block


def digest(data: bytes) -> bytes:
    """Return the sha256 by which a text is recognised."""
    return hashlib.sha256(data).digest()


class Note(Struct, frozen=True):
    """A note's file, split into its parts."""

    source: SourceText
    front: frontmatter.Front
    body: str
    line_breaks: LineBreaks = "space"
    """What a line end in a paragraph of the body means."""

    @classmethod
    def of(cls, data: bytes) -> "Note":
        """Split a file's bytes; raises UnreadableFile if they are not text."""
        source = decode(data)
        front, body = frontmatter.split(source.text)
        return cls(source, front, body)

    def file(self, owner: Owner) -> NoteFile:
        """Tell what of the file is the user's; ``owner``: which keys are ours."""
        return NoteFile.of(self.source, self.front.raw, self.body, owner, self.line_breaks)

    def view(self, links: Links) -> Block:
        """Return what the body says."""
        return parse(self.body, links, self.line_breaks)


class Base(Struct, frozen=True):
    """The rendition an edit is measured from. ``updates`` None: it shares no history."""

    note: Note
    updates: tuple[bytes, ...] | None


class Reading(Struct, frozen=True):
    """What a saved file means.

    ``update`` None: the document does not change. ``is_whole``: base plus update shows exactly the
    file. ``is_made``: the replica already contains the update.
    """

    update: bytes | None
    body: Block
    mentions: frozenset[str]
    is_whole: bool
    is_made: bool = False


class FrontChange(Struct, frozen=True):
    """What changed in the front matter, as names."""

    added_tags: tuple[str, ...] = ()
    removed_tags: tuple[str, ...] = ()
    title: str | None = None
    """A new title that the user wrote in the place of ours; None: none, or the same as before."""


def front_change(
    old: frontmatter.Front | None,
    new: frontmatter.Front,
    old_title: str | None = None,
    new_title: str | None = None,
) -> FrontChange:
    """Compare two front matters.

    Front matter that vanished as a whole, or is broken, changes nothing: the block keeps its tags
    and title.

    Args:
        old: the front matter of the base; None for a new note.
        new: the saved one.
        old_title: the value of our ``title`` key in the base.
        new_title: in the saved file.
    """
    if not new.raw or new.problem:
        return FrontChange()
    before = (old.tags or ()) if old is not None else ()
    now = new.tags or ()
    return FrontChange(
        tuple(t for t in now if t not in before),
        tuple(t for t in before if t not in now),
        new_title if new_title != old_title else None,
    )


def recall(
    base: Base | None, note: Note, live: Replica, updates: Sequence[bytes], links: NoteLinks
) -> NoteLinks:
    """Return the links with meanings for names in this text that no block has, or another one.

    The note linked to was renamed or deleted, and this text was not written since. Such a name
    means the block that the document mentions at the same place: in the state that the text shows,
    or now if the cache is older than the text. Arguments as for ``read_body``.
    """
    if not links.index.dialect.mentions:
        return links
    shown = tuple(updates) if base is None else base.updates
    body = note.body if base is None else base.note.body
    known = [(n, links.block_of(n)) for n in names_in(body)]
    if shown is not None and known and (base is not None or not all(b for _, b in known)):
        view = live.view() if shown == tuple(updates) else Replica.load(shown).view()
        if base is not None:
            mode = base.note.line_breaks
            links = with_moved_names(links, body, note.body, mode, view)
    if shown is not None and not all(block for _, block in known):
        shows = Counter(block or name for name, block in known)
        if base is None or mention_counts(view) - shows:
            links = with_meanings(links, body, note.line_breaks, view)
    if base is None or all(links.block_of(n) for n in names_in(note.body)):
        return links
    before, ours, now = base.note.view(links), note.view(links), live.view()
    if not are_both_newer(before, ours, now):
        return links
    return with_meanings(links, note.body, note.line_breaks, now)


def shown_files(body: Block) -> frozenset[str]:
    """Return the files_v0 keys of all files that a body shows."""
    found = (b.get("keys") for b in body.walk() if b.kind == "files")
    return frozenset(key for keys in found for key in str(keys).split("\n"))


def read_body(
    base: Base | None,
    note: Note,
    live: Replica,
    updates: Sequence[bytes],
    links: NoteLinks,
    client_id: int,
    target: Target,
) -> Reading:
    """Turn a saved file into an edit of its document.

    Args:
        base: the rendition its author saw; None for a note that never had a file.
        note: the saved file.
        live: the replica as it is now.
        updates: the log that ``live`` was loaded from.
        links: how ``[[names]]`` resolve.
        client_id: this process's id, used only where that is safe.
        target: other changes to make (tags, title); its body is filled in here.

    Raises:
        InvalidEdit: an editor would not accept the result; discard the replica.
    """
    ours = note.view(links)
    is_now = base is not None and base.updates == tuple(updates)
    body, origin, is_apart = ours, updates, False
    if base is None:
        theirs = with_our_links(live.view(), ours, links)
        body, is_apart = merge_three(common_base(ours, theirs), ours, theirs), True
    elif not is_now:
        before, theirs = base.note.view(links), live.view()
        if base.updates is None or are_both_newer(before, ours, theirs):
            theirs = with_our_links(theirs, ours, links)
            body, is_apart = merge_unrelated(before, ours, theirs), True
        else:
            origin = base.updates
    target = replace(target, body=body)
    made = (
        edit(live, target) if is_now else express(origin, target, live=live, client_id=client_id)
    )
    is_whole = made.reads_as_target and not is_apart
    return Reading(made.update, ours, mentions(ours), is_whole, is_made=is_now)


def our_keys(
    index: Index,
    block: BlockState,
    path: str,
    fields: Fields,
    new_tags: Iterable[BlockState] = (),
) -> OurKeys:
    """Return the values of our keys in the front matter of a note's file.

    Args:
        index: for the tags' titles.
        block: the note's row.
        path: the file's path.
        fields: of the note's document.
        new_tags: tags that are not in the index yet.
    """
    shown = shown_title(path, fields.title or block.title)
    shown_id = index.shown_id(block.id, fields.public_id)
    if not index.dialect.tag_blocks:
        return OurKeys(shown_id, shown, None)
    titles = index.tag_titles(fields.tags)
    titles += [tag.title for tag in new_tags if tag.id in fields.tags]
    return OurKeys(shown_id, shown, tuple(dict.fromkeys(titles)))


def shown_title(path: str, title: str) -> str | None:
    """Return the title that is written into a note's file; None if the file's name carries it."""
    name = PurePosixPath(path).name.removesuffix(".md")
    return None if carries(name, title) else title


def owner(index: Index, block: BlockId, title_key: str | None = None) -> Owner:
    """Return what tells which keys of a note's file are ours.

    Args:
        index: knows the blocks: the id of another one is in a copy of its file.
        block: the note.
        title_key: ``owner_of_title``.
    """
    own = index.shown_id(block)
    return Owner(lambda value: value == own or index.is_shown_id(value), title_key)


def shows(note: Note, view: Block, links: NoteLinks) -> bool:
    """Return whether a file's body shows a document's state (rule I2)."""
    present: Links = links.restricted(mentions(view), shown_files(view))
    return note.view(with_dead_names(present, note.body, note.line_breaks, view)) == view


def line_breaks(body: str, view: Block, links: Links) -> LineBreaks:
    """Return what a line end in a paragraph of a file means of which nothing else is known.

    Args:
        body: of the file.
        view: of its document.
        links: how names become ids.
    """
    has_breaks = any(
        isinstance(item, Atom) and item.kind == "break"
        for block in view.walk()
        for item in block.inline
    )
    if not has_breaks or parse(body, links) == view:
        return "space"
    return "break" if parse(body, links, "break") == view else "space"


class Compacted(Struct, frozen=True):
    """A compacted document: the server's state, and our unsent edits (None: none).

    ``notices``: what a person should review; None: nobody looked for that yet.
    """

    state: bytes
    local: bytes | None
    notices: tuple[str, ...] | None = None


def reexpress(
    acknowledged: Sequence[bytes],
    everything: Sequence[bytes],
    state: bytes,
    client_id: int,
    merge_files: MergeFiles | None = None,
) -> Compacted:
    """Express unsent edits of an old history as edits of a fresh document (PROTOCOL §7).

    The three-way base is what the server had. An edit the server applied without our knowing is
    not made twice; ``state`` then has all words of at least the first unsent edit, possibly
    extended.

    Args:
        acknowledged: the old log, up to what the server had.
        everything: the whole old log.
        state: the fresh document's full state.
        client_id: the author id of the new edit.
        merge_files: merges the texts, as the files that show them; None: they are merged as trees.
    """
    old = ours = Replica.load(acknowledged)
    if len(acknowledged) < len(everything):
        ours = Replica.load(everything)
    elif old.fields().deleted_at_ms is None:
        return Compacted(state, None)
    fresh = Replica.load([state])
    target = fields_target(old.fields(), ours.fields(), fresh.fields())
    gone = deletion(old, ours, fresh)
    codes = tuple(ours.confirmations().items()) if isinstance(gone, int) else ()
    target = replace(target, deleted_at_ms=gone, confirmations=codes)
    if merge_files is not None:
        here, there = shown_by(ours), shown_by(fresh)
        base = _file_at(acknowledged, everything, there) or shown_by(old)
        made = merge_by_files(merge_files, base, here, there, line_breaks_of(fresh, ours))
        local = made.apply_to(Replica.load([state], client_id), [state], target)
        return Compacted(state, local, made.notices)
    views = old.view(), ours.view(), fresh.view()
    first = Replica.load(everything[: len(acknowledged) + 1]).view()
    had = word_counts(first) - word_counts(views[0])
    may_have = bool(had) and contains_words(had, views[2])
    body = (merge_unrelated if may_have else merge_three)(*views)
    target = replace(target, body=body)
    update = express([state], target, live=fresh, client_id=client_id).update
    source = rebased_source(old, ours, fresh, [state], client_id)
    return Compacted(state, joined([update, source]))


def _file_at(
    acknowledged: Sequence[bytes], everything: Sequence[bytes], there: bytes
) -> bytes | None:
    """Return the server's file if it is one of ours on the way to the newest; None: it is not.

    The server applied these edits, and their answer was lost.
    """
    for end in range(len(everything) - 1, len(acknowledged), -1):
        if shown_by(Replica.load(everything[:end])) == there:
            return there
    return None


def fields_target(before: Fields, after: Fields, now: Fields, body: Block | None = None) -> Target:
    """Return our changes of the fields as a target for a document whose fields are ``now``."""
    old_files = {f.key: f for f in before.files}
    new_files = {f.key: f for f in after.files}
    target = Target(
        body=body,
        title=after.title if after.title not in {before.title, now.title} else None,
        add_tags=frozenset(after.tags) - frozenset(before.tags),
        remove_tags=frozenset(before.tags) - frozenset(after.tags),
        put_files=tuple(f for k, f in new_files.items() if k not in old_files),
        drop_files=tuple(k for k in old_files if k not in new_files),
    )
    if after.deleted_at_ms != before.deleted_at_ms:
        target = replace(target, deleted_at_ms=after.deleted_at_ms)
    return target
