"""Titles become names that are safe everywhere and say the title wherever that is possible."""

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathvalidate import is_valid_filename

from heapsyncd.folder.ignore import NO_RULES
from heapsyncd.folder.names import (
    carries,
    collision_key,
    number_of,
    safe_name,
    split_suffix,
    unique,
)

HOSTILE = [
    *("../escape", "../../../../up", "/tmp/absolute", "..", ".", "", " ", "a\x00b", "CON"),
    *("nul.txt", "aux", "COM1", "con.md", "lpt³", "CON .txt", "conin$", "x" * 300, "é" * 200),
    *("😀" * 90, "trailing dot.", "trailing space ", " leading", "tab\there", "new\nline"),
    *('star*?<>|":\\back', "\u202egnp.exe", "-rf", "~", ".hidden", ".heapsyncd", ".git"),
    *("4913", "x.tmp", "x.tmp.5", "note~", "#auto#", ".#lock", "~$office", "a.swp", "---"),
    *("\ufeffbom", "zero\u200bwidth", "\u200d", "half \ud83d pair", "\x85", "\u2028", "\u00a0"),
    *(
        "Boat.assets",
        "boat.ASSETS",
        ".assets",
        "🏴\U000e0067\U000e0062\U000e007f",
        "e" + "\u0301" * 999,
    ),
    *(".heapsyncd-0123456789ab.tmp", "heapsyncd", "x" * 239 + ".", "x" * 236 + " .assets"),
]
titles = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(),
    st.text(st.sampled_from("aA.~#$ _é\u0301\u200d/\\:\n4913tmpCON"), max_size=300),
)
suffixes = st.sampled_from(["", ".md"])


@given(titles, suffixes)
def test_a_name_is_safe_everywhere(title: str, suffix: str) -> None:
    """Whatever the title, the name is allowed on every system, visible, and never ignored."""
    name = safe_name(title, suffix=suffix)
    stem = name.removesuffix(suffix)
    assert name.endswith(suffix)
    assert stem
    assert len(name.encode()) <= 255
    assert len(f"{stem}.assets".encode()) <= 255
    assert is_valid_filename(name, platform="universal", max_len=255)
    assert not re.search(r'[\x00-\x1f\x7f<>:"/\\|?*]', name)
    assert not stem.startswith((".", " "))
    assert not stem.endswith((".", " "))
    assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name)
    assert not NO_RULES.match(name, is_dir=False)
    assert not NO_RULES.match(name, is_dir=True)
    if not suffix:
        assert not name.casefold().endswith(".assets")


@given(titles, suffixes)
def test_a_name_shows_nothing_invisible(title: str, suffix: str) -> None:
    """No control, direction mark or stray zero-width character gets into a name."""
    name = safe_name(title, suffix=suffix)
    left = {c for c in name if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert left <= {"\u200c", "\u200d"}
    assert not any(a in "\u200c\u200d" and b.isascii() for a, b in pairwise(name))


@given(titles, suffixes)
def test_a_safe_title_is_its_own_name(title: str, suffix: str) -> None:
    """What is a safe name already is left as it is, so that its file carries the title."""
    stem = safe_name(title, suffix=suffix).removesuffix(suffix)
    assert safe_name(stem, suffix=suffix) == stem + suffix


@pytest.mark.parametrize(
    "title",
    [
        *(
            "Groceries",
            "Übung 2",
            "שלום עולם",
            "e\u0301te\u0301",
            "v1.2 plan",
            "a [draft] (1)",
            "-rf",
        ),
        *(
            "👨‍👩‍👧 family",
            "می‌خواهم",
            "日本語",
            "# hash",
            "$HOME",
            "50 % off!",
            "R&D",
            "4913 things",
            "x" * 240,
        ),
    ],
)
def test_ordinary_titles_are_kept(title: str) -> None:
    """Every script, emoji families and usual punctuation stay what they are."""
    assert safe_name(title, suffix=".md") == f"{title}.md"
    assert carries(title, title)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("a/b", "a_b"),
        ("CON", "_CON"),
        (".git", "_git"),
        ("", "Untitled"),
        ("..", "Untitled"),
        ("4913", "_4913"),
        ("note~", "note~_"),
        ("x.tmp", "x.tmp_"),
        ("Boat.assets", "Boat.assets_"),
        ("new\nline", "new line"),
        ("zero\u200bwidth", "zerowidth"),
        ("photo" * 100 + ".jpeg", "photo" * 48 + ".jpeg"),
        ("👨‍👩‍👧" * 20, "👨‍👩‍👧" * 13),
    ],
)
def test_other_titles_stay_recognisable(title: str, name: str) -> None:
    """What must change changes as little as possible; a suffix and whole graphemes survive."""
    assert safe_name(title) == name


def test_carries_is_exact() -> None:
    """A name that differs in case, normalisation or a space does not say the title."""
    assert carries("Boat", "Boat")
    for title in ("boat", "Boat ", "Boat.md", "Bo\u0061t\u0301"):
        assert not carries("Boat", title)


@given(titles, suffixes, st.integers(1, 40))
def test_unique_gives_distinct_names(title: str, suffix: str, count: int) -> None:
    """Any number of equal titles get names that differ on every file system and fit it."""
    name = safe_name(title, suffix=suffix)
    taken: set[str] = set()
    for _ in range(count):
        found = unique(name, lambda n: collision_key(n) in taken, suffix=suffix)
        assert len(found.encode()) <= 255
        assert not NO_RULES.match(found, is_dir=False)
        assert number_of(found, name, suffix=suffix) == len(taken) + 1
        taken.add(collision_key(found))
    assert len(taken) == count


def test_the_mark_of_a_twin_stands_before_the_suffix() -> None:
    """The second file of a name is told apart before its suffix, if it has one."""
    taken = {"photo.jpg", "v1.2 plan", "name.md", "name (2).md"}
    assert unique("photo.jpg", taken.__contains__) == "photo (2).jpg"
    assert unique("v1.2 plan", taken.__contains__) == "v1.2 plan (2)"
    assert unique("name.md", taken.__contains__) == "name (3).md"
    assert unique("free.md", taken.__contains__) == "free.md"


def test_a_variant_is_of_one_name_only() -> None:
    """Neither another name nor another suffix passes for a twin."""
    assert number_of("Boat (2).md", "Boat.md", suffix=".md") == 2
    for name in ("Boats (2).md", "Boat (2).txt", "Boat(2).md", "Boat (x).md", "Boat (2)"):
        assert number_of(name, "Boat.md", suffix=".md") is None


def test_a_suffix_is_short_and_of_letters() -> None:
    """A last dot begins a suffix only when what follows looks like one."""
    assert split_suffix("a.tar.gz") == ("a.tar", ".gz")
    for name in ("Makefile", ".bashrc", "1. first", "what.", "a.much-too-long-suffix"):
        assert split_suffix(name) == (name, "")


@given(st.text())
def test_the_collision_key_forgets_case_and_form(text: str) -> None:
    """Upper case and either normal form are the same name; a key is its own key."""
    key = collision_key(text)
    assert collision_key(key) == key
    assert collision_key(unicodedata.normalize("NFD", text)) == key
    assert collision_key(unicodedata.normalize("NFC", text)) == key
    assert collision_key(text.casefold()) == key
