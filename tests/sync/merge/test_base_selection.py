"""A stale save is told from an edit of the newest text; in doubt text returns."""

import pytest

from heapsyncd.cache.renditions import Origin, Rendition
from heapsyncd.sync.merge.base_selection import RECENT_MS, choose, was_written

FIRST = "The quick brown fox jumps over the lazy dog."
REMOTE = "The quick brown fox jumps over the lazy dog. A sentence from afar arrives."
NOW = 10 * RECENT_MS


def ring(*texts: tuple[str, Origin], age_ms: int = 1000) -> list[Rendition]:
    """Renditions, newest first."""
    return [
        Rendition(len(texts) - k, k, None, text.encode(), b"", NOW - age_ms * (k + 1), origin)
        for k, (text, origin) in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("what", "saved", "older"),
    [
        ("an edit of the newest text", REMOTE.replace("quick", "slow"), False),
        ("an old buffer with an edit", FIRST.replace("quick", "slow"), True),
        ("an old buffer saved unchanged", FIRST, True),
        ("part of what arrived is kept", REMOTE.replace(" A sentence", ""), False),
        ("all is rewritten, so it is open: text returns", "Nothing of the sort.", True),
    ],
)
def test_against_a_remote_change(what: str, saved: str, older: bool) -> None:
    """A text that lacks all that was written over its editor's buffer derives from the older."""
    found = choose(ring((REMOTE, "written"), (FIRST, "saved")), saved.encode(), NOW)
    assert found.older is older


@pytest.mark.parametrize(("age_ms", "older"), [(1000, True), (40_000, False)])
def test_over_the_same_word(age_ms: int, older: bool) -> None:
    """A word replaced in both: what was written just now was hardly seen; later it was."""
    texts = ring((FIRST.replace("lazy", "sleepy"), "written"), (FIRST, "saved"), age_ms=age_ms)
    saved = FIRST.replace("lazy", "tired")
    assert choose(texts, saved.encode(), NOW).older is older


def test_of_two_that_are_as_near_the_earlier() -> None:
    """A buffer that may be as old as either of two texts counts as the older: nothing is lost."""
    texts = ring(("one\n\ntwo\n", "written"), ("one\n", "written"), ("", "saved"))
    assert choose(texts, b"new\n", NOW).rendition is texts[2]


def test_a_word_that_arrived_goes_on() -> None:
    """Who makes a longer word of one that arrived has seen it."""
    texts = ring((FIRST.replace("lazy", "sleepy"), "written"), (FIRST, "saved"))
    saved = FIRST.replace("lazy", "sleepyhead")
    assert not choose(texts, saved.encode(), NOW).older


def test_a_word_that_grew_is_replaced_in_part() -> None:
    """Who keeps what a word was made longer by has seen it, whatever he puts before it."""
    texts = ring((FIRST.replace("fox", "foxglove"), "written"), (FIRST, "saved"))
    assert not choose(texts, FIRST.replace("fox", "ivyglove").encode(), NOW).older
    assert choose(texts, FIRST.replace("fox", "ivy").encode(), NOW).older


def test_a_word_of_both_texts_goes_on() -> None:
    """A word that was there before and arrived once more: one that was made longer is no news."""
    texts = ring((f"a fox too\n\n{FIRST}", "written"), (FIRST, "saved"))
    assert choose(texts, FIRST.replace("fox", "foxglove").encode(), NOW).older
    both = f"a foxglove\n\n{FIRST}"
    assert not choose(texts, both.encode(), NOW).older


def test_what_the_editor_saved_itself_it_may_remove() -> None:
    """Taking back the last local edit is an edit, not a stale save."""
    found = choose(ring((REMOTE, "saved"), (FIRST, "written")), FIRST.encode(), NOW)
    assert not found.older


def test_older_than_the_last_save() -> None:
    """What stood there before the last save is no candidate, even when remote text came since."""
    texts = ring((REMOTE + " More.", "written"), (REMOTE, "saved"), (FIRST, "written"))
    assert choose(texts, FIRST.encode(), NOW).rendition is texts[1]


def test_saved_twice_is_meant() -> None:
    """The same old text saved again after it was put right is what its author wants."""
    once = ring((REMOTE, "written"), (FIRST, "saved"))
    assert choose(once, FIRST.encode(), NOW).older
    twice = ring((REMOTE, "written"), (FIRST, "stale"), (REMOTE, "written"), (FIRST, "saved"))
    assert not choose(twice, FIRST.encode(), NOW).older


