"""Edits made apart, brought together: no word is lost because the other side deleted what it was
typed into, and none stands twice because both sides wrote it. Pure.

Yjs drops what is typed into a node that somebody else deletes meanwhile, and keeps what both sides
wrote alike twice. The document stage knows better (document/README, "an edit wins over a
deletion", "convergent edits") while it expresses an edit; here the same is done for an edit that
was expressed already when the other side's came in.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from heapsyncd.document.edit import Target, express
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, vector_of, without_deletions
from heapsyncd.sync.merge.common_base import merged, said
from heapsyncd.tree import Block

LARGE_BYTES: Final = 500_000
"""A larger log is looked through for what only we have seen, not for what was sent: that would
take a good part of a second for every letter that somebody else types.
"""


@dataclass(frozen=True, slots=True)
class ConcurrentEdits:
    """Our edits that the other side may not have seen, beside what both knew.

    Args:
        log: our log, in order: number and update of each row.
        unsent: the rows that the server has not acknowledged: only we have seen them, but for
            those that are on their way.
        sent: the rows sent lately, acknowledged or not.
    """

    log: Sequence[tuple[int, bytes]]
    unsent: frozenset[int]
    sent: frozenset[int]

    def together(self, update: bytes, live: Replica) -> Block | None:
        """The body that has both sides' words, each once, when merging lost some of them or has
        some twice; None otherwise.

        What only we have seen is looked after by us. What was sent and then deleted by others is
        theirs to look after, and ours is what others typed where we deleted: only one side may,
        else the words come back twice, or are both taken for the second.

        Args:
            update: what came in.
            live: the document with it.

        Raises:
            UnreadableDocument, InvalidEdit: they can't be brought together.
        """
        if not self.unsent and sum(len(data) for _, data in self.log) > LARGE_BYTES:
            return None
        arrived = self._arrived(update)
        unseen = self._unseen(update, sorted((self.unsent | self.sent) - arrived))
        for rows in (unseen, self.unsent - arrived):
            shared = [data for seq, data in self.log if seq not in rows]
            # What we deleted comes back with an answer, and is no deletion of theirs.
            sent = rows & self.sent
            theirs = without_deletions(update, [data for seq, data in self.log if seq in sent])
            there = Replica.load([*shared, theirs])
            if not there.has_pending():
                is_ours = rows <= self.unsent
                found = self._together(shared, theirs, there, live.view(), is_ours=is_ours)
                if found is not None or is_ours or not self.unsent:
                    return found
        return None

    def _unseen(self, update: bytes, mine: Sequence[int]) -> frozenset[int]:
        """Our rows that an update does not build on: they may not have seen them. Rows are sent
        in order.
        """

        def can_do(k: int) -> bool:
            without = mine[k:]
            shared = [data for seq, data in self.log if seq not in without]
            return not Replica.load([*shared, update]).has_pending()

        return frozenset(mine[bisect_left(range(len(mine)), True, key=can_do) :])

    def _arrived(self, update: bytes) -> frozenset[int]:
        """Our rows that the update holds itself, for it is a whole state, acknowledged or not:
        theirs has what is in them, then. Rows are sent in order.
        """
        mine = self.unsent | self.sent
        if not mine:
            return frozenset()
        held = clocks(vector_of([update]))
        rows = sorted(mine)
        shared = self._vector(lambda seq: seq not in mine)
        if all(held.get(c, 0) <= shared.get(c, 0) for c in self._vector(lambda _: True)):
            return frozenset()

        def upto(k: int) -> dict[int, int]:
            return self._vector(lambda seq: seq not in mine or seq in rows[:k])

        def is_missing(k: int) -> bool:
            return any(n > held.get(c, 0) for c, n in upto(k).items())

        count = bisect_left(range(1, len(rows) + 1), True, key=is_missing)
        # A row that only deletes does not show.
        while count and upto(count) == upto(count - 1):
            count -= 1
        return frozenset(rows[:count])

    def _vector(self, chosen: Callable[[int], bool]) -> dict[int, int]:
        return clocks(vector_of([data for seq, data in self.log if chosen(seq)] or [EMPTY]))

    def _together(
        self,
        shared: Sequence[bytes],
        update: bytes,
        theirs: Replica,
        both: Block,
        *,
        is_ours: bool,
    ) -> Block | None:
        """``is_ours``: what is not shared nobody but us can have seen."""
        ours = Replica.load([data for _, data in self.log]).view()
        known = Replica.load(shared).view()
        before, now = said(known), said(both)
        typed = said(theirs.view()) - before
        if self.unsent:
            typed |= said(ours) - before
        twice = doubled(both, ours, theirs.view()) if is_ours else Counter()
        lost = typed - now
        if not is_ours and all(now[word] for word in lost):
            lost = Counter()  # written again already, by whoever had typed it
        if not lost and not twice:
            return None
        made = express(shared, Target(body=ours), live=theirs).update
        found = Replica.load([*shared, update, made or EMPTY]).view()
        # What both changed letter by letter reads otherwise in either order: that is no loss.
        if lost - said(found) != lost or _has_more(found, both, lost):
            return found
        if (fewer := now - said(found)) and fewer <= twice:
            return found
        # What nobody typed, both took elsewhere, each in another way.
        copied = twice - ((said(ours) | said(theirs.view())) - before)
        body = merged(known, ours, theirs.view()) if copied else known
        return body if (fewer := now - said(body)) and fewer <= copied else None


def written_again(
    log: Sequence[tuple[int, bytes]], ours: frozenset[int], seq: int
) -> Block | None:
    """The body in which our words stand again that an update removed without knowing them; None:
    they came back since, or the log does not hold these rows any more.

    Args:
        log: the whole log, in order: number and update of each row.
        ours: our rows that the author of the update could not know.
        seq: the number of the update.

    Raises:
        UnreadableDocument, InvalidEdit: they can't be brought together.
    """
    rows = dict(log)
    if not ours | {seq} <= rows.keys():
        return None
    before = [row for row in log if row[0] < seq]
    now = Replica.load([data for n, data in log if n <= seq])
    body = ConcurrentEdits(before, ours, frozenset()).together(rows[seq], now)
    if body is None:
        return None
    known, had = now.view(), Replica.load([data for _, data in before])
    lacked = Replica.load([data for n, data in before if n not in ours])
    lost = said(body) - said(known)
    # Letters of ours may stand in another word now.
    lost = lost & (said(had.view()) - said(lacked.view())) or lost
    for data in (data for n, data in log if n > seq):
        if not lost - said(now.view()):
            return None  # whoever removed them after that has seen them
        now.apply(data)
    return merged(known, body, now.view()) if lost - said(now.view()) else None


def _has_more(found: Block, both: Block, lost: Counter[str]) -> bool:
    """Whether letters of lost words are in a merge, and no others more: as parts of other words,
    perhaps.
    """
    more = _letters(said(found)) - _letters(said(both))
    return bool(more) and more <= _letters(lost)


def _letters(words: Counter[str]) -> Counter[str]:
    return Counter(letter for word in words.elements() for letter in word)


def doubled(both: Block, ours: Block, theirs: Block) -> Counter[str]:
    """The words that a merge has oftener than either side: both wrote them, it may be the same."""
    return said(both) - (said(ours) | said(theirs))
