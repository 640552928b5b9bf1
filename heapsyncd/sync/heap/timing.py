"""How long a mirror waits for what: one value, handed down from the account."""

from dataclasses import dataclass
from typing import Final

from heapsyncd.backoff import Backoff

_REFUSED: Final = Backoff(60.0, 3600.0)
_LARGE: Final = Backoff(1.0, 600.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """Waits in seconds, and the pauses between tries."""

    # ---- the folder ----
    quiet_s: float = 0.3
    """A file written in place is read when it has been quiet for this long."""
    shrunk_s: float = 3.0
    """A file that lost most of its text is believed after this long."""
    arrived_s: float = 10.0
    """New files that do not become quiet are waited for no longer than this: by the first look,
    and by texts that link to them."""
    gone_s: float = 1.0
    """A path counts as gone when it stays away for this long: editors replace files by moving them
    about."""
    gone_most_s: float = 10.0
    """While more paths go, those before them are not believed either, so that a mass deletion is
    seen as one; for no longer than this."""
    again_s: float = 0.1
    """When a path is looked at that was not as expected."""
    trouble_again_s: float = 5.0
    """How soon what the folder or the disk refused is tried again."""
    audit_s: float = 600.0
    """How often the whole folder is compared, in case the watch missed something."""
    late_s: float = 5.0
    """A watch that works has told of a change by then."""

    # ---- the server ----
    news_s: float = 3.0
    """At a start, edits wait so long for the server's news."""
    moving_s: float = 1.0
    """The delta feed is polled at least this often while things move."""
    follow_again_s: float = 1.0
    """How soon a live connection that ended is made anew."""
    transfer_again_s: float = 30.0
    """How often transfers that were put off are looked at."""
    refused_transfer: Backoff = _REFUSED
    """When a refused transfer is tried again."""
    large_edits: Backoff = _LARGE
    """When the server is asked whether it has the edits that no push takes."""

    # ---- the account ----
    heaps_again_s: float = 60.0
    """How often the list of heaps is asked for."""
    beat_s: float = 2.0
    """How often the heaps' loops, and a suspend, are looked for."""
    once_poll_s: float = 0.5
    """Between requests for changes in a single pass."""
    give_up_s: float = 30.0
    """A single pass ends when the server was away for this long, or one kind of work with it."""
    end_s: float = 3.0
    """How long after a single pass the heaps may finish what they are at; then they are cancelled.
    """


DEFAULT: Final = Timing()
