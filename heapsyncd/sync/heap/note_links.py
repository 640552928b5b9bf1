"""The meaning of ``[[links]]`` and ``![[files]]`` in a note, by the names of its heap now.

Documents hold ids, so a rename changes no document that links to the note. The files of those are
marked stale (``placement``) and written again with the new name. Where a user types a former name
of a note, it still means the note.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.index import Index, link_key


class NoteLinks(Struct, frozen=True):
    """The links of one note (``markdown.links.Links``).

    * ``only``: names of other blocks are not recognised, so that text that merely looks like a
      link stays text, as in the document.
    * ``aliases``: former names count too, for reading what a user typed.
    * ``meant``: meanings in this note of names that no block has, by ``link_key``
      (``note_text.recall``).
    * ``moved``: meanings in this note of names that other blocks have by now, likewise.
    * ``new_files``: attachments that are not here yet, as in ``Index.attachments``.

    Where notes have no mentions (``Dialect``), no name means anything.
    """

    index: Index
    note: BlockId | None
    only: frozenset[str] | None = None
    files: frozenset[str] | None = None
    aliases: bool = False
    meant: Mapping[str, str] | None = None
    moved: Mapping[str, str] | None = None
    new_files: Mapping[str, str] | None = None

    def name_of(self, block_id: str) -> str | None:
        """Return the name for a link to a block."""
        return self.index.name_of(block_id) if self.index.dialect.mentions else None

    def block_of(self, name: str) -> str | None:
        """Return the block that ``[[name]]`` means in this note."""
        if not self.index.dialect.mentions:
            return None
        # Whoever types a name means a note. A link to a folder is made in an app.
        found = self.moved.get(link_key(name)) if self.moved else None
        if found is None:
            found = self.index.block_of(name, folders=self.only is not None)
        if found is None and self.aliases:
            found = _formerly(self.index, name)
        if found is None and self.meant is not None:
            found = self.meant.get(link_key(name))
        return found if self.only is None or found in self.only else None

    def file_name(self, key: str) -> str | None:
        """Return the attachment's name for a files_v0 key."""
        path = self._files().get(key)
        return None if path is None else PurePosixPath(path).name

    def file_key(self, name: str) -> str | None:
        """Return the files_v0 key of the attachment with this name."""
        wanted = collision_key(PurePosixPath(name).name)
        for key, path in self._files().items():
            if self.files is not None and key not in self.files:
                continue
            if collision_key(PurePosixPath(path).name) == wanted:
                return key
        return None

    def _files(self) -> Mapping[str, str]:
        if not self.index.dialect.mentions:
            return {}
        stored = {} if self.note is None else self.index.attachments.get(self.note, {})
        return {**stored, **self.new_files} if self.new_files else stored

    def restricted(self, only: Iterable[str], files: Iterable[str]) -> "NoteLinks":
        """Return links that recognise only these blocks and files, by their present names."""
        present = replace(self, aliases=False, meant=None, moved=None)
        return replace(present, only=frozenset(only), files=frozenset(files))


class UnknownName(Exception):
    """``KnownLinks`` was asked for something that it does not know."""


class KnownLinks(Struct, frozen=True):
    """The links of a new note as a value, for another process: what some names mean now.

    As ``NoteLinks`` with ``aliases``, of a note without attachments.

    * ``meanings``: for each name, the block that a user means by it, and the one that a text of
      ours does.
    * ``names``: for each block, its name.
    """

    meanings: Mapping[str, tuple[str | None, str | None]]
    names: Mapping[str, str | None]
    only: frozenset[str] | None = None

    @classmethod
    def of(cls, index: Index, names: Iterable[str]) -> "KnownLinks":
        """Return the links of a text in which these names stand, or ids in the place of names."""
        typed = NoteLinks(index, None, aliases=True)
        meanings: dict[str, tuple[str | None, str | None]] = {}
        known: dict[str, str | None] = {}
        left = list(names)
        while left:
            name = left.pop()
            if name in meanings:
                continue
            present = index.block_of(name) if index.dialect.mentions else None
            meanings[name] = typed.block_of(name), present
            for block in {name, *meanings[name]} - known.keys():
                if block is not None:
                    known[block] = typed.name_of(block)
                    left += filter(None, [known[block]])  # a written link is read again
        return cls(meanings, known)

    def name_of(self, block_id: str) -> str | None:
        """Return the name for a link to a block."""
        if block_id not in self.names:
            raise UnknownName(block_id)
        return self.names[block_id]

    def block_of(self, name: str) -> str | None:
        """Return the block that ``[[name]]`` means in this note."""
        if name not in self.meanings:
            raise UnknownName(name)
        typed, present = self.meanings[name]
        if self.only is None:
            return typed
        return present if present in self.only else None

    def file_name(self, key: str) -> str | None:  # noqa: ARG002 - the protocol's shape
        """Return None: there are no attachments."""
        return None

    def file_key(self, name: str) -> str | None:  # noqa: ARG002
        """Return None: there are no attachments."""
        return None

    def restricted(self, only: Iterable[str], files: Iterable[str]) -> "KnownLinks":  # noqa: ARG002
        """Return links that recognise only these blocks, by their present names."""
        return replace(self, only=frozenset(only))


def _formerly(index: Index, name: str) -> BlockId | None:
    """Return the note that had a name before, or a path before a folder of it was renamed."""
    key = link_key(name)
    found = index.aliases.get(key)
    if found is not None and index.kind(found) != "folder":
        return found
    parts = key.split("/")
    for at, part in enumerate(parts[:-1], 1):
        folder = index.path_of.get(index.aliases.get(part, BlockId("")))
        if folder in index.folders:
            found = index.block_of("/".join([folder, *parts[at:]]), folders=False)
            if found is not None:
                return found
    return None
