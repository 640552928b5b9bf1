"""Two sides edit one sentence at once: no two words become one, and none is torn."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given

from heapsyncd.document.edit import Target, express, merge_three
from heapsyncd.document.inline.visible_text import merged
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.sync.merge.concurrent_edits import ConcurrentEdits
from heapsyncd.tree import Block, Text, inline
from tests.document.writers import PLAY, RANDOMS

WORDS = ["amber", "birch", "cloud", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty"]


def doc(text: str) -> Block:
    return Block("doc", children=(Block("paragraph", inline=inline([Text(text)])),))


def ends(base: str, ours: str, theirs: str) -> list[str]:
    """What comes of two edits: theirs was here first; they came together; there are no updates."""
    start = express([], Target(body=doc(base))).update or EMPTY
    there = express([start], Target(body=doc(theirs))).update or EMPTY
    live = Replica.load([start, there])
    here = express([start], Target(body=doc(ours)), live=live).update or EMPTY
    alone = express([start], Target(body=doc(ours))).update or EMPTY
    met = Replica.load([start, there, alone])
    apart = ConcurrentEdits([(1, start), (2, alone)], frozenset({2}), frozenset()).merge(
        there, met
    )
    views = (
        Replica.load([start, there, here]).view(),
        apart or met.view(),
        merge_three(doc(base), doc(ours), doc(theirs)),
    )
    return [view.words() for view in views]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "either_order"),
    [
        pytest.param("amber birch", "amber", "amber birch cloud", {"amber cloud"},
                     id="the last word goes, others follow it"),
        pytest.param("amber birch", "amber", "amber one two birch", {"amber one two"},
                     id="words come where one goes"),
        pytest.param("amber birch", "amber ours", "amber birch theirs",
                     {"amber ours theirs", "amber theirs ours"},
                     id="a word replaced, another written behind"),
        pytest.param("amber birch cloud", "amber ours cloud", "amber theirs cloud",
                     {"amber theirs ours cloud", "amber ours theirs cloud"},
                     id="a word replaced twice"),
        pytest.param("amber birch", "amberxx birch", "amberyy birch",
                     {"amberyyxx birch", "amberxxyy birch"}, id="letters in one word"),
        pytest.param("tulip birch larch grove", "tulip larch", "tulip larch new grove",
                     {"tulip larch new"}, id="a word in common counts more than blanks"),
    ],
)  # fmt: skip
def test_two_edits(base: str, ours: str, theirs: str, either_order: set[str]) -> None:
    """The words of both stand there, each by itself and in its place.

    Which side's text comes first at one place Yjs decides.
    """
    for found in ends(base, ours, theirs):
        assert " ".join(found.split()) in either_order


def edited(words: Sequence[str], name: str, random: Random) -> list[str]:
    """A sentence in which some words went, came or were replaced."""
    out = list(words)
    for n in range(random.randint(1, 3)):
        at, new = random.randrange(len(out)), f"{name}{n}{random.choice('xyz')}"
        kind = random.choice(["delete", "replace", "insert", "append"])
        if kind == "append":
            out.append(new)
        elif kind == "insert":
            out.insert(at, new)
        elif kind == "replace" or len(out) == 1:
            out[at] = new
        else:
            del out[at]
    return out


@pytest.mark.slow
@PLAY
@given(RANDOMS)
def test_any_words_that_come_and_go(random: Random) -> None:
    """Nothing but the words of either side stands there, and every one that a side wrote."""
    base = random.sample(WORDS, random.randint(2, 7))
    ours, theirs = edited(base, "O", random), edited(base, "T", random)
    for found in ends(*(" ".join(words) for words in (base, ours, theirs))):
        words = set(found.split())
        assert words <= {*base, *ours, *theirs}
        assert {*ours, *theirs} - {*base} <= words
        assert {*ours} & {*theirs} <= words


@pytest.mark.parametrize(
    ("base", "longer", "other", "end"),
    [
        ("amber", "amberXX", "amber -YY birch", "amberXX -YY birch"),
        ("amber", "XXamber", "YY- amber", "YY- XXamber"),
        ("amber birch", "amberXX birch", "amber YY birch", "amberXX YY birch"),
    ],
)
def test_what_makes_a_word_longer_stays_with_it(
    base: str, longer: str, other: str, end: str
) -> None:
    """Whoever wrote it, and whatever else was written at its end."""
    old, one, two = (inline([Text(t)]) for t in (base, longer, other))
    assert merged(old, one, two) == merged(old, two, one) == inline([Text(end)])
