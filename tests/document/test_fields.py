"""Title, tags, files and deletion: read tolerantly, written as the contract has them."""

from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Doc, Map, XmlElement, XmlFragment, XmlText

from heapsyncd.document.edit import Target, edit, express
from heapsyncd.document.edit import titled as first_title
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import FileEntry
from tests.document.worlds import KEY, ULID, ULID_2

A, B = BlockId(ULID), BlockId(ULID_2)
FILE = FileEntry(KEY, "a" * 64, "plan.pdf", 12, "application/pdf")


def written(change: Callable[[Doc[Any]], None]) -> bytes:
    doc: Doc[Any] = Doc(client_id=7)
    with doc.transaction():
        change(doc)
    return doc.get_update()


def titled(*children: Any) -> bytes:
    def change(doc: Doc[Any]) -> None:
        root = doc.get("title_v0", type=XmlFragment)
        for child in children:
            root.children.append(child)

    return written(change)


def paragraph(text: str) -> XmlElement:
    return XmlElement("paragraph", {}, [XmlText(text)])


def after(base: bytes, target: Target) -> Replica:
    return Replica.load([base, express([base], target).update or EMPTY])


def title_xml(replica: Replica) -> str:
    return str(replica.doc.get("title_v0", type=XmlFragment))


@pytest.mark.parametrize(
    ("base", "read", "xml"),
    [
        pytest.param(EMPTY, "", "<paragraph>New boat</paragraph>", id="none yet: a paragraph"),
        pytest.param(
            titled(paragraph("Boat")), "Boat", "<paragraph>New boat</paragraph>", id="paragraph"
        ),
        pytest.param(titled(XmlText("Boat")), "Boat", "New boat", id="bare text"),
        pytest.param(
            titled(paragraph(" Boat ")), "Boat", "<paragraph> New boat </paragraph>", id="edges"
        ),
        pytest.param(
            titled(XmlElement("paragraph")), "", "<paragraph>New boat</paragraph>", id="empty"
        ),
    ],
)
def test_the_title_is_written_in_the_form_it_has(base: bytes, read: str, xml: str) -> None:
    """Both forms are read and kept; hidden whitespace stays."""
    assert Replica.load([base]).fields().title == read
    replica = after(base, Target(title="New boat"))
    assert replica.fields().title == "New boat"
    assert title_xml(replica) == xml


def test_a_newline_in_a_title_reads_as_a_space() -> None:
    """A title is one line, whatever its text holds."""
    assert Replica.load([titled(paragraph("My\nboat"))]).fields().title == "My boat"


def test_the_same_title_is_no_edit() -> None:
    """A target that is fulfilled makes no update."""
    base = titled(paragraph("Boat"))
    assert express([base], Target(title="Boat")).update is None
    assert after(base, Target(title="")).fields().title == ""


def test_two_equal_renames_are_one() -> None:
    """What the live title already says is not typed again."""
    base = titled(paragraph("Boat"))
    theirs = express([base], Target(title="Boats")).update
    assert theirs is not None
    live = Replica.load([base, theirs])
    assert express([base], Target(title="Boats"), live=live).update is None
    ours = express([base], Target(title="My Boat"), live=live).update
    assert ours is not None
    assert Replica.load([base, theirs, ours]).fields().title == "My Boats"


def test_tags_come_and_go() -> None:
    """Tags are relations of type tag; other relations and older forms are left alone."""

    def change(doc: Doc[Any]) -> None:
        relations = doc.get("relations_v1", type=Map)
        relations["mentioned"] = Map({"type": "mention"})
        relations["plain"] = {"type": "tag"}
        relations["odd"] = 5

    base = written(change)
    assert Replica.load([base]).fields().tags == ("plain",)
    replica = after(
        base, Target(add_tags=frozenset({A, B}), remove_tags=frozenset({BlockId("plain")}))
    )
    assert replica.fields().tags == (A, B)
    gone = after(replica.state(), Target(remove_tags=frozenset({A, BlockId("mentioned")})))
    assert gone.fields().tags == (B,)
    assert "mentioned" in gone.doc.get("relations_v1", type=Map)
    assert express([replica.state()], Target(add_tags=frozenset({A}))).update is None


