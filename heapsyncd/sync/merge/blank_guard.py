"""Detect a document that the server returns empty after a failed load.

Within one ``sync_version`` states are merged and no content can vanish like this. A new version
replaces the old one (PROTOCOL §7), so an empty one would empty the file. Pure.
"""

from collections.abc import Sequence
from typing import Final

from heapsyncd.document.replica import Replica

BLANKED: Final = (
    "The server returned this note empty. The local copy is kept. To empty it, clear the file;"
    " otherwise check the server."
)
"""The problem shown for such a note."""


def blanked(acknowledged: Sequence[bytes], ours: Sequence[bytes], state: bytes) -> bool:
    """Return whether the full state of a new version lacks the title and text everybody knew.

    Args:
        acknowledged: the updates of the old version that the server had.
        ours: the same with our unsent ones: a note that was emptied here may be empty.
        state: the new version.
    """
    new = Replica.load([state])
    if _title(new) or _text(new):
        return False
    old, here = Replica.load(acknowledged), Replica.load(ours)
    return bool(_title(old) and _text(old) and _text(here))


def _title(replica: Replica) -> str:
    return replica.fields().title.strip()


def _text(replica: Replica) -> str:
    return replica.view().all_words().strip()
