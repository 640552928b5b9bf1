"""The new body for a goal: planned, built, compared with the goal, judged. All on values.

``clones`` brings the base and the live body; nothing here knows of updates.
"""

from collections import Counter
from dataclasses import dataclass

from heapsyncd.diff import align
from heapsyncd.document.build.body import Body
from heapsyncd.document.build.clones import Clones
from heapsyncd.document.build.fast_blocks import Unmade
from heapsyncd.document.plan.clone_sources import Step, fresh_step
from heapsyncd.document.plan.node_identity import Same
from heapsyncd.document.plan.plan import plan
from heapsyncd.document.plan.reapply_lost import LostEdit
from heapsyncd.document.view.from_nodes import View
from heapsyncd.document.xml.content_model import violation, violations
from heapsyncd.document.xml.nodes import Elem, touched
from heapsyncd.document.xml.schema import Spoken
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Block


@dataclass(frozen=True, slots=True)
class Shaped:
    """A new body, and the edits it can't hold because others deleted what they are of."""

    body: Elem
    lost: tuple[LostEdit, ...] = ()
    is_goal: bool = True
    """Whether it shows the goal, and nothing else of what others did."""


def changed(base: Block, goal: Block) -> set[int]:
    """Which top-level nodes of the base do not stay as they are."""
    kept = {
        i
        for i, j in align(base.children, goal.children)
        if i is not None and j is not None and base.children[i] == goal.children[j]
    }
    return {b.path[0] for i, b in enumerate(base.children) if i not in kept and b.path}


def shaped(clones: Clones, goal: Block, same: Same) -> Shaped:
    """The new body.

    Raises:
        InvalidEdit: it would not show the goal, or an editor would not accept it.
    """
    base, live = clones.base, clones.live
    made = plan(base.view, goal, live.view if live else None, same)
    step = made.top
    if step.stays:
        return Shaped(base.root, made.lost)
    body = Body(clones, Spoken(base.root))
    root = body.edited(step)
    wrong = _wrong(root, step, clones)
    if wrong:
        # The smallest block that came out otherwise than wished is replaced by a new one.
        step = _with_new(step, wrong)
        root = body.edited(step)
        if _wrong(root, step, clones):
            raise InvalidEdit("the document can't show this text")
    _judge(base.root, root)
    return Shaped(root, made.lost, live is None or step.goal() == goal)


def _wrong(made: Elem, step: Step, clones: Clones) -> set[int]:
    """Which top-level blocks of the goal do not show as they should."""
    view = View(numbered=False, known=clones.base.known(made))
    old = {id(n): k for k, n in enumerate(clones.base.root.children)}
    blocks = {b.path[0]: b for b in clones.base.view.children if b.path}
    shown: list[tuple[Block, bool]] = []
    for k, node in enumerate(made.children):
        at = old.get(id(node))
        if at is not None:
            block = blocks.get(at)
        else:
            block = (isinstance(node, Unmade) and node.block) or view.block(node, (k,))
        if block is not None:
            shown.append((block, at is not None))
    wanted = step.goal().children
    if len(shown) != len(wanted):
        return set(range(len(step.children or ())))
    # A block that stays is in both lists the base's own.
    plain = clones.plain_block
    return {
        k
        for k, ((a, is_old), b) in enumerate(zip(shown, wanted, strict=True))
        if a is not b and (plain(a) if is_old else a) != plain(b)
    }


def _with_new(step: Step, wrong: set[int]) -> Step:
    steps = [fresh_step(s.goal()) if k in wrong else s for k, s in enumerate(step.children or ())]
    return Step(step.new, step.old, steps)


def _judge(old: Elem, new: Elem) -> None:
    """Refuse an edit that breaks a rule which the document did not break before."""
    broken = [rule for node in touched(old, new) for rule in violation(node)]
    if not broken:
        return
    found = Counter(broken) - Counter(violations(old))
    if found:
        raise InvalidEdit("an editor would not accept this: " + "; ".join(sorted(found)[:3]))
