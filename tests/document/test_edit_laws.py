"""Laws of edits, for any document and any goal."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.document.edit import Target, express, merge_three
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.node_kinds import digest_source
from heapsyncd.tree import Atom, Block, Text, attrs, inline
from tests.document.worlds import A_BODY, BODY, build, edits

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


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
    made = express([base], Target(body=goal))
    after = Replica.load([base, made.update] if made.update else [base])
    assert after.view() == goal


@SLOW
@given(BODY, st.data())
def test_small_edits_reach_their_goal(body: Any, data: st.DataObject) -> None:
    """Edits anywhere in a document with unknown things give exactly the edited view."""
    base = build(body)
    replica = Replica.load([base])
    goal = data.draw(edits(replica.view()))
    made = express([base], Target(body=goal))
    after = Replica.load([base, made.update] if made.update else [base])
    assert nameless(after.view()) == nameless(goal)


@SLOW
@given(BODY)
def test_an_unchanged_view_is_no_edit(body: Any) -> None:
    """The document's own view as a goal makes no operation at all."""
    base = build(body)
    assert express([base], Target(body=Replica.load([base]).view())).update is None


@SLOW
@given(BODY, st.data())
def test_what_an_edit_does_not_name_stays_byte_for_byte(body: Any, data: st.DataObject) -> None:
    """One edited top-level block leaves every other node of the document as it was."""
    base = build(body)
    replica = Replica.load([base])
    view = replica.view()
    chosen = [k for k, b in enumerate(view.children) if b.kind not in {"rule", "opaque"}]
    if not chosen:
        return
    k = data.draw(st.sampled_from(chosen))
    edited = data.draw(edits(Block("doc", children=(view.children[k],))))
    if len(edited.children) != 1 or edited.children[0].kind != view.children[k].kind:
        return
    goal = view.with_children([*view.children[:k], edited.children[0], *view.children[k + 1 :]])
    made = express([base], Target(body=goal))
    path = view.children[k].path
    assert path is not None
    before, after = dump(replica), dump(Replica.load([base, *filter(None, [made.update])]))
    assert before[: path[0]] == after[: path[0]]
    assert before[path[0] + 1 :] == after[path[0] + 1 :]


def told(draw: Any, goal: Block, name: str) -> tuple[Block, list[str]]:
    """The goal with words nobody else uses typed into it; and those words."""
    words: list[str] = []

    def visit(block: Block) -> Block:
        children = [visit(c) for c in block.children]
        typed = block.kind in {"paragraph", "heading", "code"} and draw(st.integers(0, 2)) == 0
        if not typed:
            return block.with_children(children)
        word = f"{name}{len(words)}Q"
        words.append(word)
        if block.kind == "code":
            return replace(block, text=f"{word} {block.text}")
        k = draw(st.integers(0, len(block.inline)))
        items = [*block.inline[:k], Text(f" {word} "), *block.inline[k:]]
        return replace(block, inline=inline(items))

    made = visit(goal)
    return made, words


@SLOW
@given(A_BODY, st.data())
def test_two_sides_lose_nothing(start: Block, data: st.DataObject) -> None:
    """Whatever both sides do at once, each word that either typed is in the merged document."""
    both_sides(express([], Target(body=start)).update or EMPTY, data)


@SLOW
@given(BODY, st.data())
def test_two_sides_lose_nothing_of_an_editors_document(body: Any, data: st.DataObject) -> None:
    """As above, where the document holds what markdown can't say."""
    both_sides(build(body), data)


def both_sides(base: bytes, data: st.DataObject) -> None:
    view = Replica.load([base]).view()
    ours, our_words = told(data.draw, data.draw(edits(view)), "OUR")
    theirs, their_words = told(data.draw, data.draw(edits(view)), "THEM")
    theirs_update = express([base], Target(body=theirs)).update or EMPTY
    live = Replica.load([base, theirs_update])
    our_update = express([base], Target(body=ours), live=live).update or EMPTY
    merged = Replica.load([base, theirs_update, our_update])
    other_way = Replica.load([base, our_update, theirs_update])
    assert merged.fingerprint() == other_way.fingerprint()
    assert not merged.has_pending()
    text = merged.view().words()
    assert [w for w in our_words + their_words if w not in text] == []


@SLOW
@given(A_BODY, st.data())
def test_merge_three_laws(base: Block, data: st.DataObject) -> None:
    """A side that did nothing changes nothing; the same on both sides is done once."""
    ours = data.draw(edits(base))
    assert merge_three(base, base, ours) == ours
    assert merge_three(base, ours, base) == ours
    assert merge_three(base, ours, ours) == ours


@SLOW
@given(A_BODY, st.data())
def test_merge_three_loses_nothing(base: Block, data: st.DataObject) -> None:
    """Words typed on either side of a merge without common history are all in it."""
    ours, our_words = told(data.draw, data.draw(edits(base)), "OUR")
    theirs, their_words = told(data.draw, data.draw(edits(base)), "THEM")
    text = merge_three(base, ours, theirs).words()
    assert [w for w in our_words + their_words if w not in text] == []
