"""Express a target as the smallest edit of a document: one transaction, one update.

The document is forked at the base, the state that the author saw. The new body is made and checked
as values. The fork is written only when its view will show the goal and editors will accept it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from pycrdt._pycrdt import Transaction

from heapsyncd.document import fields, source
from heapsyncd.document.construct import title
from heapsyncd.document.construct.apply import verify, write
from heapsyncd.document.construct.checked_body import changed_tops, make_checked_body
from heapsyncd.document.construct.clones import Clones, LoadedBody
from heapsyncd.document.encoding.slim import slim
from heapsyncd.document.encoding.state_vectors import clocks, encode_varint
from heapsyncd.document.plan.edits_in_deleted_blocks import (
    EditToReapply,
    with_reapplied,
    with_text_appended,
)
from heapsyncd.document.plan.node_identity import NodeMap, match_nodes
from heapsyncd.document.plan.normalise import normalise
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, merge, pycrdt_errors
from heapsyncd.document.view.from_nodes import BodyView, Path
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.nodes import Elem
from heapsyncd.errors import InvalidEdit
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry, Source
from heapsyncd.tree import Block


class Unset:
    """The absence of a target where None is a valid one."""


UNSET: Final = Unset()
_NO_DELETIONS: Final = b"\0"


class Target(Struct, frozen=True):
    """What a document is to become; what is left out stays as it is.

    ``title`` is the whole new title. ``deleted_at_ms`` moves the block to the trash at that time,
    and None takes it out of the trash. ``confirmations`` are added to those that the document has
    (``fields.confirmations``). ``public_id``: as in ``Fields``. ``first_source`` is for a
    document that never had a source; any other change of one is made by ``express_source``.
    """

    body: Block | None = None
    title: str | None = None
    add_tags: frozenset[BlockId] = frozenset()
    remove_tags: frozenset[BlockId] = frozenset()
    put_files: tuple[FileEntry, ...] = ()
    drop_files: tuple[str, ...] = ()
    deleted_at_ms: int | Unset | None = UNSET
    confirmations: tuple[tuple[str, str], ...] = ()
    public_id: str | None = None
    first_source: Source | None = None


class Edit(Struct, frozen=True):
    """An expressed target.

    ``update`` is None when nothing changes. ``reads_as_target``: the base with the update shows
    the target. It does not where others' edits were merged in, or where parts could only be made
    on the live document.
    """

    update: bytes | None
    reads_as_target: bool = True


def express(
    base: Sequence[bytes],
    target: Target,
    *,
    live: Replica | None = None,
    client_id: int | None = None,
) -> Edit:
    """Express a target as the smallest edit of the document at ``base``.

    Args:
        base: the updates of the state that the target is measured from.
        target: what is to change.
        live: the document as it is now. Edits that it already has are not made again, and what
            moves or changes its kind is cloned from it.
        client_id: the id to issue the edit under. It is used only when ``base`` holds everything
            of this id that ``live`` has: otherwise one clock would be issued twice, which corrupts
            the document for good. A fresh id is used in that case, and by default.

    Raises:
        UnreadableDocument: the base can't be loaded.
        InvalidEdit: the result can't show the target, or an editor would not accept it.
    """
    fork = _fork(base, live, client_id)
    shown = None
    if live is not None and live.fingerprint() == fork.fingerprint():
        shown, live = live.shown(), None
    with pycrdt_errors(), nodes.gc_paused():
        if live is not None:
            target = _without_met(target, fork, live)
        return _express(fork, target, live, shown)


def edit(live: Replica, target: Target) -> Edit:
    """Express a target as the smallest edit of the current document, and apply it to the replica.

    Like ``express`` with the replica's own state as the base and its own id (a fresh one while an
    update of that id is pending), but without a second document.

    Raises:
        InvalidEdit: as ``express``; the replica must then not be used any more.
    """
    if live.has_pending_of(live.client_id):
        made = express([live.state()], target, live=live)
        if made.update is not None:
            live.apply(made.update)
        return made
    shown = live.shown() if target.body is not None else None
    with pycrdt_errors(), nodes.gc_paused():
        return _express(live, target, None, shown)


def titled(
    log: Sequence[bytes], state_vector: bytes, wanted: str, client_id: int
) -> tuple[bytes, bytes] | None:
    """Make the edit that gives a document its first title, without building the document.

    Args:
        log: the updates that the document is made of, none of which is pending.
        state_vector: the document's.
        wanted: the title.
        client_id: the id to issue the edit under, as for ``edit``.

    Returns:
        The update, and the state vector with it; None when the document may have a title already,
        or would show another one.
    """
    # Each update that begins a title contains the name of its root.
    if any(nodes.TITLE.encode() in update for update in log):
        return None
    # A document of which everything is deleted has the same clocks, and the same empty title.
    seen = [pair for pair in clocks(state_vector).items() if pair[1]]
    gone = [
        b"\1" + encode_varint(client) + b"\0\0" + encode_varint(clock) for client, clock in seen
    ]
    bare = Replica.load([b"".join([encode_varint(len(gone)), *gone, b"\0"])], client_id)
    update = edit(bare, Target(title=wanted)).update
    if update is None or title.read(nodes.read(bare.doc, nodes.TITLE)) != wanted:
        return None
    return update, bare.state_vector()


def express_source(
    base: Sequence[bytes],
    change: Callable[[Source | None], Source | None],
    *,
    live: Replica | None = None,
    client_id: int | None = None,
    most_bytes: int = 1 << 30,
) -> bytes | None:
    """Express a change of a note's source as the smallest edit of the document at ``base``.

    The update is to be merged with the edit of the body that belongs to it. It is issued under the
    id after ``client_id``: Yjs stores text typed in a row compactly only while the same id issues
    nothing else in between. The first source needs no id of its own (``Target.first_source``).

    Args:
        base: the updates of the state that the change is measured from.
        change: returns the wanted source for the source at the base; None: leave it as it is.
        live: the document as it is now. Edits that it already has are not made again.
        client_id: the id before the one to issue the edit under, as for ``express``.
        most_bytes: a longer source is refused, and a first one not written.

    Returns:
        The update; None when nothing changes, or when the root does not hold a valid source, which
        is then left as it is.

    Raises:
        UnreadableDocument: the base can't be loaded.
    """
    fork = _fork(base, live, None if client_id is None else client_id + 1)
    stored = fork.source(most_bytes)
    wanted = change(stored.source) if stored.problem is None else None
    if wanted is None or wanted == stored.source:
        return None
    if stored.source is None and source.length(wanted) > most_bytes:
        return None  # no device would use it
    now = None if live is None else live.source(most_bytes).source
    with pycrdt_errors():
        return _issue(fork, lambda _: source.write(fork.doc, stored.source, wanted, now))


def merge_three(base: Block, ours: Block, theirs: Block) -> Block:
    """Merge two trees with a common base where the documents share no history.

    Both sides' edits are made on forks of a scratch document and merged as Yjs does: text that
    either side inserted stays, what either deleted is gone, what both did is done once.
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
    edit = _express(Replica.load(base), Target(body=goal), live, stand_ins=True)
    return edit.update or EMPTY


