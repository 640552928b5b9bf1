"""The update of a saved file, made as the mirror makes it."""

from heapsyncd.backends.oneheap.documents import taken_apart
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, merge
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.merge.note_source import read_source, source_update

NO_KEYS = OurKeys(None, None, None)


def saved(state: bytes, data: bytes) -> bytes:
    """Return the update that makes a document show a file (without our keys)."""
    live = Replica.load([state])
    file, body = taken_apart(data, "")
    view = parse(body, NO_LINKS)
    seen = read_source(live, live.view, NO_LINKS).source
    update = edit(live, Target(body=view)).update
    source = source_update(
        [state], seen, file.source, NO_KEYS, NO_LINKS, view, live=live, client_id=live.client_id
    )
    parts = [u for u in (update, source) if u is not None]
    return merge(parts) if parts else EMPTY
