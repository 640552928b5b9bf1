"""What a body shows after changes, told from what it showed before."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, XmlElement, XmlFragment, XmlText

from heapsyncd.document.construct.checked_body import make_checked_body
from heapsyncd.document.construct.clones import Clones, LoadedBody
from heapsyncd.document.edit import Target, edit, express
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.plan.normalise import normalise
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, vector_of
from heapsyncd.document.view.from_handles import show
from heapsyncd.document.view.from_nodes import show_body
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.node_kinds import digest_source
from heapsyncd.errors import InvalidEdit, UnreadableDocument
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.tree import Atom, Block
from tests.document.worlds import BODY, build, edits
from tests.steps import steps


def placed(block: Block) -> Any:
    """A view with all that equality leaves out: where each part stands."""
    items = [
        (i, i.path, i.span) if isinstance(i, Atom) else (i.text, i.marks, i.pieces)
        for i in block.inline
    ]
    below = [placed(c) for c in block.children]
    return block.kind, block.attrs, block.path, block.text, items, below


def everything(root: Any) -> list[Any]:
    """All nodes of a body, the body first."""
    out, todo = [], [root]
    while todo:
        out.append(todo.pop(0))
        if not isinstance(out[-1], XmlText):
            todo += out[-1].children
    return out


def change(doc: Doc[Any], draw: Any) -> bytes:
    """One change that an app may make anywhere in a body; its update."""
    before = doc.get_state()
    node = draw(st.sampled_from(everything(doc.get(nodes.BODY, type=XmlFragment))))
    with doc.transaction():
        if isinstance(node, XmlText):
            _change_text(node, draw)
        elif not isinstance(node, XmlFragment) and draw(st.booleans()):
            name, value = draw(st.sampled_from([("level", 3), ("checked", True), ("start", 9)]))
            node.attributes[name] = value
        elif len(node.children) and draw(st.booleans()):
            del node.children[draw(st.integers(0, len(node.children) - 1))]
        else:
            tag = draw(st.sampled_from(["paragraph", "listItem", "bulletList", "chartEmbed"]))
            at = draw(st.integers(0, len(node.children)))
            node.children.insert(at, XmlElement(tag, {}, [XmlText("new words")]))
    return doc.get_update(before)


def _change_text(text: Any, draw: Any) -> None:
    if len(text) and draw(st.booleans()):
        text.clear() if draw(st.booleans()) else text.format(0, 1, {"bold": {}})
    else:
        text.insert(0, draw(st.sampled_from(["x", " ", "\n", "ä"])), None)


@pytest.mark.slow
@given(BODY, st.data())
@settings(max_examples=150, deadline=None)
def test_a_view_told_from_the_last_one_is_the_view(body: Any, data: st.DataObject) -> None:
    """Whatever changes in a document, its view is as if it were read whole, places included."""
    base = build(body)
    app: Doc[Any] = Doc()
    app.apply_update(base)
    replica = Replica.load([base])
    replica.view()
    log = [base]
    for _ in range(data.draw(st.integers(1, 4))):
        log.append(change(app, data.draw))
        replica.apply(log[-1])
        if data.draw(st.booleans()):
            assert placed(replica.view()) == placed(Replica.load(log).view())
    assert placed(replica.view()) == placed(Replica.load(log).view())


@pytest.mark.slow
@given(BODY, st.data())
@settings(max_examples=150, deadline=None)
def test_a_view_from_the_handles_is_the_view_of_the_values(body: Any, data: st.DataObject) -> None:
    """Both ways to look at a document show the same, places included."""
    app: Doc[Any] = Doc()
    app.apply_update(build(body))
    for _ in range(data.draw(st.integers(0, 3))):
        change(app, data.draw)
    one, other = show(app), show_body(nodes.read(app, nodes.BODY))
    assert placed(one.view) == placed(other.view)
    assert one.all_known == other.all_known


@pytest.mark.slow
@given(BODY, st.data())
@settings(max_examples=100, deadline=None)
def test_an_edit_is_the_same_with_the_view_known(body: Any, data: st.DataObject) -> None:
    """An edit that looks only into what it changes does the same as one that reads all."""
    base = build(body)
    live = Replica.load([base])
    target = Target(body=data.draw(edits(live.view())))
    found = [express([base], target, live=known) for known in (live, None)]
    assert found[0].reads_as_target == found[1].reads_as_target
    after = [Replica.load([base, made.update or EMPTY]).doc for made in found]
    one, other = (digest_source(nodes.read(doc, nodes.BODY)) for doc in after)
    assert one == other


@pytest.mark.slow
@given(BODY, st.data())
@settings(max_examples=150, deadline=None)
def test_an_edit_in_place_is_the_edit_of_a_copy(body: Any, data: st.DataObject) -> None:
    """The document holds it, its update says it, and the view is told from the last one."""
    log = [build(body)]
    live = Replica.load(log, client_id=9)
    for goal in data.draw(st.lists(edits(live.view()), min_size=1, max_size=3)):
        target = Target(body=goal)
        copied = express(log, target, live=live, client_id=9)
        made = edit(live, target)
        assert made.reads_as_target == copied.reads_as_target
        copy = Replica.load([*log, copied.update or EMPTY])
        log += [made.update] if made.update is not None else []
        assert live.fingerprint() == Replica.load(log).fingerprint()
        assert copy.view() == live.view()
        assert placed(live.view()) == placed(Replica.load(log).view())


def test_an_edit_in_place_that_breaks_off_spoils_the_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half an edit is never shown, sent or built on."""

    def fail(*_: object) -> None:
        raise InvalidEdit("half way")

    monkeypatch.setattr("heapsyncd.document.edit.verify", fail)
    live = Replica.load([build([("paragraph", {}, [[("one", {})]])])])
    with pytest.raises(InvalidEdit):
        edit(live, Target(body=parse("two\n", NO_LINKS)))
    for use in (live.view, live.state, live.fields, live.fingerprint):
        with pytest.raises(UnreadableDocument, match="half way"):
            use()


