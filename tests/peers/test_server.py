"""npm's provider, versions 2 to 4, against the embedded server."""

import asyncio

from heapsyncd.ids import new_block_id
from tests.peers.documents import note, with_text
from tests.peers.household import Household
from tests.peers.people import Device
from tests.peers.programs import Program

CROWD = 150
"""More documents than Hocuspocus 4 itself lets wait for their sign-in on one socket."""


async def test_two_providers_converge(home: Household, people: Program, major: int) -> None:
    """What two editors type at once is in both of them and in the server's document."""
    block = await home.server.add_block(home.heap, "document", "Note", note("first", "last"))
    devices = [await Device.connect(people, who, home.ws, major) for who in ("a", "b")]
    anna, ben = [await d.open(home.name(block), home.token) for d in devices]
    await asyncio.gather(anna.synced(), ben.synced())
    await asyncio.gather(
        anna.edit("type", block=0, text="Anna "), ben.edit("type", block=1, text="Ben ")
    )
    seen_by_anna = await anna.sees("Ben last")
    seen_by_ben = await ben.sees("Anna first")
    assert (seen_by_anna["repairs"], seen_by_ben["repairs"]) == (0, 0)
    await asyncio.gather(anna.saved(), ben.saved())
    document = await home.server.document(block)
    await anna.holds(document.state())
    await ben.holds(document.state())
    assert "Anna first" in document.view().words()
    assert "Ben last" in document.view().words()


async def test_different_versions_converge(home: Household, people: Program) -> None:
    """A provider of version 2, one of 3 and one of 4 follow one document."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    crowd = []
    for major in (2, 3, 4):
        device = await Device.connect(people, f"v{major}", home.ws, major)
        crowd.append(await device.open(home.name(block), home.token))
    for number, person in enumerate(crowd):
        await person.synced()
        await person.edit("type", block=0, text=f"<{number}>")
    for person in crowd:
        for number in range(len(crowd)):
            await person.sees(f"<{number}>")


async def test_many_documents_share_a_socket(home: Household, people: Program, major: int) -> None:
    """A hundred and fifty documents opened at once over one socket all arrive, and stay live."""
    blocks = [
        await home.server.add_block(home.heap, "document", f"{n}", note(f"number {n}."))
        for n in range(CROWD)
    ]
    device = await Device.connect(people, "s", home.ws, major)
    crowd = [await device.open(home.name(b), home.token, bound=False) for b in blocks]
    shown = await asyncio.gather(*(person.synced() for person in crowd))
    assert [s["text"] for s in shown] == [f"number {n}." for n in range(CROWD)]
    await home.server.apply(blocks[-1], with_text(await crowd[-1].state(), "late "))
    await crowd[-1].sees("late number")


async def test_a_session_of_its_own_gets_its_answers(home: Household, people: Program) -> None:
    """Version 4 may follow one document twice over one socket, each under a session's name."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    device = await Device.connect(people, "s", home.ws, 4)
    one = await device.open(home.name(block), home.token, key="one", session=True)
    two = await device.open(home.name(block), home.token, key="two", session=True)
    await asyncio.gather(one.synced(), two.synced())
    await one.edit("type", block=0, text="hello ")
    await two.sees("hello text")


async def test_refusals_concern_one_document(home: Household, people: Program, major: int) -> None:
    """A wrong token, an old version and an unknown block are refused; their socket goes on."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    other = await home.server.add_block(home.heap, "document", "Other", note("other"))
    await home.server.compact(other)
    device = await Device.connect(people, "s", home.ws, major)
    good = await device.open(home.name(block), home.token)
    await good.synced()
    refused = [
        await device.open(home.name(other, 2), "not a token"),
        await device.open(home.name(other, 1), home.token),
        await device.open(home.name(new_block_id()), home.token),
        await device.open("nonsense", home.token),
    ]
    for person in refused:
        assert await person.refused()
    await good.edit("type", block=0, text="still ")
    await good.saved()
    assert "still text" in (await home.server.document(block)).view().words()


async def test_a_push_reaches_the_provider(home: Household, people: Program, major: int) -> None:
    """An update pushed over HTTP is seen by whoever follows, and changes nothing else."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    device = await Device.connect(people, "s", home.ws, major)
    person = await device.open(home.name(block), home.token)
    state = (await person.synced())["state"]
    assert state
    assert await home.push(block, with_text(await person.state(), "pushed ")) == "ok"
    assert (await person.sees("pushed text"))["repairs"] == 0


async def test_compaction_closes_the_old_document(
    home: Household, people: Program, major: int
) -> None:
    """Who follows the old version is sent away, may not return, and finds all in the new one."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    device = await Device.connect(people, "s", home.ws, major)
    person = await device.open(home.name(block), home.token)
    await person.synced()
    await person.edit("type", block=0, text="typed ")
    await person.saved()
    await home.server.compact(block)
    # Version 2 of the provider does not know Close: it learns from the refusal when it comes back.
    if major > 2:
        await person.closed()
    await person.leave()
    elsewhere = await Device.connect(people, "t", home.ws, major)
    assert await (await elsewhere.open(home.name(block, 1), home.token)).refused()
    fresh = await elsewhere.open(home.name(block, 2), home.token)
    await fresh.synced()
    assert (await fresh.read())["text"] == "typed text"


async def test_a_reader_can_follow_but_not_write(
    home: Household, people: Program, major: int
) -> None:
    """In a read-only heap the provider is told so, and what it sends changes nothing."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    await home.server.grant(home.heap, "ro")
    device = await Device.connect(people, "s", home.ws, major)
    person = await device.open(home.name(block), home.token)
    assert (await person.synced())["scope"] == "readonly"
    before = (await home.server.document(block)).state()
    await person.edit("type", block=0, text="not allowed ")
    # The server answers in order: once this change is seen, the one before it has been judged.
    await home.server.apply(block, with_text(before, "from above "))
    await person.sees("from above")
    assert "not allowed" not in (await home.server.document(block)).view().words()


async def test_a_dropped_provider_comes_back_with_its_edits(
    home: Household, people: Program, major: int
) -> None:
    """What was typed on both sides of a pause is in both afterwards."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    device = await Device.connect(people, "s", home.ws, major)
    person = await device.open(home.name(block), home.token)
    await person.synced()
    before = await person.state()
    await device.pause()
    await person.edit("type", block=0, text="offline ")
    await home.server.apply(block, with_text(before, "meanwhile "))
    await device.resume()
    await person.sees("meanwhile")
    await person.saved()
    words = (await home.server.document(block)).view().words()
    assert "offline" in words
    assert "meanwhile" in words


async def test_presence_is_passed_on(home: Household, people: Program, major: int) -> None:
    """Awareness states reach the other editors and go when their owner leaves."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    devices = [await Device.connect(people, who, home.ws, major) for who in ("a", "b")]
    anna, ben = [await d.open(home.name(block), home.token) for d in devices]
    await asyncio.gather(anna.synced(), ben.synced())
    await anna.present("Anna")
    await ben.meets("Anna")
    await devices[0].disconnect()
    await ben.misses("Anna")
