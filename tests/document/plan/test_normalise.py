"""A target made fit for one document, as laws."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heapsyncd.document.plan.normalise import normalise
from heapsyncd.document.replica import Replica
from heapsyncd.tree import Atom, Block
from tests.document.worlds import A_BODY, BODY, build, edits

LAW = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def view(body: Any) -> Block:
    return Replica.load([build(body)]).view()


def unknown(tree: Block) -> Counter[object]:
    """The digests of what markdown can't say, each with how often it stands."""
    blocks = [b.get("digest") for b in tree.walk() if b.kind == "opaque"]
    atoms = [
        i.get("digest")
        for b in tree.walk()
        for i in b.inline
        if isinstance(i, Atom) and i.kind == "opaque"
    ]
    return Counter([*blocks, *atoms])


@pytest.mark.slow
@LAW
@given(BODY)
def test_an_unchanged_view_is_the_view_itself(body: Any) -> None:
    """What is as in the document needs no comparing: it is the document's own."""
    base = view(body)
    if base.children:
        assert normalise(view(body), base) is base
    assert normalise(base, base) == base


@pytest.mark.slow
@LAW
@given(BODY, BODY, st.data())
def test_unknown_nodes_are_the_documents_own_and_stand_once(
    body: Any, other: Any, data: st.DataObject
) -> None:
    """Whatever is wished for, nothing is named that the document lacks, and nothing twice."""
    base = view(body)
    repeated = st.lists(st.sampled_from([*base.children, *view(other).children] or [base]))
    goal = data.draw(repeated.map(base.with_children) | edits(view(other)))
    found = normalise(goal, base)
    assert found.words() or not goal.words()
    assert unknown(found) <= unknown(base)


@pytest.mark.slow
@LAW
@given(BODY, A_BODY, st.data())
def test_twice_is_once(body: Any, other: Block, data: st.DataObject) -> None:
    """What is fit already stays as it is; what is the base's own is its very own block."""
    base = view(body)
    once = normalise(data.draw(edits(base) | st.just(other)), base)
    assert normalise(once, base) == once
    own = {id(block) for block in base.walk()}
    if once.children and base.children and once.children[0] == base.children[0]:
        assert id(normalise(once, base).children[0]) in own
