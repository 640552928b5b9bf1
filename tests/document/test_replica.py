"""Replicas: loading, applying, comparing, and surviving bad bytes."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, XmlElement, XmlFragment, XmlText

from heapsyncd.document.edit import Target, edit, express
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.replica import Replica, self_test
from heapsyncd.document.updates import (
    EMPTY,
    is_pending,
    merge,
    missing,
    pycrdt_errors,
    vector_of,
)
from heapsyncd.document.xml.nodes import BODY
from heapsyncd.errors import UnreadableDocument
from heapsyncd.tree import Block, Text
from tests.document.worlds import build


def doc(*texts: str) -> Block:
    return Block("doc", children=tuple(Block("paragraph", inline=(Text(t),)) for t in texts))


def made(base: list[bytes], *texts: str) -> bytes:
    update = express(base, Target(body=doc(*texts))).update
    assert update is not None
    return update


BASE = build([("paragraph", {}, [[("one", {})]]), ("paragraph", {}, [[("two", {})]])])


def test_applying_tells_whether_anything_changed() -> None:
    """New content and a deletion alone count, what is known already does not."""
    replica = Replica()
    assert replica.apply(BASE)
    assert not replica.apply(BASE)
    vector, print_before = replica.state_vector(), replica.fingerprint()
    assert replica.apply(made([BASE], "one"))
    assert replica.state_vector() == vector
    assert replica.fingerprint() != print_before
    assert replica.view() == doc("one")


def test_fingerprints_do_not_depend_on_the_order_of_updates() -> None:
    """However the same updates arrive, fingerprint and state are the same bytes."""
    sides = [made([BASE], "one", f"two {n}") for n in range(6)]
    updates = [BASE, *sides, made([BASE, *sides], "all")]
    shuffled = [random.Random(n).sample(updates, len(updates)) for n in range(20)]
    assert len({Replica.load(s).fingerprint() for s in shuffled}) == 1
    assert len({Replica.load(s).state() for s in shuffled}) == 1


def test_an_update_that_waits_for_another_is_pending_until_it_comes() -> None:
    """What depends on unknown updates is silent, is told by has_pending, and is then taken in."""
    later = made([BASE], "one", "two", "three")
    replica = Replica.load([later])
    assert replica.has_pending()
    assert replica.view() == doc()
    assert replica.apply(BASE)
    assert not replica.has_pending()
    assert replica.view() == doc("one", "two", "three")


def test_what_is_known_of_an_update_does_not_wait() -> None:
    """An update waits while what it builds on, or deletes, has not been seen."""
    longer, shorter = made([BASE], "one", "two", "three"), made([BASE], "one")
    vectors = [Replica.load(u).state_vector() for u in ([], [BASE], [BASE, longer])]
    assert [is_pending(BASE, v) for v in vectors] == [True, False, False]
    assert [is_pending(longer, v) for v in vectors] == [True, True, False]
    assert [is_pending(shorter, v) for v in vectors] == [True, False, False]


def test_a_deletion_of_what_waits() -> None:
    """It tells nothing by itself, not even after the text that it deletes began to wait; it holds
    when all has come, in whatever order.
    """
    second = made([BASE], "one", "two", "three")
    third = made([BASE, second], "one", "two", "three", "four")
    deletion = made([BASE, second, third], "one", "two")
    for order in itertools.permutations([second, third, deletion]):
        replica = Replica.load([BASE])
        for update in order:
            replica.apply(update)
            assert is_pending(update, replica.state_vector()) <= replica.has_pending()
        assert not replica.has_pending()
        assert replica.view() == doc("one", "two")
    replica = Replica.load([BASE])
    assert not replica.apply(third)
    assert not replica.apply(deletion)
    assert is_pending(deletion, replica.state_vector())
    assert Replica.load([BASE, deletion]).has_pending()


def history(rng: random.Random) -> list[bytes]:
    """The updates of three people who hear of each other now and then."""
    docs: list[Doc[Any]] = [Doc(client_id=k + 1) for k in range(3)]
    updates: list[bytes] = []
    for step in range(rng.randint(3, 6)):
        doc = rng.choice(docs)
        before = doc.get_state()
        body = doc.get(BODY, type=XmlFragment)
        if len(body.children) and rng.random() < 0.2:
            del body.children[rng.randrange(len(body.children))]
        else:
            paragraph = XmlElement("paragraph", {}, [XmlText(f"t{step}")])
            body.children.insert(rng.randint(0, len(body.children)), paragraph)
        updates.append(doc.get_update(before))
        for other in docs if rng.random() < 0.7 else ():
            if other is not doc and rng.random() < 0.6:
                other.apply_update(doc.get_update())
    return updates


@pytest.mark.slow
def test_updates_in_any_order_make_one_document() -> None:
    """Loaded or applied, at once or one by one, with as many waiting as may be."""
    for seed in range(600):
        rng = random.Random(seed)
        updates = history(rng)
        whole = Replica.load([merge(updates)])
        rng.shuffle(updates)
        for cut in range(len(updates) + 1):
            replica = Replica.load(updates[:cut])
            for update in updates[cut:]:
                replica.apply(update)
            assert replica.fingerprint() == whole.fingerprint(), (seed, cut)
            assert replica.view() == whole.view(), (seed, cut)


def test_what_waits_is_news_once() -> None:
    """However often it comes, structs or a deletion, it is kept one time."""
    second = made([BASE], "one", "two", "three")
    third = made([BASE, second], "one", "two", "three", "four")
    deletion = made([BASE, second, third], "one", "two")
    replica = Replica.load([BASE])
    for update in (third, deletion, merge([third, deletion])):
        taken = [replica.take(update).is_news for _ in range(3)]
        assert taken[1:] == [False, False]
    assert replica.take(second).changed
    assert replica.view() == doc("one", "two")
    assert not replica.take(merge([third, deletion])).is_news


def test_differences_bring_another_replica_up_to_date() -> None:
    """Both the loaded and the raw difference to a vector hold exactly what is lacking."""
    update = made([BASE], "one", "two", "three")
    here, there = Replica.load([BASE, update]), Replica.load([BASE])
    assert vector_of([BASE, update]) == here.state_vector()
    for difference in (
        here.since(there.state_vector()),
        missing([BASE, update], there.state_vector()),
    ):
        assert len(difference) < len(BASE)
        fresh = Replica.load([BASE, difference])
        assert fresh.fingerprint() == here.fingerprint()
    assert missing([BASE], vector_of([BASE])) == EMPTY
    assert merge([]) == EMPTY


def test_merged_updates_keep_what_is_pending() -> None:
    """A log can be folded into one update without losing one whose base has not arrived."""
    later = made([BASE], "one", "two", "three")
    folded = merge([later])
    assert Replica.load([folded, BASE]).view() == doc("one", "two", "three")


def test_state_vectors_are_read() -> None:
    """A vector is client ids and clocks."""
    replica = Replica.load([BASE], client_id=99)
    assert clocks(replica.state_vector()).keys() == {7}
    assert replica.client_id == 99
    assert clocks(Replica().state_vector()) == {}
    assert Replica().client_id != Replica().client_id


HOOK = BASE.replace(b"\x03\x09paragraph", b"\x05\x09paragraph")
"""The elements as XmlHooks, which yrs can't read."""


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"", id="empty"),
        pytest.param(BASE[:-5], id="cut off"),
        pytest.param(b"\xff" * 40, id="endless number"),
        pytest.param(HOOK, id="XmlHook"),
    ],
)
def test_bad_updates_are_told_and_change_nothing(bad: bytes) -> None:
    """Unreadable bytes raise UnreadableDocument everywhere, and the replica goes on."""
    assert HOOK != BASE
    replica = Replica.load([BASE])
    before = replica.fingerprint()
    calls: list[Callable[[], object]] = [
        lambda: replica.apply(bad),
        lambda: Replica.load([BASE, bad]),
        lambda: express([bad], Target(title="x")),
    ]
    if bad != HOOK:
        calls += [lambda: merge([BASE, bad]), lambda: vector_of([bad])]
    for call in calls:
        with pytest.raises(UnreadableDocument):
            call()
    assert replica.fingerprint() == before
    assert replica.apply(made([BASE], "one", "two", "more"))
    assert replica.view() == doc("one", "two", "more")


