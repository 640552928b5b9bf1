"""Merge edits made without knowing of each other, losing and doubling no word. Pure.

Yjs drops text typed into a node that somebody else deletes meanwhile, and keeps text twice that
both sides wrote. While an edit is being expressed, the document stage avoids both
(document/README, "an edit wins over a deletion", "convergent edits"). This module does the same
for an edit that was already expressed when the other side's edit came in.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from heapsyncd.document.edit import Target, express
from heapsyncd.document.encoding.state_vectors import clocks, encode_vector
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, missing, vector_of, without_deletions
from heapsyncd.sync.merge.common_base import word_counts
from heapsyncd.sync.merge.unrelated import merge_unrelated
from heapsyncd.tree import Block

LARGE_BYTES: Final = 500_000
"""In a larger log only unsent edits are protected, not sent ones.

Looking through it would take a good part of a second for every letter that somebody else types."""


class ConcurrentEdits(Struct, frozen=True):
    """Our edits that the other side may not have seen, on top of what both knew.

    Args:
        log: our log in order: the number and the update of each row.
        unsent: the rows that the server has not acknowledged. Only we have seen them, except those
            on their way.
        sent: the rows sent recently, acknowledged or not.
        on_their_way: unsent rows that are being sent. A device that deleted what they say writes
            it again when it receives them, so it is not written here. What nobody else writes is
            looked after later (``written_again``).
    """

    log: Sequence[tuple[int, bytes]]
    unsent: frozenset[int]
    sent: frozenset[int]
    on_their_way: frozenset[int] = frozenset()

    def merge(self, update: bytes, live: Replica) -> Block | None:
        """Return the body with both sides' words, each once; None if the plain merge is that.

        Exactly one peer restores lost text, or it would come back twice: the author restores its
        own unsent edits; the deleter restores remote text typed into what it deleted.

        Args:
            update: the incoming update.
            live: the document with the update applied.

        Raises:
            UnreadableDocument, InvalidEdit: the edits cannot be merged.
        """
        if not self.unsent and sum(len(data) for _, data in self.log) > LARGE_BYTES:
            return None
        arrived = self._rows_in(update)
        unseen = self._unseen_rows(update, sorted((self.unsent | self.sent) - arrived))
        for rows in (unseen, self.unsent - arrived):
            shared = [data for seq, data in self.log if seq not in rows]
            is_ours, is_loaded = rows <= self.unsent, False
            for theirs in self._readings(update, shared, rows & self.sent, is_ours=is_ours):
                there = Replica.load([*shared, theirs])
                if there.has_pending():
                    continue
                is_loaded = True
                found = self._merge(shared, theirs, there, live.view(), is_ours=is_ours)
                if found is not None:
                    return found
            if is_loaded and (is_ours or not self.unsent):
                return None
        return None

    def _readings(
        self, update: bytes, shared: Sequence[bytes], sent: frozenset[int], *, is_ours: bool
    ) -> Iterator[bytes]:
        """Yield what an update may have brought of theirs.

        Of rows that may not have reached the server, it is unknown whether the deletions that they
        and an update share are ours: both sides may have made the same edit.
        """
        yield self.without_ours(update, shared, sent)
        if sent and is_ours:
            yield self._without_our_insertions(update, shared)

    def without_ours(self, update: bytes, shared: Sequence[bytes], sent: frozenset[int]) -> bytes:
        """Return an update without what it repeats of our rows.

        An answer contains all deletions, ours included, and a server may send our edit and theirs
        as one update. What we wrote is not theirs; with our insertions but not our deletions, what
        we replaced would stand beside what we put for it.

        Args:
            update: the incoming update.
            shared: the updates both knew.
            sent: our other rows that the server may have.
        """
        if not sent:
            return update
        theirs = self._without_our_insertions(update, shared)
        return without_deletions(theirs, [data for seq, data in self.log if seq in sent])

    def _without_our_insertions(self, update: bytes, shared: Sequence[bytes]) -> bytes:
        known, had = self._vector(lambda _: True), clocks(vector_of(shared or [EMPTY]))
        ours = {c: n for c, n in known.items() if n > had.get(c, 0)}
        return missing([update], encode_vector(ours)) if ours else update

    def _unseen_rows(self, update: bytes, mine: Sequence[int]) -> frozenset[int]:
        """Return the rows of ``mine`` (sent in this order) that an update does not depend on.

        Its author may not have seen them.
        """

        def can_do(k: int) -> bool:
            without = mine[k:]
            shared = [data for seq, data in self.log if seq not in without]
            return not Replica.load([*shared, update]).has_pending()

        return frozenset(mine[bisect_left(range(len(mine)), True, key=can_do) :])

    def _rows_in(self, update: bytes) -> frozenset[int]:
        """Return our rows that the update itself contains, because it is a full state.

        The other side has seen them. Rows are sent in order.
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
        # A row that only deletes adds nothing to a state vector: assume the update lacks it.
        while count and upto(count) == upto(count - 1):
            count -= 1
        return frozenset(rows[:count])

    def _vector(self, chosen: Callable[[int], bool]) -> dict[int, int]:
        return clocks(vector_of([data for seq, data in self.log if chosen(seq)] or [EMPTY]))

    def _merge(
        self,
        shared: Sequence[bytes],
        update: bytes,
        theirs: Replica,
        both: Block,
        *,
        is_ours: bool,
    ) -> Block | None:
        """Redo both edits from what both knew, if that gives a better body; None otherwise.

        Args:
            shared: the updates both knew.
            update: the incoming update.
            theirs: the document with both.
            both: the view of the plain merge.
            is_ours: nobody but us can have seen the rows that are not shared.
        """
        ours = Replica.load([data for _, data in self.log]).view()
        known = Replica.load(shared).view()
        before, now = word_counts(known), word_counts(both)
        typed = word_counts(theirs.view()) - before
        if self.unsent - self.on_their_way:
            typed |= word_counts(ours) - before - self._words_on_their_way(known)
        duplicated = duplicated_words(both, ours, theirs.view()) if is_ours else Counter()
        lost = typed - now
        if not is_ours and all(now[word] for word in lost):
            lost = Counter()  # already written again by their author
        if not lost and not duplicated:
            return None
        made = express(shared, Target(body=ours), live=theirs).update
        found = Replica.load([*shared, update, made or EMPTY]).view()
        # Letters that both sides changed combine differently in each order: that is no loss.
        if lost - word_counts(found) != lost or _has_more(found, both, lost):
            return found
        if (fewer := now - word_counts(found)) and fewer <= duplicated:
            return found
        # Doubled words that nobody typed were moved by both sides, in different ways.
        copied = duplicated - ((word_counts(ours) | word_counts(theirs.view())) - before)
        body = merge_unrelated(known, ours, theirs.view()) if copied else known
        return body if (fewer := now - word_counts(body)) and fewer <= copied else None

    def _words_on_their_way(self, known: Block) -> Counter[str]:
        """Count the words that the rows on their way brought."""
        if not self.on_their_way:
            return Counter()
        mine = self.unsent - self.on_their_way
        sent = Replica.load([data for seq, data in self.log if seq not in mine])
        return word_counts(sent.view()) - word_counts(known)


