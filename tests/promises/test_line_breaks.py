"""What a line end in a paragraph means is said by each note, on every device."""

import pytest

from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from tests.sync.rig import World

ADDRESS = "Jane Doe\n12 Main Street\n"


async def test_a_note_keeps_its_line_breaks_everywhere(world: World) -> None:
    """The document shows them as breaks; a device with the other setting shows the same file, and
    an edit there changes nothing else; so does a document that lost its source.
    """
    one, other = world.device("a"), world.device("b")
    one.line_breaks = "break"
    (one.root).mkdir(parents=True)
    (one.root / "Card.md").write_text(ADDRESS)
    await one.synced()
    await other.synced()
    block = one.id_of("Card.md")
    shown = (one.root / "Card.md").read_bytes()
    assert (other.root / "Card.md").read_bytes() == shown
    assert (await world.server.document(block)).view() == parse(ADDRESS, NO_LINKS, "break")

    edited = shown.replace(b"Main", b"New Main")
    (other.root / "Card.md").write_bytes(edited)
    await other.synced()
    await one.synced()
    assert (one.root / "Card.md").read_bytes() == edited
    expected = parse(ADDRESS.replace("Main", "New Main"), NO_LINKS, "break")
    assert (await world.server.document(block)).view() == expected

    await world.compact_to_known_roots(block)
    for device in (other, one, other):
        await device.synced()
        assert (device.root / "Card.md").read_bytes() == edited
    assert (await world.server.document(block)).view() == expected


async def test_a_line_end_is_a_space_by_default(world: World) -> None:
    """As in CommonMark; the file keeps its line ends."""
    one, other = world.device("a"), world.device("b")
    (one.root).mkdir(parents=True)
    (one.root / "Card.md").write_text(ADDRESS)
    await one.synced()
    await other.synced()
    assert (await world.server.document(one.id_of("Card.md"))).view() == parse(ADDRESS, NO_LINKS)
    assert other.notes()["Card.md"] == ADDRESS


@pytest.mark.parametrize("source", ["local", "document"])
async def test_an_edit_in_the_app_before_the_next_save(world: World, source: str) -> None:
    """The breaks stay although the document has no source (any more) that says what they mean."""
    one = world.device("a")
    one.line_breaks, one.source = "break", source
    (one.root).mkdir(parents=True)
    (one.root / "Card.md").write_text(ADDRESS)
    await one.synced()
    block = one.id_of("Card.md")
    if source == "document":
        await world.compact_to_known_roots(block)
    path = one.root / "Card.md"
    path.write_bytes(path.read_bytes().replace(b"Main", b"New Main"))
    await world.change(block, body=parse(f"{ADDRESS}\nby the app\n", NO_LINKS, "break"))
    await one.synced()
    edited = ADDRESS.replace("Main", "New Main") + "\nby the app\n"
    assert (await world.server.document(block)).view() == parse(edited, NO_LINKS, "break")
    assert one.notes()["Card.md"] == edited
