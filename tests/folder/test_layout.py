"""Where blocks stand: deterministic, stable, and without two of one name."""

import posixpath
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.folder.layout import MAX_DIRECTORY_BYTES, Placed, place
from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId
from heapsyncd.model import BlockKind


def block(
    id_: str,
    title: str,
    kind: BlockKind = "document",
    folder: str | None = None,
    titled: str | None = None,
) -> Placed:
    return Placed(BlockId(id_), kind, title, BlockId(folder) if folder else None, titled)


def paths(*blocks: Placed, current: dict[str, str] | None = None) -> dict[str, str]:
    now = {BlockId(k): p for k, p in (current or {}).items()}
    return dict(place(blocks, now))  # type: ignore[arg-type]


def test_kinds_have_their_suffixes() -> None:
    """Notes end in .md, folders are directories, files keep their suffix, tags have no place."""
    found = paths(
        block("1", "Projects", "folder"),
        block("2", "Boat", folder="1"),
        block("3", "photo.jpg", "file", folder="1"),
        block("4", "Research", "tag"),
        block("5", "Groceries"),
    )
    assert found == {
        "1": "Projects",
        "2": "Projects/Boat.md",
        "3": "Projects/photo.jpg",
        "5": "Groceries.md",
    }


def test_twins_are_told_apart_by_their_ids() -> None:
    """Titles that are equal but for case and normalisation get marks, in id order."""
    titles = {"3": "case", "1": "Case", "2": "CASE", "4": "cafe\u0301", "5": "caf\u00e9"}
    found = paths(*(block(*item) for item in titles.items()))
    assert found == {
        "1": "Case.md",
        "2": "CASE (2).md",
        "3": "case (3).md",
        "4": "cafe\u0301.md",
        "5": "caf\u00e9 (2).md",
    }


def test_a_new_twin_gets_a_new_name() -> None:
    """The files that are there keep their names when a block with a later id comes."""
    now = {"1": "Boat.md", "2": "Boat (2).md"}
    twins = [block(k, "Boat") for k in "123"]
    assert paths(*twins, current=now) == now | {"3": "Boat (3).md"}


def test_devices_agree_on_twins() -> None:
    """Devices that each gave the plain name to their own note agree once they know both, in
    whatever order the notes came.
    """
    twins = {"1": block("1", "Boat"), "2": block("2", "boat"), "3": block("3", "Boat")}
    for order in permutations(twins):
        now: dict[str, str] = {}
        for k in range(3):
            now = paths(*(twins[i] for i in order[: k + 1]), current=now)
        assert now == {"1": "Boat.md", "2": "boat (2).md", "3": "Boat (3).md"}


def test_a_twin_keeps_its_mark_when_the_other_is_gone() -> None:
    """A trashed block frees its name for others, and nobody who stands somewhere is moved."""
    now = {"1": "Boat.md", "2": "Boat (2).md"}
    assert paths(block("2", "Boat"), current=now) == {"2": "Boat (2).md"}
    assert paths(block("2", "Boat"), block("3", "Boat"), current=now) == {
        "2": "Boat (2).md",
        "3": "Boat.md",
    }


def test_a_new_title_renames() -> None:
    """A block whose name says another title gets a new one; a chosen name that fits stays."""
    assert paths(block("1", "Ship"), current={"1": "Boat.md"}) == {"1": "Ship.md"}
    assert paths(block("1", "what?"), current={"1": "what?.md"}) == {"1": "what?.md"}
    assert paths(block("1", "what?"), current={"1": "what_.md"}) == {"1": "what_.md"}


def test_what_the_name_was_made_for_decides_when_it_is_known() -> None:
    """With the former title known, a mark of the user's own is told from a twin's."""
    now = {"1": "Plan (2).md"}
    assert paths(block("1", "Plan"), current=now) == {"1": "Plan (2).md"}
    assert paths(block("1", "Plan", titled="Plan (2)"), current=now) == {"1": "Plan.md"}
    odd = {"1": "from an older version.md"}
    assert paths(block("1", "a/b", titled="a/b"), current=odd) == {"1": "from an older version.md"}


def test_a_renamed_folder_takes_its_notes_along() -> None:
    """What is in a folder keeps its name below the folder's new path."""
    found = paths(
        block("1", "New", "folder"),
        block("2", "Boat", folder="1"),
        block("3", "Boat", folder="1"),
        current={"1": "Old", "2": "Old/Boat (2).md", "3": "Old/Boat.md"},
    )
    assert found == {"1": "New", "2": "New/Boat (2).md", "3": "New/Boat.md"}


def test_whoever_moves_in_makes_way() -> None:
    """In another folder a name is kept when it is free, else marked; who is older goes first."""
    found = paths(
        block("0", "In", "folder"),
        block("1", "Boat", folder="0"),
        block("2", "Boat", folder="0"),
        current={"0": "In", "1": "Boat.md", "2": "In/Boat.md"},
    )
    assert found == {"0": "In", "1": "In/Boat.md", "2": "In/Boat (2).md"}


