"""A document that ends the process does so twice, and no more."""

import signal
from pathlib import Path

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from tests.cli.devices import Device, ending, eventually

pytestmark = pytest.mark.timeout(180)

FAULT = """
import signal
from heapsyncd.document.replica import Replica

step = Replica.{step}

def dying(self, *arguments):
    done = step(self, *arguments)
    if "deadly" in self.state().decode("latin-1"):
        signal.raise_signal(signal.SIGSEGV)  # to this very thread, before anything else
    return done

Replica.{step} = dying
"""
"""Read by every process with PYTHONPATH as in ``faulty``: a document ends it, as yrs would."""


def faulty(base: Path, step: str) -> dict[str, str]:
    base.mkdir(exist_ok=True)
    (base / "sitecustomize.py").write_text(FAULT.format(step=step))
    return {"PYTHONPATH": str(base)}


async def add(server: Server, heap_id: HeapId, title: str, text: str) -> BlockId:
    made = express([], Target(body=parse(text, NO_LINKS), title=title)).update
    assert made is not None
    return await server.add_block(heap_id, "document", title, made)


async def change(server: Server, block: BlockId, text: str) -> None:
    state = (await server.document(block)).state()
    made = express([state], Target(body=parse(text, NO_LINKS))).update
    assert made is not None
    await server.apply(block, made)


@pytest.mark.parametrize("step", ["fields", "view"])
async def test_the_third_start_lives(
    device: Device, server: Server, heap_id: HeapId, tmp_path: Path, step: str
) -> None:
    """Whether it dies when the document comes or when it is written: the document is told as a
    problem then, and everything else is mirrored, both ways.
    """
    device.configure(server.url)
    env = faulty(tmp_path / "faulty", step)
    good = await add(server, heap_id, "Good", "good\n")
    bad = await add(server, heap_id, "Bad", "deadly\n")
    for _ in range(2):
        assert (await device("sync", **env)).code == -signal.SIGSEGV
    for text in ("better", "best"):
        await change(server, good, f"{text}\n")
        done = await device("sync", **env)
        assert done.code == 1
        assert "died 2 times" in done.err
        assert ".atwork" in done.err
        assert (device.folder / "Home" / "Good.md").read_text().endswith(f"{text}\n")
    note = device.folder / "Home" / "Good.md"
    note.write_text(note.read_text() + "\nmine\n")
    assert (await device("sync", **env)).code == 1
    assert "mine" in (await server.document(good)).view().words()
    (problem,) = (await device.status())["heaps"][0]["problems"]
    assert "died 2 times" in problem["reason"]

    assert f"remove {device.state / 'home.atwork'}" in problem["reason"]

    # Nothing is wrong with it any more; it is still skipped until somebody says so.
    done = await device("sync")
    assert done.code == 1
    assert "document skipped" in done.err
    (device.state / "home.atwork").unlink()
    done = await device("sync")
    assert done.code == 0, done.err
    await change(server, bad, "harmless\n")
    assert (await device("sync")).code == 0
    assert (device.folder / "Home" / "Bad.md").read_text().endswith("harmless\n")


async def test_a_life_that_ends_well_counts_anew(
    device: Device, server: Server, heap_id: HeapId, tmp_path: Path
) -> None:
    """Deaths count that follow one another; what was worked on without one is harmless."""
    device.configure(server.url)
    env = faulty(tmp_path / "faulty", "view")
    await add(server, heap_id, "Bad", "deadly\n")
    for _ in range(2):
        assert (await device("sync", **env)).code == -signal.SIGSEGV
        assert (await device("sync")).code == 0
        (device.folder / "Home" / "Bad.md").write_text("deadly again\n")
    assert (await device("sync")).code == 0


SLOW = """
import time
from heapsyncd.document.replica import Replica

fields = Replica.fields

def slow(self):
    done = fields(self)
    if "long" in self.state().decode("latin-1"):
        time.sleep(60)
    return done

Replica.fields = slow
"""


async def test_a_long_note_is_not_to_blame_for_a_stop(
    device: Device, server: Server, heap_id: HeapId, tmp_path: Path
) -> None:
    """A daemon that was told to stop, and is killed because a note takes longer than the system
    waits, did not die of that note: it is not skipped, however often that happens.
    """
    device.configure(server.url)
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW)
    block = await add(server, heap_id, "Long", "long\n")

    async def stands(state: bytes) -> bool:
        marks = device.state / "home.atwork"
        return marks.exists() and block.encode() + state in marks.read_bytes()

    for _ in range(3):
        process = await device.start("run", PYTHONPATH=str(tmp_path / "slow"))
        async with ending(process):
            await eventually(lambda: stands(b"w"))
            process.terminate()
            await eventually(lambda: stands(b"r"))
            process.kill()
            assert b"document skipped" not in (await process.communicate())[1]
    assert (await device("sync")).code == 0
    assert (device.folder / "Home" / "Long.md").read_text().endswith("long\n")
