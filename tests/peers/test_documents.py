"""What we write into documents, before the editor's own judgement (y-prosemirror)."""

from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.document.edit import Target, express, express_source
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.model import Lines, Source
from heapsyncd.tree import Atom, Block, Text, attrs
from tests.peers.programs import Judge, decoded, faults
from tests.peers.trees import RANDOMS, TREES, grow_tree, mutate
from tests.peers.typists import EDITOR_DOCUMENTS, Node, grow_editor_document
from tests.promises.cases import CASES, started

BATCH = 100
BATCHES = 20


def written(tree: Block, base: bytes | None = None) -> list[bytes]:
    """The document after the tree has been expressed on the base; its view must be the tree."""
    updates = [] if base is None else [base]
    edit = express(updates, Target(body=tree))
    document = updates if edit.update is None else [*updates, edit.update]
    view = Replica.load(document).view()
    assert unnumbered(view) == unnumbered(tree)
    return document


def unnumbered(tree: Block) -> Block:
    """The tree without digests: they tell equal unknown nodes apart by an order that may shift."""
    return replace(
        tree,
        attrs=tuple(pair for pair in tree.attrs if pair[0] != "digest"),
        inline=tuple(
            Atom(i.kind, attrs(label=i.get("label")))
            if isinstance(i, Atom) and i.kind == "opaque"
            else i
            for i in tree.inline
        ),
        children=tuple(unnumbered(child) for child in tree.children),
    )


def held(verdict: Any) -> list[str]:
    """Faults, and empty texts: our own documents have no reason to hold any."""
    return faults(verdict) + [f"{verdict['empty']} empty texts"] * (verdict["empty"] > 0)


def unknown(document: Any) -> list[str]:
    """The nodes of ProseMirror JSON that markdown has no word for, in order."""
    found = [document["type"]] if document["type"] in {"whiteboard", "formula", "callout"} else []
    for child in document.get("content", []):
        found += unknown(child)
    return found


@settings(max_examples=100, deadline=None)
@given(tree=TREES)
@example(tree=Block("doc"))
def test_a_note_from_a_file_is_a_document_an_editor_takes(judge: Judge, tree: Block) -> None:
    """A tree written into an empty document opens without an update; typing stays where it is."""
    assert held(judge.verdict(*written(tree))) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_thousands_of_documents_are_taken(judge: Judge, batch: int) -> None:
    """As above, in bulk; the seed names the document that is not."""
    seeds = range(batch * BATCH, (batch + 1) * BATCH)
    documents = [written(grow_tree(Random(seed))) for seed in seeds]
    verdicts = judge.verdicts(documents)
    assert {s: held(v) for s, v in zip(seeds, verdicts, strict=True) if held(v)} == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cases_once_got_wrong_are_taken(judge: Judge, case: dict[str, Any]) -> None:
    """Their documents open without an update; typing stays where it is."""
    document, _ = started(case)
    assert faults(judge.verdict(document)) == []


@settings(max_examples=150, deadline=None)
@given(document=EDITOR_DOCUMENTS, random=RANDOMS)
def test_an_edit_of_an_editors_document_is_taken(
    judge: Judge, document: Node, random: Random
) -> None:
    """Edits through the view leave a document that the editor opens without an update."""
    base = judge.write(document)
    tree = mutate(random, Replica.load([base]).view())
    assert faults(judge.verdict(*written(tree, base))) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(5))
def test_edits_in_bulk_are_taken(judge: Judge, batch: int) -> None:
    """As above, in bulk."""
    seeds = range(batch * BATCH, (batch + 1) * BATCH)
    documents = []
    for seed in seeds:
        random = Random(seed)
        base = judge.write(grow_editor_document(random))
        documents.append(written(mutate(random, Replica.load([base]).view()), base))
    verdicts = judge.verdicts(documents)
    assert {s: faults(v) for s, v in zip(seeds, verdicts, strict=True) if faults(v)} == {}


@settings(max_examples=50, deadline=None)
@given(document=EDITOR_DOCUMENTS, text=st.sampled_from(["x", "é", "👋🏽"]))
def test_an_edit_keeps_what_markdown_cannot_say(judge: Judge, document: Node, text: str) -> None:
    """A paragraph put in front changes nothing of what stood there, unknown nodes included."""
    # Into an empty paragraph the new text would simply be put: so the note begins with a heading.
    heading = {"type": "heading", "attrs": {"level": 1}, "content": []}
    base = judge.write({**document, "content": [heading, *document["content"]]})
    view = Replica.load([base]).view()
    before = judge.verdict(base, json=True)["json"]["content"]
    new = Block("paragraph", inline=(Text(text),))
    tree = view.with_children([new, *view.children])
    after = judge.verdict(*written(tree, base), json=True)["json"]["content"]
    assert after[1:] == before
    assert unknown({"type": "doc", "content": after}) == unknown(document)


@settings(max_examples=50, deadline=None)
@given(tree=TREES, body=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_an_editor_leaves_a_source_as_it_is(judge: Judge, tree: Block, body: str) -> None:
    """The document opens without an update, and Yjs returns it with its source."""
    source = Source(body, {"a": Lines("a: 1\n"), "b": Lines("b: [", is_exact=True)}, ("b", "a"))
    document = written(tree)
    update = express_source(document, lambda _: source)
    assert update is not None
    verdict = judge.verdict(merge([*document, update]), state=True)
    assert faults(verdict) == []
    assert Replica.load([decoded(verdict["state"])]).source(1 << 20).source == source


@settings(max_examples=50, deadline=None)
@given(document=EDITOR_DOCUMENTS)
def test_an_unchanged_view_is_no_edit(judge: Judge, document: Node) -> None:
    """Writing back what is there yields nothing at all."""
    base = judge.write(document)
    assert express([base], Target(body=Replica.load([base]).view())).update is None
