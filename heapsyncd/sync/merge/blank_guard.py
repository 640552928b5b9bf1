"""A document that comes empty from the server though it had content: a load that failed there.

Within one ``sync_version`` nothing can be lost so: states are merged. A new version replaces the
old one (PROTOCOL §7), and an empty one would blank the file. Pure.
"""

from collections.abc import Sequence
from typing import Final

from heapsyncd.document.replica import Replica

BLANKED: Final = (
    "the server sends it without title and text, though it had both; what is here is kept. If it"
    " is to be empty, empty the file; else look at it on the server"
)


def blanked(acknowledged: Sequence[bytes], ours: Sequence[bytes], state: bytes) -> bool:
    """Whether the full state of a new version lacks what everybody knew.

    Args:
        acknowledged: the updates of the old version that the server had.
        ours: those, and our unsent ones: a note that was emptied here may be empty.
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
