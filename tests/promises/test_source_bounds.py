"""The stored text of a file is foreign data: what can't be one is refused, and nothing is lost."""

from collections.abc import Iterator
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from heapsyncd.document.source import ROOT
from heapsyncd.ids import BlockId
from heapsyncd.sync.offline.status import cached_status
from tests.document.foreign_sources import BAD, foreign, with_key
from tests.promises.exact import differing, exact, fingerprints, put, round_trip, source_of
from tests.sync.rig import Device, World
from tests.world.fast import fast


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


NAME = "Note.md"
RENDERING = b"one line\n"


async def said(device: Device, path: str) -> list[str]:
    """What ``status`` says of a note, problems and notices alike."""
    status = await cached_status(device.account, device.base / "state")
    heap = status["heaps"][0]
    problems = [f"{p['path']}: {p['reason']}" for p in heap["problems"]]
    return [text for text in [*problems, *heap["notices"]] if path in text]


async def odd(world: World, update: bytes) -> BlockId:
    """A note of the app's, under whose source's name something else stands."""
    block = await world.add("Note", "one line\n")
    await world.server.apply(block, update)
    return block


@pytest.mark.parametrize("what", BAD)
async def test_an_invalid_source_makes_the_file_a_rendering(world: World, what: str) -> None:
    """``status`` says so once; a later save arrives, on every device."""
    block = await odd(world, BAD[what])
    before = await fingerprints(world)
    a, b = world.device("a"), world.device("b")
    await round_trip(a, b, a)
    assert exact(a)[NAME].endswith(RENDERING)
    assert differing(exact(a), exact(b)) == {}
    assert await fingerprints(world) == before
    assert len(await said(a, NAME)) == 1
    assert len(await said(b, NAME)) == 1
    edited = exact(a)[NAME] + b"\nmore\n"
    put(a, {NAME: edited})
    await round_trip(a, b, a)
    assert exact(a)[NAME] == edited
    assert differing(exact(a), exact(b)) == {}
    assert await world.text(block) == "one line\nmore"
    assert len(await said(a, NAME)) == 1


ODD = {
    "an order that names nothing": with_key("order", Text("none\nwhat")),
    "front lines that are no lines": with_key("front:a", Text("odd")),
    "an unknown key": with_key("unknown", 7.0),
}


@pytest.mark.parametrize("what", ODD)
async def test_odd_parts_lose_nothing(world: World, what: str) -> None:
    """All devices show the same bytes, and a later save arrives."""
    block = await odd(world, ODD[what])
    a, b = world.device("a"), world.device("b")
    await round_trip(a, b, a)
    assert b"one line" in exact(a)[NAME], "its body reads otherwise, and the tree counts"
    assert differing(exact(a), exact(b)) == {}
    edited = exact(b)[NAME] + b"\n\nmore\n"
    put(b, {NAME: edited})
    await round_trip(b, a)
    assert differing(exact(a), exact(b)) == {}
    assert exact(a)[NAME] == edited
    assert await world.text(block) == "one line\nmore"


def spoil(update: bytes, body: object) -> bytes:
    """The update with which a client that is not ours puts something for a document's body."""
    doc: Doc[Any] = Doc()
    doc.apply_update(update)
    before = doc.get_state()
    doc.get(ROOT, type=Map)["body"] = body
    return doc.get_update(before)


@pytest.mark.parametrize("kind", ["a number", "a text that is too long", "another text"])
async def test_a_source_that_is_spoiled_later(world: World, kind: str) -> None:
    """Both devices show the same, no word of the note is lost, and its next save mends it or is
    kept beside it.
    """
    a, b = world.device("a"), world.device("b")
    await a.synced()
    put(a, {NAME: b"---\nstatus: x\n---\n* first\n* __second__\n"})
    await round_trip(a, b)
    (block,) = (await world.titles()).values()
    state = (await world.server.document(block)).state()
    body: object = {
        "a number": 5.0,
        "a text that is too long": Text("x\n" * 600_000),
        "another text": Text("quite another\n"),
    }[kind]
    await world.server.apply(block, spoil(state, body))
    await round_trip(a, b, a)
    assert await world.text(block) == "first\nsecond"
    for word in (b"first", b"second"):
        assert exact(a)[NAME].count(word) == exact(b)[NAME].count(word) == 1
    edited = exact(b)[NAME] + b"\nmore\n"
    put(b, {NAME: edited})
    await round_trip(b, a, b)
    assert await world.text(block) == "first\nsecond\nmore"
    for word in (b"first", b"second", b"more"):
        assert exact(a)[NAME].count(word) == exact(b)[NAME].count(word) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_huge_source(world: World) -> None:
    """The other notes are mirrored as ever; this one is a rendering."""
    await world.add("Other", "other\n")
    block = await odd(world, foreign(lambda root: root.update({"body": Text("x" * (30 << 20))})))
    a = world.device("a")
    await a.once(timeout_s=120)
    assert exact(a)["Other.md"].endswith(b"other\n")
    assert exact(a)[NAME].endswith(RENDERING)
    assert len(await said(a, NAME)) == 1
    assert await world.text(block) == "one line"


async def test_a_document_that_gets_a_source_of_its_own(world: World) -> None:
    """What another program than ours wrote validly is a file like any other."""
    block = await odd(world, foreign(lambda root: root.update({"body": Text("one\nline\n")})))
    a, b = world.device("a"), world.device("b")
    await round_trip(a, b)
    assert exact(a)[NAME].endswith(b"one\nline\n")
    assert differing(exact(a), exact(b)) == {}
    assert await source_of(world, block) is not None
