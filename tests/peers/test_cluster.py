"""A service on two machines over one Redis: the folders of two devices and an editor stay one."""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.peers.cluster import HEAP, TOKEN, Cluster, Node
from tests.peers.people import Device as Seat
from tests.peers.people import Person
from tests.peers.programs import Program
from tests.sync.rig import Device, until

NOTES = 3
WORDS = 12
"""So many are written around each death, half of them before it."""
POLL_S = 1.0


@dataclass
class Writers:
    """Two folders and an editor, each of whom adds words to the notes."""

    one: Device
    two: Device
    person: Person
    """At the first note."""
    words: Iterator[int] = field(default_factory=itertools.count)
    written: list[str] = field(default_factory=list)

    async def write(self) -> None:
        """Add a word somewhere."""
        number = next(self.words)
        if number % 5 == 4:
            word = self._word(number)
            assert await self.person.edit("type", block=0, text=f"{word} ")
        else:
            device = (self.one, self.two)[number % 2]
            self._save(device.root / f"Note {number % NOTES}.md", self._word(number))

    def _word(self, number: int) -> str:
        self.written.append(f"word{number:03}")
        return self.written[-1]

    @staticmethod
    def _save(file: Path, word: str) -> None:
        """Add a word as an editor saves: all at once."""
        beside = file.with_name(f".{file.name}.new")
        beside.write_text(f"{file.read_text('utf-8')}\n{word}\n", "utf-8")
        beside.replace(file)

    async def agree(self) -> None:
        """Wait until all three show every word, once, and the same.

        What a node had kept but not passed on when it died reaches the folders with a poll, and
        the editor, which only has its socket, with the next change of its note.
        """
        self._save(self.one.root / "Note 0.md", self._word(next(self.words)))

        def agreed() -> bool:
            texts = self.one.notes()
            found = Counter(re.findall(r"word\d+", "\n".join(texts.values())))
            return texts == self.two.notes() and found == Counter(self.written)

        await until(agreed, "both folders say the same")
        words = set(re.findall(r"word\d+", self.one.notes()["Note 0.md"]))
        for word in words:
            seen = await self.person.sees(word)
        assert set(re.findall(r"word\d+", seen["text"])) == words


@asynccontextmanager
async def writers(cluster: Cluster, people: Program, base: Path) -> AsyncIterator[Writers]:
    """Everybody at work, in sync, with the notes there."""
    server: Any = cluster
    one, two = (Device(server, base / name, poll_interval_s=POLL_S) for name in ("one", "two"))
    for number in range(NOTES):
        one.root.mkdir(parents=True, exist_ok=True)
        (one.root / f"Note {number}.md").write_text(f"# Note {number}\n\nfirst\n", "utf-8")
    await one.synced()
    async with AsyncExitStack() as stack:
        for device in (one, two):
            await stack.enter_async_context(device.running())
            await until(lambda d=device: len(d.notes()) == NOTES, "all notes")  # type: ignore[misc]
            await device.in_sync()
        seat = await Seat.connect(people, "editor", cluster.ws, 4)
        person = await seat.open(f"{HEAP}:{one.id_of('Note 0.md')}:v1", TOKEN)
        await person.synced()
        yield Writers(one, two, person)


async def around(death: Node, at: Writers) -> None:
    """Write, and while everybody writes one node dies."""
    for k in range(WORDS):
        if k == WORDS // 2:
            await death.kill()
        await at.write()
        await asyncio.sleep(0.02)  # as people write, not as a condition


async def follows_all(node: Node) -> bool:
    """Whether somebody follows every note over a socket of this node."""
    return bool((await node.stats())["followed"] == NOTES)


@pytest.mark.timeout(120)
async def test_two_nodes_and_the_death_of_each(people: Program, tmp_path: Path) -> None:
    """Sockets on one node, calls on the other: an edit crosses without a poll. Whichever dies
    while three write, nothing is lost, doubled or different.
    """
    async with Cluster.running(tmp_path) as cluster:
        first, second = await cluster.start(), await cluster.start()
        async with writers(cluster, people, tmp_path) as at:
            with cluster.balancer.held("/api/sync/delta"):
                for _ in range(10):
                    await at.write()
                await at.agree()
            sockets, calls = await first.stats(), await second.stats()
            assert (sockets["followed"], sockets["calls"]) == (NOTES, {})
            assert (calls["sockets"], calls["followed"]) == (0, 0)
            # Sockets, and what was said on them last, are gone.
            await around(first, at)
            await at.agree()
            # The survivor carries the sockets, and a new node takes the calls.
            third = await cluster.start()
            await around(third, at)
            await at.agree()
            # Both do everything, in turn.
            fourth = await cluster.start()
            cluster.balancer.apart = False
            await around(second, at)
            await at.agree()
            await until(lambda: follows_all(fourth), "the last node carries all sockets")
