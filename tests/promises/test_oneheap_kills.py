"""A process killed at any step of a write finishes it after its next start, once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.database import Database
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, merge
from heapsyncd.errors import PeerError, TryLater
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.model import Push
from heapsyncd.wire.oneheap.client import Client
from tests.oneheap.device import Device, Source, device_of
from tests.oneheap.saves import saved
from tests.oneheap.service import Oneheap

BOAT = new_block_id()
PLAN = Source("plan.pdf", b"%PDF")
MOST_STEPS = 60
Step = Callable[[Device], Awaitable[bool]]


class Killed(BaseException):
    """The process is gone."""


class Killer:
    """Kills at a step: before or after a request or a commit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 0
        self._count = 0
        self._on = False
        write, call = Database.write, Client.call

        async def writing(db: Database, *args: Any) -> Any:
            self.step()
            result = await write(db, *args)
            self.step()
            return result

        async def calling(client: Client, *args: Any, **more: Any) -> Any:
            self.step()
            result = await call(client, *args, **more)
            self.step()
            return result

        monkeypatch.setattr(Database, "write", writing)
        monkeypatch.setattr(Client, "call", calling)

    def step(self) -> None:
        """One more step."""
        if self._on:
            self._count += 1
            if self._count >= self.at:
                raise Killed

    @asynccontextmanager
    async def watching(self, at: int) -> AsyncIterator[None]:
        """Kill at the step with this number, and at every later one."""
        self.at, self._count, self._on = at, 0, True
        try:
            yield
        finally:
            self._on = False


async def pushed(device: Device, block: BlockId, update: bytes) -> bool:
    """Push once; whether it was taken."""
    try:
        (result,) = await device.backend.push(
            device.heap, [Push(block, device.versions[block], update)]
        )
    except (TryLater, PeerError):
        return False
    assert result.status in {"ok", "stale"}, result
    return result.status == "ok"


async def create(device: Device) -> bool:
    """A new task in a box, with what its creation does not take."""
    text = "---\ntype: task\ncompleted: 2026-01-01T00:00:00+0000\nprogress: 5\n---\nhello\n"
    await device.backend.insert(device.heap, BOAT, "document", "Boat")
    await device.pull({BOAT})
    document = device.documents[BOAT]
    if device.shown(BOAT).title == "Boat" and device.shown(BOAT).data == text.encode():
        return True
    target = Target(title="Boat", add_tags=frozenset({device.named("Projects")}))
    named = merge([document, edit(Replica.load([document]), target).update or EMPTY])
    return await pushed(device, BOAT, merge([named, saved(named, text.encode())]))


async def update(device: Device) -> bool:
    """Another text and another field."""
    block = device.named("Old")
    text = b"---\ntags: [x]\n---\nnew\n"
    if device.shown(block).data == text:
        return True
    return await pushed(device, block, saved(device.documents[block], text))


async def move(device: Device) -> bool:
    """Into a box and under another name."""
    block = next(b for b in device.documents if device.shown(b).title in {"Old", "New"})
    projects = device.named("Projects")
    if device.shown(block).folder == projects and device.shown(block).title == "New":
        return True
    target = Target(title="New", add_tags=frozenset({projects}))
    return await pushed(device, block, device.update(block, target))


async def archive(device: Device) -> bool:
    """Into the archive."""
    block = device.named("Old")
    folder = device.named("Archive")
    if device.shown(block).folder == folder:
        return True
    target = Target(add_tags=frozenset({folder}))
    return await pushed(device, block, device.update(block, target))


async def delete(device: Device) -> bool:
    """A deletion."""
    found = [b for b in device.documents if device.shown(b).title == "Old"]
    if not found:
        return True
    return await pushed(device, found[0], device.update(found[0], Target(deleted_at_ms=5)))


async def upload(device: Device) -> bool:
    """An attachment: its entry, then its content."""
    block = device.named("Old")
    if PLAN.entry.key not in {f.key for f in device.shown(block).files}:
        put = Target(put_files=(PLAN.entry,))
        made = device.update(block, put)
        if not await pushed(device, block, made):
            return False
        device.documents[block] = merge([device.documents[block], made])
    await device.backend.upload(device.heap, block, PLAN)
    return True


EXPECTED: dict[str, Callable[[dict[str, Any], Oneheap], bool]] = {
    "create": lambda i, s: (
        len(i) == 4
        and i["Boat"]["body"] == "hello\n"
        and bool(i["Boat"]["completed"])
        and i["Boat"]["progress"] == 5
        and i["Boat"]["boxId"] == i["Projects"]["id"]
    ),
    "update": lambda i, s: (i["Old"]["body"], i["Old"]["tags"]) == ("new\n", ["x"]),
    "move": lambda i, s: i["New"]["boxId"] == i["Projects"]["id"],
    "archive": lambda i, s: i["Old"]["archived"],
    "delete": lambda i, s: "Old" not in i,
    "upload": lambda i, s: len(i) == 4 and s.store.contents[i["plan.pdf"]["id"]] == PLAN.content,
}


@pytest.mark.parametrize("step", [create, update, move, archive, delete, upload])
async def test_killed_at_any_step(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each kill the step is taken again by a new process, until it is done."""
    killer = Killer(monkeypatch)
    for at in range(1, MOST_STEPS):
        async with Oneheap() as service:
            service.add("box", name="Projects")
            service.add("note", name="Old", body="old\n")
            service.archive(service.add("note", name="Past"))
            path = tmp_path / f"{at}.sqlite3"
            was_killed = await killed(service, path, killer, at, step)
            async with device_of(service, path) as device:
                for _ in range(5):
                    await device.poll()
                    await device.pull(set(device.versions))
                    if await step(device):
                        break
                else:
                    pytest.fail(f"killed at step {at}: it is never done")
            items = {i["name"]: i for i in service.store.items.values()}
            assert len(items) == len(service.store.items), f"twice after step {at}: {items}"
            assert EXPECTED[step.__name__](items, service), f"after step {at}: {items}"
        if not was_killed:
            return
    pytest.fail("it never ends")


async def killed(service: Oneheap, path: Path, killer: Killer, at: int, step: Step) -> bool:
    """Take the step in a process that is killed; whether it was."""
    async with device_of(service, path) as device:
        try:
            async with killer.watching(at):
                assert await step(device)
        except Killed:
            return True
        except BaseExceptionGroup as errors:
            if errors.subgroup(Killed) is None:
                raise
            return True
    return False
