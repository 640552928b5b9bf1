"""Decide which deleted documents an edit restores.

An edit wins over a deletion that its author did not know of. Pure.

Theory
======
Nobody edits a note in the trash. So words that reach a document after its deletion were written by
somebody who did not know of the deletion. Nor had the deleter seen the words: what he had seen was
on the server earlier, and so came here earlier. Whoever has the deletion and sees the words arrive
undoes it. In Yjs that is the same change however many peers make it: all converge, and nobody
answers anybody. The decision uses what is stored (the block's row says that it is deleted), in the
transaction that stores the words, so that a kill loses both or neither.

A later deletion is a different one, made with the words in sight: it stays.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Final

from msgspec import Struct

from heapsyncd.document.edit import UNSET, Unset
from heapsyncd.document.replica import Replica
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.model import Fields
from heapsyncd.sync.merge.note_source import read_source

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_WORD: Final = re.compile(r"\w+")


class NoteContent(Struct, frozen=True):
    """What a document contains, as far as it counts against a deletion.

    ``source``: the words of the file's exact text, which has more than the document (comments,
    front matter); None without one.
    """

    fields: Fields
    tokens: Counter[str]
    source: Counter[str] | None = None

    @classmethod
    def of(cls, replica: Replica) -> "NoteContent":
        """Return what a replica contains now."""
        fields = replica.fields()
        tokens = _counted(f"{fields.title}\n{replica.view().words()}")
        source = read_source(replica, replica.view, NO_LINKS).source
        if source is None:
            return cls(fields, tokens)
        front = (v.text for k, v in source.front.items() if k != "tags" and k[:1] != "#")
        words = _WORD.findall("\n".join([source.body, *front]))
        return cls(fields, tokens, Counter(words))

    def adds_to(self, *before: "NoteContent") -> bool:
        """Return whether there are words or attachments that none of the earlier states had.

        Removed words, tags and the like are nothing that a deletion could lose.
        """
        keys = {f.key for b in before for f in b.fields.files}
        known: Counter[str] = reduce(or_, (b.tokens for b in before))
        if self.tokens - known or any(f.key not in keys for f in self.fields.files):
            return True
        sources = [b.source for b in before if b.source is not None]
        if self.source is None or len(sources) < len(before):
            return False  # a source that is put back is nothing that somebody wrote
        return bool(self.source - reduce(or_, sources) - known)

    def must_be_restored(self, before: "NoteContent") -> bool:
        """Return whether what was added since takes a deleted document out of the trash.

        Not if it was deleted again, or permanently.

        Args:
            before: its content when the deletion was known.
        """
        return is_same_deletion(before.fields, self.fields) and self.adds_to(before)


def _counted(text: str) -> Counter[str]:
    return Counter(_TOKEN.findall(text))


def is_same_deletion(before: Fields, after: Fields) -> bool:
    """Return whether a document is still in the trash by the deletion that was already known."""
    return (
        after.deleted_at_ms is not None
        and after.deleted_at_ms == before.deleted_at_ms
        and after.permanently_deleted_at_ms is None
    )


def is_deleted_elsewhere(others: Sequence[bytes], here: NoteContent) -> bool:
    """Return whether somebody else also deleted a document that we deleted and did not send yet.

    The document shows only one of the two deletions.

    Args:
        others: the updates without our unsent ones; empty if there are no unsent ones.
        here: the content with them.
    """
    if not others:
        return False
    theirs = Replica.load(others)
    return not theirs.has_pending() and theirs.fields().deleted_at_ms not in {
        None, here.fields.deleted_at_ms,
    }  # fmt: skip


def deletion(old: Replica, ours: Replica, fresh: Replica) -> int | Unset | None:
    """Return what to say about deletion to a document that shares no history with ours.

    Args:
        old: our document, up to what the server had.
        ours: with our unsent edits.
        fresh: the document as the server has it.

    Returns:
        A time in milliseconds: mark it deleted; None: restore it; UNSET: leave it as it is.
    """
    before, here, there = old.fields(), ours.fields(), fresh.fields()
    if here.deleted_at_ms is None:
        # Whoever deleted it on the server had not seen our unsent edits.
        return UNSET if there.deleted_at_ms is None or old is ours else None
    if there.deleted_at_ms is None and before.deleted_at_ms is not None:
        return UNSET  # somebody restored it
    if not NoteContent.of(fresh).adds_to(NoteContent.of(old), NoteContent.of(ours)):
        return here.deleted_at_ms if there.deleted_at_ms is None else UNSET
    return None if is_same_deletion(here, there) else UNSET
