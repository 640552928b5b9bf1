"""How fast contents go up and down, beside plain aiohttp requests for the same chunks.

``python tests/bench/bench_transfers.py [--mb 256] [--rounds 3] [FOLDER]``.

The server is a process of its own. In each round a fresh content is sent by the mirror, by plain
PUTs of the same chunks, and by one streamed PUT into a file of another server, then fetched by the
mirror and by plain GETs into a file, in an order that turns; on a shared machine only what is
measured in turn can be compared. The mirror hashes what it fetches and has it on the disk when it
says so: one plain GET does neither, the other does both, one after the other. What hashing and the
disk take alone is printed beside them.
Memory is the peak of this process above what it had after a pass without contents.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[2]))

import aiohttp
import structlog
from aiohttp import web

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.config import Account
from heapsyncd.ids import BlockId, HeapId, new_block_id
from heapsyncd.server import Server
from heapsyncd.sync.transfers import transfers
from tests.sync.proxy import answering
from tests.sync.rig import Device

MIB = 1 << 20
PASS_LIMIT_S = 600.0


@dataclass
class Clock:
    """Seconds that each way of moving the content took, round by round."""

    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    plain_up: list[float] = field(default_factory=list)
    one_put: list[float] = field(default_factory=list)
    plain_down: list[float] = field(default_factory=list)
    kept_down: list[float] = field(default_factory=list)
    hashing: list[float] = field(default_factory=list)
    disk: list[float] = field(default_factory=list)


class Memory:
    """The peak of this process's resident memory, sampled."""

    def __init__(self) -> None:
        self.peak = 0
        self._end = threading.Event()

    @staticmethod
    def now() -> int:
        """Resident bytes."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Sample while the block runs."""

        def sample() -> None:
            while not self._end.wait(0.01):
                self.peak = max(self.peak, self.now())

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()


class OneHeap(Device):
    """A device that mirrors the one heap, not what the plain requests put into the other."""

    @property
    def account(self) -> Account:
        """As configured."""
        return replace(super().account, heaps=("Home",))


class Far:
    """The server in another process, as the rig's devices want it."""

    def __init__(self, url: str, sink: str) -> None:
        self.url = url
        self.sink = sink
        """Takes a body with one PUT, and does nothing but to keep it."""


async def serve(folder: Path) -> None:
    """The server's process: it says its address and heap, and serves until its input ends."""
    async with Server(folder, open_registration=True) as server:
        await server.add_heap("Home")
        plain = await server.add_heap("Plain")
        async with answering(partial(_taken, folder / "taken")) as sink:
            print(server.url, plain, sink, flush=True)
            await asyncio.to_thread(sys.stdin.read)


async def _taken(path: Path, request: web.Request) -> web.Response:
    """Keep a body in a file, as it comes."""
    with path.open("wb") as file:
        async for piece in request.content.iter_any():
            file.write(piece)
    return web.Response()


