"""The validator: what an editor would delete is named, what it accepts passes."""

from typing import Any

import pytest

from heapsyncd.document.replica import Replica
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.content_model import violations
from tests.document.worlds import build

P: Any = ("paragraph", {}, [[("x", {})]])
EMPTY: Any = ("paragraph", {}, [])


def found(*body: Any) -> list[str]:
    return violations(nodes.read(Replica.load([build(body)]).doc, nodes.BODY))


@pytest.mark.parametrize(
    ("block", "rule"),
    [
        (("blockquote", {}, []), "empty"),
        (("bulletList", {}, []), "empty"),
        (("bulletList", {}, [("todo_item", {}, [P])]), "holds todo_item"),
        (("todo_list", {}, [("listItem", {}, [P])]), "holds listItem"),
        (("bulletList", {}, [("listItem", {}, [("horizontalRule", {}, [])])]), "start with"),
        (("bulletList", {}, [("listItem", {}, [[("x", {})]])]), "bare text"),
        (("table", {}, [P]), "holds paragraph"),
        (("table", {}, [("tableRow", {}, [])]), "empty"),
        (("heading", {}, [P]), "holds paragraph"),
        (("codeBlock", {}, [[("x", {"bold": {}})]]), "marks"),
        (("codeBlock", {}, [("hardBreak", {}, [])]), "one text"),
        (("horizontalRule", {}, [P]), "children"),
        (("paragraph", {}, [[("a", {})], [("b", {})]]), "side by side"),
        (("paragraph", {}, [[]]), "empty text"),
        (("paragraph", {}, [[("a", {"bold": True})]]), "without a value"),
        ([("x", {})], "bare text"),
        (("listItem", {}, [P]), "holds listItem"),
    ],
)
def test_what_an_editor_deletes_is_named(block: Any, rule: str) -> None:
    """Each row of the content model has its sentence."""
    assert any(rule in v for v in found(block))


def test_what_an_editor_accepts_passes() -> None:
    """Every construct of the contract, empty paragraphs and unknown nodes break no rule."""
    body = [
        P,
        EMPTY,
        ("heading", {"level": 1}, []),
        ("codeBlock", {}, []),
        ("codeBlock", {}, [[("x", {})]]),
        ("blockquote", {}, [EMPTY]),
        ("bulletList", {}, [("listItem", {}, [EMPTY, ("horizontalRule", {}, [])])]),
        ("taskList", {}, [("taskItem", {"checked": True}, [P])]),
        ("table", {}, [("tableRow", {}, [("tableHeader", {}, [EMPTY])])]),
        ("image", {"src": "x"}, []),
        ("paragraph", {}, [[("a", {"code": {}})], ("image", {}, []), [("b", {})]]),
        ("callout", {}, [("listItem", {}, [])]),
    ]
    assert found(*body) == []
