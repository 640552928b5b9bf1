"""The door to yrs: whatever comes through it, the process lives and the document is right."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapsyncd.document.edit import Target, express
from heapsyncd.document.encoding.state_vectors import (
    Deletions,
    deletions,
    encode_deletions,
    encode_varint,
)
from heapsyncd.document.encoding.structure_limits import LIMIT
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import (
    EMPTY,
    brings_nothing,
    merge,
    missing,
    vector_of,
    without_deletions,
)
from heapsyncd.errors import UnreadableDocument
from heapsyncd.tree import Block
from tests.document.encodings import CRASHERS, ODD, UPDATES, chain, deleting, item, span, update
from tests.document.victim import Victim
from tests.document.worlds import A_BODY, edits


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with Victim() as running:
        yield running


@pytest.mark.parametrize("updates", CRASHERS, ids=lambda updates: updates[-1].hex()[:24])
def test_what_ended_the_process_does_not(victim: Victim, updates: list[bytes]) -> None:
    """Each of these sequences, many times over."""
    for _ in range(20):
        assert victim.survives(updates)


@pytest.mark.slow
@given(st.lists(UPDATES | UPDATES | UPDATES | ODD, min_size=1, max_size=6))
@settings(max_examples=400, deadline=None)
def test_the_process_survives_any_updates(victim: Victim, updates: list[bytes]) -> None:
    """Of any structs: in any order, with gaps, without lengths, at odds with one another."""
    assert victim.survives(updates), [u.hex() for u in updates]


DEEP = [
    pytest.param(chain(100_000), b"\0" + deleting(0, (0, 1)), id="nodes"),
    pytest.param(chain(60_000, beside=True), b"\0" + deleting(0, (1, 1)), id="nodes beside"),
    pytest.param(chain(60_000, clients=2), b"\0" + deleting(0, (0, 1)), id="of two clients"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("deep", "deletion"), DEEP)
def test_deep_nodes_are_refused(victim: Victim, deep: bytes, deletion: bytes) -> None:
    """So many nodes in one another that deleting the outermost overflows yrs' stack."""
    assert victim.survives([deep, deletion])
    with pytest.raises(UnreadableDocument, match="deep"):
        Replica.load([deep])
    replica = Replica()
    with pytest.raises(UnreadableDocument, match="deep"):
        replica.apply(deep)
    assert replica.state() == EMPTY


def test_nodes_grow_deep_bit_by_bit(victim: Victim) -> None:
    """The same when each update adds a few levels to those that are there."""
    whole = chain(LIMIT + 900)
    replica = Replica()
    refused = 0
    for k in range(0, LIMIT + 900, 300):
        part = missing([cut(whole, k + 300)], vector_of([cut(whole, k)] if k else [EMPTY]))
        try:
            replica.apply(part)
        except UnreadableDocument:
            refused += 1
    assert refused
    assert replica.apply(b"\0" + deleting(0, (0, 1)))


def cut(whole: bytes, count: int) -> bytes:
    """The first structs of a chain of one client."""
    structs = [(item(7, b"\3\1p", b"\1\1m"), 1)]
    structs += [(item(7, b"\3\1p", b"\0\0" + encode_varint(k)), 1) for k in range(count - 1)]
    return update([(0, 0, structs)])


def test_wide_documents_are_not_deep() -> None:
    """A list of thousands of items, each with a paragraph and a text, is taken in."""
    structs = [(item(7, b"\3\2ul", b"\1\1m"), 1)]
    at = 1
    for k in range(3_000):
        head, flags = (encode_varint(9) + encode_varint(at - 3), 0x80) if k else (b"\0\x09\0", 0)
        structs.append((item(7, b"\3\2li", head, flags), 1))
        structs.append((item(7, b"\3\1p", b"\0\x09" + encode_varint(at)), 1))
        structs.append((item(7, b"\6", b"\0\x09" + encode_varint(at + 1)), 1))
        at += 3
    assert Replica.load([update([(9, 0, structs)])]).state_vector() == b"\1\x09" + encode_varint(
        at
    )


