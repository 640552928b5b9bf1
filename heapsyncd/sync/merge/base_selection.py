"""Choose which earlier text a saved file was edited from (document/README, "stale saves").

An editor that still holds an older text saves over a newer one. Compared with the newest
rendition, that save looks as if the author had deleted what arrived meanwhile. Compared with the
rendition the editor had loaded, it is only the author's edit. Pure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

from msgspec import Struct

from heapsyncd.cache.renditions import Rendition
from heapsyncd.diff.sequences import shared_ends
from heapsyncd.markdown import frontmatter
from heapsyncd.sync.merge.unmatched_text import MIN_STEM, StemIndex

RECENT_MS = 600_000
"""A rendition that was replaced longer ago than this is no candidate."""
MIN_MARGIN_TOKENS = 2
"""An older base must be closer to the saved text by at least this many tokens ..."""
FRESH_MS = 30_000
"""... unless the newest text was written at most this long ago: then being equally close is
enough."""
MIN_MISSING_SHARE = 0.9
"""The share of tokens that arrived since an older rendition and must be missing in the saved text.
"""

MIN_SIMILARITY = 0.5
"""How similar two texts must be (0 to 1) for one to count as an edit of the other."""
MAX_CANDIDATES = 8
"""The number of candidates compared at most."""

_TOKEN = re.compile(r"\[\[[^\[\]\n]*\]\]|\w+|\s+|[^\w\s]")
"""A link is one token: two links always share their brackets, which says nothing."""


class Choice(Struct, frozen=True):
    """The base of an edit. ``older``: it is not the newest rendition."""

    rendition: Rendition
    older: bool = False


def choose(
    ring: Sequence[Rendition], data: bytes, now_ms: int, *, is_blind: bool = False
) -> Choice:
    """Choose the rendition that a saved text was edited from.

    When in doubt, text is kept: an older base brings back what arrived since, the newest one could
    delete it.

    Args:
        ring: the stored renditions, newest first, at least one.
        data: the bytes of the saved file.
        now_ms: the time, by the clock that stamped the renditions.
        is_blind: the author did not see the file in which others may have saved meanwhile.
    """
    newest = ring[0]
    recent = list(islice(_candidates(ring, now_ms, is_blind=is_blind), MAX_CANDIDATES))
    for older in recent:
        if older.data == data:
            # Saved again after the stale save was corrected: now the author means it.
            again = any(r.origin == "stale" and r.data == data for r in ring)
            return Choice(newest) if again else Choice(older, older=True)
    if not recent:
        return Choice(newest)
    margin = MIN_MARGIN_TOKENS if now_ms - newest.made_at_ms > FRESH_MS else 0
    best, most = newest, _cost(newest.data, data) - margin
    for older in recent:
        cost = _cost(older.data, data)
        if cost <= most and _lacks_all_since(ring, older, _tokens(data)):
            best, most = older, cost  # a tie goes to the older base, which keeps more text
    return Choice(best, older=best is not newest)


def was_written(planned: Rendition, before: Rendition | None, data: bytes) -> bool:
    """Return whether a file derives from a planned text instead of the text before it.

    Called after the daemon was killed between planning and writing. Without a text before (a lost
    cache), a file that lacks any word of the planned text does not derive from it: if it did,
    those words would be deleted.

    Args:
        planned: the text that was about to be written.
        before: the text that was in the file before; None: not known.
        data: the bytes of the file now.
    """
    if planned.data == data:
        return True
    tokens, new = _tokens(data), _tokens(planned.data)
    if before is None:
        here = _counts(tokens)
        return all(here.get(t, 0) >= n for t, n in _counts(new).items() if not t.isspace())
    old = _tokens(before.data)
    unseen = list(_unseen(_words(_difference(old, new)[0]), old, tokens))
    if unseen and not any(unseen):
        return True  # it may be far by tokens, but has all arrived words, some extended
    # A few words of an arrived text may be in the file by chance. If most are missing, the author
    # has not seen it: an edit measured from it would delete the rest.
    if 2 * sum(unseen) > len(unseen):
        return False
    return _cost(planned.data, data) < _cost(before.data, data)


def difference(before: bytes, data: bytes) -> int:
    """Count the tokens to insert and delete to make one text of another; ignores front matter."""
    old, new = (frontmatter.split(t.decode("utf-8", "replace"))[1] for t in (before, data))
    return _cost(old.encode(), new.encode())


def is_alike(before: bytes, data: bytes) -> bool:
    """Return whether a text is similar enough to be an edit of another; ignores front matter.

    A text without words may have become anything, so it is like every other.
    """
    old, new = (
        [t for t in _TOKEN.findall(frontmatter.split(text)[1]) if not t.isspace()]
        for text in (before.decode("utf-8", "replace"), data.decode("utf-8", "replace"))
    )
    from rapidfuzz.distance import Indel

    return not old or Indel.normalized_similarity(old, new) >= MIN_SIMILARITY


def _candidates(ring: Sequence[Rendition], now_ms: int, *, is_blind: bool) -> Iterator[Rendition]:
    """Yield the earlier texts an editor may still hold: those that the daemon wrote over.

    Someone who saved over a text himself had seen it (unless ``is_blind``). Behind such a save a
    text counts only if words arrived with it.
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
    """Return whether a saved text contains nothing of what came after a rendition.

    Everything the daemon wrote counts together; each save in between also counts alone, however
    small. An author who kept what was saved in between has seen the text then, so what he removed
    was meant.
    """
    since = ring[: ring.index(older) + 1]
    texts = [_tokens(r.data) for r in since]
    saves = [k for k, r in enumerate(since[:-1]) if r.origin != "written"]
    return _lacks_arrived(texts[-1], texts[0], saved) and all(
        _lacks_arrived(texts[k + 1], texts[k], saved) for k in saves
    )


