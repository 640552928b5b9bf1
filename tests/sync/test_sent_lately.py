"""What was acknowledged a moment ago, as others may not have seen it."""

from heapsyncd.ids import BlockId
from heapsyncd.sync.apart import LATELY_S, SentLately

BLOCK, OTHER = BlockId("01J00000000000000000000001"), BlockId("01J00000000000000000000002")


def test_rows_are_forgotten_in_time() -> None:
    """Each block's rows are told until their time is over."""
    sent = SentLately()
    sent.add(BLOCK, [1, 2], 0.0)
    sent.add(OTHER, [1], 1.0)
    assert sent.of(BLOCK, LATELY_S) == {1, 2}
    assert sent.of(BLOCK, LATELY_S + 0.5) == frozenset()
    assert sent.of(OTHER, LATELY_S + 0.5) == {1}


def test_a_row_sent_twice_is_forgotten_too() -> None:
    """A push that is sent again, its answer having been lost, does no harm."""
    sent = SentLately()
    sent.add(BLOCK, [1], 0.0)
    sent.add(BLOCK, [1], 1.0)
    assert sent.of(BLOCK, 2.0) == {1}
    assert sent.of(BLOCK, LATELY_S + 5) == frozenset()
