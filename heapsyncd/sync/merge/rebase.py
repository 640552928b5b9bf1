"""Repeat our text on a document that a restored server has in an earlier ``sync_version``. Pure.

The two documents share no history. What the server had at the backup is not known any more, and it
may have been edited since. So the text that is in both is taken for the base, and everything else
of either is kept; text that was deleted after the backup returns.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from heapsyncd.document.edit import express, merge_three
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import joined, merge
from heapsyncd.model import Fields
from heapsyncd.sync.merge.common_base import common_base
from heapsyncd.sync.merge.note_source import rebased_source
from heapsyncd.sync.merge.note_text import Compacted, fields_target, reexpress


def rebase(
    acknowledged: Sequence[bytes], everything: Sequence[bytes], state: bytes, client_id: int
) -> Compacted:
    """Express our acknowledged text, then our unsent edits, as edits of an earlier document.

    Args:
        acknowledged: the log of the later version, up to what the server acknowledged.
        everything: the whole log of the later version.
        state: the earlier document's full state.
        client_id: the author id of the new edits.
    """
    ours, fresh = Replica.load(acknowledged), Replica.load([state])
    here, there = ours.view(), fresh.view()
    body = merge_three(common_base(here, there), here, there)
    now = fresh.fields()
    target = fields_target(_before(ours.fields(), now), ours.fields(), now, body)
    if isinstance(target.deleted_at_ms, int):
        target = replace(target, confirmations=tuple(ours.confirmations().items()))
    text = express([state], target, live=fresh, client_id=client_id).update
    source = rebased_source(None, ours, fresh, [state], client_id)
    repeated = joined([text, source])
    since = [state] if repeated is None else [state, repeated]
    edits = [repeated] if repeated is not None else []
    if len(acknowledged) < len(everything):
        unsent = reexpress(acknowledged, everything, merge(since), client_id).local
        edits += [unsent] if unsent is not None else []
    return Compacted(state, merge(edits) if edits else None)


def _before(ours: Fields, now: Fields) -> Fields:
    """Return the base of the fields: the server's, so that every value of ours counts as a change.

    A title of theirs stays if we have none; files that only they have stay too.
    """
    keys = {f.key for f in ours.files}
    return replace(now, title="", files=tuple(f for f in now.files if f.key in keys))
