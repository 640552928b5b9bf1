"""Our backend and npm's provider, versions 2 to 4, as two clients of the embedded server."""

import asyncio

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.model import PullAsk, Push
from tests.peers.documents import note, with_text
from tests.peers.follower import Follower
from tests.peers.household import Household
from tests.peers.people import Device
from tests.peers.programs import Program


async def test_a_mirror_and_an_editor_meet(home: Household, people: Program, major: int) -> None:
    """Pulled, followed live, pushed to and compacted: a mirror and an editor stay one."""
    block = await home.server.add_block(home.heap, "document", "Note", note("text"))
    device = await Device.connect(people, "s", home.ws, major)
    person = await device.open(home.name(block), home.token)
    await person.synced()
    follower = Follower()
    async with (
        HeaperBackend(home.server.url, home.seed) as backend,
        backend.live(home.heap, follower.opening) as feed,
    ):
        reading = asyncio.create_task(follower.read(feed))
        (pulled,) = (await backend.pull(home.heap, [PullAsk(block, 1)])).blocks
        follower.doc(block).apply_update(pulled.update)
        feed.follow([block])
        await follower.until(lambda: follower.synced)
        await person.edit("type", block=0, text="typed ")
        await follower.until(lambda: "typed text" in follower.text(block))
        pushed = with_text(follower.doc(block).get_update(), "pushed ")
        (result,) = await backend.push(home.heap, [Push(block, 1, pushed)])
        assert result.status == "ok"
        assert (await person.sees("pushed typed text"))["repairs"] == 0
        await home.server.compact(block)
        await follower.until(lambda: block in follower.lost)
        (result,) = await backend.push(home.heap, [Push(block, 1, pushed)])
        assert (result.status, result.sync_version) == ("stale", 2)
        follower.versions[block] = 2
        del follower.docs[block]
        feed.reopen(block)
        await follower.until(lambda: "pushed typed text" in follower.text(block))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
