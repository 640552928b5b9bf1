"""Edits made apart keep each other's words, once, whoever of the two looks after them."""

import re
from collections.abc import Sequence
from random import Random

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.document.edit import edit as edit_live
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, merge, missing
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.merge.concurrent_edits import ConcurrentEdits, written_again
from heapsyncd.sync.merge.note_text import reexpress
from heapsyncd.tree import Block
from tests.document.writers import BUILDING, WRITING, Writer, words_of

ALL = "amber birch\n\ncloud delta\n\nember fjord\n"
LESS = "amber birch\n\nember fjord\n"
TYPED = "amber birch\n\ncloud TYPED delta\n\nember fjord\n"
TWO = f"{ALL}\nA NEW ONE\n"
BLOCK = BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTA")


def edit(base: list[bytes], body: str) -> bytes:
    made = express(base, Target(body=parse(body, NO_LINKS))).update
    assert made is not None
    return made


START = [edit([], ALL)]


@pytest.mark.parametrize(
    ("what", "ours", "theirs", "sent", "kept"),
    [
        ("typed here, deleted there, not sent yet", TYPED, LESS, False, TYPED),
        ("typed here, deleted there, and sent: it is theirs to keep", TYPED, LESS, True, None),
        ("deleted here, typed there", LESS, TYPED, False, TYPED),
        ("deleted here and sent, typed there", LESS, TYPED, True, TYPED),
        ("nothing lost", ALL.replace("amber", "AMBER"), TYPED, False, None),
        ("deleted on both sides", LESS, LESS, False, None),
        ("typed on both sides", TYPED, TYPED, False, TYPED),
        ("typed on both sides, and sent: it is theirs to keep once", TYPED, TYPED, True, None),
        ("a paragraph made on both sides", TWO, TWO, False, TWO),
        (
            "the same word in two places",
            f"{ALL}\nNEW\n",
            ALL.replace("amber", "amber NEW"),
            False,
            None,
        ),
    ],
)
def test_together(what: str, ours: str, theirs: str, sent: bool, kept: str | None) -> None:
    """What is lost by merging is brought back by one of the two sides."""
    mine, update = edit(START, ours), edit(START, theirs)
    rows = frozenset({2})
    apart = ConcurrentEdits(
        [(1, START[0]), (2, mine)],
        frozenset() if sent else rows,
        rows if sent else frozenset(),
    )
    found = apart.merge(update, Replica.load([*START, mine, update]))
    assert (found and found.words()) == (kept and parse(kept, NO_LINKS).words())


def test_the_same_edit_that_may_have_been_sent() -> None:
    """What both sides deleted is not taken for an echo of ours: the text stands once."""
    start = edit([], "- amber\n- birch\n  - cloud\n- delta\n")
    body = "- amber{}\n- birch TYPED - cloud\n- delta\n"
    mine, theirs = edit([start], body.format("")), edit([start], body.format(" MORE"))
    live = Replica.load([start, mine, theirs])
    rows = frozenset({2})
    found = ConcurrentEdits([(1, start), (2, mine)], rows, rows).merge(
        Replica.load([start, theirs]).state(), live
    )
    assert found == parse(body.format(" MORE"), NO_LINKS)


def test_taken_elsewhere_on_both_sides() -> None:
    """What somebody typed into a text that two devices take apart, each in another way and each
    with these words, stands once.
    """
    start = edit([], "- amber\n- birch\n  - cloud\n- delta\n")
    typed = edit([start], "- amber\n- birch\n  - TYPED cloud\n- delta\n")
    mine = edit([start], "- amber\n- birch\n  -HERE cloud\nMORE\n\n- delta\n")
    target = Target(body=parse("- amber\n- birch\n  THERE - cloud\n- delta\n", NO_LINKS))
    theirs = express([start], target, live=Replica.load([start, typed])).update or EMPTY
    live = Replica.load([start, mine, typed])
    body = ConcurrentEdits([(1, start), (2, mine)], frozenset({2}), frozenset()).merge(typed, live)
    assert body is not None
    assert "TYPED" in body.words()
    again = express([live.state()], Target(body=body)).update or EMPTY
    log = list(enumerate([start, mine, typed, again], 1))
    live = Replica.load([start, mine, typed, again, theirs])
    found = ConcurrentEdits(log, frozenset({2, 4}), frozenset()).merge(theirs, live)
    assert found is not None
    words = re.findall(r"\w+", found.words())
    assert {"amber", "birch", "cloud", "delta"} <= set(words)
    assert [words.count(word) for word in ("TYPED", "HERE", "MORE", "THERE")] == [1, 1, 1, 1]


