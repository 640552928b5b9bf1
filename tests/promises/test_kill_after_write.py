"""A kill between the write of a file and the note of it, with an edit before the next start."""

from collections.abc import Sequence

import pytest

from heapsyncd.folder.disk import FileBusy, HeapFolder, Write
from tests.sync.rig import Device, World


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


async def killed_life(device: Device) -> None:
    """A pass that ends by the kill, and by nothing else that went wrong."""
    try:
        await device.once()
    except BaseException as error:
        group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
        _, others = group.split(Killed)
        if others is not None:
            raise
    else:
        pytest.fail("nothing killed it")


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
    await killed_life(device)
    path = device.root / "Note.md"
    assert "alpha REMOTE beta gamma" in path.read_text()
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
    await killed_life(device)
    monkeypatch.setattr(HeapFolder, "write_many", write)
    await world.change(block, body="alpha\n\nREMOTE NEWS\n")

    async def unsettled(_: HeapFolder, paths: Sequence[str], __: int) -> list[FileBusy]:
        return [FileBusy(path) for path in paths]

    monkeypatch.setattr(HeapFolder, "read_many", unsettled)
    await device.once(timeout_s=2)
    monkeypatch.setattr(HeapFolder, "read_many", read)
    path = device.root / "Note.md"
    assert path.read_text().endswith("alpha\n\nREMOTE\n")
    path.write_text(path.read_text().replace("alpha", "alpha LOCAL"))
    await device.synced()
    assert await world.text(block) == "alpha LOCAL\nREMOTE NEWS"
