"""The root of the source: written with few bytes, merged, and read as foreign data."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from heapsyncd.document.edit import Target, edit, express, express_source
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.rebuild import rebuild
from heapsyncd.document.replica import Replica
from heapsyncd.document.source import ROOT
from heapsyncd.document.updates import merge
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Lines, Source, StoredSource
from tests.document.foreign_sources import BAD, MOST, foreign, with_key

FULL = Source(
    "* a 👋\r\n* b\r\n",
    {"aliases": Lines("aliases:\n  - x\n  - y\n"), "odd": Lines("odd: [\n", is_exact=True)},
    ("aliases", "#id", "odd"),
    ("---  \n", "---\r\n"),
    bom=True,
    line_breaks="break",
)


def put(base: Sequence[bytes], source: Source, client_id: int | None = None) -> bytes:
    """Return the update that writes a source into a document."""
    live = Replica.load(base)
    update = express_source(base, lambda _: source, live=live, client_id=client_id)
    assert update is not None
    return update


def got(*updates: bytes) -> Source | None:
    found = Replica.load(updates).source(MOST)
    assert found.problem is None
    return found.source


def test_a_source_is_read_as_it_was_written() -> None:
    """Every part; default values are not stored."""
    assert got(put([], FULL)) == FULL
    plain = Source("words\n")
    assert got(put([], plain)) == plain
    doc: Doc[Any] = Doc()
    doc.apply_update(put([], plain))
    assert list(doc.get(ROOT, type=Map)) == ["body"]


def test_a_first_source_is_in_the_update_of_the_body() -> None:
    """One author id and one update hold both, unmerged; later edits find both as they expect."""
    live = Replica(7)
    body = parse(FULL.body, NO_LINKS)
    update = edit(live, Target(body=body, first_source=FULL)).update
    assert update is not None
    assert got(update) == FULL
    assert Replica.load([update]).view() == body
    assert Replica.load([update]).state_vector() == live.state_vector()
    assert list(clocks(live.state_vector())) == [7]
    new = Source("* b\n", FULL.front)
    saved = edit(live, Target(body=parse(new.body, NO_LINKS))).update
    more = express_source([update], lambda _: new, live=live, client_id=7)
    assert saved is not None
    assert more is not None
    assert got(update, saved, more) == new


def test_a_document_without_a_source() -> None:
    """Reading changes nothing, and a source that arrives later is found."""
    replica = Replica.load([express([], Target(title="x")).update or b""])
    before = replica.state()
    assert replica.source(MOST) == StoredSource()
    assert replica.state() == before
    replica.apply(put([before], FULL))
    assert replica.source(MOST).source == FULL


def test_an_unchanged_source_is_no_edit() -> None:
    """Neither is none."""
    start = put([], FULL)
    assert express_source([start], lambda current: current) is None
    assert express_source([start], lambda _: None) is None


@pytest.mark.parametrize(
    "new",
    [
        Source("* a 👋👋\r\n* c\r\n", FULL.front, FULL.order, FULL.fences, bom=True),
        Source(FULL.body, {"aliases": Lines("aliases:\n  - y\n")}, ("aliases",)),
        Source("", {"odd": Lines("odd: 1\n")}, ("odd",)),
        Source("", {"aliases": Lines("x", is_exact=True)}, ("b", "aliases")),
        Source(""),
        Source("* a 👋\r\n* b"),
        Source("x\r"),
    ],
)
def test_a_source_is_changed_and_changed_back(new: Source) -> None:
    """In every part."""
    log = [put([], FULL)]
    log.append(put(log, new))
    assert got(*log) == new
    log.append(put(log, FULL))
    assert got(*log) == FULL


def test_two_devices_create_the_source_at_once() -> None:
    """The body is not doubled, and keys that only one device wrote are kept."""
    one = Source("same\n", {"a": Lines("a: 1\n"), "b": Lines("b: 1\n")}, ("a", "b"))
    other = Source("same\n", {"a": Lines("a: 1\n"), "c": Lines("c: 1\n")}, ("a", "c"))
    found = got(put([], one, 5), put([], other, 9))
    assert found is not None
    assert found.body == "same\n"
    assert {k: v.text for k, v in found.front.items()} == {k: f"{k}: 1\n" for k in "abc"}


def merged(base: Source, one: Source, other: Source) -> Source:
    """Return the source after two concurrent changes, the same in either order."""
    start = put([], base)
    updates = [put([start], source, k) for source, k in ((one, 5), (other, 9))]
    found = got(start, *updates)
    assert got(*updates[::-1], start) == found
    assert found is not None
    return found


def test_concurrent_edits_merge() -> None:
    """The body by letters, the keys of the front matter by lines."""
    base = Source("one two\n\nthree\n", {"l": Lines("l:\n  - a\n  - b\n")})
    one = Source("one NEW two\n\nthree\n", {"l": Lines("l:\n  - a\n  - N\n  - b\n")})
    other = Source("one two\n\nthree more\n", {"l": Lines("l:\n  - b\n")})
    found = merged(base, one, other)
    assert found.body == "one NEW two\n\nthree more\n"
    assert found.front["l"].text == "l:\n  - N\n  - b\n"


def test_text_appended_to_an_open_end_is_a_line_of_its_own() -> None:
    """It does not join the last line."""
    base = Source("a\n\nb\n\n[c]: /u\n")
    found = merged(base, Source("a\n\nb\n\n[c]: /u"), Source(f"{base.body}NEW\n"))
    assert found.body == "a\n\nb\n\n[c]: /u\nNEW"
    found = merged(base, Source("[c]: /u\n\na\n\nb"), Source("a\n\nb\nNEW\n\n[c]: /u\n"))
    assert "NEW" in found.body.split()


def test_a_wrong_open_end_is_corrected() -> None:
    """It is left by two concurrent changes, or foreign."""
    for text in ("\n", "x", ""):
        start = foreign(lambda root, t=text: root.update({"body": Text(t), "open_end": True}))  # type: ignore[misc]
        for wanted in ("a", "a\n", "a\r\n"):
            assert got(start, put([start], Source(wanted))) == Source(wanted)


def test_a_body_stored_without_a_line_end_is_edited() -> None:
    """What is added below it does not join its last line."""
    start = foreign(lambda root: root.update({"body": Text("x")}))
    assert got(start, put([start], Source("x\nmore\n"))) == Source("x\nmore\n")
    assert got(start, put([start], Source("y"))) == Source("y")


def test_a_line_added_to_a_removed_key_is_kept() -> None:
    """Removing a key only empties its text."""
    base = Source("", {"l": Lines("l:\n  - a\n")}, ("l",))
    found = merged(base, Source("", {"l": Lines("l:\n  - a\n  - N\n")}, ("l",)), Source(""))
    assert found.front["l"].text == "  - N\n"
    assert merged(base, Source(""), Source("")) == Source("")


def test_an_edit_that_the_live_document_has_is_not_made_again() -> None:
    """Neither in the body nor in the front matter."""
    base, wanted = Source("teh\n", {"l": Lines("l:\n")}), Source("the\n", {"l": Lines("l: 1\n")})
    log = [put([], base)]
    theirs = put(log, wanted, 5)
    live = Replica.load([*log, theirs])
    ours = express_source(log, lambda _: wanted, live=live, client_id=9)
    assert got(*log, theirs, *([ours] if ours else [])) == wanted


@pytest.mark.parametrize("what", BAD)
def test_an_invalid_source_is_refused_and_left_as_it_is(what: str) -> None:
    """There is a reason, and nothing is written over it."""
    update = BAD[what]
    found = Replica.load([update]).source(MOST)
    assert found.source is None
    assert found.problem
    assert express_source([update], lambda _: FULL, most_bytes=MOST) is None


ODD = {
    "an order that names nothing": (
        with_key("order", Text("none\nwhat")), Source("x", {}, ("none",))
    ),
    "a number": (with_key("bom", 1.0), Source("x")),
    "a word": (with_key("line_breaks", "odd"), Source("x")),
    "an unknown key": (with_key("unknown", Array(["x"])), Source("x")),
    "a key without lines": (with_key("front:a", Text("")), Source("x")),
    "half a line": (with_key("front:a", Text("odd")), Source("x", {"a": Lines("odd")})),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_a_part_without_meaning_is_ignored(what: str) -> None:
    """The rest is read."""
    update, source = ODD[what]
    assert got(update) == source


def test_an_array_with_an_emoji_is_not_searched() -> None:
    """yrs would never return."""
    update = foreign(lambda root: root.update({"body": Text("x👋y")}))
    at = update.index(b"body") + len(b"body")
    assert update[at] == 2
    disguised = update[:at] + b"\0" + update[at + 1 :]
    assert Replica.load([disguised]).source(MOST).problem


def test_a_rebuilt_document_keeps_its_source() -> None:
    """Every part."""
    assert got(rebuild([put([], FULL)])) == FULL


@pytest.mark.slow
def test_a_saved_letter_is_small() -> None:
    """An update with body and source has less than 60 bytes at the median and 200 at most. The
    document grows by less than 8 bytes a save, the two letters not counted.
    """
    random = Random(7)
    body = "".join(f"* item {k} with __some__ words\n\n" for k in range(40))
    tree = express([], Target(body=parse(body, NO_LINKS)), client_id=5).update or b""
    log = [tree, put([tree], Source(body), 5)]
    first = len(Replica.load(log).state())
    sizes = []
    at = 0
    for k in range(200):
        if k % 5 == 0:  # go to another place
            ends = [i for i, ch in enumerate(body) if ch == " " and body[i - 1].isalnum()]
            at = random.choice(ends)
        body = f"{body[:at]}x{body[at:]}"
        at += 1
        made = express(log, Target(body=parse(body, NO_LINKS)), client_id=5).update or b""
        source = put(log, Source(body), 5)
        sizes.append(len(merge([made, source])))
        log += [made, source]
    assert got(*log) == Source(body)
    assert sorted(sizes)[len(sizes) // 2] < 60
    assert max(sizes) < 200
    grown = (len(Replica.load(log).state()) - first) / len(sizes) - 2
    assert grown < 8
