"""What is not followed live is announced, and comes as fast as what is."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from tests.sync.rig import Device, World, until

NEVER_S = 3600.0
"""A time between polls that no test waits for."""


@contextlib.asynccontextmanager
async def two_devices(world: World) -> AsyncIterator[tuple[Device, Device]]:
    """Two devices that are in sync, and would not poll again by themselves."""
    await world.add("Bell", "of a heap\n")
    one, two = world.device("a"), world.device("b")
    for device in (one, two):
        device.timing = replace(device.timing, moving_s=NEVER_S)
        await device.synced()
        device.poll_interval_s = NEVER_S
    async with one.running(), two.running():
        for device in (one, two):
            await device.in_sync()
        blocks = list((await world.titles()).values())
        await until(
            lambda: all(world.server.followers(b) == 2 for b in blocks), "both follow everything"
        )
        yield one, two


async def test_what_a_device_creates_is_announced(world: World) -> None:
    """A new note is in the other folder without a poll, and followed on both; also one that is in a
    new folder, and one that was restored.
    """
    async with two_devices(world) as (one, two):
        (one.root / "New.md").write_text("a new note\n", "utf-8")
        await until(lambda: two.notes().get("New.md") == "a new note\n", "the new note")
        block = one.id_of("New.md")
        await until(lambda: world.server.followers(block) == 2, "both follow it")
        (two.root / "Journeys").mkdir()
        (two.root / "Journeys" / "Oslo.md").write_text("a journey\n", "utf-8")
        await until(lambda: "Journeys/Oslo.md" in one.notes(), "the note in a folder")
        (one.root / "New.md").unlink()
        await until(lambda: "New.md" not in two.notes(), "the deletion")
