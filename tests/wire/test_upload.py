"""Uploads: only what is missing is sent, whatever the server forgets."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.errors import ProtocolError, RequestRefused
from heapsyncd.wire.heaper import UploadState
from heapsyncd.wire.upload import PIECE_BYTES, Chunk, pieces, plan, upload
from heapsyncd.wire.values import FileChanged


@dataclass
class Source:
    """A file in memory; ``torn_at`` is where it turns out to have changed."""

    data: bytes
    name: str = "a.bin"
    mime_type: str = "application/octet-stream"
    torn_at: int | None = None
    reads: list[int] = field(default_factory=list)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    async def read(self, offset: int, length: int) -> bytes:
        self.reads.append(length)
        if self.torn_at is not None and offset + length > self.torn_at:
            raise FileChanged("a.bin changed")
        return self.data[offset : offset + length]


@dataclass
class Server:
    """The server's side; ``loses`` are chunks that vanish after each complete that is named."""

    source: Source
    chunk_size: int = 10
    chunks: dict[int, bytes] = field(default_factory=dict)
    sent: list[int] = field(default_factory=list)
    loses: list[set[int]] = field(default_factory=list)
    refuses: list[RequestRefused] = field(default_factory=list)
    done: bytes | None = None
    inits: int = 0

    async def init(self) -> UploadState:
        self.inits += 1
        total = -(-self.source.size_bytes // self.chunk_size)
        complete = self.done is not None
        return UploadState(self.chunk_size, sorted(self.chunks), total, complete)

    async def chunk(self, chunk: Chunk, is_out: Callable[[], None]) -> None:
        self.sent.append(chunk.index)
        content = b"".join([piece async for piece in pieces(self.source, chunk, is_out)])
        assert len(content) == chunk.length
        self.chunks[chunk.index] = content

    async def complete(self) -> None:
        if self.refuses:
            error = self.refuses.pop(0)
            if error.status in {404, 422}:
                self.chunks.clear()
            raise error
        for index in self.loses.pop(0) if self.loses else ():
            self.chunks.pop(index, None)
        total = -(-self.source.size_bytes // self.chunk_size)
        missing: list[object] = [i for i in range(total) if i not in self.chunks]
        if missing:
            raise RequestRefused("missing", 409, {"missing": missing})
        self.done = b"".join(self.chunks[i] for i in range(total))


@dataclass
class Slow(Server):
    """Has a chunk on its disk only when the next one, if there is one, has arrived."""

    arrived: dict[int, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    under_way: set[int] = field(default_factory=set)
    at_once: list[set[int]] = field(default_factory=list)

    async def chunk(self, chunk: Chunk, is_out: Callable[[], None]) -> None:
        self.under_way.add(chunk.index)
        self.at_once.append(set(self.under_way))
        try:
            await super().chunk(chunk, is_out)
        finally:
            self.arrived[chunk.index].set()
        if (chunk.index + 1) * self.chunk_size < self.source.size_bytes:
            await self.arrived[chunk.index + 1].wait()
        self.under_way.remove(chunk.index)


@given(
    data=st.binary(max_size=120),
    chunk_size=st.integers(1, 50),
    there=st.sets(st.integers(0, 20)),
)
async def test_only_missing_chunks_are_sent(data: bytes, chunk_size: int, there: set[int]) -> None:
    """Whatever is there already: the rest is sent once, and the content is whole."""
    source = Source(data)
    server = Server(source, chunk_size)
    total = -(-len(data) // chunk_size)
    for index in there & set(range(total)):
        server.chunks[index] = data[index * chunk_size : (index + 1) * chunk_size]
    entry = await upload(server, source)
    assert server.done == data
    assert server.sent == sorted(set(range(total)) - there)
    assert entry.key == f"{source.hash}:{len(data)}"
    assert entry.is_uploaded


async def test_content_the_server_has_costs_one_call() -> None:
    """complete: true at init; nothing is read from the file."""
    source = Source(b"x" * 30)
    server = Server(source, done=b"x" * 30)
    seen: list[tuple[int, int]] = []
    await upload(server, source, lambda done, total: seen.append((done, total)))
    assert (server.inits, server.sent, source.reads, seen) == (1, [], [], [(30, 30)])


async def test_a_chunk_is_sent_while_the_server_keeps_the_one_before() -> None:
    """Never more than these two."""
    server = Slow(Source(b"0123456789" * 4))
    seen: list[tuple[int, int]] = []
    async with asyncio.timeout(10):
        await upload(server, server.source, lambda done, total: seen.append((done, total)))
    assert server.at_once == [{0}, {0, 1}, {1, 2}, {2, 3}]
    assert server.done == server.source.data
    assert seen == [(0, 40), (0, 40), (10, 40), (20, 40), (40, 40)]


async def test_a_chunk_is_not_sent_before_the_other_is_on_its_way() -> None:
    """They do not share the link."""
    source = Source(b"0123456789" * 2)
    begun: list[int] = []
    ended = asyncio.Event()

    class Narrow(Server):
        async def chunk(self, chunk: Chunk, is_out: Callable[[], None]) -> None:
            begun.append(chunk.index)
            await ended.wait()
            await super().chunk(chunk, is_out)

    task = asyncio.create_task(upload(Narrow(source), source))
    for _ in range(20):
        await asyncio.sleep(0)
    assert begun == [0]
    ended.set()
    await task
    assert begun == [0, 1]


async def test_a_chunk_that_arrived_is_waited_for_when_the_next_one_fails() -> None:
    """It need not be sent again; the caller gets the error itself."""
    server = Slow(Source(b"0123456789" * 5, torn_at=20))
    async with asyncio.timeout(10):
        with pytest.raises(FileChanged):
            await upload(server, server.source)
    assert server.sent == [0, 1, 2]
    assert server.under_way == {2}
    assert sorted(server.chunks) == [0, 1]


async def test_chunks_the_server_lost_are_sent_again() -> None:
    """409 names them; nothing else is sent twice."""
    server = Server(Source(b"0123456789" * 5), loses=[{1, 3}, {3}])
    await upload(server, server.source)
    assert server.sent == [0, 1, 2, 3, 4, 1, 3, 3]


@pytest.mark.parametrize("status", [404, 422])
async def test_a_forgotten_or_spoilt_upload_starts_anew(status: int) -> None:
    """Another hash, or an upload nobody knows: init again, and all of it."""
    server = Server(Source(b"0123456789" * 2), refuses=[RequestRefused("x", status)])
    await upload(server, server.source)
    assert (server.inits, server.sent) == (2, [0, 1, 0, 1])


@pytest.mark.parametrize(("status", "tries"), [(422, 2), (409, 4), (404, 4), (403, 1), (413, 1)])
async def test_a_lasting_refusal_ends(status: int, tries: int) -> None:
    """No circle: a spoilt content is sent twice at most, other troubles a few times."""
    refusals = [RequestRefused("x", status) for _ in range(9)]
    server = Server(Source(b"0123456789"), refuses=refusals)
    with pytest.raises(RequestRefused):
        await upload(server, server.source)
    assert 9 - len(server.refuses) == tries


async def test_a_file_that_changes_is_abandoned() -> None:
    """What the source raises passes through; what was sent stays for another time."""
    server = Server(Source(b"0123456789" * 3, torn_at=20))
    with pytest.raises(FileChanged):
        await upload(server, server.source)
    assert sorted(server.chunks) == [0, 1]


async def test_progress_tells_what_the_server_has() -> None:
    """Bytes that were there count from the beginning; the last word is all of them."""
    server = Server(Source(b"0123456789" * 3), chunks={1: b"0123456789"})
    seen: list[tuple[int, int]] = []
    await upload(server, server.source, lambda done, total: seen.append((done, total)))
    assert seen == [(10, 30), (20, 30), (30, 30)]


async def test_a_large_chunk_is_read_in_small_pieces() -> None:
    """Memory is bounded by the piece, whatever chunk size the server names."""
    source = Source(bytes(3 * PIECE_BYTES + 5))
    server = Server(source, chunk_size=64 << 20)
    await upload(server, source)
    assert source.reads == [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 5]


@pytest.mark.parametrize("state", [UploadState(0), UploadState(-1), UploadState(10, [], 7)])
def test_figures_that_do_not_fit_are_refused(state: UploadState) -> None:
    """Chunks of nothing, or another number of them than the size makes."""
    with pytest.raises(ProtocolError):
        plan(25, state)


@pytest.mark.parametrize(("total", "chunks"), [(0, []), (None, []), (1, [Chunk(0, 0, 0)])])
def test_an_empty_file_has_no_chunk_or_an_empty_one(total: int, chunks: list[Chunk]) -> None:
    """As the server says."""
    assert plan(0, UploadState(10, [], total)) == chunks


@pytest.mark.parametrize(
    ("size", "chunk_size"),
    [(3_000_000, 1), (3_000_000, 1000), (1 << 40, 1 << 20), ((64 << 20) + 1, (64 << 10) - 1)],
)
def test_chunks_beyond_all_reason_are_refused(size: int, chunk_size: int) -> None:
    """Each is a request: a server must not ask for millions of them."""
    with pytest.raises(ProtocolError, match="that many are not sent"):
        plan(size, UploadState(chunk_size))


@pytest.mark.parametrize(
    ("size", "chunk_size"), [(1000, 1), (64 << 20, 64 << 10), (1 << 40, 4 << 20)]
)
def test_small_chunks_are_taken_where_they_are_few(size: int, chunk_size: int) -> None:
    """The server's figure holds."""
    assert sum(c.length for c in plan(size, UploadState(chunk_size))) == size
