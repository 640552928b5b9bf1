"""What is examined before yrs sees it: what passes, what is refused, and what is told of it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from pycrdt import Array, Doc, Map, Text, XmlFragment

from heapsyncd.document.encoding.examine import examine, examine_vector
from heapsyncd.document.encoding.state_vectors import encode_varint
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge, missing, vector_of
from heapsyncd.errors import UnreadableDocument
from tests.document.encodings import deleting, item, span, update
from tests.document.worlds import BODY, build

ONE = (item(4, b"\1a"), 1)


def alone(data: bytes) -> bytes:
    """An update of this struct."""
    return update([(7, 0, [(data, 1)])])


def nested(depth: int, kind: bytes) -> bytes:
    """A value in so many others."""
    return alone(item(8, b"\1" + kind * depth + b"\x7e"))


REFUSED = [
    pytest.param(alone(b"\0\0"), "no length", id="a GC without a length"),
    pytest.param(alone(b"\x0a\0"), "no length", id="a Skip without a length"),
    pytest.param(alone(item(1, b"\0")), "no length", id="a deleted item without a length"),
    pytest.param(alone(item(4, b"\0")), "no length", id="an empty text"),
    pytest.param(alone(item(8, b"\0")), "no length", id="no values"),
    pytest.param(b"\0" + deleting(7, (3, 0)), "no length", id="a deletion without a length"),
    pytest.param(nested(101, b"\x75\1"), "deep", id="lists 101 deep"),
    pytest.param(nested(101, b"\x76\1\1k"), "deep", id="objects 101 deep"),
    pytest.param(nested(20_000, b"\x75\1"), "deep", id="lists that overflow the stack"),
    pytest.param(alone(item(4, b"\x7fa")), "exceeds", id="a text longer than the update"),
    pytest.param(alone(item(8, b"\3\x7e\x7e")), "value|cut", id="more values than bytes"),
    pytest.param(alone(item(8, b"\1\x75\xff\xff\xff\x0f")), "exceeds", id="a list longer than it"),
    pytest.param(b"\xff\xff\xff\x0f\0", "fit", id="more clients than can be"),
    pytest.param(b"\1\xff\x0f\7\0" + ONE[0] + b"\0", "exceeds", id="more structs than bytes"),
    pytest.param(b"\0\1\7\xff\x0f\0\1", "exceeds", id="more deletions than bytes"),
    pytest.param(update([(2**53, 0, [ONE])]), "fit", id="a client id of 54 bits"),
    pytest.param(update([(7, 2**31, [ONE])]), "fit", id="a clock of 32 bits"),
    pytest.param(update([(7, 2**31 - 1, [ONE])]), "beyond", id="a clock that ends beyond"),
    pytest.param(alone(b"\0" + encode_varint(2**31 - 1)) + b"", None, id="the longest GC"),
    pytest.param(
        update([(7, 1, [(b"\0" + encode_varint(2**31 - 1), 0)])]),
        "beyond",
        id="a GC that ends beyond",
    ),
    pytest.param(b"\0" + deleting(7, (2**31 - 1, 9)), "beyond", id="a deletion that ends beyond"),
    pytest.param(b"\1\1\x87\0\0" + ONE[0] + b"\0", "shortest", id="a number in a longer spelling"),
    pytest.param(b"\1\1" + b"\xff" * 9 + b"\1", "shortest", id="an endless number"),
    pytest.param(update([(7, 0, [ONE]), (7, 1, [ONE])]), "twice", id="a client twice"),
    pytest.param(b"\1\0\7\0\0", "without structs", id="a client with nothing"),
    pytest.param(
        b"\0\2" + deleting(7, (0, 1))[1:] + deleting(7, (3, 1))[1:], "twice", id="deletions twice"
    ),
    pytest.param(alone(item(2, b"\1" + span(b"1"))), "old kind", id="JSON of the old kind"),
    pytest.param(alone(item(10, b"\1", b"\1\0", 0x80)), "kind", id="a Skip that is beside"),
    pytest.param(alone(item(11, b"\1")), "unknown kind", id="an unknown kind"),
    pytest.param(alone(item(0x14, b"\1a")), "unknown kind", id="an unknown flag"),
    pytest.param(alone(item(7, b"\5" + span(b"hook"))), "XmlHook", id="an XmlHook"),
    pytest.param(alone(item(7, b"\x0f")), "type", id="an unknown type"),
    pytest.param(alone(item(8, b"\1\x40")), "value", id="an unknown value"),
    pytest.param(alone(item(8, b"\1\x7d" + b"\xff" * 8 + b"\1")), "long", id="a long integer"),
    pytest.param(alone(item(4, b"\1a", b"\2\1m")), "fit", id="neither in a root nor in a struct"),
    pytest.param(alone(ONE[0])[:-1], "cut off", id="cut off"),
    pytest.param(alone(item(8, b"\1\x7b\0"))[:-1], "cut off", id="cut off in a float"),
    pytest.param(b"", "cut off", id="without structs"),
    pytest.param(alone(ONE[0]) + b"\0", "follows", id="something behind it"),
    pytest.param(b"\0\0\0\0\0\0\1\0\0\0\0\0\0", "follows", id="an update of version 2"),
    pytest.param(
        b"\0" + deleting(7, *((2 * k, 1) for k in range(10_001, 0, -1))), "order", id="disorder"
    ),
    pytest.param(
        update([(c, 0, [ONE]) for c in range(20_001)]), "fit", id="too many clients"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_what_yrs_must_not_see_is_refused(data: bytes, reason: str | None) -> None:
    """Each is refused with a reason and a place in one line."""
    if reason is None:
        examine(data)
        return
    with pytest.raises(UnreadableDocument, match=reason) as caught:
        examine(data)
    assert "byte " in str(caught.value)


PASSES = [
    pytest.param(b"\0\0", id="nothing at all"),
    pytest.param(nested(100, b"\x75\1"), id="lists 100 deep"),
    pytest.param(alone(item(5, span(b"[" * 90 + b"]" * 90))), id="JSON 90 deep"),
    pytest.param(alone(item(3, b"\0")), id="no bytes"),
    pytest.param(update([(2**53 - 1, 0, [ONE])]), id="the largest client id"),
    pytest.param(update([(7, 2**31 - 2, [ONE])]), id="the largest clock"),
    pytest.param(
        update([(7, 0, [ONE, (b"\x0a\5", 5), ONE])], deleting(7, (0, 1), (9, 2))), id="a gap"
    ),
    pytest.param(update([(2, 0, [ONE]), (9, 0, [ONE])]), id="clients in another order"),
    pytest.param(b"\0" + deleting(7, (9, 2), (0, 20)), id="deletions in another order"),
]


@pytest.mark.parametrize("data", PASSES)
def test_what_is_sound_passes(data: bytes) -> None:
    """The furthest that is allowed, and what nobody makes but nothing is wrong with."""
    examine(data)


@pytest.mark.slow
@given(BODY)
@settings(max_examples=100, deadline=None)
def test_what_pycrdt_makes_passes(body: Any) -> None:
    """Documents of all nodes and marks; nothing of them stands behind a gap."""
    assert examine(build(body)).is_gapless({})


def test_everything_that_can_be_in_a_document_passes() -> None:
    """Texts with marks, embeds, maps, lists, subdocuments, binaries, deletions."""
    doc: Doc[Any] = Doc()
    doc["text"] = text = Text("a👋é")
    text.insert_embed(0, {"a": [1, None, 1.5, True, "x", {}]})
    text.format(1, 2, {"bold": {}, "link": {"href": "x" * 300}})
    doc["map"] = Map({"b": b"bytes", "deep": Map({"d": Doc()}), "big": 2**50, "neg": -3})
    doc["list"] = items = Array(["x", *range(300), None, 0.1])
    del items[3:50]
    doc["xml"] = XmlFragment()
    del text[0:2]
    assert examine(doc.get_update()).is_gapless({})


NO_TEXT = [b"\2\xc3\x28", b"\3\xed\xa0\x80", span(b"\xff" * 200)]
TEXTS = [
    pytest.param(lambda bad: item(4, bad), id="a text"),
    pytest.param(lambda bad: item(4, b"\1a", b"\1" + bad), id="a root"),
    pytest.param(lambda bad: item(8, b"\1\x7e", b"\1\1m" + bad, 0x20), id="a key"),
    pytest.param(lambda bad: item(6, bad + span(b"true")), id="a mark"),
    pytest.param(lambda bad: item(7, b"\3" + bad), id="a node"),
    pytest.param(lambda bad: item(8, b"\1\x77" + bad), id="a value"),
    pytest.param(lambda bad: item(8, b"\1\x76\1" + bad + b"\x7e"), id="a key of a value"),
    pytest.param(lambda bad: item(9, bad + b"\x76\0"), id="a subdocument"),
    pytest.param(lambda bad: item(5, bad), id="JSON"),
    pytest.param(lambda _: item(5, span(b"[" * 200 + b"]" * 200)), id="deep JSON"),
    pytest.param(lambda _: item(6, span(b"b") + span(b"{")), id="half of JSON"),
]


@pytest.mark.parametrize("make", TEXTS)
@pytest.mark.parametrize("bad", NO_TEXT)
def test_what_is_no_text_is_refused_by_yrs(make: Callable[[bytes], bytes], bad: bytes) -> None:
    """Wherever UTF-8 or JSON stands that is none, nobody takes the update in."""
    data = alone(make(bad))
    calls = (lambda: Replica.load([data]), lambda: merge([data]), lambda: vector_of([data]))
    for call in (*calls, lambda: Replica().apply(data), lambda: missing([data], b"\0")):
        with pytest.raises(UnreadableDocument):
            call()


@pytest.mark.parametrize(
    "vector", [b"", b"\1", b"\1\7", b"\xff\xff\xff\x7f", b"\1\7\0\0", b"\1\x87\0\1", b"\xff" * 9]
)
def test_no_state_vector(vector: bytes) -> None:
    """What is cut off, lies about its length or goes on is no state vector."""
    with pytest.raises(UnreadableDocument):
        examine_vector(vector)


def test_a_state_vector() -> None:
    """Clients and clocks, as they stand there."""
    assert examine_vector(b"\0") == {}
    assert examine_vector(b"\2\7\3\2\1") == {7: 3, 2: 1}
