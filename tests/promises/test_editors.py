"""How programs save: whatever they do on the way, one edit of the same note, and nothing else."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from heapsyncd.cache import blocks
from heapsyncd.ids import BlockId
from heapsyncd.sync.cache_file import open_cache
from tests.sync.rig import Device, World, until

Save = Callable[[Path, bytes], None]


def synced(path: Path, data: bytes) -> None:
    """Write, and let the disk have it, as careful programs do."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def vim(path: Path, data: bytes) -> None:
    """Vim, backupcopy=no: a probe, a swap file, the old text moved away."""
    swap, probe = path.with_name(f".{path.name}.swp"), path.with_name("4913")
    swap.write_bytes(b"b0VIM")
    probe.touch()
    probe.unlink()
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    synced(path, data)
    backup.unlink()
    swap.unlink()


def vim_in_place(path: Path, data: bytes) -> None:
    """Vim, backupcopy=yes: the old text copied away, the new one written over."""
    backup = path.with_name(f"{path.name}~")
    shutil.copy2(path, backup)
    synced(path, data)
    backup.unlink()


def emacs(path: Path, data: bytes) -> None:
    """Emacs: a lock that is a dangling link, an auto-save file, a backup that stays."""
    lock, auto = path.with_name(f".#{path.name}"), path.with_name(f"#{path.name}#")
    lock.symlink_to("user@host.4711:1760000000")
    auto.write_bytes(data)
    path.rename(path.with_name(f"{path.name}~"))
    synced(path, data)
    auto.unlink()
    lock.unlink()


def in_place(path: Path, data: bytes) -> None:
    """VS Code, nano, Obsidian: cut to nothing and written."""
    path.write_bytes(data)


def in_pieces(path: Path, data: bytes) -> None:
    """A program that writes line by line."""
    with path.open("wb", buffering=0) as file:
        for line in data.splitlines(keepends=True):
            file.write(line)


def renamed_over(name: str) -> Save:
    """A temporary file, synced, renamed over the note."""

    def save(path: Path, data: bytes) -> None:
        beside = path.with_name(name.format(path.name))
        synced(beside, data)
        shutil.copymode(path, beside)
        beside.replace(path)

    return save


def libreoffice(path: Path, data: bytes) -> None:
    """LibreOffice: a lock file, a temporary with a name of its own."""
    lock = path.with_name(f".~lock.{path.name}#")
    lock.write_bytes(b",user,host,;")
    renamed_over("lu15o7bq.tmp")(path, data)
    lock.unlink()


SAVES = {
    "vim": vim,
    "vim in place": vim_in_place,
    "emacs": emacs,
    "in place": in_place,
    "in pieces": in_pieces,
    "gedit": renamed_over(".goutputstream-W1XD82"),
    "kate": renamed_over("{}.kT1xRz"),
    "sed": renamed_over("sedGz7Q0u"),
    "agent": renamed_over("{}.tmp.31337"),
    "libreoffice": libreoffice,
}


async def edits(device: Device, block: BlockId) -> int:
    """So many updates the note's log has."""
    async with await open_cache(device.account, device.base / "state") as db:
        return len(await db.read(lambda tx: blocks.log(tx, block)))


@pytest.mark.slow
@pytest.mark.parametrize("how", SAVES)
async def test_a_save_is_one_edit(world: World, how: str) -> None:
    """The note keeps its block, gets one update, and no helper file becomes anything."""
    device = world.device()
    block = await world.add("Note", "first line\n\nsecond line\n\nthird line\n")
    await device.synced()
    path, before = device.root / "Note.md", await edits(device, block)
    known = await world.blocks()
    async with device.running():
        await device.in_sync()
        SAVES[how](path, path.read_bytes().replace(b"second", b"second, edited"))
        await until(lambda: device.report.state != "in sync", "noticed")
        await device.in_sync()
    assert await world.text(block) == "first line\nsecond, edited line\nthird line"
    assert await edits(device, block) == before + 1
    assert await world.blocks() == known
    assert device.id_of("Note.md") == block


async def test_a_new_note_that_was_moved_here_is_read_at_once(world: World) -> None:
    """It was written elsewhere, so nobody waits for it to be quiet."""
    device = world.device()
    device.timing = replace(device.timing, quiet_s=3600.0)
    elsewhere = world.base / "elsewhere"
    elsewhere.write_text("new\n", "utf-8")
    just_now_ns = time.time_ns() - 100_000_000
    os.utime(elsewhere, ns=(just_now_ns, just_now_ns))
    async with device.running():
        await device.in_sync()
        elsewhere.rename(device.root / "New.md")

        async def is_there() -> bool:
            return "New" in await world.titles()

        await until(is_there, "the note on the server")
