"""Which deleted documents come back: an edit wins over a deletion that its author did not know of.
Pure.

Theory
======
Nobody edits what is in the trash. So words that reach a document after its deletion did were
written by somebody who had not heard of it; and who deleted it had not seen them, for what he saw
had been at the server before, and came here before. Whoever has the deletion and sees the words
come takes it back. In Yjs that is one and the same change however many make it, so all converge,
and none of them answers another. It is judged by what is stored (the block's row says that it is
deleted), in the transaction that stores the words: a kill loses neither or both.

A later deletion is another one, made with the words in sight: it stays.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from heapsyncd.document.edit import UNSET, Unset
from heapsyncd.document.replica import Replica
from heapsyncd.model import Fields

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Said:
    """What a document says, as far as it counts against a deletion."""

    fields: Fields
    tokens: Counter[str]

    @classmethod
    def of(cls, replica: Replica) -> "Said":
        """What a replica says now."""
        fields = replica.fields()
        return cls(fields, Counter(_TOKEN.findall(f"{fields.title}\n{replica.view().words()}")))

    def adds_to(self, *before: "Said") -> bool:
        """Whether there are words or contents that were in none of those before. Words that went,
        tags and the like are nothing that a deletion could lose.
        """
        keys = {f.key for b in before for f in b.fields.files}
        known: Counter[str] = reduce(or_, (b.tokens for b in before))
        return bool(self.tokens - known) or any(f.key not in keys for f in self.fields.files)

    def comes_back(self, before: "Said") -> bool:
        """Whether a document that was deleted is to be taken out of the trash, for what came
        since. One that was deleted once more, or for good, stays deleted.
        """
        return is_same_deletion(before.fields, self.fields) and self.adds_to(before)


def is_same_deletion(before: Fields, after: Fields) -> bool:
    """Whether a document is in the trash, by the deletion that was known before."""
    return (
        after.deleted_at_ms is not None
        and after.deleted_at_ms == before.deleted_at_ms
        and after.permanently_deleted_at_ms is None
    )


def is_deleted_elsewhere(others: Sequence[bytes], here: Said) -> bool:
    """Whether there is a deletion by somebody else beside ours that is not sent yet: of the two
    the document shows either.

    Args:
        others: the updates of the document without our unsent ones; empty where there are none.
        here: what it says with them.
    """
    if not others:
        return False
    theirs = Replica.load(others)
    return not theirs.has_pending() and theirs.fields().deleted_at_ms not in {
        None, here.fields.deleted_at_ms,
    }  # fmt: skip


def deletion(old: Replica, ours: Replica, fresh: Replica) -> int | Unset | None:
    """What we have to say of the deletion to a document that shares no history with ours.

    Args:
        old: ours, as far as the server had it.
        ours: with our unsent edits.
        fresh: the document as it is there.
    """
    before, here, there = old.fields(), ours.fields(), fresh.fields()
    if here.deleted_at_ms is None:
        # Deleted there by somebody who had not seen what is unsent here.
        return UNSET if there.deleted_at_ms is None or old is ours else None
    if there.deleted_at_ms is None and before.deleted_at_ms is not None:
        return UNSET  # somebody took it out of the trash
    if not Said.of(fresh).adds_to(Said.of(old), Said.of(ours)):
        return here.deleted_at_ms if there.deleted_at_ms is None else UNSET
    return None if is_same_deletion(here, there) else UNSET
