"""What a mirror of a oneheap account does when people meet at an item; some games."""

import errno
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.folder import syscalls
from tests.oneheap.mirror import Mirror
from tests.oneheap.service import Oneheap
from tests.sync.rig import refusing
from tests.world.__main__ import trouble
from tests.world.fast import FAST, fast
from tests.world.oneheap import OneheapGame, moves_of


@pytest.fixture
async def service() -> AsyncIterator[Oneheap]:
    """An empty service."""
    async with Oneheap(limit=1_000_000) as running:
        yield running


@pytest.fixture
def device(service: Oneheap, tmp_path: Path) -> Iterator[Mirror]:
    """A device that has not mirrored yet."""
    with fast():
        yield Mirror.of(service, tmp_path / "a", timing=FAST)


def named(service: Oneheap, name: str) -> dict[str, Any]:
    """The one item with a name."""
    (found,) = [i for i in service.store.items.values() if i["name"] == name]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_games(seed: int) -> None:
    """No word is lost or doubled, and folders and service agree; ``tests.world`` plays more."""
    moves = moves_of(seed)
    what = trouble(seed, moves, OneheapGame) and trouble(seed, moves, OneheapGame)
    assert what is None, f"python -m tests.world --oneheap --first {seed} --seeds 1\n{what}"


async def test_an_edit_wins_over_a_deletion_that_did_not_know_it(
    service: Oneheap, device: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted here, edited there: the file comes back with the edit, also if that had arrived and
    could not be written.
    """
    home = service.add("box", name="Home")
    boat = service.add("note", name="Boat", body="one\n", boxId=home)
    await device.synced()
    service.edit(boat, body="one\ntwo\n")
    with monkeypatch.context() as disk:
        disk.setattr(syscalls, "create", refusing("create", ".heapsyncd-", errno.EACCES))
        assert (await device.once()).exit_code
    shutil.rmtree(device.root / "Home")
    await device.synced()
    assert "one\ntwo\n" in device.read("Home/Boat.md")
    assert {home, boat} <= service.store.items.keys()


async def test_a_deletion_that_knew_everything_is_one(service: Oneheap, device: Mirror) -> None:
    """Also when the service made the document anew and it shows nothing else."""
    device.root.mkdir(parents=True)
    device.write("Boat.md", "one\n")
    await device.synced()
    (device.root / "Boat.md").unlink()
    await device.synced()
    assert not service.store.items


@pytest.mark.parametrize("place", ["Home/Ship.md", "Boat.md", "Home/Boat.md"])
async def test_an_edit_of_what_is_gone_makes_it_anew(
    service: Oneheap, device: Mirror, place: str
) -> None:
    """Renamed or moved here, deleted there: another item, whose id the file shows."""
    home = service.add("box", name="Home")
    boat = service.add("note", name="Boat", body="one\n", boxId=home)
    await device.synced()
    service.remove(boat)
    before = device.root / "Home/Boat.md"
    if place == "Home/Boat.md":
        before.write_text(before.read_text() + "two\n")
    before.rename(device.root / place)
    await device.synced()
    made = named(service, Path(place).stem)
    assert made["boxId"] == (home if place.startswith("Home/") else None)
    assert device.ids_in(place) == (made["id"],)


@pytest.mark.slow
async def test_the_id_of_an_item_that_is_gone_is_no_key_of_the_users(
    service: Oneheap, device: Mirror
) -> None:
    """After a restart too: what is made anew shows its own id alone."""
    boat = service.add("note", name="Boat", body="one\n")
    await device.synced()
    service.remove(boat)
    device.edit("Boat.md", "one\n", "one\ntwo\n")
    service.fail("refuse", "POST", "/Notes/", times=1000)
    assert (await device.once()).exit_code
    service.faults.clear()
    await device.synced()
    assert device.ids_in("Boat.md") == (named(service, "Boat")["id"],)


async def test_a_rename_of_what_is_known_to_be_gone(
    service: Oneheap, device: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that could not be removed, and then got another name, becomes another item."""
    boat = service.add("note", name="Boat", body="one\n")
    await device.synced()
    service.remove(boat)
    with monkeypatch.context() as disk:
        for call in ("unlink", "rename", "rename_new", "exchange"):
            disk.setattr(syscalls, call, refusing(call, "Boat", errno.EACCES))
        assert (await device.once()).exit_code
    (device.root / "Boat.md").rename(device.root / "Ship.md")
    await device.synced()
    assert device.ids_in("Ship.md") == (named(service, "Ship")["id"],)


async def test_a_note_moved_into_a_new_box(service: Oneheap, device: Mirror) -> None:
    """The box is made first, even if that fails at first."""
    boat = service.add("note", name="Boat", body="one\n")
    await device.synced()
    (device.root / "Home").mkdir()
    (device.root / "Boat.md").rename(device.root / "Home/Boat.md")
    service.fail("refuse", "POST", "/Boxes/", times=2)
    await device.synced()
    assert service.store.items[boat]["boxId"] == named(service, "Home")["id"]


async def test_a_note_moved_into_a_box_that_is_gone(service: Oneheap, device: Mirror) -> None:
    """It goes to the top, where the others in the box went."""
    boat, box = service.add("note", name="Boat", body="one\n"), service.add("box", name="Home")
    await device.synced()
    service.remove(box)
    (device.root / "Boat.md").rename(device.root / "Home/Boat.md")
    await device.synced()
    assert "one\n" in device.read("Boat.md")
    assert service.store.items[boat]["boxId"] is None
    assert not (device.root / "Home").exists()


async def test_a_box_deleted_on_both_sides(service: Oneheap, device: Mirror) -> None:
    """Nothing is left to be sent."""
    box = service.add("box", name="Home")
    await device.synced()
    service.remove(box)
    (device.root / "Home").rename(device.root / "House")
    (device.root / "House").rmdir()
    await device.synced()
    assert not service.store.items


async def test_a_new_note_in_a_box_renamed_there_and_deleted_here(
    service: Oneheap, device: Mirror
) -> None:
    """The edited note comes back with its box, in one directory under the box's new name."""
    home = service.add("box", name="Home")
    boat = service.add("note", name="Boat", body="one\n", boxId=home)
    await device.synced()
    (device.root / "Home/Boat.md").unlink()
    (device.root / "Home").rmdir()
    service.edit(home, name="House")
    service.edit(boat, body="one\ntwo\n")
    service.add("note", name="New", body="new\n", boxId=home)
    await device.synced()
    assert "one\ntwo\n" in device.read("House/Boat.md")
    assert "new\n" in device.read("House/New.md")
    assert not (device.root / "Home").exists()
