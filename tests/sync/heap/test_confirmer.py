"""A code confirms one deletion, and only the owner of the key can make it."""

from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.sync.heap.confirmer import Confirmer

HEAP, OTHER_HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTV"), HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTX")
NOTE, OTHER = BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTV"), BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTW")


def test_a_code_counts_for_one_deletion_only() -> None:
    """Neither for another time, block or heap, nor under another name or key."""
    mine, theirs = Confirmer.of(Seed(bytes(32))), Confirmer.of(Seed(b"\1" * 32))
    codes = dict(mine.entry(HEAP, NOTE, 7))
    assert Confirmer.of(Seed(bytes(32))).confirms(codes, HEAP, NOTE, 7)
    assert not mine.confirms(codes, HEAP, NOTE, 8)
    assert not mine.confirms(codes, HEAP, OTHER, 7)
    assert not mine.confirms(codes, OTHER_HEAP, NOTE, 7)
    assert not theirs.confirms(codes, HEAP, NOTE, 7)
    assert not theirs.confirms({theirs.name: codes[mine.name]}, HEAP, NOTE, 7)
    assert not mine.confirms({mine.name: "\ud800"}, HEAP, NOTE, 7)
    assert not mine.confirms({}, HEAP, NOTE, 7)
    assert bytes(32).hex() not in repr(mine)
