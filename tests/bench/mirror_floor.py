"""The least processor time that each note of a phase needs: the pure functions alone."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from heapsyncd.document.edit import Target, edit, express
from heapsyncd.document.replica import Replica
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import clear_cache, parse
from heapsyncd.markdown.write.render import render
from heapsyncd.sync.heap.gc_control import no_collection
from heapsyncd.sync.merge.note_text import Note
from heapsyncd.tree import Block
from tests.bench.notes import reworded

EMPTY = b"\0\0"


@dataclass(slots=True)
class Floor:
    """Milliseconds a note."""

    upload: float = 0.0
    """Decode, parse, express on an empty document."""
    mirror: float = 0.0
    """Load, view, render."""
    send: float = 0.0
    """Load, view, decode, parse, express: one word was changed."""
    receive: float = 0.0
    """Apply, view, patch: the same word, in a replica that is in memory."""


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
    floor.upload += _taken(
        lambda: made.append(express([], Target(body=_read(data, links))).update or EMPTY)
    )
    update = made[0]
    here = Replica.load([update])
    shown = render(here.view(), links)
    here.forget_view()
    floor.mirror += _taken(lambda: render(Replica.load([update]).view(), links))
    floor.send += _taken(lambda: made.append(_changed(update, changed, links)))
    floor.receive += _taken(lambda: _received(here, made[1], shown, links))


def _read(data: bytes, links: Links) -> Block:
    return parse(Note.of(data).body, links)


def _changed(update: bytes, data: bytes, links: Links) -> bytes:
    replica = Replica.load([update])
    replica.view()
    return edit(replica, Target(body=_read(data, links))).update or EMPTY


def _received(replica: Replica, update: bytes, shown: str, links: Links) -> str:
    replica.apply(update)
    return patch(shown, replica.view(), links)


def _taken(work: Callable[[], object]) -> float:
    clear_cache()  # each phase meets the note anew
    start = time.process_time()
    work()
    return time.process_time() - start
