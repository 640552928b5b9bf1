"""A kill between the write of a file and the note of it, with an edit before the next start."""

import asyncio
from collections.abc import Sequence

import pytest

from heapsyncd.folder.disk import HeapFolder, Unsettled, Write
from tests.sync.rig import World, until


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


@pytest.mark.parametrize("edited", [True, False])
async def test_edit_after_the_kill(
    world: World, monkeypatch: pytest.MonkeyPatch, *, edited: bool
) -> None:
    """The edit is measured from the text that had been written: nothing is doubled."""
    device = world.device()
    block = await world.add("Note", "alpha beta gamma\n")
    await device.synced()
    await world.change(block, body="alpha REMOTE beta gamma\n")
    real = HeapFolder.write_many

    async def killed(folder: HeapFolder, writes: Sequence[Write]) -> None:
        await real(folder, writes)
        raise Killed

    monkeypatch.setattr(HeapFolder, "write_many", killed)
    task = asyncio.create_task(device.once())
    path = device.root / "Note.md"
    with pytest.raises((Killed, BaseExceptionGroup)):
        await task
    await until(lambda: "REMOTE" in path.read_text(), "the file had been written")
    monkeypatch.setattr(HeapFolder, "write_many", real)
    if edited:
        path.write_text(path.read_text().replace("REMOTE", "REMOTE LOCAL"))
    await device.synced()
    want = "alpha REMOTE LOCAL beta gamma" if edited else "alpha REMOTE beta gamma"
    assert await world.text(block) == want
    assert device.notes() == {"Note.md": f"{want}\n"}


async def test_a_plan_of_an_earlier_life(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A life that could not read what the life before it wrote has planned another text, and not
    written it: an edit is still measured from the text that stands there.
    """
    device = world.device()
    block = await world.add("Note", "alpha\n")
    await device.synced()
    await world.change(block, body="alpha\n\nREMOTE\n")
    write, read = HeapFolder.write_many, HeapFolder.read_many

    async def killed(folder: HeapFolder, writes: Sequence[Write]) -> None:
        await write(folder, writes)
        raise Killed

    monkeypatch.setattr(HeapFolder, "write_many", killed)
    with pytest.raises((Killed, BaseExceptionGroup)):
        await device.once()
    monkeypatch.setattr(HeapFolder, "write_many", write)
    await world.change(block, body="alpha\n\nREMOTE NEWS\n")

    async def unsettled(_: HeapFolder, paths: Sequence[str], __: int) -> list[Unsettled]:
        return [Unsettled(path) for path in paths]

    monkeypatch.setattr(HeapFolder, "read_many", unsettled)
    await device.once(timeout_s=2)
    monkeypatch.setattr(HeapFolder, "read_many", read)
    path = device.root / "Note.md"
    assert path.read_text().endswith("alpha\n\nREMOTE\n")
    path.write_text(path.read_text().replace("alpha", "alpha LOCAL"))
    await device.synced()
    assert await world.text(block) == "alpha LOCAL\nREMOTE NEWS"