@given(st.binary(max_size=60), st.integers(0, len(BASE)), st.integers(0, 255))
def test_garbage_never_breaks_a_replica(junk: bytes, at: int, byte: int) -> None:
    """Random bytes, and good ones with one byte changed, load or raise; nothing else happens."""
    replica = Replica.load([BASE])
    for update in (junk, BASE[:at] + bytes([byte]) + BASE[at + 1 :], BASE[:at]):
        try:
            replica.apply(update)
        except UnreadableDocument:
            assert replica.view() is not None


def test_a_bad_vector_is_told() -> None:
    """A state vector from the network that is no vector raises UnreadableDocument."""
    with pytest.raises(UnreadableDocument):
        Replica.load([BASE]).since(b"\xff\xff\xff")
    with pytest.raises(UnreadableDocument):
        missing([BASE], b"\x05\x01")


def test_a_panic_is_contained_but_nothing_else() -> None:
    """A Rust panic becomes UnreadableDocument; an interrupt and a mistake of ours pass through."""
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(UnreadableDocument), pycrdt_errors():
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), pycrdt_errors():
        raise KeyboardInterrupt
    with pytest.raises(TypeError), pycrdt_errors():
        raise TypeError("ours")


def test_text_is_counted_as_this_stage_expects() -> None:
    """The start-up check passes with the pinned pycrdt."""
    self_test()