def test_files_are_written_as_the_contract_has_them() -> None:
    """A new entry is whole, a known one is changed where it differs, extra values stay."""
    replica = after(EMPTY, Target(put_files=(FILE,)))
    assert replica.fields().files == (FILE,)
    entry = replica.doc.get("files_v0", type=Map)[KEY]
    assert isinstance(entry, Map)
    assert entry.to_py() == {
        "name": "plan.pdf",
        "mime_type": "application/pdf",
        "file_size": 12.0,
        "hash": "a" * 64,
        "is_uploaded": False,
    }
    with replica.doc.transaction():
        entry["width"] = 640
    base = replica.state()
    assert express([base], Target(put_files=(FILE,))).update is None
    renamed = FileEntry(KEY, "a" * 64, "new.pdf", 12, "application/pdf", is_uploaded=True)
    changed = after(base, Target(put_files=(renamed,)))
    assert changed.fields().files == (renamed,)
    assert changed.doc.get("files_v0", type=Map)[KEY]["width"] == 640
    assert after(base, Target(drop_files=(KEY, "unknown"))).fields().files == ()


def test_odd_file_entries_are_read_as_far_as_they_go() -> None:
    """A bare hash, a value that is no map, numbers of the wrong kind."""

    def change(doc: Doc[Any]) -> None:
        files = doc.get("files_v0", type=Map)
        files["b" * 64] = Map({"name": 5, "file_size": True})
        files[KEY] = "odd"

    first, second = Replica.load([written(change)]).fields().files
    assert (first.hash, first.size_bytes, first.name) == ("a" * 64, 12, "")
    assert (second.hash, second.size_bytes, second.name) == ("b" * 64, 0, "")


def test_deletion_is_a_time_in_meta() -> None:
    """Trashed and restored; null and absent are both live; permanence is only read."""
    base = after(EMPTY, Target(deleted_at_ms=1_760_000_000_000)).state()
    assert Replica.load([base]).fields().deleted_at_ms == 1_760_000_000_000
    assert express([base], Target(deleted_at_ms=1_760_000_000_000)).update is None
    restored = after(base, Target(deleted_at_ms=None))
    assert restored.fields().deleted_at_ms is None
    assert express([restored.state()], Target(deleted_at_ms=None)).update is None

    def change(doc: Doc[Any]) -> None:
        meta = doc.get("meta_v0", type=Map)
        meta["deleted_at"] = None
        meta["permanently_deleted_at"] = 5

    fields = Replica.load([written(change)]).fields()
    assert (fields.deleted_at_ms, fields.permanently_deleted_at_ms) == (None, 5)


def test_unknown_roots_survive() -> None:
    """An edit of everything we know leaves apps_v0 and a root without a name here as they are."""

    def change(doc: Doc[Any]) -> None:
        doc.get("apps_v0", type=Map)["view"] = {"zoom": 3}
        doc.get("future_v9", type=Map)["x"] = 1

    base = written(change)
    target = Target(title="T", add_tags=frozenset({A}), put_files=(FILE,), deleted_at_ms=1)
    doc = after(base, target).doc
    assert doc.get("apps_v0", type=Map).to_py() == {"view": {"zoom": 3.0}}
    assert doc.get("future_v9", type=Map).to_py() == {"x": 1.0}


