"""Names and places of items: safe, unique, stable, and understood when read back."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pathvalidate import is_valid_filename

from heapsyncd.folder.ignore import NO_RULES
from heapsyncd.folder.item_names import (
    Spot,
    assets_place,
    comments_place,
    could_be_named,
    file_name,
    first_words,
    is_box_name,
    item_place,
    sidecar_place,
    spot_of,
    unique_names,
)
from heapsyncd.folder.names import collision_key
from heapsyncd.items.values import Item

TITLES = st.one_of(
    st.sampled_from(
        ["", "Boat", "boat", "Archive", "ARCHIVE", "x.assets", "x.comments", "a/b", "..", "p.jpg",
         "p.jpg.md", "CON", "x" * 300, "é" * 200, "y" * 238 + ".jpeg", ".hidden", "e\u0301" * 150]
    ),
    st.text(max_size=20),
)  # fmt: skip
TYPES = st.sampled_from(["note", "task", "appointment", "day", "file", "sticky", "comment", "box"])
ITEMS = st.builds(
    lambda number, kind, title, text: Item(
        f"i{number}", kind, title, text, filename=title if kind == "file" else ""
    ),
    st.integers(0, 99),
    TYPES,
    TITLES,
    TITLES,
)
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


@given(ITEMS)
def test_a_name_is_safe_everywhere(item: Item) -> None:
    """Also with ``.comments`` or a number behind it; a box never has a reserved name."""
    name = file_name(item)
    assert is_valid_filename(name, platform="universal", max_len=255)
    assert not NO_RULES.match(name, is_dir=item.type == "box")
    for owned in (assets_place(name), comments_place(name)):
        assert len(owned.encode()) <= 250
    if item.type == "box":
        assert is_box_name(name)
    else:
        assert name.endswith(".md") == (item.type != "file")


@given(st.lists(ITEMS, max_size=8, unique_by=lambda i: i.id), st.randoms())
def test_names_of_a_directory_are_unique_and_stable(items: Sequence[Item], random: object) -> None:
    """Whatever the order, and once given they stay."""
    names = unique_names(items, {})
    assert names.keys() == {i.id for i in items}
    assert len({collision_key(n) for n in names.values()}) == len(items)
    assert unique_names(items[::-1], {}) == names
    assert unique_names(items, names) == names
    assert all(len(comments_place(n).encode()) <= 255 for n in names.values())
    sidecars = {collision_key(sidecar_place(names[i.id])) for i in items if i.type == "file"}
    notes = {collision_key(names[i.id]) for i in items if i.type != "file"}
    assert not sidecars & notes


@given(ITEMS, st.sampled_from([None, "Projects"]), st.booleans())
def test_a_place_says_where_an_item_is(item: Item, box: str | None, archived: bool) -> None:
    """Box and archive are read back from the path; what it owns names it."""
    if item.type == "box":
        return
    path = item_place(replace(item, archived=archived), box, file_name(item))
    spot = spot_of(path)
    assert spot == Spot("item", box or "", archived)
    stem = path.removesuffix(".md")
    assert spot_of(f"{assets_place(path)}/a.pdf") == Spot("attachment", box or "", archived, stem)
    comment = spot_of(f"{comments_place(path)}/c.md")
    assert comment == Spot("comment", box or "", archived, stem)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (Item("", "note", "Boat"), "Boat.md"),
        (Item("", "note", "a/b"), "a_b.md"),
        (Item("", "day", date=NOON), "2026-12-01.md"),
        (Item("", "day", "Moving", date=NOON), "Moving.md"),
        (Item("", "sticky", body="# Buy *milk*\nand bread"), "Buy _milk_ and bread.md"),
        (Item("", "comment", body="> "), "Untitled.md"),
        (Item("", "file", "A photo", filename="photo.jpg"), "photo.jpg"),
        (Item("", "file", "notes.md"), "notes.md_"),
        (Item("", "box", "archive"), "archive_"),
        (Item("", "file", "Archive"), "Archive_"),
        (Item("", "box", "x.comments"), "x.comments_"),
    ],
)
def test_what_items_are_called(item: Item, name: str) -> None:
    """Their names; else their date, or first words."""
    assert file_name(item) == name


def test_nameless_items_keep_the_name_they_were_given() -> None:
    """The file does not follow later edits; a named item's does."""
    sticky = Item("s", "sticky", body="Milk")
    assert unique_names([sticky], {}) == {"s": "Milk.md"}
    edited = replace(sticky, body="Bread")
    assert unique_names([edited], {"s": "Milk.md"}) == {"s": "Milk.md"}
    named = replace(edited, name="Bread")
    assert unique_names([named], {"s": "Milk.md"}) == {"s": "Bread.md"}


def test_first_words_are_few_and_plain() -> None:
    """Whole words, without the markup before them."""
    assert first_words("- [ ] call the yard\n") == "call the yard"
    assert first_words("word " * 30) == "word word word word word word word word"
    assert len(first_words("x" * 90)) == 40
    assert first_words(" \n") == ""


@pytest.mark.parametrize(
    ("path", "spot"),
    [
        ("Loose.md", Spot("item", "", False)),
        ("Projects/photo.jpg.md", Spot("sidecar", "Projects", False, "Projects/photo.jpg")),
        ("Projects/sub/x.md", Spot("item", "Projects", False, "", True)),
        ("Projects.comments/c.md", Spot("comment", "", False, "Projects")),
        ("Archive/Projects/Old.md", Spot("item", "Projects", True)),
        ("P/Boat.comments/x.pdf", Spot("comment", "P", False, "P/Boat", True)),
        ("Archive/P/Boat.assets/sub/x", Spot("item", "P", True, "", True)),
        ("P/Boat.assets/plan.pdf.md", Spot("sidecar", "P", False, "P/Boat.assets/plan.pdf")),
        (
            "P/Boat.comments/c.assets/p.pdf",
            Spot("attachment", "P", False, "P/Boat.comments/c"),
        ),
        ("P/photo.jpg.assets/p.pdf", Spot("attachment", "P", False, "P/photo.jpg")),
    ],
)
def test_what_a_path_says(path: str, spot: Spot) -> None:
    """Attachments, comments and sidecars of anything; deeper directories are not synced."""
    assert spot_of(path, {"Projects/photo.jpg", "P/Boat.assets/plan.pdf"}) == spot


def test_a_title_could_have_made_a_name() -> None:
    """So that a title in a file of a lost cache is known as ours."""
    assert could_be_named("a/b", "a_b.md")
    assert could_be_named("a/b", "a_b (2).md")
    assert not could_be_named("My boat", "2024-boat.md")
