"""What both sides wrote at one place: the words that both begin or end it with stand once."""

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.tree import Block, Text


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
