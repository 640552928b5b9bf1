"""A backup is the server's state of one moment, and can be served."""

import asyncio
import hashlib
import tarfile
from pathlib import Path

import pytest

from heapsyncd.errors import FolderTrouble
from heapsyncd.server import Server
from heapsyncd.server.backup import back_up
from tests.server.rig import paragraph


async def test_a_backup_of_a_server_at_work(tmp_path: Path) -> None:
    """It holds what was there before it began, whatever is written meanwhile: each document with
    its row, each file with its content, and the server's identity.
    """
    file, restored = tmp_path / "to" / "copy.tar", tmp_path / "restored"
    content = b"content" * 1000
    async with Server(tmp_path / "data") as server:
        heap = await server.add_heap("Home")
        block = await server.add_block(heap, "document", "Boat", paragraph("before"))
        await server.add_file(block, "plan.pdf", content)

        async def write() -> None:
            while True:
                await server.add_block(heap, "document", "", paragraph("meanwhile"))

        writing = asyncio.create_task(write())
        size = await asyncio.to_thread(back_up, tmp_path / "data", file)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    assert size == file.stat().st_size
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert list((tmp_path / "data").glob("backup*")) == []
    with tarfile.open(file) as tar:
        tar.extractall(restored, filter="data")
    key = (tmp_path / "data" / "server.key").read_text()
    assert (restored / "server.key").read_text() == key
    async with Server(restored) as again:
        ((row, count),) = await again.heaps()
        assert (row.id, row.title) == (heap, "Home")
        assert count >= 1
        assert (await again.document(block)).view().words() == "before"
        hash_ = hashlib.sha256(content).hexdigest()
        assert (restored / "files" / hash_[:2] / hash_).read_bytes() == content
    with pytest.raises(FolderTrouble, match="exists and was kept"):
        await asyncio.to_thread(back_up, tmp_path / "data", file)
