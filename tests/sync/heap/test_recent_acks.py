"""What was pushed lately is known again when the server sends it back."""

from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.recent_acks import LATELY_S, RecentAcks

NOTE, OTHER = BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTV"), BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTW")


def test_an_echo_is_known_by_its_bytes() -> None:
    """The same bytes for the same version of the same note, and nothing else."""
    sent = RecentAcks()
    sent.pushed(NOTE, 1, b"update", 0.0)
    assert sent.is_echo(NOTE, 1, b"update")
    assert not sent.is_echo(NOTE, 1, b"another")
    assert not sent.is_echo(NOTE, 2, b"update")
    assert not sent.is_echo(OTHER, 1, b"update")


def test_old_pushes_are_forgotten() -> None:
    """Memory is bounded: what was pushed long ago is dropped at the next push, what was pushed
    again since is not.
    """
    sent = RecentAcks()
    sent.pushed(NOTE, 1, b"old", 0.0)
    sent.pushed(NOTE, 1, b"twice", 0.0)
    sent.pushed(NOTE, 1, b"twice", LATELY_S)
    sent.pushed(NOTE, 1, b"new", LATELY_S + 1)
    assert not sent.is_echo(NOTE, 1, b"old")
    assert sent.is_echo(NOTE, 1, b"twice")
    assert sent.is_echo(NOTE, 1, b"new")
