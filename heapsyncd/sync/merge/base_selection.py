"""Which earlier text a saved file derives from: the stale save recognised (document/README, "stale
saves").

An editor that loaded an older text saves over a newer one. Seen against the newest rendition that
looks like deleting what arrived meanwhile; seen against the rendition it was loaded from it is
only the author's edit. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from rapidfuzz.distance import Indel

from heapsyncd.cache.renditions import Rendition
from heapsyncd.diff.sequences import shared_ends
from heapsyncd.markdown import frontmatter

RECENT_MS = 600_000
"""Only renditions that were replaced no longer ago than this are candidates."""
MARGIN = 2
"""An older base must be nearer by so many tokens ..."""
UNSEEN_MS = 30_000
"""... unless the newest text was written no longer ago than this: then it need not be farther."""
MISSING_SHARE = 0.9
"""Of the tokens that arrived since an older rendition, so many must be missing in the file."""

ALIKE = 0.5
"""How much of two texts must agree for one to be the other, edited."""
LOOK_BACK = 8
"""So many candidates are compared at most."""

_STEM = 3
"""What two words share of fewer letters they share by chance."""
_TOKEN = re.compile(r"\[\[[^\[\]\n]*\]\]|\w+|\s+|[^\w\s]")
"""A link is one word: two have their brackets in common, and nothing else."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The base of an edit. ``older``: not the newest rendition."""

    rendition: Rendition
    older: bool = False


def choose(
    ring: Sequence[Rendition], data: bytes, now_ms: int, *, is_blind: bool = False
) -> Choice:
    """The rendition a saved text derives from.

    Args:
        ring: the kept renditions, newest first, at least one.
        data: the saved file.
        now_ms: the clock that stamped the renditions.
        is_blind: its author did not see the file, where others may have saved meanwhile.

    In doubt text is kept: choosing an older base lets what arrived since come back, choosing the
    newest could remove it.
    """
    newest = ring[0]
    recent = list(islice(_candidates(ring, now_ms, is_blind=is_blind), LOOK_BACK))
    for older in recent:
        if older.data == data:
            # The same text once more after it was put right: its author means it.
            again = any(r.origin == "stale" and r.data == data for r in ring)
            return Choice(newest) if again else Choice(older, older=True)
    if not recent:
        return Choice(newest)
    tokens = _tokens(data)
    margin = MARGIN if now_ms - newest.made_at_ms > UNSEEN_MS else 0
    best, most = newest, _cost(_tokens(newest.data), tokens) - margin
    for older in recent:
        cost = _cost(_tokens(older.data), tokens)
        if cost <= most and _lacks_all_since(ring, older, tokens):
            best, most = older, cost  # of two as near, the earlier: what came since returns
    return Choice(best, older=best is not newest)


def was_written(planned: Rendition, before: Rendition | None, data: bytes) -> bool:
    """Whether a file derives from the text that was about to be written when the daemon was
    killed, rather than from the one that stood there before. Where that is not known (a lost
    cache) a text that lacks any word of it was not: against it they would be deleted.
    """
    if planned.data == data:
        return True
    tokens, new = _tokens(data), _tokens(planned.data)
    if before is None:
        here = _counts(tokens)
        return all(here.get(t, 0) >= n for t, n in _counts(new).items() if not t.isspace())
    old = _tokens(before.data)
    # What has all of its words, longer perhaps, is nearer by letters than by tokens.
    return _cost(new, tokens) < _cost(old, tokens) or _has_arrived(old, new, tokens)


def is_alike(before: bytes, data: bytes) -> bool:
    """Whether most of one text's words stand in another, front matter left out; what had none may
    have become anything.
    """
    old, new = (
        [t for t in _TOKEN.findall(frontmatter.split(text)[1]) if not t.isspace()]
        for text in (before.decode("utf-8", "replace"), data.decode("utf-8", "replace"))
    )
    return not old or Indel.normalized_similarity(old, new) >= ALIKE


def _candidates(ring: Sequence[Rendition], now_ms: int, *, is_blind: bool) -> Iterator[Rendition]:
    """The earlier texts an editor may still hold: those that the daemon wrote over. Whoever saved
    over a text himself knew it (unless he is blind); behind his save it takes words that arrived
    for a text to count.
    """
    saved = False
    for newer, older in pairwise(ring):
        if now_ms - newer.made_at_ms > RECENT_MS:
            return
        if newer.origin != "written" and not is_blind:
            saved = True
        elif older.data != ring[0].data and not (saved and _body(newer) == _body(older)):
            yield older