def test_ours_and_theirs_in_one_update() -> None:
    """A server may send our edit and theirs as one: what it repeats of ours is not theirs."""
    start = edit([], "delta, amber and *birch* too\n")
    mine = edit([start], "deltaHERE amber and *birch* too\n")
    theirs = edit([start], "delta, amber and *birch* too\n\nTHERE\n")
    both = merge([mine, theirs])
    log = [(1, start), (2, mine)]
    live = Replica.load([start, mine, both])
    assert ConcurrentEdits(log, frozenset(), frozenset({2})).merge(both, live) is None


def test_they_have_seen_what_was_sent() -> None:
    """Whoever deletes what he has seen means it; what he could not see is looked after."""
    sent = edit(START, TYPED)
    theirs = edit([*START, sent], LESS)
    assert (
        ConcurrentEdits([(1, START[0]), (2, sent)], frozenset(), frozenset({2})).merge(
            theirs, Replica.load([*START, sent, theirs])
        )
        is None
    )
    unsent = edit([*START, sent], TYPED.replace("delta", "MORE delta"))
    found = ConcurrentEdits(
        [(1, START[0]), (2, sent), (3, unsent)], frozenset({3}), frozenset({2})
    ).merge(theirs, Replica.load([*START, sent, unsent, theirs]))
    assert found is not None
    assert "MORE" in found.words()


def test_letters_that_come_back_in_another_word() -> None:
    """A word that was made longer here and joined to others there is longer there."""
    start = edit([], "- amber\n- birch\n  - cloud\n- delta\n")
    mine = edit([start], "- amberTYPED\n- birch\n  - cloud\n- delta\n")
    theirs = edit([start], "- amber\n-JOINED birch\n  - cloud\n- delta\n")
    apart = ConcurrentEdits([(1, start), (2, mine)], frozenset({2}), frozenset())
    live = Replica.load([start, mine, theirs])
    found = apart.merge(theirs, live) or live.view()
    assert found.words() == "amberTYPED -JOINED birch\ncloud\ndelta"


def test_an_answer_with_our_own_deletion() -> None:
    """An answer to a state vector holds all deletions there are. What somebody typed where we
    deleted is in it, and our deletion of it, too; we have put back since what he changed before.
    """
    in_app = edit(START, ALL.replace("amber", "AMBER"))
    mine = edit(START, "MINE\n")
    back = edit([*START, mine, in_app], "AMBER birch\n\nMINE\n")
    typed = edit([*START, in_app], TYPED.replace("amber", "AMBER"))
    ours = [*START, mine, in_app, back]
    answer = missing([*ours, typed], Replica.load(ours).state_vector())
    apart = ConcurrentEdits(list(enumerate(ours, 1)), frozenset(), frozenset({2, 4}))
    found = apart.merge(answer, Replica.load([*ours, answer]))
    assert found is not None
    assert "TYPED" in found.words()
    assert "MINE" in found.words()


def test_they_have_seen_some_of_what_was_sent() -> None:
    """What they build on they have seen; of what we sent behind it they need not know."""
    first = edit(START, f"{ALL}\nFIRST\n")
    second = edit([*START, first], f"{LESS}\nFIRST\n")
    typed = edit([*START, first], f"{TYPED}\nFIRST and LAST\n")
    log = list(enumerate([*START, first, second], 1))
    live = Replica.load([*START, first, second, typed])
    found = ConcurrentEdits(log, frozenset(), frozenset({2, 3})).merge(typed, live)
    assert found is not None
    assert {"TYPED", "FIRST", "LAST"} <= set(found.words().split())


def test_a_whole_state() -> None:
    """What is in a whole state of the server's is no edit made apart, acknowledged or not; we have
    typed into it since.
    """
    first = edit(START, f"{ALL}\nMORE WORDS\n")
    second = edit([*START, first], f"{ALL}\nMOREOVER WORDS\n")
    in_app = edit([*START, first], f"{ALL.replace('amber', 'amber APP')}\nMORE WORDS\n")
    whole = Replica.load([*START, first, in_app]).state()
    log = list(enumerate([*START, first, second], 1))
    met = Replica.load([*START, first, second, in_app])
    assert ConcurrentEdits(log, frozenset({2, 3}), frozenset()).merge(whole, met) is None
    assert ConcurrentEdits(log, frozenset({3}), frozenset({2})).merge(whole, met) is None
    # What it can't know of is looked after still.
    deleted = edit([*START, first], f"{LESS}\nMORE WORDS\n")
    typed = edit([*START, first], f"{TYPED}\nMORE WORDS\n")
    whole = Replica.load([*START, first, deleted]).state()
    apart = ConcurrentEdits(
        list(enumerate([*START, first, typed], 1)), frozenset({2, 3}), frozenset()
    )
    found = apart.merge(whole, Replica.load([*START, first, typed, deleted]))
    assert found is not None
    assert found.words() == parse(f"{TYPED}\nMORE WORDS\n", NO_LINKS).words()


