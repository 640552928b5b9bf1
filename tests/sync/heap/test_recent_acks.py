"""What was pushed lately is known again when the server sends it back."""

from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.recent_acks import LATELY_S, UNHEARD_S, RecentAcks

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


def test_a_push_is_unheard_until_the_server_tells_of_it() -> None:
    """Or until it has had time enough to tell."""
    sent = RecentAcks()
    assert not sent.is_unheard(NOTE, 0.0)
    sent.pushed(NOTE, 1, b"update", 0.0)
    assert sent.is_unheard(NOTE, UNHEARD_S)
    assert not sent.is_unheard(OTHER, UNHEARD_S)
    sent.heard(NOTE)
    assert not sent.is_unheard(NOTE, UNHEARD_S)
    sent.pushed(NOTE, 1, b"more", 1.0)
    assert not sent.is_unheard(NOTE, 2.0 + UNHEARD_S)


def test_sent_lately() -> None:
    """Acknowledged rows are remembered for a while, each by its own time."""
    sent = RecentAcks()
    sent.add(NOTE, [1, 2], 0.0)
    sent.add(NOTE, [3], LATELY_S)
    assert sent.of(NOTE, LATELY_S) == {1, 2, 3}
    assert sent.of(NOTE, LATELY_S + 1) == {3}
    sent.forget()
    assert sent.of(NOTE, LATELY_S + 1) == frozenset()


def test_a_row_sent_twice() -> None:
    """A push that is sent again, its answer having been lost, does no harm."""
    sent = RecentAcks()
    sent.add(NOTE, [1], 0.0)
    sent.add(NOTE, [1], 1.0)
    assert sent.of(NOTE, 2.0) == {1}
    assert sent.of(NOTE, LATELY_S + 0.5) == {1}
    assert sent.of(NOTE, LATELY_S + 5) == frozenset()
