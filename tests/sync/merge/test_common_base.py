"""Two texts without a known base: all of either is kept, what stands in both once."""

import pytest

from heapsyncd.document.edit import merge_three
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.merge.common_base import are_both_newer, common_base
from heapsyncd.sync.merge.unrelated import merge_unrelated
from heapsyncd.tree import Atom, Block, Text, attrs

NOTE = "01J8XYZ0ABCDEFGHJKMNPQRSTA"


def merged(ours: Block, theirs: Block) -> str:
    return merge_three(common_base(ours, theirs), ours, theirs).words()


@pytest.mark.parametrize(
    ("what", "ours", "theirs", "words"),
    [
        ("a word more on each side", "one two three", "two three four", "one two three four"),
        ("code", "```\na = 1\nbee()\n```", "```\na = 1\n```", "a = 1 bee()"),
        ("an item made a paragraph", "x\n\nNEW [x] two words", "x\n\n- [x] two words",
         "x NEW [x] two words"),
        ("a paragraph made an item", "x\n\ntwo words", "x\n\n- [ ] NEW two words",
         "x NEW two words"),
        ("an item that changed its kind, among others", "- [ ] x\n- NEW [x] alphabet cloud",
         "- [ ] x\n- [x] alphabet cloud", "x NEW [x] alphabet cloud"),
        ("an item made a paragraph here, edited there", "- [ ] alphabet birch\n- [x] cloud\n\nend",
         "- more - alphabet birch\n\nend", "more - alphabet birch cloud end"),
        ("an item parted from its list", "- [ ] x\n\nNEW\n\n- [x] alphabet",
         "- [ ] x\n- [x] MORE alphabet", "x NEW MORE alphabet"),
        ("a paragraph cut in two", "alphabet birches are\n\ntall and beautiful trees",
         "# alphabet birches are tall and beautiful trees",
         "alphabet birches are tall and beautiful trees"),
        ("a paragraph cut before its last word", "1. cloud MORE\n\nDIAMOND\n\n2. delta",
         "1. cloud DIAMOND\n2. delta", "cloud MORE DIAMOND delta"),
        ("a word in two paragraphs", "one with\n\n- end", "one\n\n- end with",
         "one with end with"),
        ("a whole word between differences", "cloud  delta, ember", "cloud delta ember",
         "cloud delta, ember"),
        ("a word made longer", "harbour", "harbourmaster waits", "harbourmaster waits"),
        ("a word made longer here, one put before it there", "the harbourmaster",
         "the old harbour", "the old harbourmaster"),
        ("a word made longer, below a new paragraph", "harbour", "quay\n\nharbourmaster waits",
         "quay harbourmaster waits"),
        ("words made longer at either end", "- amberbirch\n- x", "- birch cloud\n- x",
         "amberbirch cloud x"),
        ("a word behind, others before it", "one line harbour later", "one line the harbour",
         "one line the harbour later"),
        ("one word, its item marked anew", "- [ ] amber NEW\n- [x] harbour\n\nend",
         "- [ ] amber\n- [x]MORETEXT harbour\n\nend", "amber NEW [x]MORETEXT harbour end"),
        ("items made a paragraph", "x\n\n1.MORETEXT fjord\n2. harbour\n\nend",
         "x\n\n1. fjord\n2. harbour\n\nend", "x 1.MORETEXT fjord 2. harbour end"),
        ("two items made one", "a b\n\n1. harbour\n2. cranes",
         "a b\n\n1. harbour\n2.MORETEXT cranes", "a b harbour 2.MORETEXT cranes"),
        ("a longer text, with a picture here", "harbour\n\n![a](https://x.org/a.png)",
         "harbourmaster", "harbourmaster a"),
        ("a word made longer, among others that differ on both sides",
         "harbourmaster flowers[[Boat]]", "harbour [[{0}|here]]\n\nsee [[{0}|there]]",
         "hereharbourmaster flowers[[Boat]] see there"),
        ("letters in common", "a kfgaezn\n\nieerfth", "a kgrbezi\n\nzvjlrzj",
         "a kgrbezi kfgaezn ieerfth zvjlrzj"),
        ("nothing in common, in one paragraph", "alpha", "beta", "alpha beta"),
        ("nothing in common", "alpha beta", "- gamma delta", "gamma delta alpha beta"),
    ],
)  # fmt: skip
def test_common(what: str, ours: str, theirs: str, words: str) -> None:
    """Words of both are there, and once."""
    found = merged(*(parse(text.format(NOTE) + "\n", NO_LINKS) for text in (ours, theirs)))
    assert sorted(found.split()) == sorted(words.split())


@pytest.mark.parametrize(
    ("what", "before", "ours", "theirs", "wanted"),
    [
        ("a word both have, made longer below other edits", "- x\n- cloud\n\nend",
         "- x\n- fjord [[{0}]]\n\nend\n\nharbourmaster",
         "- x\n- cloud [[{0}]]\n\nend\n\nharbour\n\nquay",
         "- x\n- fjord [[{0}]]\n\nend\n\nharbourmaster\n\nquay"),
        ("two words that are one on the other side", "one line",
         "one line harbour quay birch cloud", "one lineharbour quay cloud delta",
         "one line harbour quay birch cloud delta"),
    ],
)  # fmt: skip
def test_over_a_base_that_is_too_old(
    what: str, before: str, ours: str, theirs: str, wanted: str
) -> None:
    """What both have is there once, and does not disturb their edits elsewhere."""
    texts = (parse(f"{text.format(NOTE)}\n", NO_LINKS) for text in (before, ours, theirs, wanted))
    old, mine, other, made = texts
    assert merge_unrelated(old, mine, other) == made


