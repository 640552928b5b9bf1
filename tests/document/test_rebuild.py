"""A document made anew: what is carried over, and what is told when it can't be."""

from collections.abc import Iterator
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from heapsyncd.document.rebuild import rebuild
from heapsyncd.errors import UnreadableDocument
from tests.document.encodings import item, span, update
from tests.document.victim import Victim

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    """Asked first: what never comes back from yrs can't be ended in this process."""
    with Victim() as running:
        yield running


def plain(value: Any) -> Any:
    """A shared type as values."""
    if isinstance(value, Text | XmlText):
        return [(plain(part), formats) for part, formats in value.diff()]
    return value.to_py() if isinstance(value, Map | Array) else str(value)


ROOTS = [
    pytest.param(Text("x👋y"), id="a text"),
    pytest.param(Text(""), id="nothing"),
    pytest.param(Array(["a", "b"]), id="letters"),
    pytest.param(Array(["👋", 1, None, {"k": [1]}]), id="values"),
    pytest.param(Array([Array(["x", "👋"]), Map({"k": 1})]), id="lists and maps in a list"),
    pytest.param(Map({"k": Array([1, "👋"]), "t": Text("👋!")}), id="a map"),
    pytest.param(XmlFragment([XmlElement("p", {"a": "1"}, [XmlText("👋!")])]), id="a tree"),
]


@pytest.mark.parametrize("root", ROOTS)
def test_unknown_roots_are_carried_over(victim: Victim, root: Any) -> None:
    """Each as what it is."""
    old: Doc[Any] = Doc()
    old["someplace_v9"] = root
    assert victim.survives([old.get_update()])
    new: Doc[Any] = Doc()
    new.apply_update(rebuild([old.get_update()]))
    assert plain(new.get("someplace_v9", type=type(root))) == plain(root)


def test_a_map_in_a_text_is_carried_over() -> None:
    """What is embedded in a text may hold more."""
    old: Doc[Any] = Doc()
    text = XmlText("one two")
    old["content_v0"] = XmlFragment([XmlElement("p", {}, [text])])
    text.insert_embed(3, Map({"k": 1}))
    new: Doc[Any] = Doc()
    new.apply_update(rebuild([old.get_update()]))
    (copy,) = new.get("content_v0", type=XmlFragment).children
    assert [plain(v) for v, _ in copy.children[0].diff()][1] == {"k": 1.0}


WAVE = span("👋x".encode())
OUT_OF_PLACE = [
    pytest.param([(item(7, b"\0", b"\1\1r\1k", 0x20), 1), (item(4, WAVE, b"\0\7\0"), 3)],
                 id="a text in a list"),
    pytest.param([(item(7, b"\3\1p", b"\1\1r\1k", 0x20), 1)], id="a node in a map"),
    pytest.param([(item(7, b"\2", b"\1\1r\1k", 0x20), 1), (item(7, b"\6", b"\0\7\0"), 1)],
                 id="a text of a tree in a text"),
]  # fmt: skip


@pytest.mark.parametrize("structs", OUT_OF_PLACE)
def test_what_is_out_of_place_is_told(victim: Victim, structs: list[tuple[bytes, int]]) -> None:
    """What no app makes ends in the error of a document, neither in another nor never."""
    data = update([(7, 0, structs)])
    assert victim.survives([data])
    with pytest.raises(UnreadableDocument):
        rebuild([data])
