"""How long the daemon and its mirrors wait for what: one value, passed down from the daemon."""

from typing import Final

from msgspec import Struct

from heapsyncd.backoff import Backoff

_REFUSED: Final = Backoff(60.0, 3600.0)
_LARGE: Final = Backoff(1.0, 600.0)
_RESTART: Final = Backoff(5.0, 300.0, min_share=0.5)


class Timing(Struct, frozen=True):
    """Waits in seconds, and the pauses between tries."""

    # ---- the folder ----
    quiet_s: float = 0.3
    """A file written in place is read when it did not change for this long."""
    shrunk_s: float = 3.0
    """A file that lost most of its text is read when it stayed that way for this long."""
    arrived_s: float = 10.0
    """The first scan, and texts that link to new files, wait at most this long for them to settle.
    """
    gone_s: float = 1.0
    """A path counts as deleted when it is missing for this long: editors move files about."""
    gone_most_s: float = 10.0
    """The longest wait for that.

    Deletions are confirmed only when no others follow, so that a mass deletion is seen as one."""
    again_s: float = 0.1
    """A path that was not as expected is scanned again after this."""
    trouble_again_s: float = 5.0
    """How soon work that the folder or the disk refused is retried."""
    audit_s: float = 600.0
    """How often the whole folder is compared, in case the watch missed a change."""
    late_s: float = 5.0
    """A working watch has reported a change by then."""

    # ---- the server ----
    news_s: float = 3.0
    """At a start, edits wait at most this long for the server's news."""
    moving_s: float = 1.0
    """The delta feed is polled at least this often while there are changes."""
    announced_s: float = 1.0
    """The average time between polls that other devices ask for, and between our announcements."""
    announcements: int = 5
    """So many of either may follow each other at once."""
    after_change_s: float = 2.0
    """After a live change the feed is polled within this time, at random."""
    follow_again_s: float = 1.0
    """How soon a live connection that ended is opened again."""
    transfer_again_s: float = 30.0
    """How often to check for transfers that were put off."""
    put_back_s: float = 5.0
    """A lost source is put back within this time, at random: other devices may do it too."""
    refused_transfer: Backoff = _REFUSED
    """The pauses before a refused transfer is retried."""
    large_edits: Backoff = _LARGE
    """The pauses between checks whether the server has the edits that are too large for a push."""

    # ---- the account ----
    heaps_again_s: float = 60.0
    """How often the server is asked for the list of heaps."""
    beat_s: float = 2.0
    """How often to check that the heaps' loops make progress, and for a suspend."""
    once_poll_s: float = 0.5
    """The time between polls in a single pass."""
    give_up_s: float = 30.0
    """A single pass ends when the server, or one kind of work with it, failed for this long."""
    end_s: float = 3.0
    """After a single pass the heaps have this long to finish; then their tasks are cancelled."""

    # ---- the daemon ----
    restart: Backoff = _RESTART
    """The pauses before a mirror that ended in trouble is started again."""
    stable_s: float = 600.0
    """After this long without trouble, these pauses start short again."""
    close_s: float = 10.0
    """At the end, or for a repair, mirrors have this long to finish; then they are cancelled."""


DEFAULT: Final = Timing()
