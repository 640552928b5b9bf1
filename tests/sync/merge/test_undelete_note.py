"""What counts against a deletion, as laws."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.document.edit import UNSET, Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Fields
from heapsyncd.sync.merge.undelete_note import NoteContent, deletion

WORDS = st.lists(st.sampled_from(["boat", "sea", "tulip", "!"]), max_size=6)
TIMES = st.sampled_from([None, 1, 2])


def fields(replica: Replica, deleted_at_ms: int | None, purged_at_ms: int | None = None) -> Fields:
    return replace(
        replica.fields(), deleted_at_ms=deleted_at_ms, permanently_deleted_at_ms=purged_at_ms
    )


def said(
    words: list[str], deleted_at_ms: int | None = 1, purged_at_ms: int | None = None
) -> NoteContent:
    return NoteContent(fields(Replica.load([]), deleted_at_ms, purged_at_ms), Counter(words))


def note(words: list[str], deleted_at_ms: int | None) -> Replica:
    body = parse(" ".join(words), NO_LINKS)
    made = express([], Target(body=body, deleted_at_ms=deleted_at_ms or UNSET)).update
    return Replica.load([made or EMPTY])


@given(WORDS, WORDS, st.randoms(use_true_random=False))
def test_only_words_that_are_more_count(words: list[str], more: list[str], random: object) -> None:
    """Words that went or stand in another order are nothing that a deletion could lose."""
    shuffled = [*words, *more]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's own Random
    assert not said(words).adds_to(said(shuffled))
    assert said(shuffled).adds_to(said(words)) == bool(more)


@given(WORDS, WORDS, WORDS)
def test_what_any_of_those_before_had_is_known(now: list[str], a: list[str], b: list[str]) -> None:
    """More that is known takes no word back: nothing counts that did not count against less."""
    assert not said(now).adds_to(said(a), said(b)) or said(now).adds_to(said(a))
    assert not said(a).adds_to(said(a), said(b))


@given(WORDS, WORDS, TIMES, TIMES, TIMES)
def test_it_comes_back_from_the_deletion_that_was_known(
    before: list[str],
    more: list[str],
    known_ms: int | None,
    now_ms: int | None,
    purged_ms: int | None,
) -> None:
    """Words bring it back from that very deletion; not from a later one, nor when it is purged."""
    old, new = said(before, known_ms), said([*before, *more], now_ms, purged_ms)
    is_that = known_ms is not None and known_ms == now_ms and purged_ms is None
    assert new.must_be_restored(old) == (is_that and bool(more))


@given(WORDS, WORDS, TIMES, TIMES)
def test_a_document_of_another_history(
    here: list[str], there: list[str], ours_ms: int | None, theirs_ms: int | None
) -> None:
    """What nobody deleted is not deleted by saying something of it; words that only the other has
    are never deleted.
    """
    ours, fresh = note(here, ours_ms), note(there, theirs_ms)
    found = deletion(ours, ours, fresh)
    if ours_ms is None:
        assert found is UNSET
    if NoteContent.of(fresh).adds_to(NoteContent.of(ours)) and theirs_ms is None:
        assert found is UNSET or found is None