def test_what_both_put_for_what_was_there() -> None:
    """A word that both have, for others that either took away, stands once."""
    base, ours, theirs = (
        parse(f"{text}\n", NO_LINKS)
        for text in ("amber birch", "amber HARBOUR more", "cloud birch HARBOUR later")
    )
    words = merge_unrelated(base, ours, theirs).words().split()
    assert words.count("HARBOUR") == 1
    assert {"cloud", "more", "later"} <= set(words)


@pytest.mark.parametrize("theirs_grew", [True, False])
def test_one_that_only_grew(*, theirs_grew: bool) -> None:
    """A text that has all of the other's words in order stands as it is: two devices that know no
    base must not both make something of it.
    """
    old, new = (
        parse(text, NO_LINKS)
        for text in ("- [ ] amber birch\n- [x] cloud\n", "- [MORE ] amber birch\n- [x] clouds\n")
    )
    ours, theirs = (old, new) if theirs_grew else (new, old)
    assert merge_three(common_base(ours, theirs), ours, theirs) == new


def test_a_part_that_only_grew() -> None:
    """The same for a part of it, with another change of ours elsewhere."""
    item, rest = "- [ ] amber birch\n- [x] cloud\n", "\n---\n\nember fjord"
    grown = "- [MORE ] amber birch\n- [x] cloud\n"
    ours, theirs, wanted = (
        parse(text, NO_LINKS)
        for text in (f"{item}{rest} OURS\n", f"{grown}{rest}\n", f"{grown}{rest} OURS\n")
    )
    assert merge_three(common_base(ours, theirs), ours, theirs) == wanted


@pytest.mark.parametrize(
    ("ours", "theirs", "newer"),
    [
        ("one two harbour", "one two harbour", True),
        ("one two harbourmaster", "one two harbour", True),
        ("one two harbour", "one two harbourmaster", True),
        ("one two harbour", "one two cranes", False),
        ("one two card", "one two car", False),
    ],
)
def test_both_know_more_than_the_base(ours: str, theirs: str, *, newer: bool) -> None:
    """A word that both have, possibly extended, tells that the base is too old; two may extend a
    short one by chance.
    """
    base, ours_, theirs_ = (parse(f"{text}\n", NO_LINKS) for text in ("one two", ours, theirs))
    assert are_both_newer(base, ours_, theirs_) is newer


def test_what_they_did_without_a_word() -> None:
    """A task that was done there is done, though our text has a word more."""
    ours = parse("- [ ] amber birch MORE\n- [ ] cloud\n", NO_LINKS)
    theirs = parse("- [ ] amber birch\n- [x] cloud\n", NO_LINKS)
    wanted = parse("- [ ] amber birch MORE\n- [x] cloud\n", NO_LINKS)
    assert merge_three(common_base(ours, theirs), ours, theirs) == wanted


def test_beside_a_mention() -> None:
    """A word that only we have is kept in a paragraph that mentions a note, too."""
    mention = Atom("mention", attrs(id="01J8XYZ0ABCDEFGHJKMNPQRSTA"))
    ours, theirs = (
        Block("doc", children=(Block("paragraph", inline=(Text(text), mention)),))
        for text in ("one two ", "one ")
    )
    assert "two" in merged(ours, theirs)


def test_a_mention_among_other_words() -> None:
    """A link in a text that both sides changed all around it stands once."""
    note = "01J8XYZ0ABCDEFGHJKMNPQRSTA"
    ours, theirs = (
        parse(f"{text.format(f'[[{note}|her]]')}\n", NO_LINKS)
        for text in ("amber {}upwards", "seekingly {}")
    )
    made = merge_three(common_base(ours, theirs), ours, theirs)
    assert made.words().count("her") == 1
    assert set(made.words().split()) == {"amber", "seekingly", "herupwards"}


def test_a_link_under_one_label_to_two_notes() -> None:
    """The label stands once, and the link means what it means here."""
    ids = ("01J8XYZ0ABCDEFGHJKMNPQRSTA", "01J8XYZ0ABCDEFGHJKMNPQRSTB")
    ours, theirs = (
        parse(f"see [[{i}|her]] {more}\n", NO_LINKS)
        for i, more in zip(ids, ("today", ""), strict=True)
    )
    assert merge_three(common_base(ours, theirs), ours, theirs) == ours


def test_files_that_one_side_has_more_of() -> None:
    """A group of files that the other side holds whole is that group, with more in it."""

    def shown(*keys: str) -> Block:
        return Block("doc", children=(Block("files", attrs(keys="\n".join(keys))),))

    few, more = shown("a"), shown("a", "b")
    for ours, theirs in ((few, more), (more, few)):
        assert merge_three(common_base(ours, theirs), ours, theirs) == more
