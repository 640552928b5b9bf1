"""Laws of edits, for any document and any goal."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heapsyncd.document import nodes
from heapsyncd.document.edit import Wish, express, merge_three
from heapsyncd.document.replica import Replica, merge
from heapsyncd.document.rules import violations
from heapsyncd.document.tree import digest_source
from heapsyncd.tree import Atom, Block, attrs, inline
from tests.document.worlds import A_BODY, BODY, build, edits

import os

SLOW = settings(max_examples=int(os.environ.get("N", "150")), deadline=None, suppress_health_check=list(HealthCheck))


def nameless(block: Block) -> Block:
    """The tree without the digests of unknown nodes, which number equal ones by their order."""
    children = tuple(nameless(c) for c in block.children)
    if block.kind == "opaque":
        return Block("opaque", attrs(label=block.get("label")))
    items = [
        Atom("opaque", attrs(label=i.get("label")))
        if isinstance(i, Atom) and i.kind == "opaque"
        else i
        for i in block.inline
    ]
    return replace(block, children=children, inline=tuple(items))


def dump(replica: Replica) -> list[Any]:
    return [digest_source(n) for n in nodes.read(replica.doc, nodes.BODY).children]


@SLOW
@given(BODY, A_BODY)
def test_any_goal_is_reached(body: Any, goal: Block) -> None:
    """Whatever the document, the edit makes its view the goal, breaking no new rule."""
    base = build(body)
    made = express([base], Wish(body=goal))
    assert made.body == goal
    after = Replica.load([base, made.update] if made.update else [base])
    assert after.view() == goal


@SLOW
@given(BODY, st.data())
def test_small_edits_reach_their_goal(body: Any, data: st.DataObject) -> None:
    """Edits anywhere in a document with unknown things give exactly the edited view."""
    base = build(body)
    replica = Replica.load([base])
    goal = data.draw(edits(replica.view()))
    made = express([base], Wish(body=goal))
    assert nameless(made.body) == nameless(goal)


@SLOW
@given(BODY)
def test_an_unchanged_view_is_no_edit(body: Any) -> None:
    """The document's own view as a goal makes no operation at all."""
    base = build(body)
    assert express([base], Wish(body=Replica.load([base]).view())).update is None
