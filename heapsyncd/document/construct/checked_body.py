"""Make the new body for a goal: plan it, build it, compare it with the goal, check the rules.

All of it works on values. ``clones`` holds the base and the live body; updates are unknown here.
"""

from collections import Counter

from msgspec import Struct

from heapsyncd.diff import align
from heapsyncd.document.construct.body import Body
from heapsyncd.document.construct.clones import Clones
from heapsyncd.document.construct.fast_blocks import DeferredElem
from heapsyncd.document.plan.clone_sources import Step, new_step
from heapsyncd.document.plan.edits_in_deleted_blocks import EditToReapply
from heapsyncd.document.plan.node_identity import NodeMap
from heapsyncd.document.plan.plan import plan
from heapsyncd.document.view.from_nodes import View
from heapsyncd.document.xml.content_model import violation, violations
from heapsyncd.document.xml.nodes import Elem, changed_nodes
from heapsyncd.document.xml.schema import DocumentVocabulary
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Block


class CheckedBody(Struct, frozen=True):
    """A new body, and our edits of deleted blocks, which it cannot hold."""

    body: Elem
    to_reapply: tuple[EditToReapply, ...] = ()
    is_goal: bool = True
    """Whether the body shows exactly the goal, without anything that others did."""


def changed_tops(base: Block, goal: Block) -> set[int]:
    """Return the indexes of the top-level nodes of the base that do not stay unchanged."""
    kept = {
        i
        for i, j in align(base.children, goal.children)
        if i is not None and j is not None and base.children[i] == goal.children[j]
    }
    return {b.path[0] for i, b in enumerate(base.children) if i not in kept and b.path}


def make_checked_body(clones: Clones, goal: Block, node_map: NodeMap) -> CheckedBody:
    """Make the new body.

    Args:
        clones: the base and the live body.
        goal: the wanted view, normalised.
        node_map: the live node of each node of the base.

    Raises:
        InvalidEdit: it would not show the goal, or an editor would not accept it.
    """
    base, live = clones.base, clones.live
    made = plan(base.view, goal, live.view if live else None, node_map)
    step = made.top
    if step.stays:
        return CheckedBody(base.root, made.to_reapply)
    body = Body(clones, DocumentVocabulary(base.root))
    root = body.edited(step)
    wrong = _differing(root, step, clones)
    if wrong:
        # Top-level blocks that do not show as planned are replaced by new ones.
        step = _with_new(step, wrong)
        root = body.edited(step)
        if _differing(root, step, clones):
            raise InvalidEdit("the document can't show this text")
    _check_rules(base.root, root)
    return CheckedBody(root, made.to_reapply, live is None or step.goal() == goal)


def _differing(made: Elem, step: Step, clones: Clones) -> set[int]:
    """Return the indexes of the top-level blocks that do not show as the plan says."""
    view = View(numbered=False, known=clones.base.known(made))
    old = {id(n): k for k, n in enumerate(clones.base.root.children)}
    blocks = {b.path[0]: b for b in clones.base.view.children if b.path}
    shown: list[tuple[Block, bool]] = []
    for k, node in enumerate(made.children):
        at = old.get(id(node))
        if at is not None:
            block = blocks.get(at)
        else:
            block = (isinstance(node, DeferredElem) and node.block) or view.block(node, (k,))
        if block is not None:
            shown.append((block, at is not None))
    wanted = step.goal().children
    if len(shown) != len(wanted):
        return set(range(len(step.children or ())))
    # A block that stays is the same object in both lists.
    plain = clones.block_by_content
    return {
        k
        for k, ((a, is_old), b) in enumerate(zip(shown, wanted, strict=True))
        if a is not b and (plain(a) if is_old else a) != plain(b)
    }


def _with_new(step: Step, wrong: set[int]) -> Step:
    steps = [new_step(s.goal()) if k in wrong else s for k, s in enumerate(step.children or ())]
    return Step(step.new, step.old, steps)


def _check_rules(old: Elem, new: Elem) -> None:
    """Raise InvalidEdit if the edit breaks a rule that the document did not break before."""
    broken = [rule for node in changed_nodes(old, new) for rule in violation(node)]
    if not broken:
        return
    found = Counter(broken) - Counter(violations(old))
    if found:
        raise InvalidEdit("an editor would not accept this: " + "; ".join(sorted(found)[:3]))
