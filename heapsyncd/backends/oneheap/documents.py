"""What a block shows, and the document that shows it. Pure.

A document that is made here has no history: it is the whole state of one version of a block. The
file that it shows is a function of it, the same that the mirror writes, without our keys.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.ids import BlockId
from heapsyncd.items.kinds import KINDS
from heapsyncd.items.notation import Around
from heapsyncd.items.values import Item
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.encoding import decode, encode
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.markdown.item_file import write_file
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import BlockKind, FileEntry
from heapsyncd.sync.merge.note_file import NoteFile, file_of, shown_file
from heapsyncd.sync.merge.note_source import read_source, source_update

_NO_KEYS = OurKeys(None, None, None)
"""Files here have none of our keys: the mirror knows their values."""


class Shown(Struct, frozen=True):
    """What a block shows.

    ``title``: of the document. ``folder``: the block of its directory; None: the top. ``data``:
    the file of a note without our keys; None for other kinds. ``files``: contents, by key.
    ``is_deleted``: its document says that it is in the trash.
    """

    kind: BlockKind
    title: str
    folder: BlockId | None
    public_id: str = ""
    data: bytes | None = None
    files: tuple[FileEntry, ...] = ()
    is_deleted: bool = False


def shown(kind: BlockKind, updates: Iterable[bytes]) -> Shown:
    """Return what a document shows.

    Raises:
        UnreadableDocument: it cannot be loaded.
    """
    replica = Replica.load(updates)
    found = replica.fields()
    data = None
    if kind == "document":
        view = replica.view()
        source = read_source(replica, lambda: view, NO_LINKS).source
        data = shown_file(source, view, _NO_KEYS, NO_LINKS)
    return Shown(
        kind,
        found.title,
        min(found.tags, default=None),
        found.public_id,
        data,
        found.files,
        found.deleted_at_ms is not None,
    )


def document(what: Shown) -> bytes:
    """Return a document that shows something, as one update.

    Raises:
        InvalidEdit: no document can show it.
        UnreadableFile: its file is not text.
    """
    live = Replica()
    target = Target(
        title=what.title,
        add_tags=frozenset() if what.folder is None else frozenset({what.folder}),
        put_files=what.files,
        public_id=what.public_id or None,
    )
    if what.data is None:
        return edit(live, target).update or live.state()
    file, body = taken_apart(what.data, "")
    view = parse(body, NO_LINKS, file.source.line_breaks)
    update = edit(live, replace(target, body=view)).update
    source = source_update(
        (), None, file.source, _NO_KEYS, NO_LINKS, view, live=live, client_id=live.client_id
    )
    return merge([u for u in (update, source) if u is not None])


def with_update(state: bytes, update: bytes) -> bytes:
    """Return a document with another update."""
    return merge([state, update])


def marked(state: bytes, files: Iterable[FileEntry]) -> bytes:
    """Return a document with these entries of contents, uploaded or not as they say."""
    made = edit(Replica.load([state]), Target(put_files=tuple(files)))
    return state if made.update is None else merge([state, made.update])


def item_data(item: Item, around: Around, onto: bytes | None) -> bytes:
    """Return the file of an item without our keys.

    Args:
        item: the item.
        around: the file's surroundings.
        onto: the file as it was, without our keys; what says the same stays as it is.
    """
    file, _ = taken_apart(write_file(item, around, onto), item.id)
    return file_of(file.source, _NO_KEYS)


def with_front(data: bytes, item_id: str) -> bytes:
    """Return a note's file with the item's id, if it has no front matter.

    A file without any says nothing of the fields, but this one has our id in the folder.
    """
    text = decode(data)
    if frontmatter.split(text.text)[0].raw:
        return data
    end = text.newline
    front = f"---{end}{frontmatter.key_line('id', item_id)}{end}---{end}"
    return encode(replace(text, text=front + text.text))


def text_of(item: Item) -> str:
    """Return the text below an item's front matter."""
    return str(getattr(item, KINDS[item.type].text))


def taken_apart(data: bytes, item_id: str) -> tuple[NoteFile, str]:
    """Return a file without the item's id, and its body."""
    text = decode(data)
    front, body = frontmatter.split(text.text)
    owner = Owner(lambda value: bool(item_id) and value == item_id)
    return NoteFile.of(text, front.raw, body, owner), body
