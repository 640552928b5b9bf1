"""A device without its cache has its files: what they say is no edit, and none of it is sent."""

import shutil
from collections.abc import Iterator

import pytest

from heapsyncd.tree import Block
from tests.promises.exact import (
    differing,
    exact,
    fingerprints,
    put,
    round_trip,
    type_in_app,
)
from tests.promises.samples import BODIES, FRONTS
from tests.sync.rig import Device, World
from tests.world.fast import fast

PARAGRAPHS = b"""---
status: draft
aliases: [p]
---
First, __strong__ paragraph
wrapped by hand.

Second paragraph that will go away
with its two lines.

* third
* list

Fourth &amp; last.
"""


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


FILES = {
    "Paragraphs.md": PARAGRAPHS,
    "Bullets.md": BODIES["Bullets"],
    "HTML.md": BODIES["HTML"],
    "Tables.md": BODIES["Tables"],
    "Windows.md": BODIES["Windows"],
    "Folder/Boat.md": b"* a boat\n",
    "Links.md": b"* [[Boat]], [[Folder/Boat]], [[boat]], [[Boat|label]], [[Links]], [[Nobody]]\n",
    "obsidian.md": FRONTS["obsidian"],
    "dendron.md": FRONTS["dendron"],
    "broken.md": FRONTS["broken YAML"],
}


async def mirrored(world: World) -> tuple[Device, Device, dict[str, bytes]]:
    a, b = world.device("a"), world.device("b")
    await a.synced()
    put(a, FILES)
    await round_trip(a, b, a)
    return a, b, exact(a)


def without(tree: Block, word: str) -> Block:
    """A tree without the paragraph that has a word."""
    kept = [child for child in tree.children if word not in child.words()]
    assert len(kept) == len(tree.children) - 1
    return tree.with_children(kept)


async def test_nothing_happened_meanwhile(world: World) -> None:
    """Not a byte changes, on disk or on the server; links keep their spelling."""
    a, b, shown = await mirrored(world)
    before = await fingerprints(world)
    shutil.rmtree(a.base / "state")
    await round_trip(a, b)
    assert differing(shown, exact(a)) == {}
    assert differing(shown, exact(b)) == {}
    assert await fingerprints(world) == before


@pytest.mark.parametrize("who", ["the device that wrote it", "another device"])
async def test_a_paragraph_that_the_app_deleted_stays_deleted(world: World, who: str) -> None:
    """Nothing else of any file changes, and nothing is sent."""
    a, b, shown = await mirrored(world)
    device = a if who == "the device that wrote it" else b
    shutil.rmtree(device.base / "state")
    block = (await world.titles())["Paragraphs"]
    await type_in_app(world, block, without((await world.server.document(block)).view(), "Second"))
    expected = shown | {
        "Paragraphs.md": shown["Paragraphs.md"].replace(
            b"Second paragraph that will go away\nwith its two lines.\n\n", b""
        )
    }
    before = await fingerprints(world)
    await round_trip(device, a, b)
    assert differing(expected, exact(a)) == {}
    assert differing(expected, exact(b)) == {}
    assert await fingerprints(world) == before


async def test_a_file_edited_meanwhile(world: World) -> None:
    """Its edit is sent, what the app deleted stays deleted, no other file is touched."""
    a, b, shown = await mirrored(world)
    shutil.rmtree(a.base / "state")
    titles = await world.titles()
    block = titles["Paragraphs"]
    await type_in_app(world, block, without((await world.server.document(block)).view(), "Second"))
    edited = shown["Bullets.md"].replace(b"+ plus", b"+ plus edited")
    put(a, {"Bullets.md": edited})
    before = await fingerprints(world)
    await round_trip(a, b, a)
    assert exact(a)["Bullets.md"] == edited
    assert b"Second" not in exact(a)["Paragraphs.md"]
    assert differing(exact(a), exact(b)) == {}
    after = await fingerprints(world)
    changed = {b for b in before.keys() | after.keys() if before.get(b) != after.get(b)}
    assert changed == {titles["Bullets"]}


async def test_a_word_typed_in_one_file_and_deleted_around_it(world: World) -> None:
    """The file was edited, and the app deleted another paragraph of the same note: both count."""
    a, b, shown = await mirrored(world)
    shutil.rmtree(a.base / "state")
    block = (await world.titles())["Paragraphs"]
    await type_in_app(world, block, without((await world.server.document(block)).view(), "Second"))
    put(a, {"Paragraphs.md": shown["Paragraphs.md"].replace(b"Fourth", b"Fourth edited")})
    await round_trip(a, b, a)
    assert differing(exact(a), exact(b)) == {}
    data = exact(a)["Paragraphs.md"]
    assert b"Fourth edited &amp; last.\n" in data
    assert b"First, __strong__ paragraph\nwrapped by hand.\n" in data
    assert data.startswith(b"---\n")
    assert b"status: draft\naliases: [p]\n" in data


async def test_both_devices_lost_their_caches(world: World) -> None:
    """Nothing is doubled, nothing is sent."""
    a, b, shown = await mirrored(world)
    before = await fingerprints(world)
    for device in (a, b):
        shutil.rmtree(device.base / "state")
    await round_trip(a, b, a)
    assert differing(shown, exact(a)) == {}
    assert differing(shown, exact(b)) == {}
    assert await fingerprints(world) == before


async def test_an_older_cache(world: World) -> None:
    """A cache put back from a backup is no reason to rewrite a file or to send one."""
    a, b, shown = await mirrored(world)
    shutil.copytree(a.base / "state", a.base / "backup")
    edited = shown | {"Bullets.md": shown["Bullets.md"].replace(b"+ plus", b"+ plus edited")}
    put(a, edited)
    await round_trip(a, b)
    shutil.rmtree(a.base / "state")
    (a.base / "backup").rename(a.base / "state")
    before = await fingerprints(world)
    await round_trip(a, b)
    assert differing(edited, exact(a)) == {}
    assert differing(edited, exact(b)) == {}
    assert await fingerprints(world) == before
