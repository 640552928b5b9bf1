"""A target, expressed as the smallest edit of a document: one transaction, one update.

The document is forked at the base, the state its author saw. The new body is made and judged on
values; the fork is written only when its view will be as wished for and an editor accepts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from heapsyncd.document import fields
from heapsyncd.document.build import title
from heapsyncd.document.build.apply import verify, write
from heapsyncd.document.build.checked_body import changed, shaped
from heapsyncd.document.build.clones import Clones, Seen
from heapsyncd.document.encoding.slim import slim
from heapsyncd.document.encoding.state_vectors import clocks, number
from heapsyncd.document.plan.node_identity import Same, same_nodes
from heapsyncd.document.plan.normalise import settled
from heapsyncd.document.plan.reapply_lost import LostEdit, rescued, salvaged
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, contained, merge
from heapsyncd.document.view.from_nodes import Shown
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.nodes import Elem
from heapsyncd.document.xml.schema import CONTRACT, Vocabulary
from heapsyncd.errors import InvalidEdit
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.tree import Block


class Unset:
    """No target, where None is one."""


UNSET: Final = Unset()
_NO_DELETIONS: Final = b"\0"


@dataclass(frozen=True, slots=True)
class Target:
    """What a document is to become; what is left out stays as it is.

    ``title`` is the whole new title. ``deleted_at_ms`` None takes the block out of the trash.
    """

    body: Block | None = None
    title: str | None = None
    add_tags: frozenset[BlockId] = frozenset()
    remove_tags: frozenset[BlockId] = frozenset()
    put_files: tuple[FileEntry, ...] = ()
    drop_files: tuple[str, ...] = ()
    deleted_at_ms: int | Unset | None = UNSET


@dataclass(frozen=True, slots=True)
class Edit:
    """An expressed target.

    ``update`` None: there is nothing to do. ``reads_as_target``: the base with the update shows
    the target; not so where others' edits came into it, or parts of it could only be made on
    theirs.
    """

    update: bytes | None
    reads_as_target: bool = True


def express(
    base: Sequence[bytes],
    target: Target,
    *,
    live: Replica | None = None,
    client_id: int | None = None,
    vocabulary: Vocabulary = CONTRACT,
) -> Edit:
    """Express a target as the smallest edit of the document at ``base``.

    Args:
        base: the updates of the state the target is measured from.
        target: what is to change.
        live: the document as it is now; edits it already has are not made a second time, and what
            moves or changes its kind is cloned from it.
        client_id: whom the edit is issued under, used only when ``base`` holds everything that
            ``live`` has of this id (else one clock would be issued twice, and the document be
            corrupted for good); else a fresh id.
        vocabulary: the heap's names, where the document itself says nothing.

    Raises:
        UnreadableDocument: the base can't be loaded.
        InvalidEdit: an editor would not accept the result, or it can't show what is wished for.
    """
    fork = _fork(base, live, client_id)
    shown = None
    if live is not None and live.fingerprint() == fork.fingerprint():
        shown, live = live.shown(), None
    with contained(), nodes.no_collection():
        if live is not None:
            target = _unmet(target, fork, live)
        return _express(fork, target, live, vocabulary, shown)


def edit(live: Replica, target: Target, vocabulary: Vocabulary = CONTRACT) -> Edit:
    """Express a target as the smallest edit of a document as it is now; the replica then holds it.

    As ``express`` with the replica's own state as the base, under the replica's id (a fresh one
    while something of that id waits), but without a second document.

    Raises:
        InvalidEdit: as ``express``; then the replica is not to be used any more.
    """
    if live.has_pending_of(live.client_id):
        made = express([live.state()], target, live=live, vocabulary=vocabulary)
        if made.update is not None:
            live.apply(made.update)
        return made
    shown = live.shown() if target.body is not None else None
    with contained(), nodes.no_collection():
        return _express(live, target, None, vocabulary, shown)


def titled(
    log: Sequence[bytes], state_vector: bytes, wanted: str, client_id: int
) -> tuple[bytes, bytes] | None:
    """The edit that gives a document its first title, found without building the document.

    Args:
        log: the updates it is made of, none of which waits for another.
        state_vector: the document's.
        wanted: the title.
        client_id: whom the edit is issued under, as for ``edit``.

    Returns:
        The update and the state vector with it; None: it may have a title, or would show another.
    """
    # The name of the root stands in each update that begins a title.
    if any(nodes.TITLE.encode() in update for update in log):
        return None
    # One of which nothing is left has the same clocks, and the same empty title.
    seen = [pair for pair in clocks(state_vector).items() if pair[1]]
    gone = [b"\1" + number(client) + b"\0\0" + number(clock) for client, clock in seen]
    bare = Replica.load([b"".join([number(len(gone)), *gone, b"\0"])], client_id)
    update = edit(bare, Target(title=wanted)).update
    if update is None or bare.fields().title != wanted:
        return None
    return update, bare.state_vector()


def merge_three(base: Block, ours: Block, theirs: Block) -> Block:
    """Merge two trees with a common base where the documents share no history.

    Both sides' edits are made on forks of a scratch document and merged as Yjs does: text that
    either inserted is there, what either deleted is gone, what both did is done once.
    """
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    start = _scratch([], base)
    other = merge([start, _scratch([start], theirs)])
    live = Replica.load([other])
    return Replica.load([other, _scratch([start], ours, live)]).view()


def _scratch(base: Sequence[bytes], goal: Block, live: Replica | None = None) -> bytes:
    edit = _express(Replica.load(base), Target(body=goal), live, CONTRACT, stand_ins=True)
    return edit.update or EMPTY


def _fork(base: Sequence[bytes], live: Replica | None, client_id: int | None) -> Replica:
    """The base as a document of its own, under the given id where that is safe."""
    fork = Replica.load(base, client_id)
    if client_id is None:
        return fork
    if any(r.has_pending_of(client_id) for r in (fork, live) if r is not None):
        return Replica.load(base)
    if live is None:
        return fork
    have, now = clocks(fork.state_vector()), clocks(live.state_vector())
    return fork if have.get(client_id, 0) == now.get(client_id, 0) else Replica.load(base)


def _unmet(target: Target, fork: Replica, live: Replica) -> Target:
    """The target without what others wished for and have got meanwhile."""
    now, before = live.fields(), fork.fields()
    met = frozenset(now.tags) - frozenset(before.tags)
    files = frozenset(now.files) - frozenset(before.files)
    target = replace(
        target,
        add_tags=target.add_tags - met,
        put_files=tuple(f for f in target.put_files if f not in files),
        title=title.unmet(before.title, target.title, now.title),
    )
    if now.deleted_at_ms != before.deleted_at_ms and target.deleted_at_ms == now.deleted_at_ms:
        target = replace(target, deleted_at_ms=UNSET)
    return target


def _express(
    fork: Replica,
    target: Target,
    live: Replica | None,
    words: Vocabulary,
    shown: Shown | None = None,
    *,
    stand_ins: bool = False,
) -> Edit:
    """``shown``: what the fork shows, where that is known."""
    root = made = nodes.look(fork.doc, nodes.BODY)
    lost: tuple[LostEdit, ...] = ()
    theirs: Seen | None = None
    is_goal = True
    if target.body is not None:
        base = Seen.of(fork.doc, shown)
        root, plain = base.root, base.is_plain
        goal = settled(target.body, base.view, is_plain=plain, keep_unknown=stand_ins)
        same: Same = {}
        if live is not None and goal != base.view:
            theirs = Seen.of(live.doc)
            views = base.view, theirs.view
            same = same_nodes(fork.state(), live.state(), views, changed(base.view, goal))
        result = shaped(Clones(base, theirs, stand_ins=stand_ins), goal, words, same)
        made, lost = result.body, result.lost
        # What the document has no node for became text: it reads otherwise than it was wished.
        is_goal = result.is_goal and goal == target.body
    update = _write(fork, target, root, made)
    if lost and live is not None and theirs is not None:
        update = _second(fork, live, update, theirs.view, lost, words, stand_ins=stand_ins)
    return Edit(update, is_goal and not lost)


def _second(
    fork: Replica,
    live: Replica,
    first: bytes | None,
    seen: Block,
    lost: Sequence[LostEdit],
    words: Vocabulary,
    *,
    stand_ins: bool,
) -> bytes | None:
    """Make on the live document what can't be made at the base; both as one update."""
    # The first edit is in the state: its id goes on counting from there.
    state = [live.state(), first or EMPTY]
    again = Replica.load(state, fork.client_id)
    now = again.view()
    tops = {b.path[0] for one in lost for b in (one.parent, one.became) if b and b.path}
    same = same_nodes(live.state(), again.state(), (seen, now), tops)
    try:
        target = Target(body=rescued(seen, now, lost, same))
        more = _express(again, target, None, words, stand_ins=stand_ins).update
    except InvalidEdit:
        # Words in a wrong place are better than an edit that can't be sent. The first one may have
        # broken off half way.
        again = Replica.load(state, fork.client_id)
        target = Target(body=salvaged(now, lost))
        more = _express(again, target, None, words, stand_ins=stand_ins).update
    parts = [u for u in (first, more) if u is not None]
    return merge(parts) if parts else None


