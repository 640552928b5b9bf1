"""``search``: what stands in the files is found offline, with paths that a shell can use."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.devices import Device


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("see solo", ["Boat", "Projects/Dinghy"]),  # a mention
        ('"see him"', []),
        ('"see solo him tomorrow"', ["Projects/Dinghy"]),
        ("hermit", ["Solo"]),
        ("smith", ["Solo"]),
        ("tikz", ["Archive/Old deck"]),
        ("spring", ["Boat"]),  # half of it is bold
        ("client", ["Projects/Dinghy"]),
        ("tag:client", ["Projects/Dinghy"]),
        ('tag:"client a"', ["Projects/Dinghy"]),
        ("tag:rotten", ["Archive/Old deck"]),
        ("tag:solo", []),
        ("title:solo", ["Solo"]),
        ("title:alone", ["Solo"]),
        ("deck in:Archive", ["Archive/Old deck"]),
        ("deck -in:archive", ["Boat"]),
        ("deck -old", ["Boat"]),
        ("deck -tag:rotten", ["Boat"]),
        ("-deck -solo", ["日本"]),
        ("in:Home/Projects", ["Projects/Dinghy"]),  # as the shell sees it
        ("varnish OR smith", ["Boat", "Solo"]),
        ("old OR varnish deck", ["Archive/Old deck", "Boat"]),
        ("varn", ["Boat"]),
        ("varn* deck", ["Boat"]),
        ("varn deck", []),
        ("本語", ["日本"]),
        ("日本語で", ["日本"]),
        ("語本", []),
        ("title:日", ["日本"]),
        ("heap:home varnish", ["Boat"]),
        ("heap:Work varnish", []),
        ("id", []),
        ("... - !", []),
    ],
)
def test_what_is_found(library: Device, query: str, paths: list[str]) -> None:
    """Everything that stands in the files, and what is said about them."""
    done = library.here("search", "--json", query, at=library.folder)
    assert done.code == 0, done.err
    hits = json.loads(done.out)["hits"]
    assert sorted(hit["path"] for hit in hits) == sorted(f"{path}.md" for path in paths)
    for hit in hits:
        assert hit["file"] == str(library.folder / "Home" / hit["path"])
        text = (library.folder / "Home" / hit["path"]).read_text().splitlines()
        for line in hit["lines"]:
            assert text[line["number"] - 1] == line["text"] or "id" in text[line["number"] - 1]


def test_how_hits_are_shown(library: Device) -> None:
    """A path that can be opened from here, and the lines with their numbers, unmarked in a pipe;
    each argument as the shell gives it.
    """
    home = library.folder / "Home"
    boat = "Boat.md\n  4: Varnish the deck\n"
    assert library.here("search", "varnish", "deck", at=home).out == boat
    assert library.here("search", "varnish").out.startswith("folder/Home/Boat.md\n")
    elsewhere = library.here("search", "varnish", at=Path("/usr"))
    assert elsewhere.out.startswith(f"{home}/Boat.md\n")
    assert library.here("search", "deck", "-old", at=home).out == boat
    assert library.here("search", "-old", "deck", "--limit", "1", at=home).out == boat
    assert library.here("search", "tag:client a", "solo", at=home).out.startswith(
        "Projects/Dinghy.md\n"
    )
    assert library.here("search", "nothing", "like", "it").out == "nothing found\n"


def test_the_limit_and_the_order(library: Device) -> None:
    """The best first, or what was changed last."""
    best = json.loads(library.here("search", "--json", "solo").out)["hits"]
    assert best[0]["path"] == "Solo.md"
    newest = json.loads(library.here("search", "--json", "--newest", "solo").out)["hits"]
    times = [hit["modified_ms"] for hit in newest]
    assert times == sorted(times, reverse=True)
    assert len(times) == len(best) == 3
    limited = json.loads(library.here("search", "--json", "--limit", "2", "solo").out)["hits"]
    assert limited == best[:2]


@pytest.mark.parametrize("words", [["--heap", "nope", "deck"], ["deck", "heap:nope"]])
def test_an_unknown_heap(library: Device, words: list[str]) -> None:
    """It is an error, which names those that there are."""
    done = library.here("search", *words)
    assert (done.code, done.out) == (1, "")
    assert done.err == "heapsyncd: There is no heap 'nope' here; there are: Home, Work.\n"


def test_a_cache_of_an_older_version(library: Device) -> None:
    """Notes that are not indexed are indexed when somebody searches."""
    before = library.here("search", "--json", "deck")
    with sqlite3.connect(library.state / "home.sqlite3") as cache:
        cache.execute("DELETE FROM search")
        cache.execute("DELETE FROM search_row")
    assert library.here("search", "--json", "deck") == before


async def test_on_a_terminal(library: Device) -> None:
    """Words that were found are bold, long lines are cut to the terminal; nothing is styled for
    one that shows only text, or if it is not wanted.
    """
    found = (await library.on_terminal("search", "varnish")).out
    assert "\x1b[1mVarnish\x1b[0m the deck" in found
    assert "\x1b" not in (await library.on_terminal("search", "varnish", TERM="dumb")).out
    assert "\x1b" not in (await library.on_terminal("search", "varnish", NO_COLOR="1")).out


async def test_a_process(library: Device) -> None:
    """Piped, from its start to its end."""
    done = await library.inside("search", "see", "so")
    assert done.code == 0, done.err
    assert done.out.splitlines()[:2] == [
        "folder/Home/Projects/Dinghy.md", "  5: see [[Solo|him]] tomorrow, [[Solo]]"
    ]  # fmt: skip