def _fork(base: Sequence[bytes], live: Replica | None, client_id: int | None) -> Replica:
    """Load the base as a document of its own, under the given id where that is safe."""
    fork = Replica.load(base, client_id)
    if client_id is None:
        return fork
    if any(r.has_pending_of(client_id) for r in (fork, live) if r is not None):
        return Replica.load(base)
    if live is None:
        return fork
    have, now = clocks(fork.state_vector()), clocks(live.state_vector())
    return fork if have.get(client_id, 0) == now.get(client_id, 0) else Replica.load(base)


def _without_met(target: Target, fork: Replica, live: Replica) -> Target:
    """Return the target without what others already did alike."""
    now, before = live.fields(), fork.fields()
    met = frozenset(now.tags) - frozenset(before.tags)
    files = frozenset(now.files) - frozenset(before.files)
    target = replace(
        target,
        add_tags=target.add_tags - met,
        put_files=tuple(f for f in target.put_files if f not in files),
        title=title.remaining(before.title, target.title, now.title),
    )
    if now.deleted_at_ms != before.deleted_at_ms and target.deleted_at_ms == now.deleted_at_ms:
        target = replace(target, deleted_at_ms=UNSET)
    return target


def _express(
    fork: Replica,
    target: Target,
    live: Replica | None,
    shown: BodyView | None = None,
    *,
    stand_ins: bool = False,
) -> Edit:
    """Express a target on a fork.

    ``shown`` is the fork's view if it is known. ``stand_ins``: see ``Clones``.
    """
    root = made = nodes.read_lazily(fork.doc, nodes.BODY)
    to_reapply: tuple[EditToReapply, ...] = ()
    theirs: LoadedBody | None = None
    is_goal = True
    if target.body is not None:
        base = LoadedBody.of(fork.doc, shown)
        root, plain = base.root, base.all_known
        goal = normalise(target.body, base.view, all_known=plain, keep_unknown=stand_ins)
        node_map: NodeMap = {}
        if live is not None and goal != base.view:
            theirs = LoadedBody.of(live.doc)
            views = base.view, theirs.view
            node_map = match_nodes(
                fork.state(), live.state(), views, changed_tops(base.view, goal)
            )
        result = make_checked_body(Clones(base, theirs, stand_ins=stand_ins), goal, node_map)
        made, to_reapply = result.body, result.to_reapply
        # Where the document has no node for something, it became text: then it does not read as
        # the target.
        is_goal = result.is_goal and goal == target.body
    update = _write(fork, target, root, made)
    if to_reapply and live is not None and theirs is not None:
        update = _reapply(fork, live, update, theirs.view, to_reapply, stand_ins=stand_ins)
    return Edit(update, is_goal and not to_reapply)


