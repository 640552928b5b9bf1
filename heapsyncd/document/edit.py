"""A wish, expressed as the smallest edit of a document: one transaction, one update.

The document is forked at the base, the state its author saw. The plan is made and judged on
values; the fork is written only when its view will be as wished for and an editor accepts it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from heapsyncd.document import fields, nodes, title
from heapsyncd.document.body import Body
from heapsyncd.document.clones import Clones, Seen
from heapsyncd.document.goal import settled
from heapsyncd.document.identity import Same, same_nodes
from heapsyncd.document.nodes import Elem
from heapsyncd.document.plan import plan
from heapsyncd.document.replica import EMPTY, Replica, clocks, contained, merge
from heapsyncd.document.rescue import Lost, rescued
from heapsyncd.document.rules import violations
from heapsyncd.document.schema import CONTRACT, Vocabulary
from heapsyncd.document.sources import Step, fresh_step
from heapsyncd.document.tree import View, view_of
from heapsyncd.document.write import write
from heapsyncd.errors import InvalidEdit
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.tree import Block


class Unset:
    """No wish, where None is one."""


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True)
class Wish:
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
    """An expressed wish.

    ``update`` None: there is nothing to do. ``body`` is the fork's view afterwards: the wish's,
    without what the live document had already.
    """

    update: bytes | None
    body: Block


def express(
    base: Sequence[bytes],
    wish: Wish,
    *,
    live: Replica | None = None,
    client_id: int | None = None,
    vocabulary: Vocabulary = CONTRACT,
) -> Edit:
    """Express a wish as the smallest edit of the document at ``base``.

    Args:
        base: the updates of the state the wish is measured from.
        wish: what is to change.
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
    if live is not None and live.fingerprint() == fork.fingerprint():
        live = None
    with contained():
        return _express(fork, wish, live, vocabulary, stand_ins=False)


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
    edit = _express(Replica.load(base), Wish(body=goal), live, CONTRACT, stand_ins=True)
    return edit.update or EMPTY


def _express(
    fork: Replica, wish: Wish, live: Replica | None, words: Vocabulary, *, stand_ins: bool
) -> Edit:
    root = nodes.read(fork.doc, nodes.BODY)
    base = Seen(root, view_of(root))
    made, theirs = root, None
    lost: tuple[Lost, ...] = ()
    if wish.body is not None:
        same: Same = {}
        goal = settled(wish.body, base.view, keep_unknown=stand_ins)
        if live is not None and goal != base.view:
            live_root = nodes.read(live.doc, nodes.BODY)
            theirs = Seen(live_root, view_of(live_root))
            same = same_nodes(fork.state(), live.state())
        clones = Clones(base, theirs, stand_ins=stand_ins)
        made, lost = _body(clones, goal, words, same)
    update = _write(fork, wish, root, made)
    if lost and live is not None and theirs is not None:
        update = _second(fork, live, update, theirs.view, lost, words, stand_ins=stand_ins)
    after = base.view if made is root else view_of(nodes.read(fork.doc, nodes.BODY))
    return Edit(update, after)


def _second(
    fork: Replica,
    live: Replica,
    first: bytes | None,
    seen: Block,
    lost: Sequence[Lost],
    words: Vocabulary,
    *,
    stand_ins: bool,
) -> bytes | None:
    """Make on the live document what can't be made at the base; both as one update."""
    state = [live.state(), *([first] if first else [])]
    # The first edit is in the state: its id goes on counting from there.
    again = Replica.load(state, fork.client_id)
    goal = rescued(seen, again.view(), lost)
    more = _express(again, Wish(body=goal), None, words, stand_ins=stand_ins).update
    parts = [u for u in (first, more) if u is not None]
    return merge(parts) if parts else None