def _write(fork: Replica, target: Target, old: Elem, new: Elem) -> bytes | None:
    """Carry everything out in one transaction; the update it makes, None when it made none."""
    updates: list[bytes] = []
    deletions: list[bytes] = []

    def keep(event: Any) -> None:
        updates.append(event.update)
        deletions.append(event.delete_set)

    doc = fork.doc
    assert doc._txn is None, "nobody else is at it"  # noqa: SLF001 -- pycrdt joins an open one
    old_title = nodes.look(doc, nodes.TITLE)
    watch = doc._doc.observe(keep)  # noqa: SLF001 -- the wrapper keeps each callback
    try:
        with nodes.transaction(doc) as txn:
            changed = write(old, new, txn)
            verify(old, new, txn)
            if target.title is not None:
                write(old_title, title.edited(old_title, target.title), txn)
            _write_fields(doc, target)
    except BaseException:
        fork.give_up()
        raise
    finally:
        watch.drop()
    assert len(updates) < 2, "one transaction is one update"
    for update in updates:
        fork.edited(update, changed)
    if deletions == [_NO_DELETIONS]:
        return updates[0]  # what deletes nothing has nothing to leave out
    return slim(updates[0]) if updates else None


def _write_fields(doc: Any, target: Target) -> None:
    for tag in sorted(target.remove_tags - target.add_tags):
        fields.drop_tag(doc, tag)
    for tag in sorted(target.add_tags):
        fields.put_tag(doc, tag)
    for key in target.drop_files:
        fields.drop_file(doc, key)
    for file in target.put_files:
        fields.put_file(doc, file)
    if not isinstance(target.deleted_at_ms, Unset):
        fields.put_deletion(doc, target.deleted_at_ms)