def _reapply(
    fork: Replica,
    live: Replica,
    first: bytes | None,
    seen: Block,
    to_reapply: Sequence[EditToReapply],
    *,
    stand_ins: bool,
) -> bytes | None:
    """Make on the live document what can't be made at the base; returns both as one update."""
    # The state includes the first edit, so that its client id can be used on.
    state = [live.state(), first or EMPTY]
    again = Replica.load(state, fork.client_id)
    now = again.view()
    tops = {b.path[0] for one in to_reapply for b in (one.parent, one.became) if b and b.path}
    node_map = match_nodes(live.state(), again.state(), (seen, now), tops)
    try:
        target = Target(body=with_reapplied(seen, now, to_reapply, node_map))
        more = _express(again, target, None, stand_ins=stand_ins).update
    except InvalidEdit:
        # Words in a wrong place are better than an edit that can't be sent. The document may be
        # written half way, so it is loaded again.
        again = Replica.load(state, fork.client_id)
        target = Target(body=with_text_appended(now, to_reapply))
        more = _express(again, target, None, stand_ins=stand_ins).update
    parts = [u for u in (first, more) if u is not None]
    return merge(parts) if parts else None


def _write(fork: Replica, target: Target, old: Elem, new: Elem) -> bytes | None:
    """Carry everything out in one transaction; returns its update, or None if nothing changed."""
    old_title = nodes.read_lazily(fork.doc, nodes.TITLE)
    changed: list[Path] = []

    def make(txn: Transaction) -> None:
        changed.extend(write(old, new, txn))
        verify(old, new, txn)
        if target.title is not None:
            write(old_title, title.with_title(old_title, target.title), txn)
        _write_fields(fork.doc, target)
        if target.first_source is not None:
            source.write(fork.doc, None, target.first_source)

    return _issue(fork, make, changed)


def _issue(
    fork: Replica, make: Callable[[Transaction], None], changed: Sequence[Path] = ()
) -> bytes | None:
    """Make a change in one transaction; returns its update, or None if nothing changed.

    ``changed``: the nodes of the body that the change touched, filled while it is made.
    """
    updates: list[bytes] = []
    deletions: list[bytes] = []

    def keep(event: Any) -> None:
        updates.append(event.update)
        deletions.append(event.delete_set)

    doc = fork.doc
    assert doc._txn is None, "no transaction is open"  # noqa: SLF001 -- pycrdt would join it
    watch = doc._doc.observe(keep)  # noqa: SLF001 -- the wrapper keeps each callback
    try:
        with nodes.transaction(doc) as txn:
            make(txn)
    except BaseException:
        fork.invalidate()
        raise
    finally:
        watch.drop()
    assert len(updates) < 2, "one transaction is one update"
    for update in updates:
        fork.record_edit(update, changed)
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
    if target.confirmations:
        fields.put_confirmations(doc, dict(target.confirmations))
    if target.public_id is not None:
        fields.put_public_id(doc, target.public_id)
