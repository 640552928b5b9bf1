"""A document that has lost the text of its file, or never had it, gets it back: once."""

import asyncio
import shutil
from collections.abc import Iterator

import pytest

from tests.promises.exact import (
    differing,
    exact,
    fingerprints,
    put,
    round_trip,
    source_of,
    type_in_app,
    typed,
)
from tests.promises.samples import BODIES, FRONTS
from tests.sync.rig import Device, World, until
from tests.world.fast import fast


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


FILES = {
    "Bullets.md": BODIES["Bullets"],
    "HTML.md": BODIES["HTML"],
    "No end.md": BODIES["No last line end"],
    "Windows.md": BODIES["Windows"],
    "obsidian.md": FRONTS["obsidian"],
    "hugo.md": FRONTS["hugo"],
}


async def mirrored(world: World) -> tuple[Device, Device, dict[str, bytes]]:
    """Two devices with the same files; returns what both show."""
    a, b = world.device("a"), world.device("b")
    await a.synced()
    put(a, FILES)
    await round_trip(a, b)
    assert differing(exact(a), exact(b)) == {}
    return a, b, exact(a)


async def drop_sources(world: World) -> None:
    """Compact every note to what an app knows."""
    for block in (await world.titles()).values():
        await world.compact_to_known_roots(block)
    assert not any((await sources(world)).values())


async def sources(world: World) -> dict[str, bool]:
    """Whether each note has a source, by title."""
    titles = await world.titles()
    return {title: await source_of(world, block) is not None for title, block in titles.items()}


@pytest.mark.parametrize("first", ["a", "b"])
async def test_a_compaction_that_drops_it(world: World, first: str) -> None:
    """The device that hears of it puts it back, whoever it is; the files stay as they are."""
    a, b, shown = await mirrored(world)
    await drop_sources(world)
    one, other = (a, b) if first == "a" else (b, a)
    await round_trip(one)
    assert differing(shown, exact(one)) == {}
    assert all((await sources(world)).values())
    before = await fingerprints(world)
    c = world.device("c")
    await round_trip(other, c, one)
    assert await fingerprints(world) == before, "it is put back once"
    assert differing(shown, exact(other)) == {}
    assert differing(shown, exact(c)) == {}


async def test_two_devices_put_it_back_at_once(world: World) -> None:
    """Nothing is doubled, in the documents or in the files."""
    a, b, shown = await mirrored(world)
    await drop_sources(world)
    await asyncio.gather(a.synced(), b.synced())
    c = world.device("c")
    await round_trip(a, b, c)
    for device in (a, b, c):
        assert differing(shown, exact(device)) == {}
    before = await fingerprints(world)
    await round_trip(b, a)
    assert await fingerprints(world) == before


async def test_it_is_put_back_while_the_mirrors_run(world: World) -> None:
    """The files keep their bytes all the while, and a word typed in the app since is in them."""
    a, b, shown = await mirrored(world)
    titles = await world.titles()
    async with a.running(), b.running():
        await a.in_sync()
        await b.in_sync()
        await drop_sources(world)
        made = typed(
            (await world.server.document(titles["Bullets"])).view(), shown["Bullets.md"], "typed"
        )
        assert made is not None
        await type_in_app(world, titles["Bullets"], made[0])
        shown["Bullets.md"] = made[1]

        async def is_back() -> bool:
            return all((await sources(world)).values())

        await until(is_back, "every source")
        for device in (a, b):
            await until(
                lambda d=device: differing(shown, exact(d)) == {},  # type: ignore[misc]
                "the same bytes",
            )
    await round_trip(a, b)
    before = await fingerprints(world)
    await round_trip(a, b)
    assert await fingerprints(world) == before
    assert differing(shown, exact(a)) == {}
    assert differing(shown, exact(b)) == {}


async def test_a_new_device_between(world: World) -> None:
    """It shows a rendering, and the files of the others once these have put them back."""
    a, b, shown = await mirrored(world)
    await drop_sources(world)
    c = world.device("c")
    await round_trip(c)
    assert exact(c).keys() == shown.keys()
    assert not any((await sources(world)).values()), "its rendering is nobody's source"
    await round_trip(a, c, b)
    for device in (a, b, c):
        assert differing(shown, exact(device)) == {}


async def test_unsent_edits_over_a_compaction_that_drops_it(world: World) -> None:
    """What was saved meanwhile is in the file that is put back, on every device."""
    a, b, shown = await mirrored(world)
    await drop_sources(world)
    edited = shown | {"Bullets.md": shown["Bullets.md"].replace(b"+ plus", b"+ plus saved")}
    put(a, edited)
    c = world.device("c")
    await round_trip(a, b, c, a)
    for device in (a, b, c):
        assert differing(edited, exact(device)) == {}


async def test_a_document_whose_app_knows_it_keeps_it(world: World) -> None:
    """A compaction that keeps every root changes no file, and nothing is sent after it."""
    a, b, shown = await mirrored(world)
    for block in (await world.titles()).values():
        await world.server.compact(block)
    before = await fingerprints(world)
    await round_trip(a, b, a)
    assert await fingerprints(world) == before
    assert differing(shown, exact(a)) == {}
    assert differing(shown, exact(b)) == {}


async def test_notes_from_before_the_feature_get_it_once(world: World) -> None:
    """The device where they were written gives it to them; no other device's rendering counts."""
    a, b = world.device("a"), world.device("b")
    a.source = b.source = "local"
    await a.synced()
    put(a, FILES)
    await round_trip(a, b)
    shown = exact(a)
    assert not any((await sources(world)).values())
    a.source = b.source = "document"
    await round_trip(b)
    assert not any((await sources(world)).values()), "b shows renderings"
    await round_trip(a)
    assert all((await sources(world)).values())
    assert differing(shown, exact(a)) == {}
    before = await fingerprints(world)
    await round_trip(b, a)
    assert differing(shown, exact(b)) == {}
    assert await fingerprints(world) == before, "once, not twice"


async def test_a_note_of_the_app_gets_none(world: World) -> None:
    """Its file is a rendering, after a lost cache too: its document stays small."""
    block = await world.add("Note", "# Title\n\ntext **bold**\n\n- one\n- two\n")
    a, b = world.device("a"), world.device("b")
    before = await fingerprints(world)
    await round_trip(a, b)
    shutil.rmtree(a.base / "state")
    await round_trip(a, b)
    assert await source_of(world, block) is None
    assert await fingerprints(world) == before
    assert exact(a) == exact(b)