def test_a_view_is_made_once_for_each_state() -> None:
    """Asked again, the view is the same; after an update, even of deletions alone, it is not."""
    first = express([], Target(body=_paragraphs("a", "b"))).update or b""
    more = express([first], Target(body=_paragraphs("a", "b", "c"))).update or b""
    less = express([first, more], Target(body=_paragraphs("a"))).update or b""
    replica = Replica.load([first])
    assert replica.view() is replica.view()
    for update, words in ((more, "a\nb\nc"), (less, "a")):
        replica.apply(update)
        assert replica.view().words() == words
    replica.forget_view()
    assert replica.view().words() == "a"


def _paragraphs(*texts: str) -> Block:
    return Block("doc", (), tuple(Block("paragraph", inline=(Text(t),)) for t in texts))


def test_fields_are_those_of_the_present_state() -> None:
    """Read before, they are right after an edit, an update, one that waited, and a bad one."""
    replica = Replica.load([BASE])
    seen = [replica.fields().title]
    edit(replica, Target(title="edited"))
    seen.append(replica.fields().title)
    first = express([replica.state()], Target(title="taken")).update
    assert first is not None
    second = express([replica.state(), first], Target(title="waited")).update
    assert second is not None
    assert not replica.apply(second)
    seen.append(replica.fields().title)
    replica.apply(first)
    seen.append(replica.fields().title)
    with pytest.raises(UnreadableDocument):
        replica.apply(b"\1\1\7\0\4\1\1t\xff")
    seen.append(replica.fields().title)
    assert seen == ["", "edited", "edited", "waited", "waited"]


def test_what_waits_is_told_by_who_issued_it() -> None:
    """A second edit without the first waits; only its author's id is not safe to go on with."""
    first = express([BASE], Target(body=doc("one", "two", "x")), client_id=9).update or EMPTY
    second = (
        express([BASE, first], Target(body=doc("one", "two", "xyz")), client_id=9).update or EMPTY
    )
    replica = Replica.load([BASE, second])
    assert replica.has_pending_of(9)
    assert not replica.has_pending_of(10)
    assert not Replica.load([BASE, first, second]).has_pending_of(9)


def test_bad_bytes_after_many_updates_change_nothing() -> None:
    """Whatever a replica took in, waits for or wrote itself, it is made anew of."""
    app, replica = (Replica.load([BASE], client_id=k) for k in (90_001, 90_002))
    for k in range(600):
        update = edit(app, Target(body=doc("one", f"two {k}"))).update
        assert update is not None
        replica.apply(update)
    late = edit(app, Target(body=doc("one", "two", "late"))).update or EMPTY
    early = edit(app, Target(body=doc("one", "two", "late", "early"))).update or EMPTY
    replica.apply(early)
    edit(replica, Target(body=doc("mine", *(b.words() for b in replica.view().children))))
    before, view = replica.fingerprint(), replica.view()
    with pytest.raises(UnreadableDocument):
        replica.apply(early[:-2])
    assert (replica.fingerprint(), replica.view()) == (before, view)
    assert replica.has_pending()
    replica.apply(late)
    assert replica.view() == doc("mine", "one", "two", "late", "early")
