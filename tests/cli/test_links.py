"""``links`` and ``backlinks``: which notes a note names, and which name it; offline."""

import json

from tests.cli.devices import Device


def test_what_a_note_names(library: Device) -> None:
    """Each note with its lines, a name without a note, and nothing that stands in code."""
    home = library.folder / "Home"
    text = (home / "Boat.md").read_text().splitlines()
    solo, sails = text[-3:][0], text[-1]
    lines = [{"number": n, "text": text[n - 1]} for n in (len(text) - 2, len(text))]
    facts = json.loads(library.here("links", "--json", "Boat.md", at=home).out)
    assert facts["heap"]["title"] == "Home"
    (named,) = facts["links"]
    assert named == {"path": "Solo.md", "file": f"{home}/Solo.md", "lines": lines[:1]}
    assert facts["missing"] == [{"name": "Sails", "lines": lines[1:]}]
    shown = library.here("links", "Boat.md", at=home).out.splitlines()
    assert shown == [
        "Solo.md", f"  {len(text) - 2}: {solo}",
        "[[Sails]]: there is no such note yet", f"  {len(text)}: {sails}",
    ]  # fmt: skip
    assert library.here("links", "Solo.md", at=home).out == "it names no notes\n"


def test_what_names_a_note(library: Device) -> None:
    """Each note once, with the lines; of a note that does not exist yet, too."""
    home = library.folder / "Home"
    found = library.here("backlinks", "Solo.md", at=home).out.splitlines()
    assert [line for line in found if not line.startswith(" ")] == [
        "Boat.md",
        "Projects/Dinghy.md",
    ]
    assert found[-1].endswith("see [[Solo|him]] tomorrow, [[Solo]]")
    assert library.here("backlinks", "Sails.md", at=home).out.splitlines()[0] == "Boat.md"
    assert library.here("backlinks", "Code.md", at=home).out == "no note names it\n"
    (boat,) = json.loads(library.here("backlinks", "--json", "Boat.md", at=home).out)["backlinks"]
    assert boat["path"] == "Archive/Old deck.md"


def test_what_is_no_note(library: Device) -> None:
    """It is an error that says where the notes are."""
    for words in (["links", "Sails.md"], ["backlinks", "Projects"], ["links", "/etc/hosts"]):
        done = library.here(*words, at=library.folder / "Home")
        assert (done.code, done.out) == (1, "")
        assert f"{words[1]} is not a note of a mirrored heap" in done.err


async def test_processes(library: Device) -> None:
    """Piped; paths are as the shell sees them, and long lines as wide as the terminal."""
    done = await library("backlinks", "folder/Home/Boat.md")
    assert (done.code, done.out.splitlines()[0]) == (0, "folder/Home/Archive/Old deck.md")
    shown = (await library.on_terminal("links", "folder/Home/Boat.md", columns=30)).out
    assert max(map(len, shown.splitlines()[1:2])) <= 30