@contextlib.asynccontextmanager
async def far_server(folder: Path) -> AsyncIterator[tuple[Far, HeapId]]:
    """A server in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", str(folder),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout
    assert process.stdin
    try:
        url, heap, sink = (await process.stdout.readline()).decode().split()
        yield Far(url, sink), HeapId(heap)
    finally:
        process.stdin.close()
        await process.wait()


def timed_mirror(clock: Clock) -> None:
    """Time the mirror's own transfers."""
    upload, fetch = HeaperBackend.upload, transfers._fetch

    async def up(self: HeaperBackend, *arguments: Any, **more: Any) -> Any:
        start = time.perf_counter()
        result = await upload(self, *arguments, **more)
        clock.up.append(time.perf_counter() - start)
        return result

    async def down(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = await fetch(*arguments)
        clock.down.append(time.perf_counter() - start)
        return result

    HeaperBackend.upload = up  # type: ignore[method-assign]
    transfers._fetch = down  # type: ignore[assignment]


def make(path: Path, size: int) -> str:
    """A content of random bytes; its sha256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            piece = os.urandom(MIB)
            digest.update(piece)
            file.write(piece)
        _to_disk(file)  # what is measured next does not share the disk with this
    old = time.time() - 60
    os.utime(path, (old, old))  # settled: nobody waits for it
    return digest.hexdigest()


async def plain_up(
    device: Device, heap_id: HeapId, block: BlockId, path: Path, hash_: str
) -> float:
    """Seconds for plain PUTs of the same chunks."""
    async with HeaperBackend(device.server.url, device.seed) as backend:
        token = (await backend._account.session.token()).reveal()
    headers = {"Authorization": f"Bearer {token}"}
    base = f"{device.server.url}/api/upload"
    size = path.stat().st_size
    body = {"hash": hash_, "name": path.name, "size": size, "mime_type": "x/y"}
    async with aiohttp.ClientSession(headers=headers) as client:
        start = time.perf_counter()
        async with client.post(f"{base}/init/{heap_id}/{block}", json=body) as answer:
            chunk = (await answer.json())["chunk_size"]
        with path.open("rb") as file:
            for index in range(-(-size // chunk)):
                url = f"{base}/chunk/{heap_id}/{block}/{hash_}/{index}"
                octets = {"Content-Type": "application/octet-stream"}
                async with client.put(url, data=file.read(chunk), headers=octets) as answer:
                    answer.raise_for_status()
        async with client.post(f"{base}/complete/{heap_id}/{block}/{hash_}", json={}) as answer:
            answer.raise_for_status()
        return time.perf_counter() - start


async def one_put(url: str, path: Path) -> float:
    """Seconds for one streamed PUT."""

    async def pieces() -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(256 << 10):
                yield piece

    async with aiohttp.ClientSession() as client:
        start = time.perf_counter()
        async with client.put(url, data=pieces()) as answer:
            answer.raise_for_status()
        return time.perf_counter() - start


async def plain_down(device: Device, url: str, path: Path, *, kept: bool) -> float:
    """Seconds for a plain GET into a new file; ``kept``: hashed and on the disk at the end."""
    async with HeaperBackend(device.server.url, device.seed) as backend:
        token = (await backend._account.session.token()).reveal()
    digest = hashlib.sha256()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
        start = time.perf_counter()
        async with client.get(url) as answer:
            answer.raise_for_status()
            with path.open("xb") as file:
                async for piece in answer.content.iter_chunked(MIB):
                    file.write(piece)
                    if kept:
                        digest.update(piece)
                if kept:
                    _to_disk(file)
        took = time.perf_counter() - start
    path.unlink()
    return took


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def warm(folder: Path, size: int) -> None:
    """Have the system hold as much free memory as the next content needs: a virtual machine gets
    memory that it gave back, or never had, slowly, whoever is the first to write to it.
    """
    make(folder / "warm", 2 * size)
    (folder / "warm").unlink()


def alone(clock: Clock, path: Path, size: int) -> None:
    """Seconds for hashing so much, and for bringing it to the disk."""
    piece = os.urandom(MIB)
    start = time.perf_counter()
    digest = hashlib.sha256()
    for _ in range(size // MIB):
        digest.update(piece)
    clock.hashing.append(time.perf_counter() - start)
    start = time.perf_counter()
    with path.open("xb") as file:
        for _ in range(size // MIB):
            file.write(piece)
        _to_disk(file)
    clock.disk.append(time.perf_counter() - start)
    path.unlink()


async def measure(folder: Path, mb: int, rounds: int) -> Clock:
    """Run the rounds; what they took. The memory they needed is printed."""
    size, clock, memory = mb * MIB, Clock(), Memory()
    timed_mirror(clock)
    async with far_server(folder / "server") as (server, heap):
        sender, taker = (OneHeap(server, folder / name) for name in "ab")  # type: ignore[arg-type]
        for device in (sender, taker):
            assert (await device.once(PASS_LIMIT_S)).exit_code == 0
        before = Memory.now()
        grown = 0
        for k in range(rounds):
            works = [_mirrored, _plainly]
            for work in works if k % 2 == 0 else reversed(works):
                with memory.watched():
                    await work(sender, taker, heap, folder, size, clock)
                if work is _mirrored:
                    grown = max(grown, memory.peak - before)
            warm(folder, size)
            alone(clock, folder / "alone", size)
    print(f"memory: {grown / MIB:.1f} MiB above the {before / MIB:.0f} MiB of an idle pass")
    return clock


async def _mirrored(
    sender: Device, taker: Device, heap_id: HeapId, folder: Path, size: int, clock: Clock
) -> None:
    name = f"{len(clock.up)}.bin"
    make(sender.root / name, size)
    for device in (sender, taker):
        warm(folder, size)
        verdict = await device.once(PASS_LIMIT_S)
        assert verdict.exit_code == 0, verdict
    assert (taker.root / name).stat().st_size == size


async def _plainly(
    sender: Device, taker: Device, heap_id: HeapId, folder: Path, size: int, clock: Clock
) -> None:
    path = folder / "plain.bin"
    hash_ = make(path, size)
    block = await _a_block(sender, heap_id)
    warm(folder, size)
    clock.plain_up.append(await plain_up(sender, heap_id, block, path, hash_))
    server: Any = sender.server
    warm(folder, size)
    clock.one_put.append(await one_put(server.sink, path))
    url = f"{sender.server.url}/api/file/{heap_id}/{block}/{hash_}"
    got = folder / "got.bin"
    warm(folder, size)
    clock.plain_down.append(await plain_down(taker, url, got, kept=False))
    warm(folder, size)
    clock.kept_down.append(await plain_down(taker, url, got, kept=True))


def _print(clock: Clock, mb: int) -> None:
    for way, mine, floors in (
        ("up", clock.up, {"plain": clock.plain_up, "one PUT": clock.one_put}),
        ("down", clock.down, {"plain": clock.plain_down, "hashed and kept": clock.kept_down}),
    ):
        line = f"{way:4} {mb} MiB: {mb / statistics.median(mine):6.0f} MiB/s"
        for name, plain in floors.items():
            ratio = statistics.median(p / m for m, p in zip(mine, plain, strict=True))
            line += f"; {name} {mb / statistics.median(plain):.0f} MiB/s, ratio {ratio:.2f}"
        print(line)
    print(
        f"alone: hashing {mb / statistics.median(clock.hashing):.0f} MiB/s, disk"
        f" {mb / statistics.median(clock.disk):.0f} MiB/s"
    )


async def _a_block(device: Device, heap_id: HeapId) -> BlockId:
    async with HeaperBackend(device.server.url, device.seed) as backend:
        row = await backend.insert(heap_id, new_block_id(), "document", "plain")
    return row.id


def hush() -> None:
    """Log nothing."""
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--mb", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    hush()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        _print(asyncio.run(measure(Path(folder), options.mb, options.rounds)), options.mb)


if __name__ == "__main__":
    main()
