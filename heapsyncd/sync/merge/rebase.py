"""A document that a restored server has in an earlier ``sync_version``: what it forgot is said
again. Pure.

The two share no history, and what the server had then is not known any more: it may have been
edited since it was put back. So what stands in both texts is taken for the base, and all of either
is kept; a text that was deleted after the backup was made returns.
"""

from collections.abc import Sequence
from dataclasses import replace

from heapsyncd.document.edit import express, merge_three
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.model import Fields
from heapsyncd.sync.merge.common_base import common
from heapsyncd.sync.merge.note_text import Compacted, fields_target, reexpress


def restate(
    acknowledged: Sequence[bytes], everything: Sequence[bytes], state: bytes, client_id: int
) -> Compacted:
    """Say what the server acknowledged, and then our unpushed edits, as edits of an earlier
    document.

    Args:
        acknowledged: the log of the later version as far as the server had it.
        everything: that whole log.
        state: the earlier document's full state.
        client_id: for the new edits.
    """
    ours, fresh = Replica.load(acknowledged), Replica.load([state])
    here, there = ours.view(), fresh.view()
    body = merge_three(common(here, there), here, there)
    now = fresh.fields()
    target = fields_target(_before(ours.fields(), now), ours.fields(), now, body)
    told = express([state], target, live=fresh, client_id=client_id).update
    since = [state] if told is None else [state, told]
    edits = [told] if told is not None else []
    if len(acknowledged) < len(everything):
        unsent = reexpress(acknowledged, everything, merge(since), client_id).local
        edits += [unsent] if unsent is not None else []
    return Compacted(state, merge(edits) if edits else None)


def _before(ours: Fields, now: Fields) -> Fields:
    """What the fields were: as they are there, so that what we say of them counts. A title of
    theirs is kept if we have none, and so is every file.
    """
    keys = {f.key for f in ours.files}
    return replace(now, title="", files=tuple(f for f in now.files if f.key in keys))
