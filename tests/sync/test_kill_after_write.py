"""A kill between the write of a file and the note of it, with an edit before the next start."""

import asyncio
from collections.abc import Sequence

import pytest

from heapsyncd.folder.disk import HeapFolder, Write
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
