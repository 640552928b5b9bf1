"""Two texts without a known base: all of either is kept, what stands in both once."""

import pytest

from heapsyncd.document.edit import merge_three
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.parse import parse
from heapsyncd.sync.common import common
from heapsyncd.tree import Atom, Block, Text, attrs


def merged(ours: Block, theirs: Block) -> str:
    return merge_three(common(ours, theirs), ours, theirs).words()


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
        ("a word in two paragraphs", "one with\n\n- end", "one\n\n- end with",
         "one with end with"),
        ("a whole word between differences", "cloud  delta, ember", "cloud delta ember",
         "cloud delta, ember"),
        ("letters in common", "a kfgaezn\n\nieerfth", "a kgrbezi\n\nzvjlrzj",
         "a kgrbezi kfgaezn ieerfth zvjlrzj"),
        ("nothing in common", "alpha beta", "- gamma delta", "gamma delta alpha beta"),
    ],
)  # fmt: skip
def test_common(what: str, ours: str, theirs: str, words: str) -> None:
    """Words of both are there, and once."""
    found = merged(*(parse(f"{text}\n", NO_LINKS) for text in (ours, theirs)))
    assert sorted(found.split()) == sorted(words.split())


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
    made = merge_three(common(ours, theirs), ours, theirs)
    assert made.words().count("her") == 1
    assert set(made.words().split()) == {"amber", "seekingly", "herupwards"}


def test_a_link_under_one_label_to_two_notes() -> None:
    """The label stands once, and the link means what it means here."""
    ids = ("01J8XYZ0ABCDEFGHJKMNPQRSTA", "01J8XYZ0ABCDEFGHJKMNPQRSTB")
    ours, theirs = (
        parse(f"see [[{i}|her]] {more}\n", NO_LINKS)
        for i, more in zip(ids, ("today", ""), strict=True)
    )
    assert merge_three(common(ours, theirs), ours, theirs) == ours


def test_files_that_one_side_has_more_of() -> None:
    """A group of files that the other side holds whole is that group, with more in it."""

    def shown(*keys: str) -> Block:
        return Block("doc", children=(Block("files", attrs(keys="\n".join(keys))),))

    few, more = shown("a"), shown("a", "b")
    for ours, theirs in ((few, more), (more, few)):
        assert merge_three(common(ours, theirs), ours, theirs) == more
