"""Cases that were got wrong once (``data/regressions.yaml``): documents, files, edits of them."""

from typing import Any

import pytest

from heapsyncd.cache.renditions import Rendition
from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.content_model import violations
from heapsyncd.document.xml.node_kinds import digest_source
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.encoding import SourceText, decode, encode
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.write.render import render
from heapsyncd.sync.merge.base_selection import choose
from heapsyncd.tree import Block
from tests.markdown.rig import outline
from tests.promises.cases import CASES, HEAP, document_of, read, started


def patched(data: bytes, view: Block) -> bytes:
    """The file after the document's view has become another."""
    source = decode(data)
    front, body = frontmatter.split(source.text)
    return encode(SourceText(source.bom, front.raw + patch(body, view, HEAP), source.newline))


def dump(*updates: bytes) -> list[Any]:
    """A document's body as values."""
    root = nodes.read(Replica.load(updates).doc, nodes.BODY)
    return [digest_source(node) for node in root.children]


def expect(case: dict[str, Any], key: str, found: Any) -> None:
    if key in case:
        assert found == case[key]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_file_and_its_document_show_each_other(case: dict[str, Any]) -> None:
    """They read as one tree, reading again is no edit, and no rule of editors is broken."""
    document, data = started(case)
    replica = Replica.load([document])
    tree = read(data)
    assert tree == replica.view()
    assert express([document], Target(body=tree)).update is None
    assert parse(render(tree, HEAP), HEAP) == tree
    assert patched(data, tree) == data
    assert violations(nodes.read(replica.doc, nodes.BODY)) == []
    expect(case, "written", data.decode())
    expect(case, "outline", outline(tree))
    assert case.get("words", "") in tree.words()
    if "body" in case and "edits" not in case:
        assert dump(document) == dump(document_of(case["body"]))


@pytest.mark.parametrize("case", [c for c in CASES if "remote" in c], ids=lambda c: c["name"])
def test_a_remote_edit_changes_its_own_bytes(case: dict[str, Any]) -> None:
    """The file is exactly as the case says, and shows the document."""
    document, data = started(case)
    target = Target(body=parse(case["remote"]["to"], HEAP))
    update = express([document], target).update or EMPTY
    view = Replica.load([document, update]).view()
    after = patched(data, view)
    assert after.decode() == case["remote"]["file"]
    assert read(after) == view


def saved(case: dict[str, Any], data: bytes) -> bytes | None:
    """The file as it is saved."""
    if "saved" in case:
        return str(case["saved"]["to"]).encode()
    text = data.decode()
    for old, new in case.get("edits", ()):
        assert old in text
        text = text.replace(old, new)
    return text.encode() if "edits" in case else None


@pytest.mark.parametrize(
    "case", [c for c in CASES if "saved" in c or "edits" in c], ids=lambda c: c["name"]
)
def test_a_saved_edit_leaves_the_rest_of_the_document(case: dict[str, Any]) -> None:
    """The document's body is exactly as the case says."""
    document, data = started(case)
    file = saved(case, data)
    assert file is not None
    update = express([document], Target(body=read(file))).update
    assert update is not None
    assert dump(document, update) == dump(document_of(case.get("saved", case)["body"]))


@pytest.mark.parametrize("case", [c for c in CASES if "both" in c], ids=lambda c: c["name"])
def test_both_at_once(case: dict[str, Any]) -> None:
    """What both sides did is in the note, once."""
    document, data = started(case)
    both = case["both"]
    theirs = express([document], Target(body=parse(both["remote"], HEAP))).update or EMPTY
    live = Replica.load([document, theirs])
    if "derives" in both:
        texts = [patched(data, live.view()), data]
        ring = [Rendition(2 - k, 1 - k, None, t, b"", 1000 - k) for k, t in enumerate(texts)]
        assert choose(ring, both["saved"].encode(), 2000).rendition is ring[1]
    ours = express([document], Target(body=parse(both["saved"], HEAP)), live=live).update or EMPTY
    assert Replica.load([document, theirs, ours]).view().words() == both["words"]