def test_what_stands_behind_a_gap_waits() -> None:
    """It is in no state and no vector until the gap is filled, and right then."""
    letters = [(item(4, b"\1a"), 1)] + [
        (item(4, b"\1" + bytes([97 + k]), b"\7" + encode_varint(k - 1), 0x80), 1)
        for k in range(1, 6)
    ]
    first, second, third = (update([(7, k, letters[k : k + 2])]) for k in (0, 2, 4))
    gap = update([(7, 0, [*letters[:2], (b"\x0a\2", 2), *letters[4:]])])
    for later in ([third], [gap]):
        replica = Replica.load([first])
        assert [replica.apply(u) for u in later] == [False] * len(later)
        assert replica.has_pending()
        assert replica.state_vector() == b"\1\7\2"
        assert replica.apply(second)
        assert not replica.has_pending()
        assert replica.fingerprint() == Replica.load([merge([first, second, third])]).fingerprint()
        assert Replica.load([*later, second, first]).state() == replica.state()


def test_a_gap_of_one_client_holds_no_other_up() -> None:
    """Of an update with a gap the rest is taken in at once, its deletions too."""
    word = update([(1, 0, [(item(4, b"\3one"), 3)]), (2, 4, [(item(4, b"\3two"), 3)])])
    replica = Replica()
    assert replica.take(word).changed
    assert replica.state_vector() == b"\1\1\3"
    assert replica.has_pending()
    assert replica.apply(b"\0" + deleting(1, (0, 2)))
    assert replica.has_pending()
    assert replica.take(update([(2, 0, [(item(4, b"\4more"), 4)])])).changed
    assert replica.state_vector() == b"\2\1\3\2\7"
    assert not replica.has_pending()


DELETIONS = st.dictionaries(
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), min_size=1, max_size=5).map(
        lambda pairs: [(clock, clock + length) for clock, length in pairs]
    ),
    max_size=3,
)


def each(deleted: Deletions) -> set[tuple[int, int]]:
    return {(c, k) for c, ranges in deleted.items() for a, b in ranges for k in range(a, b)}


@given(DELETIONS, DELETIONS, DELETIONS)
def test_without_the_deletions_of_others(all_: Deletions, one: Deletions, two: Deletions) -> None:
    """What is left are the deletions that no other update holds of which all are there."""
    others = [b"\0" + encode_deletions(d) for d in (one, two)]
    left = without_deletions(b"\0" + encode_deletions(all_), others)
    gone = [each(d) for d in (one, two) if each(d) <= each(all_)]
    assert each(deletions(left[1:])) == each(all_) - set().union(*gone)


def test_structs_stay_when_deletions_go() -> None:
    """Only the end of the update changes."""
    kept = update([(1, 0, [(item(7, b"\3\1p", b"\1\1m"), 1)])])
    whole = kept[:-1] + b"\1" + deleting(2, (3, 4))[1:]
    assert without_deletions(whole, [b"\0" + deleting(2, (3, 4))]) == kept


