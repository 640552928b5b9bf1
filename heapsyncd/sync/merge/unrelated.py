"""Merge two trees that share no history, over a base that may be too old. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from heapsyncd.diff.sequences import matches
from heapsyncd.document.edit import merge_three
from heapsyncd.sync.merge.common_base import MIN_LETTERS, common_base, word_counts
from heapsyncd.sync.merge.unmatched_text import StemIndex, is_extended_by
from heapsyncd.tree import Block


def merge_unrelated(before: Block, ours: Block, theirs: Block) -> Block:
    """Merge two trees that share no history.

    Text that both have and the base lacks counts as known to both if it would otherwise appear
    twice: their text may contain our edit, edited further. That is decided for the whole, and
    between blocks that all share: text known in one place does not disturb edits in another.

    Args:
        before: the nearest known base.
        ours: the tree with our edits.
        theirs: the tree with their edits.
    """
    simple = merge_three(before, ours, theirs)
    if simple in (ours, theirs):
        return simple
    parts = [
        child
        for some in _between_equal(before, ours, theirs)
        for child in _merge_part(*(before.with_children(side) for side in some)).children
    ]
    whole = _merge_over_common(before, ours, theirs)
    return _best(ours, theirs, simple, whole, before.with_children(parts))


def _merge_part(before: Block, ours: Block, theirs: Block) -> Block:
    simple = merge_three(before, ours, theirs)
    if simple in (ours, theirs):
        return simple
    return _best(ours, theirs, simple, _merge_over_common(before, ours, theirs))


def _merge_over_common(before: Block, ours: Block, theirs: Block) -> Block:
    """Merge over a base with the text that both have."""
    both = common_base(ours, theirs)
    known = merge_three(common_base(both, before), before, both)
    return merge_three(known, ours, theirs)


def _best(ours: Block, theirs: Block, simple: Block, *others: Block) -> Block:
    """Return the merge with the fewest doubled words, then the shortest.

    It has all words that the simple one kept. Words of the base may return in it, since it is
    unknown who deleted them.
    """
    good = [b for b in others if _has_all(b, simple, ours, theirs)]
    return min((simple, *good), key=lambda b: (_doubled(b, ours, theirs), len(b.words())))


def _has_all(merged: Block, simple: Block, ours: Block, theirs: Block) -> bool:
    """Return whether a merge has all words of either side that the simple one has.

    A word may be cut in two.
    """
    text, said = simple.words(), merged.words()
    joined = "".join(said.split())
    words = word_counts(ours) | word_counts(theirs)
    return all(w in said or w in joined for w in words if w in text)


def _doubled(body: Block, ours: Block, theirs: Block) -> int:
    """Count the words that a merge has more often than either side, extended or not."""
    words = word_counts(body)
    merged, *sides = (_with_extended(words, word_counts(side)) for side in (body, ours, theirs))
    return sum(max(0, merged[word] - max(side[word] for side in sides)) for word in words)


def _with_extended(words: Iterable[str], there: Counter[str]) -> Counter[str]:
    """Count how often some words are there, by themselves or extended."""
    stems = StemIndex(there)
    found = Counter[str]()
    for word in words:
        found[word] = there[word]
        if len(word) >= MIN_LETTERS:
            longer = (o for o in stems.alike(word) - {word} if is_extended_by(word, o))
            found[word] += sum(there[other] for other in longer)
    return found


def _between_equal(
    before: Block, ours: Block, theirs: Block
) -> Iterator[tuple[Sequence[Block], Sequence[Block], Sequence[Block]]]:
    """Yield what is between the blocks that three trees share, and these blocks themselves."""
    first, second = (
        {i + k: j + k for i, j, n in matches(before.children, side.children) for k in range(n)}
        for side in (ours, theirs)
    )
    a = b = c = 0
    for i in sorted(first.keys() & second.keys()):
        same, j, k = before.children[i : i + 1], first[i], second[i]
        yield before.children[a:i], ours.children[b:j], theirs.children[c:k]
        yield same, same, same
        a, b, c = i + 1, j + 1, k + 1
    yield before.children[a:], ours.children[b:], theirs.children[c:]