def _body(rendition: Rendition) -> str:
    return frontmatter.split(rendition.data.decode("utf-8", "replace"))[1]


def _lacks_all_since(ring: Sequence[Rendition], older: Rendition, saved: Sequence[str]) -> bool:
    """Whether a saved text knows nothing of what came since a rendition. What the daemon wrote
    counts as a whole; each save in between by itself, however small beside that: who keeps what
    was saved since has seen what stood there, and means it.
    """
    since = ring[: ring.index(older) + 1]
    texts = [_tokens(r.data) for r in since]
    saves = [k for k, r in enumerate(since[:-1]) if r.origin != "written"]
    return _lacks_arrived(texts[-1], texts[0], saved) and all(
        _lacks_arrived(texts[k + 1], texts[k], saved) for k in saves
    )


def _tokens(data: bytes) -> list[str]:
    return _TOKEN.findall(data.decode("utf-8", "replace"))


def _cost(old: Sequence[str], new: Sequence[str]) -> int:
    """Tokens to insert and delete, counted on what differs only."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return int(Indel.distance(old[start : len(old) - end], new[start : len(new) - end]))


def _has_arrived(before: Sequence[str], last: Sequence[str], saved: Sequence[str]) -> bool:
    """Whether words arrived between two renditions, and all of them are in the saved text."""
    words = [t for t in _difference(before, last)[0] if not t.isspace()]
    return bool(words) and not any(_absent(words, before, saved))


def _absent(words: Iterable[str], before: Sequence[str], saved: Sequence[str]) -> Iterator[bool]:
    """Of words that arrived since a rendition, whether a saved text knows nothing of each."""
    here, base = _counts(saved), _counts(before)
    new = [t for t in here if t not in base]
    for word in words:
        yield here.get(word, 0) <= base.get(word, 0) and not _is_seen(word, new, base)


def _lacks_arrived(before: Sequence[str], last: Sequence[str], saved: Sequence[str]) -> bool:
    """Whether what changed between two renditions is (nearly) absent from the saved text. Words
    that arrived tell; where none did, those that went must be back.
    """
    arrived, lost = _difference(before, last)
    words = [t for t in arrived if not t.isspace()]
    gone = [t for t in lost if not t.isspace()]
    if words:
        return _share(_absent(words, before, saved)) >= MISSING_SHARE
    here, base = _counts(saved), _counts(before)
    return not gone or _share(here.get(t, 0) >= base.get(t, 0) for t in gone) >= MISSING_SHARE


def _is_seen(word: str, new: Iterable[str], base: Iterable[str]) -> bool:
    """Whether a word that arrived was seen: it was made longer (Boat, Boats), or most of it that
    came (``S`` of ``BoatS``) is in another word now.
    """
    word = _shown(word)
    if len(word) < _STEM:
        return False
    first, last = word[:_STEM], word[-_STEM:]
    for other in map(_shown, new):
        if not (other.startswith(first) or other.endswith(last)):
            continue
        if other.startswith(word) or other.endswith(word):
            return True
        head, tail = shared_ends(word, other)[0], shared_ends(word[::-1], other[::-1])[0]
        for part in (word[:head], word[len(word) - tail :]):
            is_most = len(part) >= _STEM and 2 * len(part) >= len(word)
            if is_most and not any(part in t for t in base):
                return True
    return False


def _shown(token: str) -> str:
    """What may be made longer of a token: of a link its label; one to Boat2 is none to Boat."""
    return token[2:-2].partition("|")[2] if token.startswith("[[") else token


def _share(holds: Iterable[bool]) -> float:
    found = list(holds)
    return sum(found) / len(found)


def _difference(old: Sequence[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    inserted, deleted = [], []
    for op in Indel.opcodes(old, new):
        if op.tag in {"insert", "replace"}:
            inserted += list(new[op.dest_start : op.dest_end])
        if op.tag in {"delete", "replace"}:
            deleted += list(old[op.src_start : op.src_end])
    return inserted, deleted


def _counts(tokens: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for token in tokens:
        found[token] = found.get(token, 0) + 1
    return found
