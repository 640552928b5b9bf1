"""A base for two texts whose own is not known: what they have in common. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from heapsyncd.diff import Hunk, align, text_hunks
from heapsyncd.tree import Block, Inline, Text, inline


def common(ours: Block, theirs: Block) -> Block:
    """A base for two texts that share no known one: what stands in both, so that a merge keeps all
    of either.
    """
    if ours == theirs:
        return ours
    kept = []
    for i, j in align(ours.children, theirs.children):
        if i is not None and j is not None:
            a, b = ours.children[i], theirs.children[j]
            if a == b:
                kept.append(a)
            elif a.kind == b.kind and a.children and b.children:
                kept.append(common(a, b))
            elif a.kind == b.kind and a.inline and b.inline:
                kept.append(_common_text(a, b))
            elif a.kind == b.kind == "code":
                kept.append(replace(a, text=_kept(a.text, _by_word(a.text, b.text))))
    return ours.with_children([k for k in kept if k.children or not _is_container(k)])


def _common_text(ours: Block, theirs: Block) -> Block:
    """The block with only those characters of ours that theirs has too."""
    if not all(isinstance(i, Text) for i in ours.inline + theirs.inline):
        return ours
    hunks = _by_word(ours.words(), theirs.words())
    kept: list[Inline] = []
    at = 0
    for run in ours.inline:
        assert isinstance(run, Text)
        start, end = at, at + len(run.text)
        cursor = start
        for hunk in hunks:
            if cursor < hunk.start and hunk.start < end:
                kept.append(run.cut(cursor - start, hunk.start - start))
            if hunk.start < end and hunk.end > cursor:
                cursor = min(end, hunk.end)
        if cursor < end:
            kept.append(run.cut(cursor - start, end - start))
        at = end
    return replace(ours, inline=inline(kept))


def _by_word(ours: str, theirs: str) -> list[Hunk]:
    """How two texts differ; letters that two different words have in common by chance are none."""
    out: list[Hunk] = []
    for hunk in text_hunks(ours, theirs):
        if out and ours[out[-1].end : hunk.start].isalnum():
            out[-1] = replace(out[-1], end=hunk.end)
        else:
            out.append(hunk)
    return out


def _kept(text: str, hunks: Sequence[Hunk]) -> str:
    """What stands between hunks."""
    starts, ends = [0, *(h.end for h in hunks)], [*(h.start for h in hunks), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends, strict=True))


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
