"""The marker guards a folder: nothing is written into one that is not this heap's mirror."""

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from heapsyncd.errors import FolderTrouble, StateLocked
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.ignore import NO_RULES
from heapsyncd.ids import HeapId

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTV")
OTHER = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTW")


async def test_a_new_folder_is_marked(root: Path) -> None:
    """Making a folder makes those above it and a marker with the heap's id; it is repeatable."""
    folder = HeapFolder(root / "deep" / "inside")
    assert await folder.marker() is None
    for _ in range(2):
        await folder.create(HEAP, "Home")
    assert await folder.marker() == HEAP
    found = json.loads((folder.root / ".heapsyncd").read_text())
    assert found == {"heap": HEAP, "title": "Home", "version": 1}


async def test_a_folder_with_files_is_marked_and_kept(root: Path) -> None:
    """A folder that was there before keeps everything in it."""
    root.mkdir()
    (root / "a.md").write_text("mine")
    await HeapFolder(root).create(HEAP, "Home")
    assert (root / "a.md").read_text() == "mine"


async def test_another_heap_s_folder_is_refused(folder: HeapFolder, root: Path) -> None:
    """Making one does not take over another heap's folder, and nothing is written."""
    other = HeapFolder(root)
    refusal = f"mirrors another heap \\({HEAP}\\)"
    with pytest.raises(FolderTrouble, match=refusal):
        await other.create(OTHER, "Other")
    assert await other.marker() == HEAP


async def test_without_the_marker_nothing_is_written(folder: HeapFolder, root: Path) -> None:
    """An empty mount point in the folder's place stays empty; looking is still allowed."""
    await folder.write("a.md", b"x", None)
    root.rename(root.with_name("unmounted"))
    root.mkdir()
    for call in (
        lambda: folder.write("b.md", b"x", None),
        lambda: folder.make_dir("d"),
        lambda: folder.move("a.md", "b.md"),
        lambda: folder.remove_dir("d"),
        folder.clear_temps,
        lambda: folder.claim(HEAP),
    ):
        with pytest.raises(FolderTrouble, match=r"no \.heapsyncd file, .*Nothing was deleted"):
            await call()
    assert not list(root.iterdir())
    assert not (await folder.scan(NO_RULES)).entries
    root.rmdir()
    root.with_name("unmounted").rename(root)
    await folder.write("b.md", b"x", None)


async def test_a_swapped_folder_is_noticed(folder: HeapFolder, root: Path) -> None:
    """Another heap's folder in this one's place is not written into."""
    other = HeapFolder(root.with_name("Other"))
    await other.create(OTHER, "Other")
    root.rename(root.with_name("away"))
    other.root.rename(root)
    with pytest.raises(FolderTrouble, match="another heap"):
        await folder.write("a.md", b"x", None)


async def test_a_known_folder_is_that_of_its_heap(folder: HeapFolder, root: Path) -> None:
    """One that was mirrored before is claimed for its heap: another's in its place is refused, at
    the start and later on.
    """
    again = HeapFolder(root)
    with pytest.raises(FolderTrouble, match=f"mirrors another heap \\({HEAP}\\)"):
        await again.claim(OTHER)
    await again.claim(HEAP)
    root.rename(root.with_name("away"))
    await HeapFolder(root).create(OTHER, "Other")
    with pytest.raises(FolderTrouble, match="another heap"):
        await again.write("a.md", b"x", None)
    await again.close()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"heap": "x", "version": 1}', "null"])
async def test_a_damaged_marker_is_told(root: Path, text: str) -> None:
    """A marker that names no heap is trouble with a way out, not an absent one."""
    root.mkdir()
    (root / ".heapsyncd").write_text(text)
    with pytest.raises(FolderTrouble, match="damaged; move it away"):
        await HeapFolder(root).marker()


async def test_a_newer_marker_is_told(root: Path) -> None:
    """A folder of a later version is left alone."""
    root.mkdir()
    (root / ".heapsyncd").write_text(json.dumps({"heap": HEAP, "version": 2}))
    with pytest.raises(FolderTrouble, match="newer heapsyncd"):
        await HeapFolder(root).marker()


async def test_a_file_in_the_folder_s_place_is_told(root: Path) -> None:
    """A file where the folder should be is trouble, and stays."""
    root.write_text("mine")
    with pytest.raises(FolderTrouble):
        await HeapFolder(root).create(HEAP, "Home")
    assert root.read_text() == "mine"


async def test_a_folder_has_one_daemon(folder: HeapFolder, root: Path) -> None:
    """A claimed folder is refused to others until it is closed, or its process is gone."""
    other = HeapFolder(root)
    await folder.claim(HEAP)
    await folder.claim(HEAP)
    with pytest.raises(StateLocked, match="Another heapsyncd mirrors into"):
        await other.claim(HEAP)
    await folder.close()
    await other.claim(HEAP)
    await other.close()
    script = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from heapsyncd.folder.disk import HeapFolder
        asyncio.run(HeapFolder(Path(sys.argv[1])).claim(sys.argv[2]))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(root), HEAP]
    done = await asyncio.to_thread(subprocess.run, command, check=False, timeout=30)
    assert done.returncode == -9
    await folder.claim(HEAP)
    await folder.close()


@pytest.mark.parametrize("place", ["{}/file/heap", "/proc/nowhere/heap"])
async def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    """The message names it and the setting."""
    (tmp_path / "file").touch()
    root = Path(place.format(tmp_path))
    with pytest.raises(FolderTrouble, match=f"{root} can't be made: .*correct `folder`"):
        await HeapFolder(root).create(HEAP, "Home")
