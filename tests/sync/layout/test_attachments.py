"""The names of contents follow from the document alone, as laws."""

import unicodedata
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.sync.heap.paths import assets_of
from heapsyncd.sync.layout.attachments import AttachmentOwner, OwnerRole, attachment_paths

NAMES = st.sampled_from(
    ["plan.pdf", "Plan.PDF", "plan (2).pdf", "plan", "../../plan.pdf", "a/b.png", "", ".", "é.png"]
) | st.text(max_size=12)
files = st.lists(
    st.builds(
        FileEntry,
        st.integers(0, 9).map(lambda n: f"{n:064d}:1"),
        st.just("0" * 64),
        NAMES,
        st.just(1),
    ),
    unique_by=lambda f: f.key,
    max_size=6,
)
roles: st.SearchStrategy[OwnerRole] = st.sampled_from(["note", "file"])


def holding(role: OwnerRole, found: list[FileEntry]) -> AttachmentOwner:
    path = "in/Boat.md" if role == "note" else "in/plan.pdf"
    return AttachmentOwner(BlockId("01BLOCK0000000000000000000"), role, path, tuple(found))


@given(roles, files)
def test_each_content_has_a_place_of_its_own(role: OwnerRole, found: list[FileEntry]) -> None:
    """No two share one, on a disk that knows no case either; each lies where its block's do."""
    paths = attachment_paths(holding(role, found), {})
    assert set(paths) == {f.key for f in found}
    assert len({collision_key(p) for p in paths.values()}) == len(paths)
    above = assets_of("in/Boat.md") if role == "note" else "in"
    for path in paths.values():
        assert str(PurePosixPath(path).parent) == above
        assert ".." not in PurePosixPath(path).parts


@given(roles, files, st.randoms(use_true_random=False))
def test_devices_agree(role: OwnerRole, found: list[FileEntry], random: object) -> None:
    """The order in which a device came to know the contents gives them no other names."""
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's own Random
    assert attachment_paths(holding(role, found), {}) == attachment_paths(
        holding(role, shuffled), {}
    )


@given(roles, files)
def test_what_stands_stays(role: OwnerRole, found: list[FileEntry]) -> None:
    """Contents that stand where they should are moved nowhere."""
    paths = attachment_paths(holding(role, found), {})
    assert attachment_paths(holding(role, found), paths) == paths


@given(st.sampled_from(["plan.pdf", "é.png", "notes.txt"]))
def test_a_name_of_the_users_own_is_kept(name: str) -> None:
    """A file is named as its document says, in the spelling it has on the disk."""
    for form in ("NFC", "NFD"):
        spelled = unicodedata.normalize(form, name)
        file = FileEntry("k", "0" * 64, spelled, 1)
        place = f"{assets_of('in/Boat.md')}/{spelled}"
        assert attachment_paths(holding("note", [file]), {"k": place}) == {"k": place}
