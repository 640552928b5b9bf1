"""What was pushed lately is known again when the server sends it back."""

from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.recent_acks import LATELY_S, RESUMED_S, UNHEARD_S, RecentAcks

NOTE, OTHER = BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTV"), BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTW")


def test_an_echo_is_known_by_its_bytes() -> None:
    """The same bytes for the same version of the same note, and nothing else."""
    sent = RecentAcks()
    sent.pushed(NOTE, 1, b"update", [1], 0.0)
    assert sent.is_echo(NOTE, 1, b"update")
    assert not sent.is_echo(NOTE, 1, b"another")
    assert not sent.is_echo(NOTE, 2, b"update")
    assert not sent.is_echo(OTHER, 1, b"update")


def test_old_pushes_are_forgotten() -> None:
    """Memory is bounded: what was pushed long ago is dropped at the next push, what was pushed
    again since is not.
    """
    sent = RecentAcks()
    sent.pushed(NOTE, 1, b"old", [1], 0.0)
    sent.pushed(NOTE, 1, b"twice", [1], 0.0)
    sent.pushed(NOTE, 1, b"twice", [1], LATELY_S)
    sent.pushed(NOTE, 1, b"new", [1], LATELY_S + 1)
    assert not sent.is_echo(NOTE, 1, b"old")
    assert sent.is_echo(NOTE, 1, b"twice")
    assert sent.is_echo(NOTE, 1, b"new")


def test_a_push_is_unheard_until_the_server_tells_of_it() -> None:
    """Or until it has had time enough to tell."""
    sent = RecentAcks()
    assert not sent.unheard(NOTE, 0.0)
    sent.pushed(NOTE, 1, b"update", [1], 0.0)
    assert sent.unheard(NOTE, UNHEARD_S) == {1}
    assert not sent.unheard(OTHER, UNHEARD_S)
    sent.echoed(NOTE, 1, b"update")
    assert not sent.unheard(NOTE, UNHEARD_S)
    sent.pushed(NOTE, 1, b"more", [2], 1.0)
    assert not sent.unheard(NOTE, 2.0 + UNHEARD_S)
    sent.pushed(NOTE, 1, b"most", [3, 4], 2.0 + UNHEARD_S)
    assert sent.unheard(NOTE, 2.0 + UNHEARD_S) == {3, 4}


def test_the_echo_of_a_slow_push_is_waited_for_from_its_answer_on() -> None:
    """An answer may take longer than an echo; what was echoed before it stays heard."""
    sent = RecentAcks()
    sent.pushed(NOTE, 1, b"slow", [1], 0.0)
    sent.pushed(OTHER, 1, b"echoed", [1], 0.0)
    sent.echoed(OTHER, 1, b"echoed")
    for block in (NOTE, OTHER):
        sent.acknowledged(block, [1], UNHEARD_S + 3.0)
    assert sent.unheard(NOTE, UNHEARD_S + 4.0) == {1}
    assert not sent.unheard(OTHER, UNHEARD_S + 4.0)


def test_crossings_are_due_once() -> None:
    """Each block's at its last time."""
    sent = RecentAcks()
    sent.crossed(NOTE, 1.0)
    sent.crossed(OTHER, 1.0)
    sent.crossed(OTHER, 2.0)
    assert sent.due(0.0) == []
    assert sent.due(1.0) == [NOTE]
    assert sent.crossed_blocks() == {OTHER}
    assert sent.due(3.0) == [OTHER]
    assert sent.due(3.0) == []
    assert sent.crossed_blocks() == set()


def test_an_echo_tells_of_its_push_and_those_before() -> None:
    """Another push may be on its way when the echo of one comes."""
    sent = RecentAcks()
    for k, update in enumerate((b"first", b"second", b"third"), 1):
        sent.pushed(NOTE, 1, update, [k], 0.0)
    sent.echoed(NOTE, 1, b"second")
    assert sent.unheard(NOTE, 0.0) == {3}
    sent.echoed(NOTE, 1, b"first")
    assert sent.unheard(NOTE, 0.0) == {3}
    sent.heard(NOTE, [3, 4])
    sent.heard(OTHER)
    assert not sent.unheard(NOTE, 0.0)
    sent.pushed(NOTE, 1, b"fourth", [4], 0.0)
    sent.heard(NOTE)
    assert not sent.unheard(NOTE, 0.0)


def test_sent_lately() -> None:
    """Acknowledged rows are remembered for a while, each by its own time."""
    sent = RecentAcks()
    sent.add(NOTE, [1, 2], 0.0)
    sent.add(NOTE, [3], LATELY_S)
    assert sent.of(NOTE, LATELY_S) == {1, 2, 3}
    assert sent.of(NOTE, LATELY_S + 1) == {3}
    assert sent.of(NOTE, 2 * LATELY_S + 1) == frozenset()


def test_only_what_is_old_is_freed() -> None:
    """Rows whose report is still waited for are not forgotten by an audit."""
    sent = RecentAcks()
    sent.pushed(NOTE, 1, b"old", [1], 0.0)
    sent.pushed(NOTE, 1, b"new", [2], UNHEARD_S)
    sent.tidy(UNHEARD_S + 1.0)
    assert sent.unheard(NOTE, UNHEARD_S + 1.0) == {2}
    sent.tidy(2 * UNHEARD_S + 1.0)
    assert sent.unheard(NOTE, UNHEARD_S + 1.0) == frozenset()


def test_a_row_sent_twice() -> None:
    """A push that is sent again, its answer having been lost, does no harm."""
    sent = RecentAcks()
    sent.add(NOTE, [1], 0.0)
    sent.add(NOTE, [1], 1.0)
    assert sent.of(NOTE, 2.0) == {1}
    assert sent.of(NOTE, LATELY_S + 0.5) == {1}
    assert sent.of(NOTE, LATELY_S + 5) == frozenset()


def test_what_the_last_run_made() -> None:
    """It may not have been reported, until there is news or some time has passed."""
    sent = RecentAcks()
    sent.resume(NOTE, 1, 0.0)
    sent.resume(NOTE, 2, 1.0)
    assert sent.of(NOTE, 2.0) == {1, 2}
    assert sent.resumed(NOTE, 2.0) == {1, 2}
    assert sent.resumed(NOTE, RESUMED_S + 0.5) == {2}
    assert not sent.resumed(OTHER, 2.0)
    sent.caught_up()
    assert not sent.resumed(NOTE, 2.0)
    assert sent.of(NOTE, 2.0) == {1, 2}


def test_what_a_live_link_did_not_report_before_it_ended() -> None:
    """It counts like what the last run made."""
    sent = RecentAcks()
    sent.pushed(NOTE, 1, b"old", [1], 0.0)
    sent.pushed(NOTE, 1, b"first", [2], UNHEARD_S)
    sent.pushed(OTHER, 1, b"second", [1], UNHEARD_S)
    sent.echoed(OTHER, 1, b"second")
    sent.interrupted(UNHEARD_S + 1.0)
    assert sent.resumed(NOTE, UNHEARD_S + 2.0) == {2}
    assert not sent.resumed(OTHER, UNHEARD_S + 2.0)
