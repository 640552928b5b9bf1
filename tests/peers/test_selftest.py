"""The peers themselves: each must be able to see the fault it is there to see."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from pycrdt import Doc, XmlElement, XmlFragment, XmlText

from tests.peers.documents import document, element, paragraph
from tests.peers.programs import Judge, Program, decoded, encoded, faults
from tests.peers.typists import EDITOR_DOCUMENTS, Node


def good() -> bytes:
    return document(
        paragraph("first"),
        element("todo_list", [element("todo_item", [paragraph("done")], checked=True)]),
        element("horizontalRule"),
        element("heading", [XmlText("last")], level=2),
    )


def test_a_document_of_the_contract_is_accepted(judge: Judge) -> None:
    """A plain document opens with no update, and typing changes one text each."""
    verdict = judge.verdict(good(), json=True)
    assert faults(verdict) == []
    assert verdict["text"] == "firstdonelast"
    assert verdict["typed"]["first"]["changed"] == [[0, 0]]
    assert verdict["typed"]["last"]["changed"] == [[3, 0]]
    assert [block["type"] for block in verdict["json"]["content"]][1] == "todo_list"


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (lambda: element("blockquote"), "an empty quote is deleted"),
        (lambda: element("marquee"), "an unknown node is deleted"),
        (lambda: element("bulletList", [paragraph("x")]), "a list holds items only"),
        (lambda: XmlText("bare"), "text at the root can't be opened"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_an_editor_deletes_is_reported(
    judge: Judge, block: Callable[[], XmlElement | XmlText], why: str
) -> None:
    """Each shape an editor does not accept has a fault."""
    assert faults(judge.verdict(document(paragraph("a"), block()))) != [], why


def test_an_unknown_mark_is_reported(judge: Judge) -> None:
    """A mark no schema has costs the whole text, and the judge sees it."""
    doc: Doc[Any] = Doc()
    doc["content_v0"] = root = XmlFragment()
    block = root.children.append(element("paragraph"))
    text = block.children.append(XmlText("x"))
    text.format(0, 1, {"sparkle": {}})
    assert faults(judge.verdict(doc.get_update())) != []


def test_what_typing_changes_elsewhere_is_reported(judge: Judge) -> None:
    """A change outside the typed-in block is a fault even when the content looks the same."""
    verdict = judge.verdict(good())
    verdict["typed"]["first"]["changed"].append([3, 0])
    assert "typing in the first" in faults(verdict)[0]


def test_an_update_whose_ground_is_missing_is_reported(judge: Judge) -> None:
    """Updates that hang in the air are no document."""
    doc: Doc[Any] = Doc()
    doc["content_v0"] = root = XmlFragment()
    root.children.append(paragraph("x"))
    before = doc.get_state()
    root.children.append(paragraph("y"))
    assert faults(judge.verdict(doc.get_update(before))) != []


def test_the_judge_writes_as_an_editor_does(judge: Judge) -> None:
    """What y-prosemirror wrote is read back by pycrdt, overlapping marks under their long name."""
    run = {"type": "text", "text": "hi", "marks": [{"type": "annotation", "attrs": {"thread": 1}}]}
    update = judge.write({"type": "doc", "content": [{"type": "paragraph", "content": [run]}]})
    doc: Doc[Any] = Doc()
    doc.apply_update(update)
    text = doc.get("content_v0", type=XmlFragment).children[0].children[0]
    ((_, marks),) = text.diff()
    assert [name.split("--")[0] for name in marks] == ["annotation"]


@settings(max_examples=30, deadline=None)
@given(document=EDITOR_DOCUMENTS)
def test_what_an_editor_writes_is_accepted(judge: Judge, document: Node) -> None:
    """The judge holds nothing against what its own editor wrote, unknown things included."""
    assert faults(judge.verdict(judge.write(document))) == []


async def test_npm_peers_converge_among_themselves(
    people: Program, hub: Program, major: int
) -> None:
    """Two providers on npm's own server see each other's edits: the peers work without us."""
    start = await hub.ask("start", major=major, tokens=["T"])
    assert start["version"].startswith(f"{major}.")
    await hub.ask("put", name="h:b:v1", update=encoded(good()))
    url = f"ws://127.0.0.1:{start['port']}/ws"
    for who in ("anna", "ben"):
        await people.ask("connect", socket=who, url=url, major=major)
        await people.ask("open", doc=who, socket=who, name="h:b:v1", token="T")
        await people.ask("wait", doc=who, **{"for": "synced"})
    await people.ask("edit", doc="anna", edits=[{"do": "type", "block": 0, "text": "Anna "}])
    await people.ask("edit", doc="ben", edits=[{"do": "type", "block": -1, "text": "Ben "}])
    for who, other in (("anna", "Ben last"), ("ben", "Anna first")):
        seen = await people.ask("wait", doc=who, text=other, **{"for": "text"})
        assert seen["repairs"] == 0
    saved = await people.ask("wait", doc="ben", **{"for": "saved"})
    await hub.ask("wait", name="h:b:v1", update=saved["state"])
    assert decoded((await hub.ask("read", name="h:b:v1"))["state"])


async def test_npm_server_refuses_a_wrong_token(people: Program, hub: Program, major: int) -> None:
    """The hub checks tokens, and the provider hears of it."""
    start = await hub.ask("start", major=major, tokens=["T"])
    await hub.ask("put", name="h:b:v1", update=encoded(good()))
    await people.ask("connect", socket="s", url=f"ws://127.0.0.1:{start['port']}/ws", major=major)
    await people.ask("open", doc="d", socket="s", name="h:b:v1", token="wrong")
    assert "unauthorized" in (await people.ask("wait", doc="d", **{"for": "denied"}))["denied"]
    assert (await hub.ask("stats"))["refused"] == 1