WAVE = item(4, span("👋x".encode()), b"\0\7\1")
"""A text, in what the second struct of client 7 is."""
ENDLESS = [
    pytest.param(
        update([(7, 0, [(item(7, b"\1", b"\1" + span(root) + span(b"k"), 0x20), 1),
                        (item(7, b"\0", b"\0\7\0" + span(key), 0x20), 1), (WAVE, 3)])]),
        id=f"in {root.decode()}",
    )
    for root, key in ((b"relations_v1", b"type"), (b"files_v0", b"name"), (b"meta_v0", b"k"))
]  # fmt: skip
"""A map in a root, in it a list, in it a text that yrs never comes back from reading."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("endless", ENDLESS)
def test_a_list_that_holds_a_text_holds_nobody_up(victim: Victim, endless: bytes) -> None:
    """What yrs never comes back from reading is not read: the fields do without it."""
    assert victim.survives([endless])


def behind(count: int, head: bytes, flags: int = 0) -> bytes:
    """Values told one by one, each behind the last."""
    structs = [(item(8, b"\1\x78", head, flags), 1)]
    structs += [(item(8, b"\1\x78", b"\7" + encode_varint(k), 0x80), 1) for k in range(count - 1)]
    return update([(7, 0, structs)])


def unrelated(count: int, client: int = 7, head: bytes = b"\1\1m\1k") -> bytes:
    """Entries of one key, none of which names another."""
    return update([(client, 0, [(item(8, b"\1\x78", head, 0x20), 1)] * count)])


COSTLY = [
    pytest.param([unrelated(LIMIT + 1)], id="entries of a key"),
    pytest.param(
        [unrelated(LIMIT // 2 + 1), unrelated(LIMIT // 2, 9)], id="entries in two updates"
    ),
    pytest.param(
        [update([(1, 0, [(item(7, b"\1"), 1)])]), unrelated(LIMIT + 1, 7, b"\0\1\0\1k")],
        id="entries of a map in a root",
    ),
    pytest.param([behind(LIMIT + 2, b"\1\1m")], id="values of a list"),
    pytest.param([behind(LIMIT + 2, b"\1\1m\1k", 0x20)], id="values of a key"),
]


@pytest.mark.parametrize("updates", COSTLY)
def test_what_takes_yrs_too_long_is_refused(updates: list[bytes]) -> None:
    """What costs the square of its length, beyond what takes about a second."""
    with pytest.raises(UnreadableDocument):
        Replica.load(updates)
    replica = Replica.load(updates[:-1])
    with pytest.raises(UnreadableDocument):
        replica.apply(updates[-1])


def test_many_entries_of_many_keys_are_taken_in() -> None:
    """A map of thousands of keys; a key that was set thousands of times, by one who knew that."""
    wide = [(item(8, b"\1\x78", b"\1\1m" + span(b"%d" % k), 0x20), 1) for k in range(LIMIT + 1)]
    assert Replica.load([update([(7, 0, wide)])]).state_vector() == b"\1\7" + encode_varint(
        LIMIT + 1
    )
    assert Replica.load(
        [behind(3_000, b"\1\1m\1k", 0x20)]
    ).state_vector() == b"\1\7" + encode_varint(3_000)


def test_what_waits_is_known_after_a_refusal() -> None:
    """A document that was loaded with a waiting update still has it after a refused one."""
    early = update([(7, 0, [(item(4, b"\1a", b"\x09\0", 0x80), 1)])])
    replica = Replica.load([early])
    with pytest.raises(UnreadableDocument):
        replica.apply(unrelated(LIMIT + 1, 3))
    assert replica.has_pending()


@given(st.lists(UPDATES, min_size=1, max_size=6), st.data())
def test_no_news_are_taken_for_nothing(log: list[bytes], data: st.DataObject) -> None:
    """Whatever the structs: of a part of the log, of all of it and more, of deletions alone."""
    known = log[: data.draw(st.integers(1, len(log)))]
    try:
        replica = Replica.load(known)
        vector, before = replica.state_vector(), replica.fingerprint()
        found = merge(data.draw(st.lists(st.sampled_from(log), min_size=1, max_size=4)))
        if data.draw(st.booleans()):
            found = missing([found], vector)
        if not brings_nothing(found, vector, known):
            return
        replica.take(found)
        assert replica.fingerprint() == before
        assert Replica.load([*known, found]).fingerprint() == before
    except UnreadableDocument:
        return


@given(A_BODY, st.data())
def test_an_answer_to_who_has_all_brings_nothing(start: Block, data: st.DataObject) -> None:
    """A server answers a vector with all deletions: they are known to who made them or heard of
    them, and one that is not known is news.
    """
    log = [express([], Target(body=start)).update or EMPTY]
    for _ in range(data.draw(st.integers(1, 3))):
        goal = data.draw(edits(Replica.load(log).view()))
        log.append(express(log, Target(body=goal)).update or EMPTY)
    vector = vector_of(log)
    answer = missing(log, vector)
    assert brings_nothing(answer, vector, log)
    for known in range(1, len(log)):
        early = vector_of(log[:known])
        for found in (missing(log, early), log[known], answer):
            if brings_nothing(found, early, log[:known]):
                assert not Replica.load(log[:known]).take(found).is_news