def test_twins_that_a_user_made_are_told_apart_too() -> None:
    """Two files on a Linux disk that other systems can't hold apart: the larger id makes way."""
    now = {"1": "boat.md", "2": "Boat.md"}
    found = paths(block("1", "boat"), block("2", "Boat"), current=now)
    assert found == {"1": "boat.md", "2": "Boat (2).md"}


def test_the_names_of_attachment_directories_are_kept_free() -> None:
    """No folder or file is called X.assets, even if it was once."""
    now = {"1": "Boat.assets"}
    found = paths(block("1", "Boat.assets", "folder"), block("2", "Boat"), current=now)
    assert found == {"1": "Boat.assets_", "2": "Boat.md"}


def test_a_file_does_not_look_like_a_note() -> None:
    """A block that is only a file never ends in .md, where it would be read as a note."""
    now = {"2": "b.md"}
    found = paths(block("1", "a.md", "file"), block("2", "b.md", "file"), current=now)
    assert found == {"1": "a.md_", "2": "b.md_"}


def test_a_file_and_a_folder_of_one_name_get_each_their_own_mark() -> None:
    """A folder's mark stands at its end though a file of the same name came first, and stays."""
    blocks = [block("1", "v1.2", "file"), block("2", "v1.2", "folder"), block("3", "v1.2", "file")]
    found = paths(*blocks)
    assert found == {"1": "v1.2", "2": "v1.2 (2)", "3": "v1 (2).2"}
    assert paths(*blocks, current=found) == found


def test_circles_of_folders_are_cut_at_the_smallest_id() -> None:
    """Folders that contain each other hang from the top by the smallest of them."""
    found = paths(
        block("3", "C", "folder", "2"),
        block("2", "B", "folder", "1"),
        block("1", "A", "folder", "3"),
        block("4", "note", folder="3"),
        block("5", "self", "folder", "5"),
        block("6", "tail", "folder", "1"),
    )
    assert found == {
        "1": "A",
        "2": "A/B",
        "3": "A/B/C",
        "4": "A/B/C/note.md",
        "5": "self",
        "6": "A/tail",
    }


def test_a_folder_that_is_none_is_the_top() -> None:
    """A block whose folder is unknown, or is no folder, stands at the top."""
    found = paths(block("1", "a", folder="gone"), block("2", "b", folder="1"))
    assert found == {"1": "a.md", "2": "b.md"}


def test_paths_do_not_grow_without_end() -> None:
    """A chain of ten thousand folders is laid out, in time, in paths that programs can open."""
    chain = [block(f"{k:05}", "x" * 100, "folder", f"{k - 1:05}") for k in range(10_000)]
    found = paths(*chain)
    assert max(len(p) for p in found.values()) <= MAX_DIRECTORY_BYTES
    assert len({collision_key(p) for p in found.values()}) == 10_000


@pytest.mark.parametrize("title", ["Untitled", ""])
def test_thousands_of_twins_take_no_quadratic_time(title: str) -> None:
    """Ten thousand equal titles are told apart within the test's time, and stay so."""
    blocks = [block(f"{k:05}", title) for k in range(10_000)]
    found = paths(*blocks)
    assert len(set(found.values())) == 10_000
    assert paths(*blocks, current=found) == found


ids = st.sampled_from([f"{k}" for k in range(8)])
titles = st.sampled_from(
    ["a", "A", "b", "e\u0301", "\u00e9", "a/b", "", ".x", "a (2)", "a.assets", "a.md"]
)
names = st.sampled_from(
    ["a.md", "A.md", "a (2).md", "a", "b", "a_b.md", "a.assets", "a.md_", "?.md"]
)


@st.composite
def heaps(draw: st.DrawFn) -> tuple[list[Placed], dict[BlockId, str]]:
    kinds: st.SearchStrategy[BlockKind] = st.sampled_from(["document", "folder", "file"])
    blocks = [
        block(i, draw(titles), draw(kinds), draw(st.none() | ids))
        for i in draw(st.lists(ids, unique=True))
    ]
    where = st.tuples(st.sampled_from(["", "a/", "b/", "a/b/"]), names).map("".join)
    return blocks, {BlockId(k): p for k, p in draw(st.dictionaries(ids, where)).items()}


@given(heaps(), st.randoms(use_true_random=False))
def test_the_laws_of_a_layout(
    heap: tuple[list[Placed], dict[BlockId, str]], random: object
) -> None:
    """Every block has a path, none collides, order means nothing, a layout is its own layout."""
    blocks, current = heap
    found = place(blocks, current)
    assert set(found) == {b.id for b in blocks}
    keys = {collision_key(p) for p in found.values()}
    assert len(keys) == len(found)
    for b in blocks:
        path = found[b.id]
        assert ".." not in path.split("/")
        assert not path.startswith("/")
        parent = posixpath.dirname(path)
        assert parent == "" or parent in {found[f.id] for f in blocks if f.kind == "folder"}
    shuffled = list(blocks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert place(shuffled, current) == found
    assert place(blocks, found) == found
