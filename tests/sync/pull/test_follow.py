"""What is not followed live is announced, and comes as fast as what is."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from heapsyncd.server.document_session import DocumentSession
from heapsyncd.sync.runtime import heap
from heapsyncd.wire.hocuspocus import SyncStep2, Update
from tests.sync.rig import Device, World, until

NEVER_S = 3600.0
"""A time between polls that no test waits for."""


@contextlib.asynccontextmanager
async def two_devices(world: World, notes: int) -> AsyncIterator[tuple[Device, Device]]:
    """Two devices that are in sync, and poll only when they are told to."""
    for k in range(notes):
        await world.add(f"Note {k}", "text\n")
    one, two = world.device("a"), world.device("b")
    for device in (one, two):
        device.timing = replace(device.timing, moving_s=NEVER_S)
        await device.synced()
        device.poll_interval_s = NEVER_S
    async with one.running(), two.running():
        channel = min((await world.titles()).values())
        await until(lambda: world.server.followers(channel) == 2, "both follow the channel")
        for device in (one, two):
            await device.in_sync()
        yield one, two


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The announcements that the server gets."""
    found: list[bytes] = []
    real = DocumentSession.share_presence

    def share(self: DocumentSession, update: bytes) -> None:
        found.append(update)
        real(self, update)

    monkeypatch.setattr(DocumentSession, "share_presence", share)
    return found


async def test_what_a_device_creates_is_announced(world: World, announced: list[bytes]) -> None:
    """A new note, also in a new folder, is in the other folder without waiting for a poll, and is
    followed on both from then on. Its edits, its new name and its deletion are not announced.
    """
    async with two_devices(world, 1) as (one, two):
        (one.root / "New.md").write_text("new\n", "utf-8")
        await until(lambda: two.notes().get("New.md") == "new\n", "the new note")
        (two.root / "Trips").mkdir()
        (two.root / "Trips" / "Oslo.md").write_text("a trip\n", "utf-8")
        await until(lambda: "Trips/Oslo.md" in one.notes(), "the note in a folder")
        block = one.id_of("New.md")
        await until(lambda: world.server.followers(block) == 2, "both follow it")
        assert announced
        announced.clear()
        file = one.root / "New.md"
        file.write_text(file.read_text("utf-8").replace("new", "newer"), "utf-8")
        await until(lambda: two.notes().get("New.md") == "newer\n", "the edit")
        file.rename(one.root / "Old.md")
        await until(lambda: "Old.md" in two.notes(), "the new name")
        (one.root / "Old.md").unlink()
        await until(lambda: "Old.md" not in two.notes(), "the deletion")
        assert not announced


async def test_what_the_server_has_is_not_sent_when_a_note_is_opened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server asks for each note what it lacks; there is no answer if that is nothing."""
    taken: list[object] = []
    real = DocumentSession.take

    async def take(self: DocumentSession, message: SyncStep2 | Update) -> None:
        taken.append(message)
        await real(self, message)

    monkeypatch.setattr(DocumentSession, "take", take)
    async with two_devices(world, 5) as (one, two):
        blocks = list((await world.titles()).values())
        await until(lambda: all(world.server.followers(b) == 2 for b in blocks), "followed")
        for device in (one, two):
            file = device.root / "Note 4.md"
            file.write_text(file.read_text("utf-8") + "\nmore\n", "utf-8")
            await device.in_sync()
        await until(lambda: two.notes() == one.notes(), "the edits of both")
    assert not taken


async def test_what_an_app_creates_comes_soon_after_an_edit(world: World) -> None:
    """An app announces nothing; but who edits a note may have made another."""
    async with two_devices(world, 1) as (one, _):
        await world.add("Made in the app", "text\n")
        await world.change(one.id_of("Note 0.md"), body="text with a link\n")
        await until(lambda: "Made in the app.md" in one.notes(), "what was made in the app")


async def test_notes_that_are_not_followed_are_announced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many notes the newest are followed, besides the channel. An edit of another one comes at
    once, too, and it is among the newest then; ``status`` says how many are followed.
    """
    monkeypatch.setattr(heap, "FOLLOWED", {"all": 3})
    async with two_devices(world, 8) as (one, two):
        blocks = sorted((await world.titles()).values())

        def followed() -> list[int]:
            return [k for k, b in enumerate(blocks) if world.server.followers(b) == 2]

        await until(lambda: followed() == [0, 6, 7], "the channel and the newest")
        assert [d.report.snapshot()["heaps"][0]["followed"] for d in (one, two)] == [3, 3]
        file = one.root / "Note 3.md"
        file.write_text(file.read_text("utf-8").replace("text", "words"), "utf-8")
        await until(lambda: two.notes()["Note 3.md"] == "words\n", "the edit")
        await until(lambda: followed() == [0, 3, 7], "it is followed in place of the oldest")