def _tokens(data: bytes) -> list[str]:
    return _TOKEN.findall(data.decode("utf-8", "replace"))


def _cost(old: bytes, new: bytes) -> int:
    """Count the tokens to insert and delete to make one text of the other."""
    # Most saves change a few lines: only these are cut into tokens.
    a, b = _different_lines(old.decode("utf-8", "replace"), new.decode("utf-8", "replace"))
    from rapidfuzz.distance import Indel

    return int(Indel.distance(_TOKEN.findall(a), _TOKEN.findall(b)))


def _different_lines(a: str, b: str) -> tuple[str, str]:
    """Return two texts without the lines that they share at their starts and ends.

    They are cut before a newline that ends a word or a sign in both: a token begins there.
    """
    start = shared_ends(a, b)[0]
    while (start := a.rfind("\n", 0, start)) > 0 and a[start - 1].isspace():
        pass
    a, b = a[max(start, 0) :], b[max(start, 0) :]
    end = len(a) - shared_ends(a[::-1], b[::-1])[0]
    while (end := a.find("\n", end + 1)) > 0 and a[end - 1].isspace():
        pass
    return (a, b) if end < 0 else (a[:end], b[: len(b) - len(a) + end])


def _words(tokens: Iterable[str]) -> list[str]:
    return [t for t in tokens if not t.isspace()]


def _unseen(words: Iterable[str], before: Sequence[str], saved: Sequence[str]) -> Iterator[bool]:
    """Yield for each arrived word whether the saved text knows nothing of it.

    Where the text before has the word too, only more of it (or of what extends it) is knowledge.
    """
    here, base = _counts(saved), _counts(before)
    new = Counter[str]()
    for token, n in here.items():
        if token not in base:
            new[_extendable_part(token)] += n
    stems = StemIndex(new)
    for word in words:
        known, part = here.get(word, 0), _extendable_part(word)
        if known <= base.get(word, 0) and len(part) >= MIN_STEM:
            alike = (o for o in stems.alike(part) if _is_extended_by(part, o, base))
            known += sum(new[other] for other in alike)
        yield known <= base.get(word, 0)


def _lacks_arrived(before: Sequence[str], last: Sequence[str], saved: Sequence[str]) -> bool:
    """Return whether (nearly) nothing of what changed between two renditions is in the saved text.

    The words that arrived decide. If none arrived, those that were removed must be there again.
    """
    arrived, lost = _difference(before, last)
    words, gone = _words(arrived), _words(lost)
    if words:
        return _share(_unseen(words, before, saved)) >= MIN_MISSING_SHARE
    here, base = _counts(saved), _counts(before)
    return not gone or _share(here.get(t, 0) >= base.get(t, 0) for t in gone) >= MIN_MISSING_SHARE


def _is_extended_by(word: str, other: str, base: Iterable[str]) -> bool:
    """Return whether whoever wrote a new word saw one that arrived; they share a stem.

    He did if he extended it (Boat to Boats), or if most of it that arrived (``S`` of ``BoatS``) is
    part of the new word.
    """
    if other.startswith(word) or other.endswith(word):
        return True
    head, tail = shared_ends(word, other)[0], shared_ends(word[::-1], other[::-1])[0]
    for part in (word[:head], word[len(word) - tail :]):
        is_most = len(part) >= MIN_STEM and 2 * len(part) >= len(word)
        if is_most and not any(part in t for t in base):
            return True
    return False


def _extendable_part(token: str) -> str:
    """Return the part of a token that may be extended: for a link only its label.

    A link to Boat2 is no extended link to Boat.
    """
    return token[2:-2].partition("|")[2] if token.startswith("[[") else token


def _share(holds: Iterable[bool]) -> float:
    found = list(holds)
    return sum(found) / len(found)


def _difference(old: Sequence[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    from rapidfuzz.distance import Indel

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
