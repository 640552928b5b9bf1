"""The folder's changes are named rightly."""

import pytest

from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId
from heapsyncd.model import Stat
from heapsyncd.sync.heap.observed import Found
from heapsyncd.sync.heap.paths import assets_of, assets_owner
from heapsyncd.sync.scan.move_detection import recognise

A, B, C = (BlockId(f"01J8XYZ0ABCDEFGHJKMNPQRS{k}") for k in ("TA", "TB", "TC"))


def note(path: str, block: BlockId = A, inode: int = 1, digest: bytes = b"x") -> EntryRow:
    return EntryRow(path, block, "note", stat=Stat(10, 0, 0, inode, 1), digest=digest)


def found(
    path: str, front_id: str | None = None, inode: int = 9, digest: bytes = b"x", size: int = 10
) -> Found:
    return Found(path, "file", inode, 1, size, front_id, digest)


@pytest.mark.parametrize(
    ("what", "missing", "created", "moves"),
    [
        ("the id in the front matter", [note("A.md")], [found("B.md", A, 5, b"y")], ["B.md"]),
        ("the inode", [note("A.md")], [found("B.md", None, 1, b"y")], ["B.md"]),
        ("the content", [note("A.md")], [found("B.md")], ["B.md"]),
        ("another id", [note("A.md")], [found("B.md", B, 1)], []),
        ("nothing in common", [note("A.md")], [found("B.md", None, 5, b"y")], []),
        ("a note that became another kind", [note("A.md")], [found("A.txt", None, 1)], []),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_identity(
    what: str, missing: list[EntryRow], created: list[Found], moves: list[str]
) -> None:
    """A missing note and a new file are one move exactly when identity says so."""
    plan = recognise(missing, created, {})
    assert [m.path for m in plan.moved] == moves
    assert len(plan.vanished) == len(missing) - len(moves)
    assert len(plan.created) == len(created) - len(moves)


def test_swap() -> None:
    """Two notes that changed names are two moves, by the ids in them."""
    # Their paths are known, so a swap shows as two changed files; a chain shows one missing path.
    plan = recognise([note("A.md")], [found("C.md", A, 7)], {B: "B.md"})
    assert [(m.entry.path, m.path) for m in plan.moved] == [("A.md", "C.md")]


def test_copy() -> None:
    """A new file with the id of a note that still stands elsewhere is a copy of it."""
    plan = recognise([], [found("Copy.md", A)], {A: "A.md"})
    assert [c.copy_of for c in plan.created] == [A]


def test_ambiguous_content() -> None:
    """Equal contents decide nothing when there are several."""
    plan = recognise([note("A.md")], [found("B.md", inode=5), found("C.md", inode=6)], {})
    assert not plan.moved
    assert len(plan.vanished) == 1


def test_directory_moves_first() -> None:
    """A renamed directory is one move; what is in it moves with it, after it."""
    folder = EntryRow("Trips", C, "folder", stat=Stat(0, 0, 0, 50, 1))
    plan = recognise(
        [folder, note("Trips/Oslo.md")],
        [Found("Journeys", "dir", 50, 1), found("Journeys/Oslo.md", A, 1)],
        {},
    )
    assert [m.path for m in plan.moved] == ["Journeys", "Journeys/Oslo.md"]
    assert not plan.created
    assert not plan.vanished


def test_copied_directory_is_recognised_by_its_children() -> None:
    """A directory that got a new inode is the one whose notes it holds."""
    folder = EntryRow("Trips", C, "folder", stat=Stat(0, 0, 0, 50, 1))
    plan = recognise(
        [folder, note("Trips/Oslo.md")],
        [Found("Journeys", "dir", 70, 1), found("Journeys/Oslo.md", A, 71)],
        {},
    )
    assert [m.path for m in plan.moved] == ["Journeys", "Journeys/Oslo.md"]


def test_children_vanish_before_their_directory() -> None:
    """What was in a deleted directory is given up before the directory."""
    folder = EntryRow("T", C, "folder", stat=Stat(0, 0, 0, 50, 1))
    plan = recognise([folder, note("T/O.md")], [], {})
    assert [v.entry.path for v in plan.vanished] == ["T/O.md", "T"]


def test_assets() -> None:
    """A note's attachments stand in the directory named after it, at any depth."""
    assert assets_owner("a/Boat.assets/p.pdf") == "a/Boat.md"
    assert assets_owner("a/Boat.md") is None
    assert assets_owner(".assets/p.pdf") is None
    assert assets_owner(assets_of("x/N.md") + "/f") == "x/N.md"


def test_emptied_directory_is_known_by_its_number() -> None:
    """A renamed directory whose notes were moved elsewhere meanwhile, and that got others, is
    still itself; one whose notes are gone altogether, and that has others, is a new one.
    """
    old = EntryRow("Old", B, "folder", stat=Stat(0, 0, 0, 7, 1))
    child = note("Old/A.md", A, inode=1)
    directory = Found("New", "dir", 7, 1)
    stranger = found("New/X.md", C, inode=5)
    moved = found("A.md", A, inode=1)
    result = recognise([old, child], [directory, stranger, moved], {})
    assert [(m.entry.path, m.path) for m in result.moved] == [("Old/A.md", "A.md"), ("Old", "New")]
    result = recognise([old, child], [directory, stranger], {})
    assert result.moved == ()


def test_attachments_are_no_moved_folder() -> None:
    """A directory of attachments that has the number of a deleted folder is not that folder."""
    old = EntryRow("Old", B, "folder", stat=Stat(0, 0, 0, 7, 1))
    result = recognise([old], [Found("Boat.assets", "dir", 7, 1)], {})
    assert result.moved == ()
    assert [v.entry.path for v in result.vanished] == ["Old"]
