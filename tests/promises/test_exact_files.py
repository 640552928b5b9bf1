"""A note's file is the same file on every device: the bytes that its author wrote."""

from collections.abc import Iterator

import pytest

from heapsyncd.ids import BlockId
from heapsyncd.tree import Atom
from tests.promises.exact import (
    differing,
    exact,
    fingerprints,
    is_only_signed,
    put,
    reworded,
    round_trip,
    type_in_app,
    typed,
)
from tests.promises.samples import BODIES, FRONTS, example_files
from tests.sync.rig import Device, World, until
from tests.world.fast import fast


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


SAMPLES = {f"{name}.md": data for name, data in {**BODIES, **FRONTS}.items()}


async def mirrored(world: World, files: dict[str, bytes]) -> tuple[Device, Device]:
    """Put files on a device; return it, and a second one that has them from the server."""
    a, b = world.device("a"), world.device("b")
    await a.synced()
    put(a, files)
    await a.synced()
    await b.synced()
    return a, b


async def test_the_first_device_only_adds_its_id(world: World) -> None:
    """Not one other byte of a file changes where it was written."""
    a, _ = await mirrored(world, SAMPLES)
    shown = exact(a)
    assert shown.keys() == SAMPLES.keys()
    wrong = [path for path, data in shown.items() if not is_only_signed(data, SAMPLES[path])]
    assert wrong == []


async def test_a_second_and_a_later_device_show_the_same_bytes(world: World) -> None:
    """Also one that comes when nothing is new; nothing more is sent for it."""
    a, b = await mirrored(world, SAMPLES)
    assert differing(exact(a), exact(b)) == {}
    before = await fingerprints(world)
    c = world.device("c")
    await round_trip(a, b, c, a)
    assert differing(exact(a), exact(c)) == {}
    assert differing(exact(a), exact(b)) == {}
    assert await fingerprints(world) == before


async def test_a_word_edited_elsewhere_brings_those_bytes(world: World) -> None:
    """The device where a file was written shows the bytes of the device that edited it."""
    a, b = await mirrored(world, SAMPLES)
    edited = exact(b)
    for path, data in edited.items():
        edited[path] = reworded(data, b"edited") or data
    assert sum(edited[path] != data for path, data in exact(b).items()) > 40
    put(b, edited)
    c = world.device("c")
    await round_trip(b, a, c)
    assert differing(edited, exact(b)) == {}
    assert differing(edited, exact(a)) == {}
    assert differing(edited, exact(c)) == {}
    before = await fingerprints(world)
    await round_trip(b, a)
    assert await fingerprints(world) == before


async def typed_everywhere(world: World, a: Device) -> dict[str, bytes]:
    """Type a word into each note in the app; return the files in which only that word changed."""
    expected = exact(a)
    titles = await world.titles()
    count = 0
    for path, data in expected.items():
        block = titles[path.removesuffix(".md")]
        made = typed((await world.server.document(block)).view(), data, "typed")
        if made is not None:
            tree, expected[path] = made
            await type_in_app(world, block, tree)
            count += 1
    assert count > 40
    return expected


async def test_a_word_typed_in_the_app_changes_only_its_line(world: World) -> None:
    """On the device where the file was written, on another, and on one that comes later."""
    a, b = await mirrored(world, SAMPLES)
    expected = await typed_everywhere(world, a)
    before = await fingerprints(world)
    c = world.device("c")
    await round_trip(a, b, c, a)
    assert differing(expected, exact(a)) == {}
    assert differing(expected, exact(b)) == {}
    assert differing(expected, exact(c)) == {}
    assert await fingerprints(world) == before, "the app's edit is not written into the source"


async def test_a_save_over_the_apps_word_keeps_both(world: World) -> None:
    """A file that shows what the app typed is edited; all devices show the saved bytes."""
    a, b = await mirrored(world, SAMPLES)
    await typed_everywhere(world, a)
    await round_trip(b)
    edited = exact(b)
    for path, data in edited.items():
        edited[path] = data + (b"" if data.endswith((b"\n", b"\r")) else b"\n") + b"\n* saved\n"
    put(b, edited)
    c = world.device("c")
    await round_trip(b, a, c)
    assert differing(edited, exact(b)) == {}
    assert differing(edited, exact(a)) == {}
    assert differing(edited, exact(c)) == {}


async def test_text_that_looks_like_a_node_of_ours(world: World) -> None:
    """It is escaped, since the note has no such node; all devices show that."""
    a, b = await mirrored(world, {"Note.md": b"* text <!--embed:abc123-->\n"})
    assert exact(a)["Note.md"].endswith(b"* text \\<!--embed:abc123-->\n")
    assert differing(exact(a), exact(b)) == {}


