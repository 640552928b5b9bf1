"""A base for two texts whose own is not known: what they have in common. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from heapsyncd.diff import Hunk, align, text_hunks
from heapsyncd.document.visible import Alphabet, cut
from heapsyncd.tree import Block, inline

ALIKE: Final = 2
"""What became another block has at most so many times the words."""
_WORD: Final = re.compile(r"\w+")


def common(ours: Block, theirs: Block) -> Block:
    """A base for two texts that share no known one: what stands in both, so that a merge keeps all
    of either.
    """
    if ours == theirs:
        return ours
    base: list[Block] = []
    gap: tuple[list[Block], list[Block]] = ([], [])
    for i, j in [*align(ours.children, theirs.children), (-1, -1)]:
        if i is None or j is None:
            side, block = (0, ours.children[i]) if i is not None else (1, theirs.children[j or 0])
            gap[side].append(block)
            continue
        base += _older(*gap)
        gap = ([], [])
        if i >= 0:
            base += _both(ours.children[i], theirs.children[j])
    return ours.with_children(base)


def _both(ours: Block, theirs: Block) -> list[Block]:
    """What two blocks have in common that stand for one another."""
    if ours == theirs:
        return [ours]
    if ours.kind != theirs.kind:
        return []
    if ours.children and theirs.children:
        found = common(ours, theirs)
        return [found] if found.children or not _is_container(found) else []
    if ours.inline and theirs.inline:
        letters = Alphabet(ours.inline, theirs.inline)
        text = letters.string(ours.inline)
        stays = _stays(text, _by_word(text, letters.string(theirs.inline)))
        kept = [i for start, end in stays for i in cut(ours.inline, start, end)]
        return [replace(ours, inline=inline(kept))]
    if ours.kind == "code":
        stays = _stays(ours.text, _by_word(ours.text, theirs.text))
        return [replace(ours, text="".join(ours.text[start:end] for start, end in stays))]
    return []


def _older(ours: Sequence[Block], theirs: Sequence[Block]) -> Sequence[Block]:
    """Of blocks that stand in one place and are of other kinds: those of which the others hold
    every word and not many more, for the others were made of them.
    """
    a, b = _words(ours), _words(theirs)
    for old, words, others in ((theirs, b, a), (ours, a, b)):
        if words and words <= others and others.total() <= ALIKE * words.total():
            return old
    return []


def _words(blocks: Iterable[Block]) -> Counter[str]:
    return Counter(w for block in blocks for w in _WORD.findall(block.words()))


def _by_word(ours: str, theirs: str) -> list[Hunk]:
    """How two texts differ; letters that two different words have in common by chance are none."""
    out: list[Hunk] = []
    for hunk in text_hunks(ours, theirs):
        if out and ours[out[-1].end : hunk.start].isalnum():
            out[-1] = replace(out[-1], end=hunk.end)
        else:
            out.append(hunk)
    return out


def _stays(text: str, hunks: Sequence[Hunk]) -> list[tuple[int, int]]:
    """The stretches between hunks."""
    starts, ends = [0, *(h.end for h in hunks)], [*(h.start for h in hunks), len(text)]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def _is_container(block: Block) -> bool:
    return block.kind in {
        "quote",
        "bullet_list",
        "ordered_list",
        "todo_list",
        "item",
        "table",
        "row",
    }