def test_an_edit_in_place_while_another_of_its_id_waits() -> None:
    """No clock is issued twice: a fresh id makes it."""
    base = build([("paragraph", {}, [[("one", {})]])])
    first = express([base], Target(body=parse("one two\n", NO_LINKS)), client_id=9).update
    assert first is not None
    more = Target(body=parse("one two three\n", NO_LINKS))
    second = express([base, first], more, client_id=9).update
    assert second is not None
    live = Replica.load([base, second], client_id=9)
    made = edit(live, Target(body=parse("zero one\n", NO_LINKS))).update
    assert made is not None
    assert clocks(vector_of([made])).keys() != {9}
    for update in (first, made):
        live.apply(update)
    assert live.view().words() == "zero one two three"
    assert Replica.load([base, made, second, first]).view() == live.view()


def note(paragraphs: int) -> str:
    return "".join(f"paragraph {n}\n\n- item {n}\n- [ ] task\n\n" for n in range(paragraphs))


@pytest.mark.parametrize("old", ["paragraph 7", "item 7", "[ ]"])
def test_what_arrives_costs_what_it_changes(old: str) -> None:
    """To view a document again after an edit takes no more in a long note than in a short one."""
    counts = []
    for text in (note(10), note(500)):
        base = express([], Target(body=parse(text, NO_LINKS))).update or EMPTY
        edited = text.replace(old, "[x]" if old == "[ ]" else f"{old} more", 1)
        replica = Replica.load([base])
        replica.view()
        replica.apply(express([base], Target(body=parse(edited, NO_LINKS))).update or EMPTY)
        counts.append(steps(replica.view))
        assert replica.view() == parse(edited, NO_LINKS)
    assert counts[1] < 1.5 * counts[0]


def test_many_changes_at_once_are_not_followed_one_by_one() -> None:
    """What touches every item of a list is viewed whole, as one long update or as many short ones:
    to look each item up would take the square of their number.
    """
    text = "".join(f"- item {k} words\n" for k in range(400))
    base = express([], Target(body=parse(text, NO_LINKS))).update or EMPTY
    read = steps(Replica.load([base]).view)
    for goals in ([text.replace("words", "things")], _one_by_one(text)):
        replica = Replica.load([base])
        replica.view()
        log = [base]
        for goal in goals:
            log.append(express(log, Target(body=parse(goal, NO_LINKS))).update or EMPTY)
            replica.apply(log[-1])
        assert steps(replica.view) < 1.2 * read
        assert replica.view() == parse(goals[-1], NO_LINKS)


def _one_by_one(text: str) -> list[str]:
    return [text.replace("words", "things", k) for k in range(1, 80)]


def test_an_edit_looks_into_what_it_changes() -> None:
    """With the view known, an edit reads the nodes of the block it changes, and no others."""
    text = note(500)
    base = express([], Target(body=parse(text, NO_LINKS))).update or EMPTY
    live = Replica.load([base])
    goal = normalise(parse(text.replace("item 7\n", "item 7 more\n"), NO_LINKS), live.view())
    seen = LoadedBody.of(live.doc, live.shown())
    make_checked_body(Clones(seen), goal, {})
    assert sum(n.is_read for n in seen.root.children if isinstance(n, nodes.LazyElem)) == 1
