"""Documents and texts that nobody should make: nothing crashes, and nothing is lost."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, merge
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.node_kinds import digest_source
from heapsyncd.errors import BlockError, UnreadableDocument
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.write.render import render
from heapsyncd.tree import Block
from heapsyncd.tree import Text as Run
from tests.document import encodings
from tests.document.encodings import item, span
from tests.document.worlds import build


def para(text: str) -> Block:
    return Block("paragraph", inline=(Run(text),))


def doc(*blocks: Block) -> Block:
    return Block("doc", children=blocks)


def dump(*updates: bytes) -> list[Any]:
    root = nodes.read(Replica.load(updates).doc, nodes.BODY)
    return [digest_source(node) for node in root.children]


def quotes(depth: int) -> str:
    return ">" * depth + " the bottom\n"


def items(depth: int) -> str:
    return (
        "".join("  " * i + f"- level {i}\n" for i in range(depth)) + "  " * depth + "the bottom\n"
    )


def tasks(depth: int) -> str:
    lines = ("  " * i + ("- [ ] task\n" if i % 2 else "- item\n") for i in range(depth))
    return "".join(lines) + "  " * depth + "the bottom\n"


def table(depth: int) -> str:
    return "".join("> " * depth + line + "\n" for line in ("|the bottom|", "|-|", "|cell|"))


@pytest.mark.parametrize("depth", [*range(44, 54), *range(90, 104), 200])
@pytest.mark.parametrize("make", [quotes, items, tasks, table])
def test_a_file_of_any_depth_is_a_note(make: Callable[[int], str], depth: int) -> None:
    """However deep its lists and quotes, a document shows the file, and no word is lost."""
    source = make(depth)
    tree = parse(source, NO_LINKS)
    document = express([], Target(body=tree)).update or EMPTY
    view = Replica.load([document]).view()
    assert view == tree
    assert "the bottom" in view.words()
    assert patch(source, view, NO_LINKS) == source
    assert parse(render(view, NO_LINKS), NO_LINKS) == view


@pytest.mark.parametrize("depth", [49, 50, 51, 99, 100, 101, 102, 300])
@pytest.mark.parametrize("kind", ["blockquote", "bulletList"])
def test_a_document_of_any_depth_is_a_file(kind: str, depth: int) -> None:
    """However deep an editor's document, its file shows it; an edit leaves what is too deep."""
    body: Any = ("paragraph", {}, [[("the bottom", {})]])
    for _ in range(depth):
        body = (kind, {}, [("listItem", {}, [body])] if kind == "bulletList" else [body])
    document = build([body, ("paragraph", {}, [[("after", {})]])])
    view = Replica.load([document]).view()
    file = render(view, NO_LINKS)
    assert parse(file, NO_LINKS) == view
    edited = parse(file.replace("after", "after more"), NO_LINKS)
    update = express([document], Target(body=edited)).update or EMPTY
    assert dump(document, update)[0] == dump(document)[0]
    assert "after more" in Replica.load([document, update]).view().words()


LONG = " ".join(f"word{k}" for k in range(60))
NESTS = {
    "quotes": ("blockquote",),
    "lists": ("bulletList", "listItem"),
    "unknown nodes": ("callout",),
    "all of them": ("blockquote", "orderedList", "listItem", "callout", "taskList", "taskItem"),
}


