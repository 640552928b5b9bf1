"""A file that arrives in pieces takes its place whole, and only if it is the right one."""

import hashlib
import os
from pathlib import Path

import pytest

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import HeapFolder, PathChanged

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


async def test_pieces_become_the_file(folder: HeapFolder, root: Path) -> None:
    """Piece by piece, over two lives, the file is made; nothing else is left."""
    await folder.make_dir("Boat.assets")
    part = folder.part("Boat.assets/plan.pdf", SHA)
    assert await part.size() == 0
    await part.append(0, DATA[:4000])
    assert not (root / "Boat.assets" / "plan.pdf").exists()
    again = HeapFolder(root).part("Boat.assets/plan.pdf", SHA)
    await HeapFolder(root).clear_temps()
    assert await again.size() == 4000
    await again.append(4000, DATA[4000:])
    stat = await again.finish(None)
    assert stat == await folder.stat("Boat.assets/plan.pdf")
    assert (root / "Boat.assets" / "plan.pdf").read_bytes() == DATA
    assert [p.name for p in (root / "Boat.assets").iterdir()] == ["plan.pdf"]


async def test_a_piece_can_be_sent_again(folder: HeapFolder, root: Path) -> None:
    """What the part has beyond a piece's place is replaced; a gap is refused."""
    part = folder.part("a.bin", SHA)
    await part.append(0, b"wrong" * 2000)
    await part.append(0, DATA[:5000])
    assert await part.size() == 5000
    with pytest.raises(ValueError, match="gap"):
        await part.append(5001, b"x")
    await part.append(4000, DATA[4000:])
    assert await part.finish(None) is not None
    assert (root / "a.bin").read_bytes() == DATA


async def test_a_wrong_digest_makes_no_file(folder: HeapFolder, root: Path) -> None:
    """What is not what was promised is thrown away, and the old file stays."""
    old = await folder.write("a.bin", b"old", None)
    part = folder.part("a.bin", SHA)
    await part.append(0, DATA[:-1])
    assert await part.finish(old) is None
    assert await part.size() == 0
    assert (root / "a.bin").read_bytes() == b"old"


@pytest.mark.parametrize("is_continued", [False, True])
async def test_a_digest_that_is_learnt_from_the_part(
    folder: HeapFolder, root: Path, is_continued: bool
) -> None:
    """The part is named by something else than its digest, also over two lives."""
    part = folder.part("a.bin", "version 1")
    await part.append(0, DATA[:5000])
    if is_continued:
        part = folder.part("a.bin", "version 1")
    await part.append(5000, DATA[5000:])
    assert await part.digest() == SHA
    assert await part.finish(None, sha256=SHA) is not None
    assert (root / "a.bin").read_bytes() == DATA


async def test_the_place_is_looked_at_last(folder: HeapFolder, root: Path) -> None:
    """A file that appeared or changed meanwhile stays, and so does the part."""
    part = folder.part("a.bin", SHA)
    await part.append(0, DATA)
    (root / "a.bin").write_bytes(b"mine")
    (root / "a.bin").chmod(0o600)
    with pytest.raises(PathChanged):
        await part.finish(None)
    stale = await folder.stat("a.bin")
    assert stale is not None
    (root / "a.bin").write_bytes(b"mine too")
    with pytest.raises(PathChanged):
        await part.finish(stale)
    assert (root / "a.bin").read_bytes() == b"mine too"
    assert await part.size() == len(DATA)
    assert await part.finish(await folder.stat("a.bin")) is not None
    assert (root / "a.bin").read_bytes() == DATA
    assert (root / "a.bin").stat().st_mode & 0o777 == 0o600


async def test_the_same_content_that_stands_there_already(folder: HeapFolder, root: Path) -> None:
    """A file that came meanwhile and holds the content is taken for it, a symlink to one not."""
    part = folder.part("a.bin", SHA)
    await part.append(0, DATA)
    (root / "other.bin").write_bytes(DATA)
    (root / "a.bin").symlink_to(root / "other.bin")
    with pytest.raises(PathChanged):
        await part.finish(None)
    (root / "a.bin").unlink()
    (root / "a.bin").write_bytes(DATA)
    inode = (root / "a.bin").stat().st_ino
    found = await part.finish(None)
    assert found is not None
    assert found.inode == inode == (root / "a.bin").stat().st_ino
    assert list(root.glob(".heapsyncd-part-*")) == []


async def test_parts_are_told_apart(folder: HeapFolder, root: Path) -> None:
    """Two files of one content, and two contents of one file, do not share a part."""
    one, two = folder.part("a.bin", SHA), folder.part("b.bin", SHA)
    three = folder.part("a.bin", "00" * 32)
    await one.append(0, DATA)
    assert await two.size() == await three.size() == 0
    await one.drop()
    assert await one.size() == 0
    await one.drop()


async def test_a_part_is_no_way_out(folder: HeapFolder, root: Path) -> None:
    """A symlink or pipe that somebody put in a part's place is not written through."""
    victim = root.parent / "victim"
    victim.write_text("theirs")
    part = folder.part("a.bin", SHA)
    await part.append(0, b"x")
    (temp,) = root.glob(".heapsyncd-part-*")
    temp.unlink()
    temp.symlink_to(victim)
    with pytest.raises(FolderTrouble, match="symlink"):
        await part.append(0, b"x")
    temp.unlink()
    os.mkfifo(temp)
    with pytest.raises(FolderTrouble, match="not a regular file"):
        await part.append(0, b"x")
    assert victim.read_text() == "theirs"


async def test_a_part_needs_its_directory(folder: HeapFolder) -> None:
    """A directory that is gone is not made again by a download."""
    with pytest.raises(PathChanged):
        await folder.part("gone/a.bin", SHA).append(0, b"x")
