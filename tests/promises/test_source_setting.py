"""``source = "local"``: a file's exact text stays on its device."""

from collections.abc import Iterator

import pytest

from tests.promises.exact import (
    differing,
    exact,
    is_only_signed,
    put,
    reworded,
    round_trip,
    source_of,
)
from tests.promises.samples import BODIES, FRONTS
from tests.sync.rig import Device, World
from tests.world.fast import fast


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


FILES = {
    "Bullets.md": BODIES["Bullets"],
    "Windows.md": BODIES["Windows"],
    "obsidian.md": FRONTS["obsidian"],
    "dendron.md": FRONTS["dendron"],
}


async def local(world: World) -> tuple[Device, Device]:
    a, b = world.device("a"), world.device("b")
    a.source = b.source = "local"
    await a.synced()
    put(a, FILES)
    await round_trip(a, b, a)
    return a, b


async def no_source(world: World) -> bool:
    return not any([await source_of(world, b) for b in (await world.titles()).values()])


async def test_nothing_of_it_is_sent(world: World) -> None:
    """Not with a new file, not with a save; the file stays as it is here, and is a rendering
    elsewhere.
    """
    a, b = await local(world)
    assert exact(a).keys() == FILES.keys()
    assert all(is_only_signed(data, FILES[path]) for path, data in exact(a).items())
    assert await no_source(world)
    assert exact(b)["Bullets.md"] != exact(a)["Bullets.md"]
    assert b"\r" not in exact(b)["Windows.md"]
    assert b"cssclasses" not in exact(b)["obsidian.md"]
    edited = {path: reworded(data, b"edited") or data for path, data in exact(a).items()}
    put(a, edited)
    await round_trip(a, b, a)
    assert differing(edited, exact(a)) == {}
    assert await no_source(world)
    for path, data in edited.items():
        assert (b"edited" in data) == (b"edited" in exact(b)[path])


async def test_an_edit_elsewhere_changes_its_own_line(world: World) -> None:
    """The style of the device where a file was written stays."""
    a, b = await local(world)
    shown = exact(a)["Bullets.md"]
    put(b, {"Bullets.md": exact(b)["Bullets.md"].replace(b"plus", b"plus edited", 1)})
    await round_trip(b, a)
    assert exact(a)["Bullets.md"] == shown.replace(b"+ plus", b"+ plus edited", 1)
    assert await no_source(world)


async def test_a_document_that_has_one(world: World) -> None:
    """Another account's device keeps it there: a local one shows it, and leaves it consistent."""
    a, b = world.device("a"), world.device("b")
    b.source = "local"
    await a.synced()
    put(a, FILES)
    await round_trip(a, b)
    put(b, {"Bullets.md": exact(b)["Bullets.md"].replace(b"plus", b"plus edited", 1)})
    await round_trip(b, a)
    (line,) = [v for v in exact(a)["Bullets.md"].splitlines() if b"edited" in v]
    assert line == b"+ plus edited"
    assert exact(a)["Bullets.md"].count(b"plus edited") == 1
