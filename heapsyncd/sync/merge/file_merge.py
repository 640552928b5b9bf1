"""Merge a note's versions by the files that show them. Pure.

Needed where documents share no history, and the server's fields are lines of the file: a service
without CRDTs (``Dialect.merge_files``) makes a fresh document of every change. The merged file
becomes an edit of the server's document.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import joined
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.encoding import decode
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import LineBreaks, MergedFile, Source
from heapsyncd.sync.merge.note_file import NoteFile, file_of, shown_file
from heapsyncd.sync.merge.note_source import read_source, replaced_source
from heapsyncd.tree import Block

MergeFiles = Callable[[bytes, bytes, bytes], MergedFile]
"""Merges the base, our version and the server's, as ``Dialect.merge_files``."""
NO_KEYS: Final = OurKeys(None, None, None)
"""The files are merged without keys of ours: those are written when a file is published."""
_NOBODY: Final = Owner(lambda _: False)


def shown_by(replica: Replica) -> bytes:
    """Return the file that shows a document, without our keys."""
    source = read_source(replica, replica.view, NO_LINKS).source
    return shown_file(source, replica.view(), NO_KEYS, NO_LINKS)


def line_breaks_of(*replicas: Replica) -> LineBreaks:
    """Return what a line end means in the first of these documents that has a source."""
    sources = (read_source(r, r.view, NO_LINKS).source for r in replicas)
    return next((s.line_breaks for s in sources if s is not None), "space")


def without_our_keys(file: NoteFile) -> bytes:
    """Return a note's file without our keys."""
    return file_of(file.source, NO_KEYS)


class FileMerge(Struct, frozen=True):
    """Three versions of a file merged into one.

    ``body``, ``source``: what the merged file says; None if it is the server's.
    """

    body: Block | None
    source: Source | None
    notices: tuple[str, ...]

    def apply_to(self, live: Replica, updates: Sequence[bytes], target: Target) -> bytes | None:
        """Make the merged file the text of a document; return the update, None: no change.

        Args:
            live: the document that ``theirs`` was the file of; changed.
            updates: those that it was loaded from.
            target: what else is to change.
        """
        text = edit(live, replace(target, body=self.body)).update
        if self.source is None or self.body is None:
            return text
        source = replaced_source(
            updates, self.source, self.body, live=live, client_id=live.client_id
        )
        if source is not None:
            live.apply(source)
        return joined([text, source])


def merge_by_files(
    merge: MergeFiles,
    base: bytes,
    ours: bytes,
    theirs: bytes,
    line_breaks: LineBreaks = "space",
) -> FileMerge:
    """Merge three versions of a file, all without our keys.

    Args:
        merge: of the server's dialect.
        base: what both came from; b"" if it is not known.
        ours: our version.
        theirs: the server's version.
        line_breaks: what a line end in a paragraph of the merged file means.

    Raises:
        UnreadableFile: the merged file is not text.
    """
    if ours in {base, theirs}:
        return FileMerge(None, None, ())
    made = merge(base, ours, theirs)
    if made.data == theirs:
        return FileMerge(None, None, made.notices)
    source = _source_of(made.data, line_breaks)
    return FileMerge(parse(source.body, NO_LINKS, line_breaks), source, made.notices)


def _source_of(data: bytes, line_breaks: LineBreaks) -> Source:
    text = decode(data)
    front, body = frontmatter.split(text.text)
    return NoteFile.of(text, front.raw, body, _NOBODY, line_breaks).source
