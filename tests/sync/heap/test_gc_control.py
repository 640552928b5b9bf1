"""The loop is not held up: by parsing, nor by the collector of garbage; and nothing is kept for
ever by what that is spared.
"""

import asyncio
import gc
import platform
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.blocks import read
from heapsyncd.markdown.read.parse import clear_cache, parse
from heapsyncd.markdown.write.render import render
from heapsyncd.sync.heap.gc_control import LOOK_S, MANY, SURE_S, collect_everything, no_collection
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.offline.versions import restore_alone
from heapsyncd.sync.report import RestoreRequest
from tests.sync.rig import World

NOTE = "# Boat\n\nText **bold `code`** [[x]].\n\n- item\n- [ ] task\n\n|a|\n|-|\n|b|\n\n<div>\n"


class Knot:
    """A value in a cycle."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    gc.collect()
    yield
    gc.unfreeze()
    gc.enable()


def many() -> list[list[int]]:
    """So many values that they are spared."""
    return [[] for _ in range(MANY + 1)]


async def test_many_values_are_spared_and_garbage_among_them_is_found_later() -> None:
    """What a large piece of work leaves is not looked at, until everything is."""
    before = gc.get_freeze_count()

    def work() -> tuple[list[list[int]], "weakref.ref[Knot]"]:
        return many(), weakref.ref(Knot())

    kept, knot = await offload(work)
    assert gc.isenabled()
    assert gc.get_freeze_count() > before + len(kept)
    gc.collect()
    assert knot() is not None
    collect_everything()
    assert knot() is None


async def test_little_work_spares_nothing() -> None:
    """Its garbage is found in the ordinary way."""
    before = gc.get_freeze_count()
    knot = await offload(lambda: weakref.ref(Knot()))
    assert gc.get_freeze_count() <= before
    gc.collect()
    assert knot() is None


def test_values_are_spared_though_as_many_were_given_back() -> None:
    """The collector takes those off its count."""
    old, new = many(), list[list[int]]()
    gc.collect()  # they are no new ones now
    before = gc.get_freeze_count()
    with no_collection():
        while old:
            new.append([])
            old.pop()
        end_s = time.process_time() + LOOK_S
        while time.process_time() < end_s:
            pass
    assert gc.get_freeze_count() > before + len(new)


def test_small_pieces_of_work_do_not_each_count_the_new_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To list them takes longer than such a piece does."""
    counted = []
    listed = gc.get_objects

    def seen(generation: int | None = None) -> list[object]:
        counted.append(generation)
        return listed(generation)

    monkeypatch.setattr(gc, "get_objects", seen)
    for _ in range(100):
        with no_collection():
            pass
    assert len(counted) < 20


def test_long_work_is_not_followed_by_a_count_of_what_it_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It made many values; they are spared, and listed no more."""
    monkeypatch.delattr(gc, "get_objects")
    before = gc.get_freeze_count()
    with no_collection():
        new = many()
        end_s = time.process_time() + SURE_S
        while time.process_time() < end_s:
            pass
    assert gc.get_freeze_count() > before + len(new)


async def test_nobody_looks_through_while_somebody_works() -> None:
    """Two pieces of work at once: the collector rests until the later one is done."""
    go = asyncio.Event()

    async def work() -> None:
        with no_collection():
            await go.wait()

    kept = await offload(many)
    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        await asyncio.sleep(0)
        knot = weakref.ref(Knot())
        assert not gc.isenabled()
        collect_everything()
        assert knot() is not None
        go.set()
    assert gc.isenabled()
    collect_everything()
    assert knot() is None
    assert len(kept) > MANY


def test_work_on_notes_leaves_no_garbage() -> None:
    """No values in cycles: memory is free as soon as they are not used."""
    start = edit(Replica(), Target(body=parse(NOTE, NO_LINKS))).update
    assert start is not None

    def work() -> None:
        clear_cache()
        read(NOTE, NO_LINKS)
        replica = Replica.load([start])
        assert render(replica.view(), NO_LINKS)
        made = edit(replica, Target(body=parse(NOTE.replace("item", "thing"), NO_LINKS)))
        assert made.update is not None
        assert "thing" in patch(NOTE, replica.view(), NO_LINKS)

    work()
    gc.collect()
    gc.disable()
    work()
    assert gc.collect() == 0


async def test_a_note_that_begins_with_a_rule_and_has_crlf(world: World) -> None:
    """Such a note of a thousand lines is a note like any other, and so is its neighbour."""
    device = world.device()
    device.root.mkdir(parents=True)
    text = "---\r\n" + "hello\r\n" * 1000
    (device.root / "Windows.md").write_bytes(text.encode())
    (device.root / "Other.md").write_text("other\n")
    await device.synced()
    assert set((await world.titles()).keys()) == {"Windows", "Other"}
    assert text.encode() in (device.root / "Windows.md").read_bytes()


async def test_files_are_parsed_beside_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, edited, swapped, restored: what a user's file says is read in a thread."""
    threads = set()
    split = frontmatter.split

    def seen(text: str) -> tuple[frontmatter.Front, str]:
        threads.add((threading.current_thread(), sys._getframe(1).f_code.co_qualname))
        return split(text)

    monkeypatch.setattr(frontmatter, "split", seen)
    device = world.device()
    await world.add("A", "one\n")
    await world.add("B", "two\n")
    await device.synced()
    a, b = device.root / "A.md", device.root / "B.md"
    first = a.read_text()
    a.rename(device.root / "C.md")
    b.rename(a)
    (device.root / "C.md").rename(b)
    await device.synced()
    a.write_text(a.read_text() + "more\n")
    (device.root / "New.md").write_text("new\n")
    await device.synced()
    # Saved under the name it had before.
    a.write_text(first + "late\n")
    await device.synced()
    wanted = RestoreRequest((str(a),))
    await restore_alone(device.account, device.base / "state", wanted)
    await device.synced()
    loop = threading.main_thread()
    assert {name for thread, name in threads if thread is loop} == set()
    assert threads


_THREADS = """
import ctypes, sys, threading
from heapsyncd.sync.heap.gc_control import settle
if sys.argv[1] == "settled":
    settle()
gate = threading.Barrier(4)
def work():
    kept = [bytes(10_000) for _ in range(100)]
    gate.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have one heap, or no option")
@pytest.mark.parametrize("how", ["settled", "as it begins"])
def test_threads_share_one_heap(tmp_path: Path, how: str) -> None:
    """What one of them gave back is used by the next; by itself each has a heap of its own."""
    told = tmp_path / "told"
    subprocess.run([sys.executable, "-c", _THREADS, how, told], check=True)
    assert (told.read_text("utf-8").count("<heap nr=") == 1) == (how == "settled")
