"""Links that follow a rename."""

from typing import TYPE_CHECKING

import pytest

from heapsyncd.markdown.links import NO_LINKS, retarget
from heapsyncd.markdown.parse import parse

if TYPE_CHECKING:
    from tests.markdown.conftest import Heap

BOAT = "01J8XYZ0ABCDEFGHJKMNPQRSTV"


def renamed(heap: "Heap", name: str) -> "Heap":
    new = type(heap)()
    new.notes[BOAT] = name
    return new


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("See [[Boat]] and [[Boat|the *boat*]].\n", "See [[Ship]] and [[Ship|the *boat*]].\n"),
        ("| [[Boat\\|b]] | `[[Boat]]` |\n|--|--|\n", "| [[Ship\\|b]] | `[[Boat]]` |\n|--|--|\n"),
        ("[[My note]] [[Boats]] ![[Boat]] [Boat](Boat.md)\n", None),
        ("> é [[Boat]]\r\n> - **[[Boat]]**\r\n", "> é [[Ship]]\r\n> - **[[Ship]]**\r\n"),
        (f"[[{BOAT}]] [[{BOAT}|x]]\n", None),
        ("```\n[[Boat]]\n```\n", None),
    ],
)
def test_only_the_names_in_links_change(heap: "Heap", body: str, after: str | None) -> None:
    """A rename changes the name inside links to the note, not their labels, nothing else."""
    new = renamed(heap, "Ship")
    assert retarget(body, heap, new) == (after or body)
    assert parse(retarget(body, heap, new), new) == parse(body, heap)


@pytest.mark.parametrize("name", ["a]]b", "a|b", "[x", "a\nb", "", " x"])
def test_a_name_that_fits_no_link_is_written_as_the_id(heap: "Heap", name: str) -> None:
    """Where the new name can't stand in brackets the note's id does."""
    new = renamed(heap, name)
    assert retarget("[[Boat|b]]\n", heap, new) == f"[[{BOAT}|b]]\n"
    assert parse(f"[[{BOAT}|b]]\n", new) == parse("[[Boat|b]]\n", heap)


def test_a_name_that_still_leads_there_stays(heap: "Heap") -> None:
    """A link whose name means the note under the new names, too, is not touched."""
    new = renamed(heap, "Ship")
    new.block_of = lambda name: BOAT if name in {"Boat", "Ship"} else None  # type: ignore[method-assign]
    assert retarget("[[Boat]]\n", heap, new) == "[[Boat]]\n"


def test_a_note_that_is_gone_is_linked_by_its_id(heap: "Heap") -> None:
    """Without a name the id keeps the link."""
    assert retarget("[[Boat]]\n", heap, NO_LINKS) == f"[[{BOAT}]]\n"