def written_again(
    log: Sequence[tuple[int, bytes]], ours: frozenset[int], seq: int
) -> Block | None:
    """Return the body with our words that an update removed without its author knowing them.

    None if they came back since, or if the log lacks the update or all of these rows.

    Args:
        log: the whole log in order: the number and the update of each row.
        ours: our rows that the author of the update could not know. Numbers of another history
            (the server compacted the document since these were sent) say nothing.
        seq: the number of the update.

    Raises:
        UnreadableDocument, InvalidEdit: the edits cannot be merged.
    """
    rows = dict(log)
    ours &= rows.keys()
    if not ours or seq not in rows:
        return None
    before = [row for row in log if row[0] < seq]
    now = Replica.load([data for n, data in log if n <= seq])
    apart = ConcurrentEdits(before, ours, frozenset())
    shared = [data for n, data in before if n not in ours]
    # A whole state contains ours, too, whatever its authors have seen.
    body = apart.merge(apart.without_ours(rows[seq], shared, ours), now)
    if body is None:
        return None
    known, had = now.view(), Replica.load([data for _, data in before])
    lacked = Replica.load([data for n, data in before if n not in ours])
    lost = word_counts(body) - word_counts(known)
    # Letters of ours may be part of another word now.
    lost = lost & (word_counts(had.view()) - word_counts(lacked.view())) or lost
    for data in (data for n, data in log if n > seq):
        if not lost - word_counts(now.view()):
            return None  # they came back, so a later removal was made with them in sight
        now.apply(data)
    return merge_unrelated(known, body, now.view()) if lost - word_counts(now.view()) else None


def _has_more(found: Block, both: Block, lost: Counter[str]) -> bool:
    """Return whether a merge has more letters of the lost words and more of nothing else.

    The lost words may have become parts of other words.
    """
    more = _letters(word_counts(found)) - _letters(word_counts(both))
    return bool(more) and more <= _letters(lost)


def _letters(words: Counter[str]) -> Counter[str]:
    return Counter(letter for word in words.elements() for letter in word)


def duplicated_words(both: Block, ours: Block, theirs: Block) -> Counter[str]:
    """Count the words that a merge has more often than either side: both may have written them."""
    return word_counts(both) - (word_counts(ours) | word_counts(theirs))