@pytest.mark.parametrize(
    ("what", "old", "ours", "theirs", "words"),
    [
        ("a new note, edited further there", "", "one harbour\n", "one harbourmaster\n\nmore\n",
         "one harbourmaster more"),
        ("an edit, edited further there", ALL, TWO, TWO.replace("NEW ONE", "NEW good ONE"),
         "amber birch cloud delta ember fjord A NEW good ONE"),
        ("an edit, edited further on both sides", ALL, TWO, TWO.replace("NEW", "NEWER"),
         "amber birch cloud delta ember fjord A NEWER ONE here"),
        ("something deleted here, edited further there", ALL, TWO.replace("cloud ", ""),
         TWO.replace("cloud ", "").replace("NEW ONE", "NEW good ONE"),
         "amber birch delta ember fjord A NEW good ONE"),
        ("lines like one another", ALL, TWO, TWO.replace("ONE", "TWO"),
         "amber birch cloud delta ember fjord A NEW ONE A NEW TWO"),
        ("something deleted here, which they don't know of", ALL, TWO.replace("cloud ", ""),
         ALL.replace("ember", "ember THERE"), "amber birch delta ember THERE fjord A NEW ONE"),
    ],
)  # fmt: skip
def test_unsent_edits_of_a_compacted_document(
    what: str, old: str, ours: str, theirs: str, words: str
) -> None:
    """An unsent edit that the server applied without our knowing stands once, whatever others made
    of it since.
    """
    before = [edit([], old)] if old else []
    mine, fresh = edit(before, ours), edit([], theirs)
    log = [*before, mine]
    if "here" in words:
        log.append(edit(log, f"{ours}\nhere\n"))
    made = reexpress(before, log, fresh, 7)
    found = Replica.load([made.state, made.local or EMPTY]).view().words()
    assert sorted(found.split()) == sorted(words.split())


# ---- words that cross a deletion on their way to the server ------------------------------------

SEEDS = range(120)


class Crossing:
    """Somebody types into a note, another takes it apart, and the server has the latter first."""

    def __init__(self, seed: int, most: int) -> None:
        random = Random(seed)
        start = express([], Target(body=Writer("B", random).note())).update or EMPTY
        known = Replica.load([start]).view()
        typed = Target(body=Writer("O", random).edited(known, WRITING, most))
        taken = Target(body=Writer("T", random).edited(known, BUILDING, most))
        self.start = start
        self.typed = express([start], typed).update or EMPTY
        self.taken = express([start], taken).update or EMPTY
        self.at_author = [start, self.typed, self.taken]
        self.more = Writer("C", random)
        """Somebody who goes on from there."""

    def at_deleter(self, update: bytes) -> list[bytes]:
        """What the device that took it apart, and sent that, has after an update came in."""
        log = [self.start, self.taken]
        apart = ConcurrentEdits(numbered(log), frozenset(), frozenset({2}))
        return with_body([*log, update], apart.merge(update, Replica.load([*log, update])))

    def written_again(self, later: Sequence[bytes] = ()) -> bytes | None:
        """What its author says when the time has come, with what has come in since."""
        log = [*self.at_author, *later]
        again = with_body(log, written_again(numbered(log), frozenset({2}), 3))
        return again[-1] if len(again) > len(log) else None

    def wrong(self, log: Sequence[bytes]) -> list[str]:
        """Words that somebody wrote and that are missing, and all that stand twice."""
        words = words_of(Replica.load(log).view())
        sides = [Replica.load([self.start, u]).view() for u in (self.typed, self.taken)]
        old = words_of(Replica.load([self.start]).view())
        new = {w for side in sides for w in words_of(side) if w not in old}
        return sorted(new - words.keys()) + [w for w, n in words.items() if n > 1]


def numbered(log: Sequence[bytes]) -> list[tuple[int, bytes]]:
    return list(enumerate(log, 1))


def with_body(log: Sequence[bytes], body: Block | None) -> list[bytes]:
    """A log with what makes the document read so."""
    made = None if body is None else edit_live(Replica.load(log), Target(body=body)).update
    return [*log] if made is None else [*log, made]


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("most", [1, 3])
def test_words_that_crossed_a_deletion_are_written_again(most: int, goes_on: bool) -> None:
    """When nobody else does, their author does; where somebody has gone on meanwhile, too."""
    wrong, count = {}, 0
    for seed in SEEDS:
        game = Crossing(seed, most)
        later: list[bytes] = []
        if goes_on:
            body = game.more.edited(Replica.load(game.at_author).view(), ["type", "insert"])
            later = [express(game.at_author, Target(body=body)).update or EMPTY]
        again = game.written_again(later)
        count += again is not None
        if found := game.wrong([*game.at_author, *later, again or EMPTY]):
            wrong[seed] = found
    assert wrong == {}
    assert count > 5