def test_no_words_arrived_behind_a_save() -> None:
    """What only got its id meanwhile is no text that an old buffer could lack."""
    named = f"---\nid: 01J8XYZ0ABCDEFGHJKMNPQRSTA\n---\n{FIRST}"
    texts = ring((f"{named} More.", "saved"), (named, "written"), (FIRST, "saved"))
    assert not choose(texts, FIRST.encode(), NOW).older


@pytest.mark.parametrize(
    ("what", "saved", "written"),
    [
        ("it was not: another link was typed into the old text", "clouds [[Plan|her]]", False),
        ("it was not: nor does a longer name count", "clouds [[Boats]]", False),
        ("it was, and edited", "clouds afar[[Boat]] more", True),
    ],
)
def test_links_have_more_in_common_than_they_say(what: str, saved: str, written: bool) -> None:
    """Whether a text had been written before a kill is told by its words: the brackets of another
    link don't count.
    """
    planned, before = ring(("clouds afar[[Boat]]", "planned"), ("clouds", "written"))
    assert was_written(planned, before, saved.encode()) is written


def test_a_label_made_longer() -> None:
    """Who makes a longer label of one that arrived has seen it."""
    texts = ring((f"{FIRST} [[Boat|sailing]]", "written"), (FIRST, "saved"))
    assert not choose(texts, f"{FIRST} [[Boat|sailing away]]".encode(), NOW).older
    assert choose(texts, f"{FIRST} [[Boats|rowing]]".encode(), NOW).older


def test_a_word_made_longer() -> None:
    """By tokens the text before is as near; the word that was about to be written tells."""
    planned, before = ring(("clouds\n\nboat", "planned"), ("clouds", "written"))
    assert was_written(planned, before, b"clouds\n\nboathouse")
    assert not was_written(planned, before, b"clouds afar")
    # Of two words only one is there: the author may have written it himself.
    planned, before = ring(("clouds\n\nsee boat afar", "planned"), ("clouds", "written"))
    assert not was_written(planned, before, b"clouds\n\nsee Log")


def test_a_word_in_common_by_chance() -> None:
    """Most of what arrived is missing: whoever had seen it would have deleted it. A text is nearer
    to the plan all the same, where there was nothing before.
    """
    planned, before = ring(("see HARBOUR[[Plan]]\n", "planned"), ("", "written"))
    assert not was_written(planned, before, b"see [[Plan|her]]\n")
    planned, before = ring(("see the boat, to Oslo", "planned"), ("clouds", "written"))
    assert was_written(planned, before, b"see the boat, to Rome")


@pytest.mark.parametrize(
    ("saved", "written"),
    [(b"clouds and boat", True), (b"clouds", False), (b"clouds boat", True)],
)
def test_nothing_is_known_of_the_text_before(saved: bytes, written: bool) -> None:
    """After a lost cache: what lacks words of the plan may be the text before, edited."""
    (planned,) = ring(("clouds boat", "planned"))
    assert was_written(planned, None, saved) is written


def test_long_ago() -> None:
    """Nobody holds a buffer for that long: then the newest text is the base."""
    old = ring((REMOTE, "written"), (FIRST, "saved"), age_ms=2 * RECENT_MS)
    assert not choose(old, FIRST.encode(), NOW).older


LOCAL = REMOTE.replace("quick", "quick and agile")


@pytest.mark.parametrize(
    ("what", "saved", "older"),
    [
        ("an old buffer of another editor, with an edit", FIRST.replace("lazy", "tired"), True),
        ("an old buffer of another editor, as it was", FIRST, True),
        (
            "what arrived is removed, what was saved since is kept",
            FIRST[:10] + LOCAL[10:54],
            False,
        ),
        ("what was saved last is taken back", REMOTE, False),
    ],
)
def test_two_editors(what: str, saved: str, older: bool) -> None:
    """A buffer from before what arrived is known even when another editor saved in between; one
    that kept what was saved since knew what arrived.
    """
    texts = ring((LOCAL, "saved"), (REMOTE, "written"), (FIRST, "saved"))
    assert choose(texts, saved.encode(), NOW).older is older