async def test_files_on_running_devices(world: World) -> None:
    """The same while both mirrors run: a file, an edit elsewhere, a word from the app."""
    a, b = world.device("a"), world.device("b")
    path = "Bullets.md"
    async with a.running(), b.running():
        await a.in_sync()
        await b.in_sync()
        put(a, {path: BODIES["Bullets"]})

        await until(lambda: exact(b).get(path, b"").endswith(BODIES["Bullets"]), "on b")
        await until(lambda: exact(a)[path] == exact(b)[path], "equal bytes")
        shown = exact(a)[path]
        edited = shown.replace(b"+ plus", b"+ plus more")
        put(b, {path: edited})
        await until(lambda: exact(a)[path] == edited, "b's bytes on a")
        block = a.id_of(path)
        made = typed((await world.server.document(block)).view(), edited, "typed")
        assert made is not None
        await type_in_app(world, block, made[0])
        await until(lambda: exact(a)[path] == made[1], "the word on a")
        await until(lambda: exact(b)[path] == made[1], "the word on b")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_example_of_the_specifications(world: World) -> None:
    """CommonMark's and GitHub's: byte-equal on a second device, before and after an edit there."""
    files = example_files()
    assert len(files) > 700
    a, b = await mirrored(world, files)
    wrong = [path for path, data in exact(a).items() if not is_only_signed(data, files[path])]
    assert wrong == []
    assert differing(exact(a), exact(b)) == {}
    edited = {path: reworded(data, b"edited") or data for path, data in exact(b).items()}
    put(b, edited)
    await round_trip(b, a)
    assert differing(edited, exact(a)) == {}
    assert differing(edited, exact(b)) == {}
    blocks: dict[str, BlockId] = await world.titles()
    for path, data in edited.items():
        block = blocks[path.removesuffix(".md")]
        made = typed((await world.server.document(block)).view(), data, "typed")
        if made is not None:
            await type_in_app(world, block, made[0])
    c = world.device("c")
    await round_trip(a, b, c)
    assert differing(exact(a), exact(b)) == {}
    assert differing(exact(a), exact(c)) == {}


async def test_links_to_a_note_named_like_a_folder(world: World) -> None:
    """They are links to the note, and keep their spelling."""
    files = {
        "Home.md": b"* [[Images]], [[images]] and [[Images|pictures]]\n",
        "Notes/Images.md": b"* a note\n",
        "Images/Boat.md": b"* [[Home]]\n",
    }
    a, b = await mirrored(world, files)
    assert [k for k, v in exact(a).items() if not is_only_signed(v, files[k])] == []
    assert differing(exact(a), exact(b)) == {}
    shown = (await world.server.document(a.id_of("Home.md"))).view()
    assert [i.get("id") for leaf in shown.walk() for i in leaf.inline if isinstance(i, Atom)] == [
        a.id_of("Notes/Images.md")
    ] * 3


STYLES = {
    "bullets": lambda data: data.replace(b"- one", b"* one").replace(b"- two", b"* two"),
    "a key": lambda data: data.replace(b"\n---\n", b"\nstatus: open\n---\n", 1),
    "blank lines at the end": lambda data: data + b"\n\n",
    "Windows": lambda data: data.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("style", STYLES)
async def test_a_note_of_the_app_written_in_another_style(world: World, style: str) -> None:
    """Its document has no source until then; others show the style as well."""
    await world.add("Note", "# Title\n\n- one\n- two\n")
    a, b = world.device("a"), world.device("b")
    await round_trip(a, b)
    restyled = STYLES[style](exact(a)["Note.md"])
    put(a, {"Note.md": restyled})
    await round_trip(a, b)
    assert exact(a)["Note.md"] == restyled
    assert differing(exact(a), exact(b)) == {}


async def test_styles_changed_on_both_sides_at_once(world: World) -> None:
    """Both changes stay, as those of words do."""
    a, b = await mirrored(world, {"Bullets.md": BODIES["Bullets"]})
    data = exact(a)["Bullets.md"]
    put(a, {"Bullets.md": data.replace(b"* star", b"- star")})
    put(b, {"Bullets.md": data + b"\n\n"})
    await round_trip(a, b, a)
    assert exact(a)["Bullets.md"] == data.replace(b"* star", b"- star") + b"\n\n"
    assert differing(exact(a), exact(b)) == {}
