"""The live feed against npm's server, versions 2 to 4."""

import asyncio
from dataclasses import dataclass

import pytest

from heapsyncd.ids import BlockId, HeapId, new_block_id
from heapsyncd.wire import pulse
from heapsyncd.wire.live import WINDOW
from tests.peers.documents import note, with_text
from tests.peers.follower import OneToken, following
from tests.peers.people import Device
from tests.peers.programs import Program, encoded

HEAP = HeapId("01HZX0000000000000000000HP")
CROWD = 120
SYNC, AWARENESS, AUTH, QUERY_AWARENESS, PING, PONG = "0", "1", "2", "3", "9", "10"


@dataclass(frozen=True, slots=True)
class Hub:
    """npm's server, running."""

    program: Program
    port: int

    @classmethod
    async def start(cls, program: Program, major: int, **options: object) -> "Hub":
        """Start it; it accepts the token ``T``."""
        answer = await program.ask("start", major=major, tokens=["T"], **options)
        return cls(program, answer["port"])

    @property
    def url(self) -> str:
        """The origin, as a configuration names it."""
        return f"http://127.0.0.1:{self.port}"

    async def put(self, state: bytes, **options: object) -> BlockId:
        """Make a document known."""
        block = new_block_id()
        await self.program.ask("put", name=name(block), update=encoded(state), **options)
        return block

    async def edit(self, block: BlockId, update: bytes) -> None:
        """Change a document from the server's side."""
        await self.program.ask("edit", name=name(block), update=encoded(update))

    async def holds(self, block: BlockId, update: bytes) -> None:
        """Wait until the server's document holds everything of an update."""
        await self.program.ask("wait", name=name(block), update=encoded(update))


def name(block: BlockId) -> str:
    return f"{HEAP}:{block}:v1"


async def test_many_documents_are_followed_over_one_socket(hub: Program, major: int) -> None:
    """All arrive over one socket, of which never more than the window await their sign-in."""
    server = await Hub.start(hub, major)
    blocks = [await server.put(note(f"number {n}.")) for n in range(CROWD)]
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow(blocks)
        await follower.until(lambda: len(follower.synced) == CROWD)
        for n, block in enumerate(blocks):
            assert f"number {n}." in follower.text(block)
        assert follower.lost == {}
        stats = await hub.ask("stats")
    assert stats["sockets"] == follower.links == 1
    assert 1 < stats["widest"] <= WINDOW
    assert not {PING, PONG, AWARENESS} & stats["types"].keys()


async def test_remote_changes_arrive(hub: Program, people: Program, major: int) -> None:
    """What the server or an editor changes is here at once, and only there."""
    server = await Hub.start(hub, major)
    block, other = await server.put(note("text")), await server.put(note("other"))
    device = await Device.connect(people, "s", f"ws://127.0.0.1:{server.port}/ws", major)
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow([block, other])
        await follower.until(lambda: follower.synced == {block, other})
        await server.edit(block, with_text(follower.doc(block).get_update(), "served "))
        await follower.until(lambda: "served text" in follower.text(block))
        person = await device.open(name(block), "T")
        await person.synced()
        await person.edit("type", block=0, text="typed ")
        await follower.until(lambda: "typed served text" in follower.text(block))
        assert "other" in follower.text(other)


async def test_the_server_gets_what_it_lacks(hub: Program, people: Program, major: int) -> None:
    """What we know and the server does not is asked for on opening, answered and passed on."""
    server = await Hub.start(hub, major)
    block = await server.put(note("text"))
    device = await Device.connect(people, "s", f"ws://127.0.0.1:{server.port}/ws", major)
    person = await device.open(name(block), "T")
    await person.synced()
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        state = await person.state()
        follower.doc(block).apply_update(state)
        ours = with_text(state, "ours ")
        follower.doc(block).apply_update(ours)
        feed.follow([block])
        await server.holds(block, ours)
        assert (await person.sees("ours text"))["repairs"] == 0
        await follower.until(lambda: follower.synced)
        large = with_text(follower.doc(block).get_update(), "sent ")
        feed.send(block, large)
        await person.sees("sent ours text")


@pytest.mark.parametrize("code", [None, 1012, 4205], ids=["cut", "restart", "reset"])
async def test_a_dropped_link_comes_back(hub: Program, major: int, code: int | None) -> None:
    """After a drop a new socket brings what was missed on both sides."""
    server = await Hub.start(hub, major)
    block = await server.put(note("text"))
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow([block])
        await follower.until(lambda: follower.synced)
        state = follower.doc(block).get_update()
        ours = with_text(state, "ours ")
        await hub.ask("drop", **({"code": code} if code else {}))
        follower.doc(block).apply_update(ours)
        await server.edit(block, with_text(state, "theirs "))
        await follower.until(lambda: follower.links == 2 and follower.synced)
        await follower.until(lambda: "theirs" in follower.text(block))
        await server.holds(block, ours)
        assert follower.drops == 1


async def test_a_server_that_was_away_is_found_again(hub: Program, major: int) -> None:
    """While nobody listens the feed goes on trying; then everything is followed again."""
    server = await Hub.start(hub, major)
    blocks = [await server.put(note("text")) for _ in range(3)]
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow(blocks)
        await follower.until(lambda: len(follower.synced) == len(blocks))
        await hub.ask("stop")
        await follower.until(lambda: follower.drops == 1)
        assert not feed.connected
        await hub.ask("start")
        await follower.until(lambda: len(follower.synced) == len(blocks), limit_s=20)
        assert follower.links == 2


