"""How long one big note keeps the event loop: a mirror watched while it works.

The server is a process of its own (``python -m tests.bench.loop FOLDER``), so that only the
mirror's work is seen: it serves one note, and edits a word of it for each line it is sent.
"""

import asyncio
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from heapsyncd.document.edit import Target, express
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from tests.bench.measure import Gaps, watched
from tests.sync.rig import Device, World, until

_DEADLINE_S = 60.0
_WORD = "harbour"
_EDITS = 20


@dataclass(frozen=True)
class Served:
    """Where the other process serves."""

    url: str


def blocked(text: str) -> None:
    """Print the longest time the loop stood still in each kind of work."""
    _hush()
    with tempfile.TemporaryDirectory(prefix="heapsyncd-bench-") as base:
        (Path(base) / "note.md").write_text(text, "utf-8")
        asyncio.run(_mirror(Path(base)))


def _hush() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


async def _mirror(base: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.loop", str(base)]
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        url = (await server.stdout.readline()).decode().strip()
        served: Any = Served(url)
        print("\nthe event loop beside a note of 1 MB: longest time it stood still")
        await _work(Device(served, base / "device"), server.stdin)
    finally:
        server.stdin.close()
        await server.wait()


async def _work(device: Device, server: asyncio.StreamWriter) -> None:
    path = device.root / "Note.md"
    async with watched() as first, device.running():
        await until(lambda: path.stat().st_size and _idle(device), "the first mirror", _DEADLINE_S)
        _show("first mirror", first)
        async with watched() as up:
            await asyncio.to_thread(_save, path, _WORD, "haven")
            await until(lambda: not _idle(device), "the edit is seen", _DEADLINE_S)
            await until(lambda: _idle(device), "the edit is pushed", _DEADLINE_S)
        _show("a saved edit (ingest)", up)
        async with watched() as down:
            server.write(b"edit\n")
            await until(lambda: _differs(path), "the remote edit", _DEADLINE_S)
            await until(lambda: _idle(device), "in sync", _DEADLINE_S)
        _show("a remote edit (publish)", down)
        async with watched() as long:
            for k in range(_EDITS):
                await asyncio.to_thread(_save, path, "the", f"word{k}")
                await until(lambda: not _idle(device), "an edit is seen", _DEADLINE_S)
                await until(lambda: _idle(device), "an edit is pushed", _DEADLINE_S)
        _show(f"{_EDITS} more saved edits", long)


def _idle(device: Device) -> bool:
    return device.report.state == "in sync"


def _save(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text.replace(old, new, 1), "utf-8")
    beside.replace(path)


def _differs(path: Path) -> bool:
    # Only the front: reading a megabyte here would keep the loop that is being watched.
    with path.open("rb") as file:
        return b"elsewhere" in file.read(4096)


def _show(name: str, gaps: Gaps) -> None:
    print(f"  {name:26} {gaps.longest_s * 1000:7.0f} ms")


async def _serve(base: Path) -> None:
    """Serve the note; a line on standard input is an edit made in the app."""
    text = (base / "note.md").read_text("utf-8")
    async with Server(base / "server", open_registration=True) as server:
        world = World(server, await server.add_heap("Home"), base)
        note = await world.add("Note", text)
        print(server.url, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            replica = await server.document(note)
            body = parse(
                text.replace(_WORD, "haven", 1).replace("\n\n", "\n\nelsewhere ", 1), NO_LINKS
            )
            made = express([replica.state()], Target(body=body))
            assert made.update is not None
            await server.apply(note, made.update)


if __name__ == "__main__":
    _hush()  # what is printed is read by the other process
    asyncio.run(_serve(Path(sys.argv[1])))
