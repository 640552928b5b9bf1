"""What every backend does with attachments."""

import hashlib
from dataclasses import dataclass, field

import pytest

from heapsyncd.backends.contract import Backend, FileChanged
from heapsyncd.errors import RequestRefused
from heapsyncd.ids import HeapId
from tests.contract.worlds import World

MIB = 1 << 20


@dataclass
class Bytes:
    """A source in memory."""

    data: bytes
    name: str = "Plan ä.pdf"
    mime_type: str = "application/pdf"
    breaks_at: int | None = None
    read_bytes: int = 0
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        self.hash = hashlib.sha256(self.data).hexdigest()

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    async def read(self, offset: int, length: int) -> bytes:
        if self.breaks_at is not None and offset >= self.breaks_at:
            raise FileChanged("changed")
        self.read_bytes += length
        return self.data[offset : offset + length]


def some(size: int) -> bytes:
    return hashlib.shake_128(b"seed").digest(size)


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 9 * MIB + 17])
async def test_what_is_uploaded_can_be_downloaded(
    world: World, backend: Backend, heap_id: HeapId, size: int
) -> None:
    """Every byte, from any offset, and the entry that names it."""
    block = await world.add_block(heap_id, "document", "N", "x")
    source = Bytes(some(size))
    seen: list[tuple[int, int]] = []
    entry = await backend.upload(
        heap_id, block, source, progress=lambda done, total: seen.append((done, total))
    )
    assert (entry.hash, entry.size_bytes, entry.name) == (source.hash, size, "Plan ä.pdf")
    assert entry.key == f"{source.hash}:{size}"
    assert entry.is_uploaded
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    for offset in {0, size // 3, size}:
        stream = backend.download(heap_id, block, source.hash, size, offset)
        pieces = [piece async for piece in stream]
        assert b"".join(pieces) == source.data[offset:]


async def test_an_upload_goes_on_where_it_stopped(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """What the server has is not sent again."""
    world.needs("resuming")
    block = await world.add_block(heap_id, "document", "N", "x")
    source = Bytes(some(10 * MIB), breaks_at=8 * MIB)
    with pytest.raises(FileChanged):
        await backend.upload(heap_id, block, source)
    source.breaks_at, source.read_bytes = None, 0
    await backend.upload(heap_id, block, source)
    assert source.read_bytes == 2 * MIB


async def test_known_content_is_not_sent(world: World, backend: Backend, heap_id: HeapId) -> None:
    """The same file in another note costs no bytes."""
    world.needs("hashes")
    first, second = [await world.add_block(heap_id, "document", "N", "x") for _ in range(2)]
    await backend.upload(heap_id, first, Bytes(some(1000)))
    source = Bytes(some(1000), name="Other.bin")
    assert (await backend.upload(heap_id, second, source)).name == "Other.bin"
    assert source.read_bytes == 0
    pieces = [piece async for piece in backend.download(heap_id, second, source.hash, 1000)]
    assert b"".join(pieces) == source.data


async def test_content_nobody_has_is_refused(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """With 404, before any byte."""
    block = await world.add_block(heap_id, "document", "N", "x")
    with pytest.raises(RequestRefused) as error:
        await anext(backend.download(heap_id, block, "0" * 64, 1))
    assert error.value.status == 404


async def test_a_source_that_lies_is_not_completed(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """Content of another hash than announced is refused, and nothing of it can be fetched."""
    world.needs("hashes")
    block = await world.add_block(heap_id, "document", "N", "x")
    source = Bytes(some(1000))
    source.data = bytes(1000)
    with pytest.raises(RequestRefused) as error:
        await backend.upload(heap_id, block, source)
    assert error.value.status == 422
    with pytest.raises(RequestRefused):
        await anext(backend.download(heap_id, block, source.hash, 1000))