@pytest.mark.parametrize("most", [1, 3])
def test_words_that_the_deleter_wrote_again_stand_once(most: int) -> None:
    """A device writes what was typed where it deleted again, and its author does not."""
    wrong, count = {}, 0
    for seed in SEEDS:
        game = Crossing(seed, most)
        back = game.at_deleter(game.typed)[3:]
        count += bool(back)
        again = game.written_again(back)
        if found := game.wrong([*game.at_author, *back, again or EMPTY]) or again:
            wrong[seed] = found
    assert wrong == {}
    assert count > 5


def test_rows_of_a_former_history_say_nothing() -> None:
    """Words are written again although the document was compacted since others were sent."""
    log = numbered([*START, edit(START, TYPED), edit(START, LESS)])
    former = frozenset({7})
    body = written_again(log, frozenset({2}) | former, 3)
    assert body is not None
    assert "TYPED" in body.words()
    assert written_again(log, former, 3) is None
    assert written_again(log[:2], frozenset({2}), 3) is None


def test_words_on_their_way_stand_once() -> None:
    """The deletion is heard of while the words are being sent: their author leaves them to the
    device that deleted, and writes them later if nobody did.
    """
    wrong, count = {}, 0
    for seed in SEEDS:
        game = Crossing(seed, 1)
        rows = frozenset({2})
        apart = ConcurrentEdits(numbered(game.at_author[:2]), rows, rows, rows)
        log = with_body(game.at_author, apart.merge(game.taken, Replica.load(game.at_author)))
        back = game.at_deleter(game.typed)[3:]
        count += bool(back)
        body = written_again(numbered([*log, *back]), rows, 3)
        if found := game.wrong(with_body([*log, *back], body)):
            wrong[seed] = found
        if found := game.wrong(with_body(log, written_again(numbered(log), rows, 3))):
            wrong[seed] = found
    assert wrong == {}
    assert count > 5


def test_what_was_typed_since_is_written_at_once() -> None:
    """Only what is on its way is left to others."""
    sent = edit(START, TYPED)
    log = [*START, sent, edit([*START, sent], TYPED.replace("delta", "MORE delta"))]
    theirs = edit(START, LESS)
    rows = frozenset({2, 3})
    apart = ConcurrentEdits(numbered(log), rows, frozenset({2}), frozenset({2}))
    found = apart.merge(theirs, Replica.load([*log, theirs]))
    assert found is not None
    assert "MORE" in found.words()


def test_a_deleter_that_hears_of_the_words_twice() -> None:
    """A device that lost the server after its deletion hears of the words and of their return at
    once: it does not write them again, too.
    """
    wrong, count = {}, 0
    for seed in SEEDS:
        game = Crossing(seed, 1)
        again = game.written_again()
        if again is not None:
            count += 1
            if found := game.wrong(game.at_deleter(merge([game.typed, again]))):
                wrong[seed] = found
    assert wrong == {}
    assert count > 5


def test_what_came_back_and_was_deleted_again_stays_deleted() -> None:
    """Whoever did that has seen the words."""
    log = [START[0], edit(START, TYPED), edit(START, LESS)]
    back = with_body(log, written_again(numbered(log), frozenset({2}), 3))
    assert "TYPED" in Replica.load(back).view().words()
    gone = [*back, edit(back, LESS)]
    assert written_again(numbered(gone), frozenset({2}), 3) is None


@pytest.mark.parametrize("seq", [2, 3])
def test_rows_that_the_log_does_not_hold_any_more(seq: int) -> None:
    """It was compacted, or begun anew: nothing can be said of what was in them."""
    log = numbered([START[0], edit(START, TYPED), edit(START, LESS)])
    assert written_again(log, frozenset({2}), 3) is not None
    left = [row for row in log if row[0] != seq]
    assert written_again(left, frozenset({2}), 3) is None
    assert written_again(left[-1:], frozenset({2}), 3) is None


def test_the_author_of_the_deletion_has_seen_the_words() -> None:
    """An update that goes on from them, or deletes them by themselves, tells so."""
    log = [START[0], edit(START, TYPED)]
    log += [edit(log, LESS)]
    assert written_again(numbered(log), frozenset({2}), 3) is None
