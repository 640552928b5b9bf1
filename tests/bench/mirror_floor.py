"""The least processor time that each note of a phase needs: the pure functions alone."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import joined
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.parse import clear_cache, parse
from heapsyncd.sync.heap.gc_control import no_collection
from heapsyncd.sync.merge.note_file import shown_file
from heapsyncd.sync.merge.note_source import first_source, read_source, source_update
from heapsyncd.sync.merge.note_text import Note
from tests.bench.notes import reworded

EMPTY = b"\0\0"
_ID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"
_OWNER = Owner(lambda value: value == _ID)


@dataclass(slots=True)
class Floor:
    """Milliseconds a note."""

    upload: float = 0.0
    """Decode, parse, express on an empty document, with the source."""
    mirror: float = 0.0
    """Load, view, make the file."""
    send: float = 0.0
    """Load, view, decode, parse, express with the source: one word was changed."""
    receive: float = 0.0
    """Apply, view, make the file: the same word, in a replica that is in memory."""


@dataclass(frozen=True)
class Titles:
    """Links by title, as the mirror's index knows them."""

    ids: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Mapping[str, str]) -> "Titles":
        """An id for each path's title."""
        titles = [path.rpartition("/")[2].removesuffix(".md") for path in paths]
        ids = {title: f"{k:026}" for k, title in enumerate(titles)}
        return cls(ids, {v: k for k, v in ids.items()})

    def name_of(self, block_id: str) -> str | None:
        return self.names.get(block_id)

    def block_of(self, name: str) -> str | None:
        return self.ids.get(name)

    def file_name(self, key: str) -> str | None:
        return None

    def file_key(self, name: str) -> str | None:
        return None


def floor_of(notes: Mapping[str, str], links: Links) -> Floor:
    """The floor of a set of notes, by path, each taken once."""
    floor = Floor()
    gc.collect()
    with no_collection():
        for text in notes.values():
            _add(floor, text, links)
    for name in ("upload", "mirror", "send", "receive"):
        setattr(floor, name, getattr(floor, name) * 1000 / max(1, len(notes)))
    return floor


def _add(floor: Floor, text: str, links: Links) -> None:
    data, changed = text.encode(), reworded(text, 0, "changed").encode()
    made: list[bytes] = []
    floor.upload += _taken(lambda: made.append(_created(data, links)))
    update = made[0]
    here = Replica.load([update])
    ours = OurKeys(_ID, None, Note.of(data).front.tags or ())
    shown = _shown(here, ours, links)
    here.forget_view()
    floor.mirror += _taken(lambda: _shown(Replica.load([update]), ours, links))
    floor.send += _taken(lambda: made.append(_changed(update, shown, changed, ours, links)))
    floor.receive += _taken(lambda: _received(here, made[1], ours, links))


def _created(data: bytes, links: Links) -> bytes:
    note, live = Note.of(data), Replica(1)
    body = parse(note.body, links)
    ours, source = OurKeys(_ID, None, note.front.tags or ()), note.file(_OWNER).source
    carried = first_source(source, ours, links, body)
    return edit(live, Target(body=body, first_source=carried)).update or EMPTY


def _changed(update: bytes, seen: bytes, data: bytes, ours: OurKeys, links: Links) -> bytes:
    live, note, base = Replica.load([update], 3), Note.of(data), Note.of(seen)
    live.view()
    body = parse(note.body, links)
    tree = edit(live, Target(body=body)).update
    before, source = base.file(_OWNER).source, note.file(_OWNER).source
    more = source_update([update], before, source, ours, links, body, live=live, client_id=3)
    return joined([tree, more]) or EMPTY


def _received(replica: Replica, update: bytes, ours: OurKeys, links: Links) -> bytes:
    replica.apply(update)
    return _shown(replica, ours, links)


def _shown(replica: Replica, ours: OurKeys, links: Links) -> bytes:
    source = read_source(replica, replica.view, links).source
    return shown_file(source, replica.view(), ours, links)


def _taken(work: Callable[[], object]) -> float:
    clear_cache()  # each phase meets the note anew
    start = time.process_time()
    work()
    return time.process_time() - start