def _fork(base: Sequence[bytes], live: Replica | None, client_id: int | None) -> Replica:
    fork = Replica.load(base)
    if client_id is None or fork.has_pending():
        return fork
    if live is not None:
        have, now = clocks(fork.state_vector()), clocks(live.state_vector())
        if have.get(client_id, 0) != now.get(client_id, 0) or live.has_pending():
            return fork
    return Replica.load(base, client_id)


def _write(fork: Replica, wish: Wish, old: Elem, new: Elem) -> bytes | None:
    """Carry everything out in one transaction; the update it makes, None when it made none."""
    updates: list[bytes] = []

    def keep(event: Any) -> None:
        updates.append(event.update)

    doc = fork.doc
    old_title = nodes.read(doc, nodes.TITLE)
    watch = doc._doc.observe(keep)  # noqa: SLF001 -- the wrapper keeps each callback
    try:
        with nodes.transaction(doc) as txn:
            write(old, new, txn)
            if wish.title is not None:
                write(old_title, title.edited(old_title, wish.title), txn)
            _write_fields(doc, wish)
    finally:
        watch.drop()
    assert len(updates) < 2, "one transaction is one update"
    return updates[0] if updates else None


def _write_fields(doc: Any, wish: Wish) -> None:
    for tag in sorted(wish.remove_tags - wish.add_tags):
        fields.drop_tag(doc, tag)
    for tag in sorted(wish.add_tags):
        fields.put_tag(doc, tag)
    for key in wish.drop_files:
        fields.drop_file(doc, key)
    for file in wish.put_files:
        fields.put_file(doc, file)
    if not isinstance(wish.deleted_at_ms, Unset):
        fields.put_deletion(doc, wish.deleted_at_ms)


def _body(
    clones: Clones, goal: Block, words: Vocabulary, same: Same
) -> tuple[Elem, tuple[Lost, ...]]:
    """The new body (the base's own when nothing is to change), and what it can't hold."""
    base, live = clones.base, clones.live
    if goal == base.view:
        return base.root, ()
    made_plan = plan(base.view, goal, live.view if live else None, same)
    step = made_plan.top
    body = Body(clones, words.learn(base.root))
    made = body.edited(step)
    wrong = _wrong(made, step, clones)
    if wrong:
        # The smallest block that came out otherwise than wished is replaced by a new one.
        step = _with_new(step, wrong)
        made = body.edited(step)
        if _wrong(made, step, clones):
            raise InvalidEdit("the document can't show this text")
    _judge(base.root, made)
    return made, made_plan.lost


def _wrong(made: Elem, step: Step, clones: Clones) -> set[int]:
    """Which top-level blocks of the goal do not show as they should."""
    view = View(numbered=False)
    old = {id(n): k for k, n in enumerate(clones.base.root.children)}
    blocks = {b.path[0]: b for b in clones.base.view.children if b.path}
    shown: list[Block] = []
    for k, node in enumerate(made.children):
        at = old.get(id(node))
        block = view.block(node, (k,)) if at is None else blocks.get(at)
        if block is not None:
            shown.append(block if at is None else clones.plain_block(block))
    wanted = [clones.plain_block(b) for b in step.goal().children]
    if len(shown) != len(wanted):
        return set(range(len(step.children or ())))
    return {k for k, (a, b) in enumerate(zip(shown, wanted, strict=True)) if a != b}


def _with_new(step: Step, wrong: set[int]) -> Step:
    steps = [fresh_step(s.new) if k in wrong else s for k, s in enumerate(step.children or ())]
    return Step(step.new, step.old, steps)


def _judge(old: Elem, new: Elem) -> None:
    """Refuse an edit that breaks a rule which the document did not break before."""
    before = {id(n) for n in old.children}
    found: Counter[str] = Counter()
    for node in new.children:
        if id(node) not in before:
            found.update(violations(node))
    if found:
        found -= Counter(violations(old))
    if found:
        raise InvalidEdit("an editor would not accept this: " + "; ".join(sorted(found)[:3]))
