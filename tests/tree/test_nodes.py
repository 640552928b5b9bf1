"""Blocks are equal by value and type, at any depth."""

from msgspec.structs import replace

from heapsyncd.tree import (
    Block,
    Text,
    attrs,
)


def test_true_is_not_one() -> None:
    """Attributes are equal when value and type are."""
    assert Block("item", attrs(checked=True)) != Block("item", attrs(checked=1))
    assert Block("item", attrs(checked=True)) == Block("item", attrs(checked=True))


def _deep(levels: int, text: str) -> Block:
    block = Block("paragraph", inline=(Text(text),))
    for _ in range(levels):
        block = Block("quote", children=(block,))
    return block


def test_depth_costs_no_recursion() -> None:
    """Trees far deeper than Python's stack can be compared, hashed, walked and read."""
    a, b, c = _deep(20_000, "x"), _deep(20_000, "x"), _deep(20_000, "y")
    assert a == b
    assert a != c
    assert hash(a) == hash(b)
    assert a.words() == "x"
    assert sum(1 for _ in a.walk()) == 20_001


def test_a_block_made_of_another_is_compared_anew() -> None:
    """A changed copy of a block keeps neither its hash nor what it was found equal to."""
    old, same = Block("paragraph", text="a"), Block("paragraph", text="a")
    assert old == same
    assert hash(old) == hash(same)
    new = replace(old, text="b")
    assert new != same
    assert hash(new) != hash(same)
