"""Naming what changed between what is known and what is there."""

from collections.abc import Mapping
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.folder.ignore import Ignore
from heapsyncd.folder.snapshot import Differences, Entry, EntryKind, Snapshot, compare
from heapsyncd.model import Stat

STAT = Stat(size=5, mtime_ns=1, ctime_ns=2, inode=3, device=4)


def snapshot(entries: Mapping[str, EntryKind], **more: object) -> Snapshot:
    found = {p: Entry(p, kind, STAT) for p, kind in entries.items()}
    return Snapshot(found, **more)  # type: ignore[arg-type]


def known(*paths: str) -> dict[str, Stat]:
    return dict.fromkeys(paths, STAT)


def named(found: Differences) -> tuple[list[str], list[str], list[str]]:
    return [e.path for e in found.created], [e.path for e in found.modified], list(found.missing)


def test_a_quiet_folder_has_no_differences() -> None:
    """What agrees is not mentioned."""
    now = snapshot({"a.md": "file", "d": "dir", "d/b.md": "file"})
    assert compare(known("a.md", "d", "d/b.md"), now, folders={"d"}) == Differences((), (), ())


def test_each_kind_of_change_is_named() -> None:
    """New paths, other stats and gone paths are told apart, directories first."""
    now = snapshot({"d/new.md": "file", "d": "dir", "same.md": "file", "a.md": "file"})
    before = known("same.md", "gone.md") | {"a.md": replace(STAT, size=6)}
    found = compare(before, now, folders=())
    assert named(found) == (["d", "d/new.md"], ["a.md"], ["gone.md"])


@pytest.mark.parametrize("changed", ["size", "mtime_ns", "ctime_ns", "inode"])
def test_any_stamp_makes_a_file_modified(changed: str) -> None:
    """A preserved mtime, an equal size or a replaced inode alone hide no change."""
    before = {"a.md": replace(STAT, **{changed: 99})}
    now = snapshot({"a.md": "file"})
    assert named(compare(before, now, folders=())) == ([], ["a.md"], [])


def test_another_device_number_is_no_change() -> None:
    """A file system that got another number at its mount does not look all new."""
    before = {"a.md": replace(STAT, device=99)}
    now = snapshot({"a.md": "file"})
    assert named(compare(before, now, folders=())) == ([], [], [])


def test_a_directory_is_never_modified() -> None:
    """Stamps of directories move with every file in them and mean nothing."""
    before = {"d": replace(STAT, mtime_ns=99, inode=98)}
    assert named(compare(before, snapshot({"d": "dir"}), folders={"d"})) == ([], [], [])


@pytest.mark.parametrize(("was", "now"), [("dir", "file"), ("file", "dir")])
def test_a_file_for_a_directory_is_gone_and_new(was: EntryKind, now: EntryKind) -> None:
    """What was of the other kind is missing, and what took its place is new."""
    folders = {"x"} if was == "dir" else set()
    before = known("x", "x/in.md") if was == "dir" else known("x")
    created, modified, missing = named(compare(before, snapshot({"x": now}), folders=folders))
    assert (created, modified) == (["x"], [])
    assert missing == (["x", "x/in.md"] if was == "dir" else ["x"])


def test_nothing_is_missing_below_what_could_not_be_read() -> None:
    """An unreadable directory is no empty one."""
    now = snapshot({"d": "dir"}, unread=frozenset({"d"}))
    before = known("d", "d/a.md", "d/e/b.md", "other.md")
    assert named(compare(before, now, folders={"d"})) == ([], [], ["other.md"])


def test_nothing_is_missing_behind_a_symlink_or_special_file() -> None:
    """Where something that is not synced took the place, nothing was deleted."""
    now = snapshot({"note.md": "other", "d": "other"})
    before = known("note.md", "d", "d/a.md", "gone.md")
    assert named(compare(before, now, folders={"d"})) == ([], [], ["gone.md"])


def test_what_a_rule_hides_is_not_missing() -> None:
    """A new line in the ignore file deletes nothing, even when the file itself is gone too."""
    now = snapshot({}, ignore=Ignore.parse("drafts/\n"))
    before = known("drafts", "drafts/a.md", "a.md")
    assert named(compare(before, now, folders={"drafts"})) == ([], [], ["a.md"])


def test_a_scan_of_some_paths_says_nothing_of_others() -> None:
    """Only what was looked at, with what is below it, can be missing."""
    now = snapshot({"d": "dir", "d/new.md": "file"})
    before = known("a.md", "d", "d/old.md", "gone/x.md", "gonebutelsewhere.md")
    found = compare(before, now, {"d", "gone"}, folders={"d"})
    assert named(found) == (["d/new.md"], [], ["d/old.md", "gone/x.md"])
    found = compare(before, snapshot({}), {""}, folders={"d"})
    assert list(found.missing) == sorted(before)


names = st.sampled_from(["a", "b", "c"])
some_paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, EntryKind]:
    """Paths with the directories they lie in."""
    tree: dict[str, EntryKind] = {}
    for path in draw(st.sets(some_paths)):
        tree.setdefault(path, "file")
        tree |= {str(above): "dir" for above in PurePosixPath(path).parents if above.name}
    return tree


@given(trees(), trees(), st.sets(some_paths, min_size=1))
def test_the_parts_of_a_comparison_make_up_the_whole(
    old: dict[str, EntryKind], new: dict[str, EntryKind], under: set[str]
) -> None:
    """Old plus created minus missing is new; looking at some paths finds just their share."""
    folders = {p for p, kind in old.items() if kind == "dir"}
    before = known(*old)
    whole = compare(before, snapshot(new), folders=folders)
    result = dict(old)
    for path in whole.missing:
        del result[path]
    result |= {e.path: e.kind for e in whole.created}
    assert result == new

    def looked_at(path: str) -> bool:
        return any(path == u or path.startswith(f"{u}/") for u in under)

    part_of_new = {
        p: k for p, k in new.items() if looked_at(p) or any(u.startswith(f"{p}/") for u in under)
    }
    part = compare(before, snapshot(part_of_new), under, folders=folders)
    assert part.missing == tuple(p for p in whole.missing if looked_at(p))
    assert {e.path for e in part.created} == {
        e.path for e in whole.created if e.path in part_of_new
    }
