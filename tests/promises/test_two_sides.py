"""Two sides edit one note at once: what either wrote is there, and there once."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given

from heapsyncd.document.edit import Target, express, merge_three
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.tree import Block
from tests.document.writers import BUILDING, PLAY, RANDOMS, WRITING, Writer, words_of


class Game:
    """A note, what both sides made of it, and what came of that."""

    def __init__(
        self, random: Random, ours: Sequence[str], theirs: Sequence[str], most: int = 3
    ) -> None:
        start = express([], Target(body=Writer("B", random).note())).update or EMPTY
        self.base = Replica.load([start]).view()
        self.ours = Writer("O", random).edited(self.base, ours, most)
        their_target = Target(body=Writer("T", random).edited(self.base, theirs, most))
        theirs_update = express([start], their_target).update or EMPTY
        live = Replica.load([start, theirs_update])
        self.theirs = live.view()
        update = express([start], Target(body=self.ours), live=live).update or EMPTY
        after = Replica.load([start, theirs_update, update])
        assert Replica.load([update, theirs_update, start]).fingerprint() == after.fingerprint()
        assert not after.has_pending()
        self.end = after.view()

    def lost(self) -> list[str]:
        """Words that a side wrote, or both left standing, and that are gone."""
        return lost(self.base, self.ours, self.theirs, self.end)

    def doubled(self) -> list[str]:
        """Words that stand more than once."""
        return [word for word, n in words_of(self.end).items() if n > 1]


def lost(base: Block, ours: Block, theirs: Block, end: Block) -> list[str]:
    old, here, there, now = (words_of(x) for x in (base, ours, theirs, end))
    wanted = (here.keys() | there.keys()) - old.keys() | (here.keys() & there.keys())
    return sorted(wanted - now.keys())


def written(base: Sequence[bytes], text: str, live: Sequence[bytes] = ()) -> bytes:
    target = Target(body=parse(text, NO_LINKS))
    made = express(base, target, live=Replica.load(live) if live else None)
    return made.update or EMPTY


def test_typed_into_a_list_that_others_emptied() -> None:
    """Two took an item each out of a list, which stands empty since: a third one has typed into an
    item of it.
    """
    base = written([], "- amber birch\n- cloud delta\n")
    first = written([base], "ONE amber birch\n\n- cloud delta\n")
    second = written([base], "- amber birch\n\nTWO cloud delta\n")
    live = [base, first, second]
    third = written([base], "- amber birch\n- cloud THREE delta\n", live)
    words = Replica.load([*live, third]).view().words()
    assert words == "ONE amber birch\nTWO cloud THREE delta"


@PLAY
@given(RANDOMS)
def test_any_edits_of_two_sides_lose_nothing(random: Random) -> None:
    """Every word typed on a side stands there once; what both sides left stands at least once."""
    game = Game(random, WRITING + BUILDING, WRITING + BUILDING)
    assert game.lost() == []
    assert [w for w in game.doubled() if w[0] in "OT"] == []


@PLAY
@given(RANDOMS)
def test_who_writes_while_others_rearrange_doubles_nothing(random: Random) -> None:
    """What we write goes where others took its block, and nothing stands twice."""
    game = Game(random, WRITING, BUILDING, most=1)
    assert (game.lost(), game.doubled()) == ([], [])


@PLAY
@given(RANDOMS)
def test_who_rearranges_while_others_write_doubles_nothing(random: Random) -> None:
    """The other way round: what others write goes where we took its block."""
    game = Game(random, BUILDING, WRITING, most=1)
    assert (game.lost(), game.doubled()) == ([], [])


@pytest.mark.parametrize("kind", BUILDING)
def test_the_same_on_both_sides_stands_once(kind: str) -> None:
    """Both retype, split, join, wrap or indent something: no text stands twice."""
    seeds = range(60)
    games = {seed: Game(Random(seed), [kind], [kind], most=1) for seed in seeds}
    assert {s: g.lost() for s, g in games.items() if g.lost()} == {}
    assert {s: g.doubled() for s, g in games.items() if g.doubled()} == {}


@pytest.mark.parametrize(
    ("what", "base", "ours", "theirs"),
    [
        ("made a heading here, joined there",
         "- one two three<br>\n\n  four", "- # one two three<br>\n\n  four",
         "- one two NEW three\\\n  four"),
        ("joined to one that stands elsewhere, cut in two there",
         "one\n\nxx\n\ntwo three four", "one two three four\n\nxx",
         "one\n\nxx\n\ntwo three NEW\n\nfour"),
        ("written in on both sides, made a heading there",
         "one", "SOME WORDS one THEN", "# one NEW"),
        ("taken out of a quote that was unwrapped there",
         "- one\n\n> two\n>\n> 1. three\n> 2. four five six seven",
         "- one\n\n  four five six seven\n\n> two\n>\n> 1. # three\n> 2.",
         "- one\n\ntwo\n\n1. three\n2. four five six seven"),
        ("made a heading with a word more, unwrapped there",
         "> - [ ] one\n> - [ ] two", "> - [ ] one\n> - [ ]\n>   # NEW two",
         "- [ ] one\n- [ ] two"),
        ("moved in the place of another, whose item others added to",
         "- one\n\n- two\n\n  four", "- two\n\n  one\n\n- four",
         "- one\n\n  # NEW\n\n- two\n\n  four"),
        ("a cell emptied, moved there",
         "one\n\n| a | b c |\n| --- | --- |", "one\n\n|  | b c |\n| --- | --- |",
         "| a | b c |\n| --- | --- |\n\none"),
        ("cut in two on both sides",
         "**one** *second*", "> **one**\n>\n> - *second*", "**one**\n\n*second*"),
        ("taken out of a list, indented there",
         "- [ ] one two three four five", "one two NEW three four five\n\n- [ ]",
         "- [ ]\n  - one THERE two three four five"),
        ("items made one paragraph, one of them edited there",
         "1. one two\n2. three", "NEW one two 2. three", "1. one two\n2. three THERE"),
        ("joined out of a quote, to which others added",
         "1. one two\n\n   > three four five six", "1. one two three four five six",
         "1. one two\n\n   > three four five six\n   >\n   > NEW"),
    ],
)  # fmt: skip
def test_taken_apart_on_both_sides(what: str, base: str, ours: str, theirs: str) -> None:
    """Both take the same text elsewhere: it stands once, with what either wrote in it."""
    old, here, there = (parse(f"{text}\n", NO_LINKS) for text in (base, ours, theirs))
    start = express([], Target(body=old)).update or EMPTY
    updates = [start, express([start], Target(body=there)).update or EMPTY]
    made = express([start], Target(body=here), live=Replica.load(updates))
    end = Replica.load([*updates, made.update or EMPTY]).view()
    assert sorted(end.words().split()) == sorted({*here.words().split(), *there.words().split()})


def test_retyped_and_half_rewritten_there() -> None:
    """What we write into an item goes where others took most of its words, however much they wrote
    around them; a text that shares less is another one.
    """
    base = "- [ ] amber birch harbour\n- [x] cloud\n"
    ours = base.replace("harbour", "harbour OURS")
    for theirs, words in (
        ("- THEIRS [ ] NEWER birch harbour\n\nend\n\n- [x] cloud\n",
         "THEIRS [ ] NEWER birch harbour OURS end cloud"),
        ("- THEIRS [ ] NEWER birch\n\nend\n\n- [x] cloud\n",
         "THEIRS [ ] NEWER birch end amber birch harbour OURS cloud"),
    ):  # fmt: skip
        start = express([], Target(body=parse(base, NO_LINKS))).update or EMPTY
        update = express([start], Target(body=parse(theirs, NO_LINKS))).update or EMPTY
        live = Replica.load([start, update])
        made = express([start], Target(body=parse(ours, NO_LINKS)), live=live).update or EMPTY
        found = Replica.load([start, update, made]).view().words()
        assert sorted(found.split()) == sorted(words.split())


@PLAY
@given(RANDOMS)
def test_three_trees_merge_without_loss_or_doubling(random: Random) -> None:
    """Without a common history, too, every word typed on a side is in the merged tree once."""
    base = Writer("B", random).note()
    ours = Writer("O", random).edited(base, WRITING + BUILDING)
    theirs = Writer("T", random).edited(base, WRITING + BUILDING)
    end = merge_three(base, ours, theirs)
    assert lost(base, ours, theirs, end) == []
    assert [w for w, n in words_of(end).items() if n > 1 and w[0] in "OT"] == []


@PLAY
@given(RANDOMS)
def test_a_second_save_of_the_same_side_takes_nothing_back(random: Random) -> None:
    """Who saves again, not having seen what others did, neither deletes it nor doubles his own."""
    start = express([], Target(body=Writer("B", random).note())).update or EMPTY
    base = Replica.load([start]).view()
    writer = Writer("O", random)
    ours = writer.edited(base, WRITING + BUILDING)
    theirs = Writer("T", random).edited(base, WRITING + BUILDING)
    updates = [start, express([start], Target(body=theirs)).update or EMPTY]
    live = Replica.load(updates)
    first = express([start], Target(body=ours), live=live)
    updates.append(first.update or EMPTY)
    now = Replica.load(updates)
    again = writer.edited(ours, ["type"])
    if first.reads_as_target:
        second = express([start, first.update or EMPTY], Target(body=again), live=now)
    else:
        second = express(updates, Target(body=merge_three(ours, again, now.view())), live=now)
    end = Replica.load([*updates, second.update or EMPTY]).view()
    assert lost(base, again, live.view(), end) == []
    assert [w for w, n in words_of(end).items() if n > 1 and w[0] in "OT"] == []
