"""What both sides wrote at one place: the words that both begin or end it with stand once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.document.edit import Target, express
from heapsyncd.document.inline.visible_text import cut, merged, spans, with_additions
from heapsyncd.document.replica import Replica
from heapsyncd.tree import Block, Inline, Text, inline
from tests.document.worlds import ITEMS


def edit(base: list[bytes], text: str, live: Replica | None = None) -> list[bytes]:
    body = Block("doc", children=(Block("paragraph", inline=(Text(text),)),))
    made = express(base, Target(body=body), live=live).update
    return [made] if made is not None else []


@pytest.mark.parametrize(
    ("base", "live", "ours", "merged"),
    [
        ("x", "x B", "x B D", "x B D"),
        ("x", "x B E", "x B D", "x B E D"),
        ("x y", "x B y", "x B D y", "x B D y"),
        ("x y", "x B y", "x D B y", "x D B y"),
        ("x y", "x B y", "x B y D", "x B y D"),
        ("a old x", "a B x", "a B D x", "a B D x"),
        ("x", "x B D", "x B", "x B D"),
        ("a ship", "a shipyard", "a boatyard", "a boatyard"),
        ("a ship b", "a boatyard b", "a shipyard b", "a boatyard b"),
        ("boat", "boathouse to let", "boatyard to sell", "boathouse to letyard to sell"),
    ],
)
def test_both_began_alike(base: str, live: str, ours: str, merged: str) -> None:
    """One side's text may go on where the other's ends."""
    start = edit([], base)
    now = [*start, *edit(start, live)]
    made = edit(start, ours, Replica.load(now))
    assert Replica.load([*now, *made]).view().words() == merged


def test_words_stay_whole() -> None:
    """Two words that merely begin alike are two words."""
    start = edit([], "x y")
    now = [*start, *edit(start, "x Boat y")]
    words = Replica.load([*now, *edit(start, "x Boats y", Replica.load(now))]).view().words()
    assert sorted(words.split()) == ["Boat", "Boats", "x", "y"]


def length(items: tuple[Inline, ...]) -> int:
    return spans(items)[-1][1] if items else 0


@given(ITEMS, st.data())
def test_content_is_its_pieces(items: tuple[Inline, ...], data: st.DataObject) -> None:
    """Cut anywhere and put together again it is the same; no piece is longer than asked for."""
    at = data.draw(st.integers(0, length(items)))
    left, right = cut(items, 0, at), cut(items, at, length(items))
    assert inline([*left, *right]) == items
    assert length(tuple(left)) == at


@given(ITEMS, ITEMS)
def test_an_edit_of_one_side_is_the_result(
    base: tuple[Inline, ...], edited: tuple[Inline, ...]
) -> None:
    """Where only one side wrote, or both did the same, there is nothing to merge."""
    assert merged(base, edited, base) == edited
    assert merged(base, base, edited) == edited
    assert merged(base, edited, edited) == edited


@given(ITEMS, ITEMS)
def test_additions_take_nothing_away(base: tuple[Inline, ...], ours: tuple[Inline, ...]) -> None:
    """Every letter of the base stands in its order, whatever else comes. A space beside an added
    break is none.
    """
    both = "".join(i.text for i in with_additions(base, ours) if isinstance(i, Text))
    letters = iter(both)
    words = (char for i in base if isinstance(i, Text) for char in i.text if char != " ")
    assert all(char in letters for char in words)