@pytest.mark.slow
@pytest.mark.parametrize("levels", [300, 4800])  # just below what is refused
@pytest.mark.parametrize("kinds", NESTS.values(), ids=NESTS)
def test_what_is_too_deep_still_shows_its_words(kinds: tuple[str, ...], levels: int) -> None:
    """However deep the words are, they are in the file and can be searched, each once; edits
    beside them, and of what stands for them, leave the nodes as they are.
    """
    body: Any = ("paragraph", {}, [[(LONG, {})], ("image", {"alt": "a mast"}, [])])
    for _ in range(levels // len(kinds)):
        for kind in reversed(kinds):
            body = (kind, {}, [body])
    document = build([("paragraph", {}, [[("before", {})]]), body])
    view = Replica.load([document]).view()
    file = render(view, NO_LINKS)
    assert parse(file, NO_LINKS) == view
    for words in (file, view.all_words()):
        assert [words.split().count(w) for w in [*LONG.split(), "mast"]] == [1] * 61
    for old, new in [("before", "before that"), ("word7 ", "word seven ")]:
        typed = parse(file.replace(old, new), NO_LINKS)
        update = express([document], Target(body=typed)).update or EMPTY
        assert dump(document, update)[1] == dump(document)[1]
        assert LONG in Replica.load([document, update]).view().all_words()


def test_words_in_unknown_inline_nodes() -> None:
    """They are in the file, in a table's cell too, and can be searched."""
    inner: Any = [("deep | words: -- <here>", {})]
    for _ in range(150):
        inner = ("span", {}, [inner, [("!", {})]] if isinstance(inner, list) else [inner])
    cell: Any = ("tableCell", {}, [("paragraph", {}, [[("a ", {})], inner])])
    document = build(
        [("paragraph", {}, [[("x ", {})], inner]), ("table", {}, [("tableRow", {}, [cell])])]
    )
    view = Replica.load([document]).view()
    file = render(view, NO_LINKS)
    assert parse(file, NO_LINKS) == view
    assert file.count("span deep words - - here") == 2
    assert view.all_words().count("deep words - - here") == 2


def nested(depth: int) -> Any:
    value: Any = "the bottom"
    for k in range(depth):
        value = [value] if k % 2 else {"k": value, "n": 1.0}
    return value


@pytest.mark.parametrize("depth", [20, 90])
def test_deep_values(depth: int) -> None:
    """Nodes with values as deep as they may be show their words, are told apart, move and stay as
    they are; so does what else the document holds. What is deeper is refused (``examine``).
    """
    body: Any = [
        ("paragraph", {"v": nested(depth)}, [[("first", {})]]),
        ("chart", {"v": nested(depth)}, [[("words", {})], ("math", {"v": nested(depth)}, [])]),
        ("chart", {"v": nested(depth + 2)}, [[("more", {})]]),
        ("file", {"files": nested(depth)}, []),
    ]
    document = build(body)
    view = Replica.load([document]).view()
    file = render(view, NO_LINKS)
    assert parse(file, NO_LINKS) == view
    assert len({b.get("digest") for b in view.children if b.kind == "opaque"}) == 3
    blocks = [f"{block}\n" for block in file.rstrip("\n").split("\n\n")]
    assert [b.split()[2:4] for b in blocks[1:3]] == [["chart:", "words"], ["chart:", "more"]]
    typed = parse("\n".join(["# first\n", blocks[3], blocks[1], blocks[2]]), NO_LINKS)
    update = express([document], Target(body=typed)).update or EMPTY
    before, after = dump(document), dump(document, update)
    assert sorted(map(str, after[1:])) == sorted(map(str, before[1:]))
    assert Replica.load([document, update]).view() == typed


@pytest.mark.parametrize("depth", [150, 3000])
def test_a_title_of_any_depth(depth: int) -> None:
    """A title whose text lies deep is read, and renamed where it lies."""
    document: Doc[Any] = Doc()
    document["title_v0"] = root = XmlFragment()
    below: Any = root
    for _ in range(depth):
        below.children.append(XmlElement("span"))
        below = below.children[0]
    below.children.append(XmlText("Boats"))
    update = document.get_update()
    assert Replica.load([update]).fields().title == "Boats"
    renamed = express([update], Target(title="Boots")).update or EMPTY
    assert Replica.load([update, renamed]).fields().title == "Boots"


def with_root(name: str, root: Any) -> bytes:
    document: Doc[Any] = Doc()
    document[name] = root
    return document.get_update()


ROOTS = [
    pytest.param("content_v0", Map({"a": 1}), id="the body a map"),
    pytest.param("content_v0", Array([1, "x", {"a": 2}]), id="the body a list"),
    pytest.param("content_v0", Text("hello"), id="the body a text"),
    pytest.param("content_v0", XmlFragment([XmlText("bare")]), id="a text among blocks"),
    pytest.param("title_v0", Text("hello"), id="the title a text"),
    pytest.param("title_v0", Map({"a": 1}), id="the title a map"),
    pytest.param("relations_v0", Array([1]), id="the relations a list"),
    pytest.param("files_v0", Text("x"), id="the files a text"),
    pytest.param("meta_v0", XmlFragment([XmlText("x")]), id="the meta a tree"),
    pytest.param("someplace_v9", Map({"a": Map({"b": [1, None]})}), id="an unknown root"),
    pytest.param("someplace_v9", Map({"note": Doc()}), id="a document in a document"),
]


@pytest.mark.parametrize(("name", "root"), ROOTS)
def test_roots_of_another_kind(name: str, root: Any) -> None:
    """A root that is not what the contract says hinders no edit and stays in the document."""
    document = with_root(name, root)
    view = Replica.load([document]).view()
    goal = doc(*view.children, para("new"))
    update = express([document], Target(body=goal, title="Title")).update or EMPTY
    after = Replica.load([document, update])
    assert after.view() == goal
    assert set(Replica.load([document]).doc.keys()) <= set(after.doc.keys())


def strange(fill: Callable[[XmlElement, XmlText], None]) -> bytes:
    """A note of one paragraph after something was done to it and its text."""
    document: Doc[Any] = Doc()
    document["content_v0"] = root = XmlFragment()
    text = XmlText("one two")
    element = XmlElement("paragraph", {}, [text])
    root.children.append(element)
    fill(element, text)
    return document.get_update()


STRANGE = [
    pytest.param(lambda _, t: t.insert_embed(3, {"a": [1, None]}), id="an embedded object"),
    pytest.param(lambda _, t: t.insert_embed(3, 5), id="an embedded number"),
    pytest.param(lambda _, t: t.insert_embed(3, True), id="an embedded truth"),
    pytest.param(lambda _, t: t.insert_embed(3, Map({"k": 1})), id="an embedded map"),
    pytest.param(lambda _, t: t.format(0, 3, {"glow": {"hue": 3}}), id="an unknown mark"),
    pytest.param(lambda _, t: t.format(0, 3, {"bold": [1, None]}), id="a mark of another value"),
    pytest.param(lambda _, t: t.format(0, 3, {"link": {"href": 5}}), id="a link to a number"),
    pytest.param(
        lambda e, _: e.children.append(XmlElement("dingbat", {"n": "1"})),
        id="an unknown inline node",
    ),
    pytest.param(
        lambda e, _: e.children.append(XmlElement("a b<>&", {"x y": "<\0>"})), id="an odd name"
    ),
    pytest.param(
        lambda e, _: e.children.append(XmlElement("", {}, [XmlText("x")])), id="a nameless node"
    ),
    pytest.param(lambda e, _: e.attributes.__setitem__("m", {"d": [None]}), id="an object"),
    pytest.param(lambda e, _: e.attributes.__setitem__("m", Map({"k": 1})), id="a shared map"),
    pytest.param(lambda e, _: e.attributes.__setitem__("nul", None), id="an explicit null"),
    pytest.param(lambda _, t: t.insert(3, "\0\ufffe\uffff\x01"), id="controls and no characters"),
]


@pytest.mark.parametrize("fill", STRANGE)
def test_strange_things_in_a_paragraph(fill: Callable[[XmlElement, XmlText], None]) -> None:
    """The file shows the note; what is typed into the file leaves what the file can't say."""
    document = strange(fill)
    view = Replica.load([document]).view()
    file = render(view, NO_LINKS)
    tree = parse(file, NO_LINKS)
    assert tree == view
    assert express([document], Target(body=tree)).update is None
    typed = parse(file.replace("one", "onne", 1), NO_LINKS)
    update = express([document], Target(body=typed)).update or EMPTY
    assert str(dump(document, update)).replace("onne", "one") == str(dump(document))
    assert Replica.load([document, update]).view() == typed


@pytest.mark.parametrize("bad", ["lone \ud800 half", "\udfff"])
def test_half_a_character_is_refused(bad: str) -> None:
    """Text that can't be encoded is an error of this one block, and the document stays."""
    base = build([("paragraph", {}, [[("text", {})]])])
    for target in (Target(body=doc(para(bad))), Target(title=bad)):
        with pytest.raises(BlockError):
            express([base], target)
    assert Replica.load([base]).view() == doc(para("text"))


BASE = build([("paragraph", {}, [[("one", {})]]), ("paragraph", {}, [[("two", {})]])])


def steps() -> list[bytes]:
    """The updates of somebody who types."""
    updates = [BASE]
    for k in range(12):
        goal = doc(para("one" + " more" * k), para(f"two {k}"), para("end"))
        updates.append(express(updates, Target(body=goal), client_id=5).update or EMPTY)
    return updates


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_replayed_and_shuffled_updates(data: st.DataObject) -> None:
    """Updates that come twice, late or in any order make the document that they make."""
    updates = steps()
    again = data.draw(st.lists(st.sampled_from(updates), max_size=10))
    order = data.draw(st.permutations([*updates, *again]))
    replica = Replica()
    for update in order:
        replica.apply(update)
    for found in (replica, Replica.load(order), Replica.load([merge(order)])):
        assert found.fingerprint() == Replica.load(updates).fingerprint()
        assert not found.has_pending()


def test_a_gap_that_is_filled_late() -> None:
    """Of updates that arrive before the one they need, none is forgotten when it comes."""
    first, missing, *later = steps()
    replica = Replica.load([first, *later])
    assert replica.has_pending()
    assert replica.apply(missing)
    assert replica.view() == Replica.load(steps()).view()
    assert Replica.load([first, *later, missing]).view() == replica.view()
    assert not replica.has_pending()


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_torn_updates_among_good_ones(data: st.DataObject) -> None:
    """An update cut off or with changed bytes is refused or harmless; the good ones arrive."""
    updates = steps()
    torn = bytearray(data.draw(st.sampled_from(updates)))
    for _ in range(data.draw(st.integers(0, 3))):
        torn[data.draw(st.integers(0, len(torn) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(torn[: data.draw(st.integers(0, len(torn)))])
    replica = Replica.load(updates[:6])
    try:
        replica.apply(cut)
    except UnreadableDocument:
        for update in updates[6:]:
            replica.apply(update)
        assert replica.fingerprint() == Replica.load(updates).fingerprint()
    assert replica.view() is not None


@pytest.mark.slow
def test_a_huge_update_is_a_note() -> None:
    """Four megabytes of text in one paragraph come and go like any text, in one update."""
    words = ("word " * 800_000).strip()
    update = express([], Target(body=doc(para(words)))).update or EMPTY
    assert Replica.load([merge([update, update])]).view() == doc(para(words))
    more = express([update], Target(body=doc(para(words + " more")))).update or EMPTY
    assert len(more) < 60
    assert Replica.load([update, more]).view().words() == words + " more"


def test_a_key_that_is_named_but_not_there() -> None:
    """Where a map holds a mark, yrs names a key and gives no value: it is passed over."""
    mark = item(6, span(b"bold") + span(b"true"), b"\1" + span(b"files_v0") + span(b"k"), 0x20)
    file = item(8, b"\1\x76\0", b"\1" + span(b"files_v0") + span(b"f"), 0x20)
    replica = Replica.load([encodings.update([(7, 0, [(mark, 1), (file, 1)])])])
    assert [f.key for f in replica.fields().files] == ["f"]
    assert express([replica.state()], Target(title="T")).update is not None