@pytest.mark.parametrize("figure", [1e300, -1e300, 2.0**63, 2.0**53, float("inf"), float("nan")])
def test_a_number_that_nobody_can_hold_is_none(figure: float) -> None:
    """Beyond 2^53, where JavaScript's numbers are not exact, a figure says nothing."""

    def change(doc: Doc[Any]) -> None:
        doc.get("meta_v0", type=Map)["deleted_at"] = figure
        doc.get("meta_v0", type=Map)["permanently_deleted_at"] = figure
        doc.get("files_v0", type=Map)[KEY] = Map({"file_size": figure, "name": "x"})

    fields = Replica.load([written(change)]).fields()
    assert (fields.deleted_at_ms, fields.permanently_deleted_at_ms) == (None, None)
    assert [f.size_bytes for f in fields.files] == [12], "the key's own figure counts"


@pytest.mark.parametrize(
    ("key", "said", "read"),
    [
        (KEY, "b" * 64, "b" * 64),
        (KEY, "../../../../other-app/collect", "a" * 64),
        (KEY, "b" * 63 + "/", "a" * 64),
        ("../../x", "../../y", ""),
        ("name.pdf", None, ""),
        ("B" * 64, 7.0, "b" * 64),
        (KEY, "B" * 64, "b" * 64),
        ("\u0660" * 64, "\u0661" * 64, ""),
    ],
)
def test_a_hash_is_64_hex_digits_or_absent(key: str, said: object, read: str) -> None:
    """It becomes part of an address: nothing else passes."""

    def change(doc: Doc[Any]) -> None:
        doc.get("files_v0", type=Map)[key] = Map({"hash": said, "name": "x"})

    (file,) = Replica.load([written(change)]).fields().files
    assert (file.key, file.hash) == (key, read)


def test_two_spellings_of_a_hash_are_one_file() -> None:
    """Written without capitals if it is at all, uploaded if one of them says so, and removed in
    both spellings.
    """
    capitals = f"{'A' * 64}:12"

    def change(doc: Doc[Any]) -> None:
        files = doc.get("files_v0", type=Map)
        files[KEY] = Map({"name": "x"})
        files[capitals] = Map({"name": "y", "is_uploaded": True})
        files["Name.PDF"], files["name.pdf"] = Map({}), Map({})

    replica = Replica.load([written(change)])
    names = [(f.key, f.name, f.is_uploaded) for f in replica.fields().files]
    assert names == [("Name.PDF", "", False), (KEY, "x", True), ("name.pdf", "", False)]
    edit(replica, Target(drop_files=(KEY,)))
    assert [f.key for f in replica.fields().files] == ["Name.PDF", "name.pdf"]


@pytest.mark.parametrize("client_id", [11, 12], ids=["the same life", "a later one"])
@pytest.mark.parametrize("edits", [0, 1, 2])
def test_first_title_without_the_document(edits: int, client_id: int) -> None:
    """The edit that gives a document its first title is found from its state vector alone, and is
    the one that the document itself would make.
    """
    replica, log = Replica(11), []
    for k in range(edits):
        made = edit(
            replica, Target(body=parse(f"text {k}", NO_LINKS), add_tags=frozenset({BlockId(ULID)}))
        )
        log += [made.update] if made.update is not None else []
    found = first_title(log, replica.state_vector(), "Boat 👋", client_id)
    assert found is not None
    later = Replica.load(log, client_id)
    assert found == (edit(later, Target(title="Boat 👋")).update, later.state_vector())
    assert Replica.load([*log, found[0]]).fields() == later.fields()
    assert later.fields().title == "Boat 👋"


@pytest.mark.parametrize("wanted", ["", " Boat", "two\nlines", "\0"])
def test_no_first_title_that_would_show_as_another(wanted: str) -> None:
    """What is no title as it stands is left to the document."""
    assert first_title([], b"\0", wanted, 11) is None


def test_no_first_title_where_there_may_be_one() -> None:
    """A document whose updates write a title, be it one that is gone, must be asked itself."""
    replica = Replica(11)
    log = [edit(replica, Target(title=t)).update or EMPTY for t in ("Boat", "")]
    assert first_title(log, replica.state_vector(), "Ship", 11) is None
