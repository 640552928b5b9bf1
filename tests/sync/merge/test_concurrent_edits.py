"""Edits made apart keep each other's words, once, whoever of the two looks after them."""

import re

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, missing
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.merge.concurrent_edits import ConcurrentEdits
from heapsyncd.sync.merge.note_text import reexpress

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
    found = apart.together(update, Replica.load([*START, mine, update]))
    assert (found and found.words()) == (kept and parse(kept, NO_LINKS).words())


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
    body = ConcurrentEdits([(1, start), (2, mine)], frozenset({2}), frozenset()).together(
        typed, live
    )
    assert body is not None
    assert "TYPED" in body.words()
    again = express([live.state()], Target(body=body)).update or EMPTY
    log = list(enumerate([start, mine, typed, again], 1))
    live = Replica.load([start, mine, typed, again, theirs])
    found = ConcurrentEdits(log, frozenset({2, 4}), frozenset()).together(theirs, live)
    assert found is not None
    words = re.findall(r"\w+", found.words())
    assert {"amber", "birch", "cloud", "delta"} <= set(words)
    assert [words.count(word) for word in ("TYPED", "HERE", "MORE", "THERE")] == [1, 1, 1, 1]


def test_they_have_seen_what_was_sent() -> None:
    """Whoever deletes what he has seen means it; what he could not see is looked after."""
    sent = edit(START, TYPED)
    theirs = edit([*START, sent], LESS)
    assert (
        ConcurrentEdits([(1, START[0]), (2, sent)], frozenset(), frozenset({2})).together(
            theirs, Replica.load([*START, sent, theirs])
        )
        is None
    )
    unsent = edit([*START, sent], TYPED.replace("delta", "MORE delta"))
    found = ConcurrentEdits(
        [(1, START[0]), (2, sent), (3, unsent)], frozenset({3}), frozenset({2})
    ).together(theirs, Replica.load([*START, sent, unsent, theirs]))
    assert found is not None
    assert "MORE" in found.words()


def test_letters_that_come_back_in_another_word() -> None:
    """A word that was made longer here and joined to others there is longer there."""
    start = edit([], "- amber\n- birch\n  - cloud\n- delta\n")
    mine = edit([start], "- amberTYPED\n- birch\n  - cloud\n- delta\n")
    theirs = edit([start], "- amber\n-JOINED birch\n  - cloud\n- delta\n")
    apart = ConcurrentEdits([(1, start), (2, mine)], frozenset({2}), frozenset())
    live = Replica.load([start, mine, theirs])
    found = apart.together(theirs, live) or live.view()
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
    found = apart.together(answer, Replica.load([*ours, answer]))
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
    found = ConcurrentEdits(log, frozenset(), frozenset({2, 3})).together(typed, live)
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
    assert ConcurrentEdits(log, frozenset({2, 3}), frozenset()).together(whole, met) is None
    assert ConcurrentEdits(log, frozenset({3}), frozenset({2})).together(whole, met) is None
    # What it can't know of is looked after still.
    deleted = edit([*START, first], f"{LESS}\nMORE WORDS\n")
    typed = edit([*START, first], f"{TYPED}\nMORE WORDS\n")
    whole = Replica.load([*START, first, deleted]).state()
    apart = ConcurrentEdits(
        list(enumerate([*START, first, typed], 1)), frozenset({2, 3}), frozenset()
    )
    found = apart.together(whole, Replica.load([*START, first, typed, deleted]))
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
