"""How deep an update nests what it puts in."""

from typing import Any

import pytest

from heapsyncd.document.encoding.structure_limits import levels
from tests.document.encodings import chain, item, update
from tests.document.worlds import build


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 50])
def test_levels(depth: int, *, beside: bool, clients: int) -> None:
    """A type in a root lies at no level; each other one level deeper than what it is in."""
    assert levels(chain(depth, beside=beside, clients=clients)) == depth - 1


def test_levels_of_a_document() -> None:
    """A text in a paragraph in a quote lies two levels deep, its letters three."""
    body: Any = [("blockquote", {}, [("paragraph", {}, [[("text", {})]])])]
    assert levels(build(body)) == 3
    assert levels(b"\0\0") == 0


def test_a_circle_has_no_levels() -> None:
    """Structs that are in one another are in no document."""
    circle = [(item(7, b"\1", b"\0\7\1"), 1), (item(7, b"\1", b"\0\7\0"), 1)]
    assert levels(update([(7, 0, circle)])) < 5