async def test_refused_documents_leave_the_others_alone(hub: Program, major: int) -> None:
    """A refusal is told with its reason, and the rest is followed; a new socket asks again."""
    server = await Hub.start(hub, major)
    good = await server.put(note("good"))
    shut = await server.put(note("shut"), access="none")
    unknown = new_block_id()
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow([shut, good, unknown])
        await follower.until(lambda: follower.lost.keys() == {shut, unknown})
        assert {event.reason for event in follower.lost.values()} == {"denied"}
        await follower.until(lambda: good in follower.synced)
        await hub.ask("put", name=name(shut), update=encoded(note("shut")))
        await hub.ask("drop")
        await follower.until(lambda: follower.synced >= {good, shut})
        assert "shut" in follower.text(shut)


async def test_a_wrong_token_is_doubted(hub: Program, major: int) -> None:
    """When nothing is let in the session hears that its token may be no good."""
    server = await Hub.start(hub, major)
    block = await server.put(note("text"))
    tokens = OneToken("wrong")
    async with following(server.url, HEAP, tokens) as (feed, follower):
        feed.follow([block])
        await follower.until(lambda: follower.lost)
        await hub.ask("drop")
        await follower.until(lambda: follower.links >= 2)
    assert tokens.doubts >= 1


async def test_a_closed_document_can_be_opened_again(hub: Program, major: int) -> None:
    """A document the server closes is lost alone, or with its socket, and comes back."""
    server = await Hub.start(hub, major)
    block, other = await server.put(note("text")), await server.put(note("other"))
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow([block, other])
        await follower.until(lambda: follower.synced == {block, other})
        follower.synced.discard(block)
        await hub.ask("close", name=name(block))
        if major > 2:
            await follower.until(lambda: block in follower.lost)
            assert follower.lost[block].reason == "closed"
        feed.reopen(block)
        await follower.until(lambda: follower.synced == {block, other})
        await server.edit(block, with_text(follower.doc(block).get_update(), "again "))
        await follower.until(lambda: "again text" in follower.text(block))


async def test_an_announcement_reaches_the_other_devices(hub: Program, major: int) -> None:
    """Each is heard once by everybody else who follows the document, also by a device that has
    made one itself; a new socket of the same device is heard, too.
    """
    server = await Hub.start(hub, major)
    channel, other = await server.put(note("text")), await server.put(note("other"))
    async with (
        following(server.url, HEAP, OneToken("T")) as (one, telling),
        following(server.url, HEAP, OneToken("T")) as (two, hearing),
    ):
        for feed, follower in ((one, telling), (two, hearing)):
            feed.follow([channel, other])
            await follower.until(lambda follower=follower: len(follower.synced) == 2)  # type: ignore[misc]
        for count in (1, 2):
            one.announce(channel)
            await hearing.until(lambda count=count: hearing.announced == count)  # type: ignore[misc]
        assert telling.announced == 0
        two.announce(channel)
        await telling.until(lambda: telling.announced == 1)
        await hub.ask("drop")
        for follower in (telling, hearing):
            await follower.until(
                lambda follower=follower: follower.links == 2 and len(follower.synced) == 2  # type: ignore[misc]
            )
        before = hearing.announced
        one.announce(channel)
        await hearing.until(lambda: hearing.announced > before)


async def test_leaving_and_following_again(hub: Program, major: int) -> None:
    """A document that is left is not told of any more, and one that returns is current."""
    server = await Hub.start(hub, major)
    block, other = await server.put(note("text")), await server.put(note("other"))
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow([block, other])
        await follower.until(lambda: follower.synced == {block, other})
        feed.follow([other])
        change = with_text(follower.doc(block).get_update(), "unseen ")
        await server.edit(block, change)
        await server.edit(other, with_text(follower.doc(other).get_update(), "seen "))
        await follower.until(lambda: "seen other" in follower.text(other))
        follower.synced.discard(block)
        feed.follow([other, block])
        await follower.until(lambda: block in follower.synced)
        assert "unseen text" in follower.text(block)
        assert follower.links == 1


async def test_a_quiet_link_is_kept(
    hub: Program, major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our signs of life satisfy a server that closes silent sockets, and are all it hears."""
    monkeypatch.setattr(pulse, "KEEP_ALIVE_S", 0.3)
    server = await Hub.start(hub, major, timeoutMs=1000)
    block = await server.put(note("text"))
    async with following(server.url, HEAP, OneToken("T")) as (feed, follower):
        feed.follow([block])
        await follower.until(lambda: follower.synced)
        before = (await hub.ask("stats"))["types"]
        async with asyncio.timeout(10):
            while (await hub.ask("stats"))["types"].get(QUERY_AWARENESS, 0) < 8:
                await hub.event("heard")
        after = await hub.ask("stats")
    assert after["sockets"] == follower.links == 1
    assert {t: n for t, n in after["types"].items() if n != before.get(t)}.keys() == {
        QUERY_AWARENESS
    }
